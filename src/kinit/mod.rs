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
mod holding;
mod keeping;
mod obtain;
mod own_session;
mod place;
mod quota;
mod single_key;
mod values;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::path::Path;

use arguments::KinitArguments;
pub use arguments::record;
pub use exit::KinitExit;
use failure::KinitFailure;
use keeping::Watched;
use place::{Primary, TicketPlace};
use values::KeyringWord;

use crate::gss::krb5::Library;
use crate::gss::private_cache::PrivateCache;
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
    let done = match KinitArguments::read(arguments) {
        Ok(arguments) => obey(&arguments, terminal),
        Err(error) => return say(&error, terminal),
    };
    match done {
        Ok(exit) => exit,
        // Nobody wants the rest of the result.
        Err(KinitFailure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => KinitExit::Done,
        Err(failure) => {
            complain(COMPLETION.program, terminal.err, &failure, failure.remedy());
            failure.exit()
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

fn obey(arguments: &KinitArguments, terminal: &mut Terminal<'_>) -> Result<KinitExit, KinitFailure> {
    // A command would inherit the limit of the other way, and every way is enough.
    if arguments.runs_something() { jail::set_undumpable() } else { jail::leave_no_core() }
        .map_err(KinitFailure::Core)?;
    let library = Library::open().map_err(KinitFailure::Configuration)?;
    // What other programs will look at, unless told.
    let default = library.default_cache();
    let task = KinitTask { arguments, library: &library, default: &default };
    if let Some(short) = quota::foreseen() {
        remark(terminal.err, short);
    }
    match (arguments.new_session, arguments.single_key) {
        (true, _) => task.in_a_new_session(terminal),
        (false, true) => task.as_a_single_key(terminal),
        (false, false) => task.here(terminal),
    }
}

/// What is to be done.
struct KinitTask<'a> {
    arguments: &'a KinitArguments,
    library: &'a Library,
    default: &'a str,
}

impl KinitTask<'_> {
    fn here(&self, terminal: &mut Terminal<'_>) -> Result<KinitExit, KinitFailure> {
        let place = TicketPlace::choose(self.arguments, self.library)?;
        if let Some(remarkable) = place.remark() {
            remark(terminal.err, remarkable);
        }
        // Before anybody is asked for a password.
        let watched = match self.arguments.watched() {
            Some(_) if !place.outlives_us() => return Err(KinitFailure::EndsWithUs(place.name().to_owned())),
            Some(pid) => Some(Watched::open(pid)?),
            None => None,
        };
        if let Some(seconds) = self.arguments.hold {
            return self.hold(&place, seconds, terminal);
        }
        let tickets = obtain::tickets(self.arguments, self.library, &place)?;
        let stored = self.store(&place, &tickets, terminal)?;
        self.go_on(&place, &stored, watched)
    }

    fn in_a_new_session(&self, terminal: &mut Terminal<'_>) -> Result<KinitExit, KinitFailure> {
        let watched = self.arguments.watched().map(Watched::open).transpose()?;
        // Old tickets, and whose they are, are in the old session.
        let old = TicketPlace::of_other_programs(self.default);
        let tickets = obtain::tickets(self.arguments, self.library, &old)?;
        own_session::begin()?;
        let place = TicketPlace::in_the_session(self.arguments, self.library)?;
        let stored = self.store(&place, &tickets, terminal)?;
        self.go_on(&place, &stored, watched)
    }

    fn as_a_single_key(&self, terminal: &mut Terminal<'_>) -> Result<KinitExit, KinitFailure> {
        let keyring = self.arguments.keyring.unwrap_or(KeyringWord::Session);
        if self.arguments.keyring.is_none() {
            place::check_session(&keyring.collection())?;
        }
        let old = TicketPlace::of_other_programs(self.default);
        let tickets = obtain::tickets(self.arguments, self.library, &old)?;
        let name = single_key::store(&tickets, keyring)?;
        if self.arguments.verbose {
            writeln!(terminal.out, "Using key: {}", escaped(&name))?;
        }
        Ok(KinitExit::Done)
    }

    fn hold(
        &self,
        place: &TicketPlace,
        seconds: i32,
        terminal: &mut Terminal<'_>,
    ) -> Result<KinitExit, KinitFailure> {
        let longest = holding::longest(self.arguments, self.library, place, seconds)?;
        if let Some(tickets) = longest.new {
            self.store(place, &tickets, terminal)?;
        }
        longest.short.map_or(Ok(KinitExit::Done), Err)
    }

    /// Stores them and says where they are. Returns the cache's name.
    fn store(
        &self,
        place: &TicketPlace,
        tickets: &PrivateCache,
        terminal: &mut Terminal<'_>,
    ) -> Result<String, KinitFailure> {
        // Whoever renews tickets knows where they are.
        let primary = if self.arguments.renewal().is_some() { Primary::Stays } else { Primary::Becomes };
        let stored = place.store(self.library, tickets, primary)?;
        let size = tickets.open().and_then(|cache| cache.as_file(0)).map_or(0, |file| file.len());
        if let Some(short) = quota::remaining(size) {
            remark(terminal.err, short);
        }
        let is_told = self.arguments.runs_something();
        if primary == Primary::Becomes && place.outlives_us() && place.name() != self.default && !is_told {
            remark(
                terminal.err,
                format_args!("for other programs: export KRB5CCNAME={}", shell_word(Path::new(place.name()))),
            );
        }
        if self.arguments.verbose {
            let client = tickets.open().and_then(|cache| cache.principal());
            let client = client.map_or_else(|error| error.to_string(), |client| client.to_string());
            writeln!(
                terminal.out,
                "Using cache: {}\nUsing principal: {}",
                escaped(&stored),
                escaped(&client)
            )?;
            if self.arguments.from.is_none() {
                writeln!(terminal.out, "Authenticated to Kerberos v5")?;
            }
        }
        Ok(stored)
    }

    /// What the tickets are for: they are renewed in the background, and a command runs.
    fn go_on(
        &self,
        place: &TicketPlace,
        stored: &str,
        watched: Option<Watched>,
    ) -> Result<KinitExit, KinitFailure> {
        if let Some(watched) = watched {
            keeping::start(self.arguments, stored, watched)?;
        }
        if self.arguments.runs_something() {
            return Err(own_session::become_command(&self.arguments.command, place.name()));
        }
        Ok(KinitExit::Done)
    }
}
