//! Whether this process reaches the host's KCM daemon, the one that the upcall asks.
//!
//! The upcall compares the socket below the requester's root with the host's. An ordinary user cannot look there, but can
//! read the mounts of process 1, which show the same.

use std::fs;
use std::os::linux::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use crate::creds::default_cache::kcm_socket;
use crate::creds::search::Daemon;
use crate::sys::files::lossy_text;

/// Inode of the initial process-id namespace (linux/proc_ns.h).
const INITIAL: u64 = 0xeffffffc;

/// The daemon that this process reaches.
pub(super) fn daemon(krb5_config: &Path) -> Daemon {
    let Some(socket) = kcm_socket(krb5_config) else { return Daemon::Hosts };
    let initial = fs::metadata("/proc/self/ns/pid").is_ok_and(|namespace| namespace.st_ino() == INITIAL);
    let reached = if initial { is_mounted_alike(&socket) } else { is_from_outside(&socket) };
    if reached { Daemon::Hosts } else { Daemon::Another }
}

/// Whether we and the host's first process have the same mount at the socket's directory. If that cannot be read, we count
/// as a process of the host's.
fn is_mounted_alike(socket: &Path) -> bool {
    let Some(real) = socket.parent().and_then(|directory| fs::canonicalize(directory).ok()) else {
        return true;
    };
    let real = real.join(socket.file_name().unwrap_or_default());
    let at = |process: &str| {
        let mounts = lossy_text(format!("/proc/{process}/mountinfo")).ok()?;
        mounted_at(&mounts, &real)
    };
    match (at("1"), at("self")) {
        (Some(hosts), Some(ours)) => hosts == ours,
        _ => true,
    }
}

/// The mount that a path is on (proc_pid_mountinfo(5)): device, root within it, and where it is mounted.
pub(super) fn mounted_at(mounts: &str, path: &Path) -> Option<(String, String, PathBuf)> {
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(2).map(str::to_owned);
        Some((fields.next()?, fields.next()?, PathBuf::from(fields.next()?)))
    });
    // Of several mounts at one place the last is on top.
    mounts.filter(|(.., at)| path.starts_with(at)).max_by_key(|(.., at)| at.as_os_str().len())
}

/// Whether the daemon is outside of this container, which has its own process-id namespace: then its pid is 0 here.
fn is_from_outside(socket: &Path) -> bool {
    let connected = UnixStream::connect(socket).ok();
    connected
        .and_then(|connected| getsockopt(&connected, PeerCredentials).ok())
        .is_some_and(|peer| peer.pid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_mount_point_counts_and_of_equal_ones_the_last() {
        let mounts = "22 1 254:1 / / rw - ext4 /dev/vda rw\n23 22 0:20 / /run rw - tmpfs t rw\n\
                      24 23 0:21 /x /run/kcm rw - tmpfs t rw\n25 23 0:22 / /run/kcm rw - tmpfs t rw\n";
        let at = |path: &str| mounted_at(mounts, Path::new(path)).map(|(device, ..)| device);
        assert_eq!(at("/run/kcm/socket").as_deref(), Some("0:22"));
        assert_eq!(at("/run/kcmx").as_deref(), Some("0:20"));
        assert_eq!(at("/var").as_deref(), Some("254:1"));
    }

    #[test]
    fn a_process_of_the_hosts_reaches_the_hosts_daemon() {
        assert!(is_mounted_alike(Path::new("/var/run/.heim_org.h5l.kcm-socket")));
        assert!(!is_from_outside(Path::new("/nowhere/socket")));
    }
}
