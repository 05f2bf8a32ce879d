//! `lgss_sk`: makes, shows, changes, loads, removes and replaces Lustre's shared keys. A drop-in for Lustre's tool of
//! that name.
//!
//! Called by src/bin/lgss_sk.rs. Invariant: no output has a byte of a secret, unless `--show-secret` asks for it; a
//! failure leaves every file as it was, but for `--load --type client` (load.rs); and whether standard error has a reader
//! changes nothing of what is done.
#![forbid(unsafe_code)]

mod arguments;
mod exit;
mod failure;
mod file_trouble;
mod files;
#[cfg(feature = "test-programs")]
pub mod fuzz;
mod list;
mod load;
mod make;
mod modify;
mod mounted;
mod place;
mod prime;
mod prime_search;
mod remark;
mod remove;
mod rotate;
mod secrets;
mod show;
mod values;

use std::ffi::OsString;
use std::io::ErrorKind;

use clap::Parser;

pub use arguments::record;
use arguments::{Operation, SkArguments, SkCommand, without_operation};
pub use exit::SkExit;
use failure::SkFailure;
use remark::remark;

use crate::sys::jail;
use crate::terminal::Terminal;
use crate::terminal::completion::Completion;
use crate::terminal::remark::{Answered, answer, complain};

const COMPLETION: Completion = Completion { program: "lgss_sk", variable: "LGSS_SK_COMPLETE", record };

/// Does what `arguments` say, the first of which is the program's name.
pub fn run(arguments: impl IntoIterator<Item = OsString>, terminal: &mut Terminal<'_>) -> SkExit {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if COMPLETION.answered(&arguments) {
        return SkExit::Done;
    }
    let done = match SkArguments::try_parse_from(arguments) {
        Ok(arguments) => obey(&arguments, terminal),
        Err(error) => return say(&without_operation(error), terminal),
    };
    match done {
        Ok(()) => SkExit::Done,
        // Nobody wants the rest of the result.
        Err(SkFailure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => SkExit::Done,
        Err(SkFailure::Usage(error)) => say(&error, terminal),
        Err(failure) => {
            complain(COMPLETION.program, terminal.err, &failure, failure.remedy());
            SkExit::Failed
        }
    }
}

/// Help and version, or what is wrong with the command line.
fn say(error: &clap::Error, terminal: &mut Terminal<'_>) -> SkExit {
    match answer(error, terminal) {
        Answered::Help => SkExit::Done,
        Answered::Misuse => SkExit::Failed,
    }
}

fn obey(arguments: &SkArguments, terminal: &mut Terminal<'_>) -> Result<(), SkFailure> {
    jail::leave_no_core().map_err(SkFailure::Core)?;
    match &arguments.command {
        Some(SkCommand::List(list)) => return list::run(list, terminal),
        Some(SkCommand::Rotate(rotate)) => return rotate::run(&rotate.files, terminal),
        None => {}
    }
    let operation = arguments.operation()?;
    for option in arguments.without_effect(&operation) {
        remark(terminal.err, format_args!("--{option} has no effect with --{}", operation.option()));
    }
    match operation {
        Operation::Load(file) => load::run(file, arguments, terminal),
        Operation::Remove(file) => remove::run(file, arguments, terminal),
        Operation::Read(file) => show::run(file, arguments, terminal),
        Operation::Modify(file) => modify::run(file, arguments, terminal),
        Operation::Write(file) => make::run(file, arguments, terminal),
    }
}
