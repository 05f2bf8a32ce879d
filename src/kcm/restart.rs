//! A restart without loss: the keeper executes the program's present file, and hands on the socket and all doors, as a service
//! manager would.

use std::ffi::{CStr, CString, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::keeper::Keeper;
use super::lines::Weight;
use super::manager;
use super::options::RESTARTED;
use crate::sys::exec::{Execution, NotExecuted};
use crate::sys::files::open_trusted;
use crate::sys::kept_setuid::hand_on_setuid;

/// Does not return, unless the program cannot be executed; then everything is as before.
pub(super) fn run(mut keeper: Keeper) -> Keeper {
    let refused = |what: &dyn std::fmt::Display| format!("not restarted: {what}");
    let program = match open_trusted(&keeper.program_file, OFlag::O_PATH) {
        Ok(program) => program.into(),
        Err(untrusted) => {
            keeper.lines.write(Weight::Warning, &refused(&untrusted));
            return keeper;
        }
    };
    let prepared = words(&keeper).and_then(|words| hand_on_setuid().map(|()| words));
    match prepared {
        Ok((argv, environment)) => execute(keeper, program, &argv, &environment),
        Err(errno) => {
            keeper.lines.write(Weight::Warning, &refused(&errno));
            keeper
        }
    }
}

/// The command line and the environment.
fn words(keeper: &Keeper) -> Result<(Vec<CString>, Vec<CString>), Errno> {
    let word = |bytes: Vec<u8>| CString::new(bytes).map_err(|_| Errno::EINVAL);
    let own = [OsString::from("lgss_kcm")].into_iter().chain(keeper.options.words.iter().cloned());
    let argv = own.chain([RESTARTED.into()]).map(|text| word(text.into_vec()));
    let names = ["socket".to_owned()].into_iter().chain(keeper.doors.keys().map(|&uid| manager::name(uid)));
    let names: Vec<String> = names.collect();
    let manager = std::env::var("NOTIFY_SOCKET").ok().map(|socket| format!("NOTIFY_SOCKET={socket}"));
    let variables = [
        format!("LISTEN_PID={}", std::process::id()),
        format!("LISTEN_FDS={}", names.len()),
        format!("LISTEN_FDNAMES={}", names.join(":")),
    ];
    let environment = variables.into_iter().chain(manager).map(|text| word(text.into_bytes()));
    Ok((argv.collect::<Result<_, _>>()?, environment.collect::<Result<_, _>>()?))
}

fn execute(keeper: Keeper, program: OwnedFd, argv: &[CString], environment: &[CString]) -> ! {
    let descriptors = std::iter::once(OwnedFd::from(keeper.listener)).chain(keeper.doors.into_values());
    let argv: Vec<&CStr> = argv.iter().map(CString::as_c_str).collect();
    let environment: Vec<&CStr> = environment.iter().map(CString::as_c_str).collect();
    let execution = Execution {
        program,
        name: "lgss_kcm",
        argv: &argv,
        environment: &environment,
        descriptors: descriptors.collect(),
    };
    // By then there is nothing left to go on with; a service manager sees the status.
    execution.run([], |[], _: &str, _: NotExecuted| {})
}
