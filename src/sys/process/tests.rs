use super::{Pid, WaitingParent, end, is_runnable, parent_of, reset_inherited};
use crate::sys::call_filter::{CallAnswer, CallRules};
use crate::sys::fork::{ForkResult, REACHED, fork};
use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// A parent that answers to each line, and its child.
fn parent_and_child() -> (Child, BufReader<ChildStdout>, Pid) {
    let mut shell = Command::new("sh");
    shell.args(["-c", "sleep 600 >/dev/null & echo $!; while read line; do echo $line; done"]);
    let mut parent = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut said, mut line) = (BufReader::new(parent.stdout.take().unwrap()), String::new());
    said.read_line(&mut line).unwrap();
    (parent, said, Pid::from_raw(line.trim().parse().unwrap()))
}

#[test]
fn a_parent_without_a_descriptor_is_ended_by_its_number_and_nobody_else_is() {
    let (mut parent, mut said, child) = parent_and_child();
    let pid = Pid::from_raw(parent.id().cast_signed());
    assert_eq!((parent_of(child), parent_of(Pid::from_raw(i32::MAX))), (Some(pid), None));
    // One that is not the parent.
    let (mut other, _, others_child) = parent_and_child();
    WaitingParent { pid, child: others_child, opened: None }.end();
    // A process to which SIGKILL has been sent says nothing more.
    parent.stdin.as_mut().unwrap().write_all(b"alive\n").unwrap();
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "alive\n");
    WaitingParent { pid, child, opened: None }.end();
    assert_eq!(parent.wait().unwrap().signal(), Some(libc::SIGKILL));
    other.kill().and_then(|()| other.wait()).unwrap();
    for child in [child, others_child] {
        nix::sys::signal::kill(child, nix::sys::signal::Signal::SIGKILL).unwrap();
    }
}

fn stays(child: &mut Child, state: fn(Pid) -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    let pid = Pid::from_raw(child.id().cast_signed());
    let mut in_a_row = 0;
    while in_a_row < 5 && Instant::now() < deadline {
        in_a_row = if state(pid) { in_a_row + 1 } else { 0 };
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().and_then(|()| child.wait()).is_ok() && in_a_row == 5
}

#[test]
fn a_process_that_runs_is_told_from_one_that_sleeps() {
    let spins = Command::new("sh").args(["-c", "while :; do :; done"]).spawn();
    assert!(stays(&mut spins.unwrap(), is_runnable));
    assert!(stays(&mut Command::new("sleep").arg("60").spawn().unwrap(), |pid| !is_runnable(pid)));
    assert!(!is_runnable(Pid::from_raw(i32::MAX)));
}

/// Injected failures meet calls that cannot fail, too.
#[test]
fn no_failing_call_ends_a_process_that_resets_what_it_has_inherited() {
    let calls = [libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_umask, libc::SYS_chdir];
    let filter = CallRules::default().calls(&calls);
    let filter = filter.compile(CallAnswer::Refuse(Errno::EIO), CallAnswer::Allow).unwrap();
    let child = match fork().unwrap() {
        ForkResult::Child => {
            let refused = nix::sys::prctl::set_no_new_privs().is_ok() && filter.enforce().is_ok();
            reset_inherited();
            end(if refused { REACHED } else { 1 })
        }
        ForkResult::Parent { child } => child,
    };
    assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, REACHED)));
}
