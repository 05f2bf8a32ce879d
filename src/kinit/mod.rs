//! `lgss_kinit`: gets Kerberos tickets into kernel keyrings, in MIT's layout. A drop-in for kinit(1).
//!
//! Called by src/bin/lgss_kinit.rs. Invariant: no password and no key is in a core file, an argument or a message; a failure
//! leaves the keyring as it was.
#![forbid(unsafe_code)]

mod arguments;
mod client;
mod collection_ring;
mod exit;
mod failure;
mod obtain;
mod place;
mod quota;
mod values;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::path::Path;

use clap::Parser;

use arguments::KinitArguments;
pub use arguments::record;
pub use exit::KinitExit;
use failure::KinitFailure;
use place::{Primary, TicketPlace};

use crate::gss::krb5::Library;
use crate::sys::jail;
use crate::terminal::completion::Completion;
use crate::terminal::remark::{Answered, answer, complain};
use crate::terminal::{self, Terminal};
use crate::text::{escaped, shell_word};

const COMPLETION: Completion = Completion { program: "lgss_kinit", variable: "LGSS_KINIT_COMPLETE", record };

/// Does what `arguments` say, the first of which is the program's name.
pub fn run(arguments: impl IntoIterator<Item = OsString>, terminal: &mut Terminal<'_>) -> KinitExit {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if COMPLETION.answered(&arguments) {
        return KinitExit::Done;
    }
    let done = match KinitArguments::try_parse_from(arguments) {
        Ok(arguments) => obey(&arguments, terminal),
        Err(error) => return say(&error, terminal),
    };
    match done {
        Ok(()) => KinitExit::Done,
        // Nobody wants the rest of the result.
        Err(KinitFailure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => KinitExit::Done,
        Err(failure) => {
            complain(COMPLETION.program, terminal.err, &failure, failure.remedy());
            KinitExit::Failed
        }
    }
}

/// Help and version, or what is wrong with the command line.
fn say(error: &clap::Error, terminal: &mut Terminal<'_>) -> KinitExit {
    match answer(error, terminal) {
        Answered::Help => KinitExit::Done,
        Answered::Misuse => KinitExit::Usage,
    }
}

/// Writes a line with the program's name before it.
fn remark(err: &mut dyn Write, what: impl Display) {
    terminal::remark::remark(COMPLETION.program, err, what);
}

fn obey(arguments: &KinitArguments, terminal: &mut Terminal<'_>) -> Result<(), KinitFailure> {
    jail::leave_no_core().map_err(KinitFailure::Core)?;
    let library = Library::open().map_err(KinitFailure::Configuration)?;
    // What other programs will look at, unless told.
    let default = library.default_cache();
    let place = TicketPlace::choose(arguments, &library)?;
    if let Some(remarkable) = place.remark() {
        remark(terminal.err, remarkable);
    }
    let tickets = obtain::tickets(arguments, &library, &place)?;
    // Whoever renews tickets knows where they are.
    let primary = if arguments.renewal().is_some() { Primary::Stays } else { Primary::Becomes };
    let stored = place.store(&library, &tickets, primary)?;
    if primary == Primary::Becomes && place.outlives_us() && place.name() != default {
        remark(
            terminal.err,
            format_args!("for other programs: export KRB5CCNAME={}", shell_word(Path::new(place.name()))),
        );
    }
    if arguments.verbose {
        let client = tickets.open().and_then(|cache| cache.principal());
        let client = client.map_or_else(|error| error.to_string(), |client| client.to_string());
        writeln!(terminal.out, "Using cache: {}\nUsing principal: {}", escaped(&stored), escaped(&client))?;
        if arguments.from.is_none() {
            writeln!(terminal.out, "Authenticated to Kerberos v5")?;
        }
    }
    Ok(())
}
