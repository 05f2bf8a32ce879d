//! Completion of a command line by the shell that somebody types in. The shell starts the program with a variable set; with no
//! words it gets the function that does so.

use std::ffi::OsString;

use clap::Command;
use clap_complete::CompleteEnv;

/// A program that completes its command line.
pub(crate) struct Completion {
    /// Its name, by which it is found wherever the program that made the function was.
    pub(crate) program: &'static str,
    /// Its value names the shell.
    pub(crate) variable: &'static str,
    /// What there is to complete.
    pub(crate) record: fn() -> Command,
}

impl Completion {
    /// Answers a shell; false if there is none.
    pub(crate) fn answered(&self, arguments: &[OsString]) -> bool {
        if std::env::var_os(self.variable).is_none() {
            return false;
        }
        let directory = std::env::current_dir().ok();
        let shell = CompleteEnv::with_factory(self.record)
            .var(self.variable)
            .bin(self.program)
            .completer(self.program);
        // Errors are not shown: they would only disturb somebody who is typing.
        shell.try_complete(arguments.iter().cloned(), directory.as_deref()).unwrap_or(true)
    }
}
