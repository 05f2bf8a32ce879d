//! The kernel's key service, and what it has to confine processes by.

use std::ffi::CStr;
use std::path::Path;

use nix::errno::Errno;

use super::finding::Finding;
use crate::sys::{file_rules, keyctl};

/// Checks whether there is a key service, whether this process may use it, and whether the upcall can have its filters.
pub(crate) fn check() -> Finding {
    if !Path::new("/proc/keys").exists() {
        let remedy = "use a kernel with CONFIG_KEYS and CONFIG_PROC_FS; in a container, mount /proc";
        return Finding::error("kernel", "there is no /proc/keys: no key service", remedy);
    }
    match forbidden_call() {
        None if !Path::new("/proc/sys/kernel/seccomp").exists() => Finding::error(
            "kernel",
            "has no filters of system calls (seccomp), without which no negotiation starts",
            "on the host, use a kernel with CONFIG_SECCOMP_FILTER",
        ),
        None => Finding::ok("kernel", "has keys, and programs may use them"),
        Some((call, errno)) => Finding::error(
            "kernel",
            format_args!("{call} is not allowed here: {}: no program here gets a context", errno.desc()),
            "in a container, allow keyctl, add_key and request_key in its seccomp profile; upcalls run on the host: check there, too",
        ),
    }
}

/// Reports how far files, ports and signals can be kept from a process (landlock(7)).
pub(crate) fn confinement() -> Finding {
    match file_rules::enforced_version() {
        0 => Finding::warning(
            "landlock",
            "this kernel has none: a fault in MIT Kerberos would reach all files that the user can open, and one in the \
             monitor all of root's",
            "on the host, use a kernel with CONFIG_SECURITY_LANDLOCK and landlock among the security modules (lsm=)",
        ),
        version @ ..6 => {
            let finding = "TCP ports are limited from version 4 on, signals and abstract sockets from 6 on";
            Finding::ok("landlock", format_args!("version {version}: {finding}"))
        }
        version => Finding::ok("landlock", format_args!("version {version}")),
    }
}

/// The first system call of the key service that fails as under a filter. Only this process's keyrings are changed.
fn forbidden_call() -> Option<(&'static str, Errno)> {
    const NAME: &CStr = c"lgss self-check";
    let forbidden = |errno: &Errno| matches!(errno, Errno::EPERM | Errno::ENOSYS | Errno::EACCES);
    let calls: [(&'static str, Result<i32, Errno>); 3] = [
        ("keyctl(2)", keyctl::keyring_id(keyctl::PROCESS_KEYRING)),
        ("add_key(2)", keyctl::add(c"user", NAME, b"x", keyctl::PROCESS_KEYRING)),
        ("request_key(2)", keyctl::find(c"user", NAME)),
    ];
    calls.into_iter().find_map(|(call, result)| result.err().filter(forbidden).map(|errno| (call, errno)))
}
