//! Completion of the command line. A shell starts `lgss_kinit` with [`VARIABLE`] set; with no words it gets the function
//! that does so.

use std::ffi::OsString;

use clap_complete::CompleteEnv;

use super::arguments::record;

/// Its value names the shell.
const VARIABLE: &str = "LGSS_KINIT_COMPLETE";

/// Answers a shell; false if there is none.
pub(super) fn answered(arguments: &[OsString]) -> bool {
    if std::env::var_os(VARIABLE).is_none() {
        return false;
    }
    let directory = std::env::current_dir().ok();
    // Found by its name, wherever the program that made the function was.
    let shell = CompleteEnv::with_factory(record).var(VARIABLE).bin("lgss_kinit").completer("lgss_kinit");
    // Errors are not shown: they would only disturb somebody who is typing.
    shell.try_complete(arguments.iter().cloned(), directory.as_deref()).unwrap_or(true)
}
