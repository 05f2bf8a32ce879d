//! Where the processes of an upcall are accounted for: a cgroup for each owner below one of ours, so that an administrator can
//! see and limit what users' requests cost (rule S22). Only where the machine has cgroup v2 and root may write there; everywhere
//! else they stay where the kernel has started them.
//!
//! Called by the monitor, after the requester's release. Invariant: nothing waits for anything here, and no failure is one of
//! the request's.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::identity::owner::Owner;

/// Where cgroup v2 is mounted: alone, or beside version 1.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// The file of every cgroup of version 2 that lists and takes processes.
const PROCESSES: &str = "cgroup.procs";
/// A cgroup may be removed between its making and its use.
const TRIES: usize = 4;

/// A process that has moved to a cgroup of its owner's, until it leaves it.
#[derive(Debug)]
pub(super) struct Home {
    /// Where it came from.
    before: PathBuf,
    own: PathBuf,
}

impl Home {
    /// Moves the calling process, and with it the children that it will have; `None` where that is not wanted or cannot be.
    pub(super) fn enter(config: &Config, owner: &str) -> Option<Self> {
        Self::enter_below(&Mount::find()?, config, owner).ok()
    }

    fn enter_below(mount: &Mount, config: &Config, owner: &str) -> io::Result<Self> {
        let limits = &config.limits;
        if limits.cgroup.is_empty() {
            return Err(ErrorKind::NotFound.into());
        }
        let before = mount.of_this_process()?;
        let all = mount.path.join(&limits.cgroup);
        make(&all)?;
        // Without this controller there is nobody to limit memory; each owner is still told apart.
        let _ = fs::write(all.join("cgroup.subtree_control"), "+memory");
        let own = all.join(owner);
        for _ in 0..TRIES {
            make(&own)?;
            if limits.owner_memory > 0 {
                let bytes = u64::from(limits.owner_memory) * 1024 * 1024;
                let _ = fs::write(own.join("memory.max"), bytes.to_string());
                // A limit that swap space gets round is none.
                let _ = fs::write(own.join("memory.swap.max"), "0");
            }
            match fs::write(own.join(PROCESSES), "0") {
                Ok(()) => return Ok(Self { before, own }),
                Err(error)
                    if error.kind() != ErrorKind::NotFound && error.raw_os_error() != Some(libc::ENODEV) =>
                {
                    return Err(error);
                }
                Err(_) => {}
            }
        }
        Err(ErrorKind::NotFound.into())
    }

    /// Goes back, and removes the cgroup if nobody else is in it.
    pub(super) fn leave(self) {
        if fs::write(self.before.join(PROCESSES), "0").is_ok() {
            let _ = fs::remove_dir(&self.own);
        }
    }
}

/// Removes cgroups of owners that nobody is in.
pub(super) fn sweep(config: &Config) {
    if let Some(mount) = Mount::find().filter(|_| !config.limits.cgroup.is_empty()) {
        remove_empty(&mount.path.join(&config.limits.cgroup));
    }
}

/// Those of owners only: the setting may name a cgroup that others have theirs in.
fn remove_empty(all: &Path) {
    let Ok(entries) = fs::read_dir(all) else { return };
    for entry in entries.filter_map(Result::ok) {
        if entry.file_name().to_str().is_some_and(is_owners) {
            // EBUSY if somebody is in it.
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// As [`super::log_budget::Payer::file_name`] makes them.
fn is_owners(name: &str) -> bool {
    name == "machine" || Owner::named(name).is_some()
}

fn make(directory: &Path) -> io::Result<()> {
    match fs::create_dir(directory) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// A mounted hierarchy of version 2.
struct Mount {
    path: PathBuf,
}

impl Mount {
    fn find() -> Option<Self> {
        let is_version_2 = |path: &&&str| Path::new(path).join("cgroup.controllers").exists();
        MOUNTS.iter().find(is_version_2).map(|path| Self { path: path.into() })
    }

    /// `0::/path` (cgroups(7)).
    fn of_this_process(&self) -> io::Result<PathBuf> {
        let text = fs::read_to_string("/proc/self/cgroup")?;
        let path = text.lines().find_map(|line| line.strip_prefix("0::/"));
        path.map(|path| self.path.join(path)).ok_or_else(|| ErrorKind::NotFound.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_owners_is_not_removed() {
        let all = tempfile::tempdir().unwrap();
        for name in ["uid-1000", "ns-4026531837", "machine", "uid-x", "ns-", "sshd.service"] {
            fs::create_dir(all.path().join(name)).unwrap();
        }
        remove_empty(all.path());
        let mut left: Vec<_> =
            fs::read_dir(all.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["ns-", "sshd.service", "uid-x"]);
    }
}
