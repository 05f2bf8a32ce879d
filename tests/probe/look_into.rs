//! What a process of a user can try to learn from another process of the same user.

use crate::errno::outcome;
use libc::c_long;
use nix::errno::Errno;
use nix::sys::ptrace;
use nix::unistd::Pid;
use std::fs;
use std::process::{Command, Stdio};

/// Everything that the kernel's ptrace_may_access() guards, with the errno of each attempt; attaching comes last.
pub(crate) fn attempt_all(pid: i32) -> Vec<(String, i32)> {
    let mut attempts = Vec::new();
    let mut note = |name: &str, result: Result<(), Errno>| {
        attempts.push((name.to_owned(), result.map_or_else(|errno| errno as i32, |()| 0)));
    };
    let address = first_mapping(pid).unwrap_or(0x40_0000);
    for file in ["mem", "environ", "maps", "smaps", "auxv", "pagemap"] {
        note(file, outcome(fs::File::open(format!("/proc/{pid}/{file}"))));
    }
    for link in ["exe", "cwd", "root", "fd/0", "ns/net"] {
        note(link, outcome(fs::read_link(format!("/proc/{pid}/{link}"))));
    }
    note("fd", outcome(fs::read_dir(format!("/proc/{pid}/fd"))));
    note("map_files", outcome(fs::read_dir(format!("/proc/{pid}/map_files"))));
    note("process_vm_readv", read_memory(pid, address));
    for descriptor in [0, 3, 4] {
        note(&format!("pidfd_getfd {descriptor}"), take_descriptor(pid, descriptor));
    }
    note("ptrace", ptrace::attach(Pid::from_raw(pid)));
    attempts
}

/// The same with an unprotected process, which shows what is possible at all.
pub(crate) fn attempt_all_on_a_child() -> Vec<(String, i32)> {
    let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().expect("sleep");
    let attempts = attempt_all(child.id() as i32);
    child.kill().expect("our child");
    child.wait().expect("our child");
    attempts
}

fn first_mapping(pid: i32) -> Option<usize> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    usize::from_str_radix(maps.split('-').next()?, 16).ok()
}

fn read_memory(pid: i32, address: usize) -> Result<(), Errno> {
    let mut buffer = [0u8; 8];
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: buffer.len() };
    // SAFETY: the local buffer has this length; the kernel checks the remote address.
    Errno::result(unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) })
        .map(drop)
}

fn take_descriptor(pid: i32, descriptor: i32) -> Result<(), Errno> {
    // SAFETY: plain numbers; the new descriptors stay open until the probe ends.
    unsafe {
        let pidfd = Errno::result(libc::syscall(libc::SYS_pidfd_open, c_long::from(pid), 0 as c_long))?;
        Errno::result(libc::syscall(libc::SYS_pidfd_getfd, pidfd, c_long::from(descriptor), 0 as c_long))
            .map(drop)
    }
}
