//! The cgroups of an upcall's processes: one for each owner below one of ours, so that an administrator can see and
//! limit what users' requests cost (rule S22). Only where the machine has cgroup v2 and root may write there;
//! everywhere else processes stay where the kernel has started them.
//!
//! Launchers are started in the cgroup, and with them the workers that they become. No process is moved: to move one,
//! the kernel waits until every processor has passed through its scheduler, and meanwhile no process of the machine
//! moves, starts or ends. Hundreds of monitors that moved at once on a busy machine delayed each other beyond the time
//! of their keys.
//!
//! Called by the monitor after the requester's release. Invariant: no failure here fails a request.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::log_budget::{MACHINE_FILE, Payer};
use crate::config::{Config, Limits};
use crate::identity::counted_owner::CountedOwner;

/// Where cgroup v2 is mounted: alone, or beside version 1.
const CGROUP_MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// Most tries: another monitor of the same owner may remove the cgroup between its making and its use.
const CGROUP_TRIES: usize = 16;

/// The cgroup of one owner.
#[derive(Debug)]
pub(super) struct OwnerCgroup<'c> {
    limits: &'c Limits,
    /// The cgroup above those of all owners.
    all: PathBuf,
    own: PathBuf,
    payer: Payer,
}

impl<'c> OwnerCgroup<'c> {
    /// `None` if the settings name no cgroup or the machine has no cgroup v2.
    pub(super) fn of(config: &'c Config, payer: Payer) -> Option<Self> {
        let limits = &config.limits;
        let all = directory(config)?;
        let own = all.join(payer.file_name());
        Some(Self { limits, all, own, payer })
    }

    /// Runs `start` with the cgroup's directory; `None` if nothing can be started there.
    pub(super) fn start_in<T>(&self, start: impl Fn(BorrowedFd<'_>) -> Result<T, Errno>) -> Option<T> {
        for _ in 0..CGROUP_TRIES {
            let opened = match self.open() {
                Ok(opened) => opened,
                // Removed in the meantime.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(_) => return None,
            };
            match start(opened.as_fd()) {
                Ok(started) => return Some(started),
                Err(Errno::ENODEV | Errno::ENOENT) => {}
                Err(_) => return None,
            }
        }
        None
    }

    /// Opens the cgroup, and makes it and sets its limit if necessary. A right limit is not written again: most writes
    /// take the one lock that all cgroups share.
    fn open(&self) -> io::Result<File> {
        make(&self.all)?;
        make(&self.own)?;
        let limit = self.own.join("memory.max");
        if !limit.exists() {
            // If this fails, memory is not limited, but owners are still told apart.
            let _ = fs::write(self.all.join("cgroup.subtree_control"), "+memory");
        }
        // Requests for the machine serve all users, and there are as many as targets.
        if self.limits.owner_memory > 0 && self.payer != Payer::Machine {
            let bytes = (u64::from(self.limits.owner_memory) * 1024 * 1024).to_string();
            if fs::read_to_string(&limit).is_ok_and(|now| now.trim_end() != bytes) {
                let _ = fs::write(&limit, bytes);
                // With swap space the limit would have no effect.
                let _ = fs::write(self.own.join("memory.swap.max"), "0");
            }
        }
        File::open(&self.own)
    }

    /// Removes the cgroup if it is empty.
    pub(super) fn leave(self) {
        let _ = fs::remove_dir(&self.own);
    }
}

/// The cgroup above those of all owners; `None` if the settings name none or the machine has no cgroup v2.
pub(super) fn directory(config: &Config) -> Option<PathBuf> {
    let name = &config.limits.cgroup;
    Some(CgroupMount::find().filter(|_| !name.is_empty())?.path.join(name))
}

/// Removes empty cgroups of owners.
pub(super) fn sweep(config: &Config) {
    directory(config).inspect(|all| remove_empty(all));
}

/// Only those of owners: the setting may name a cgroup that others use as well.
fn remove_empty(all: &Path) {
    let Ok(entries) = fs::read_dir(all) else { return };
    for entry in entries.filter_map(Result::ok) {
        if entry.file_name().to_str().is_some_and(is_owners) {
            // EBUSY if it is not empty.
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// Whether the name is one that [`super::log_budget::Payer::file_name`] makes.
fn is_owners(name: &str) -> bool {
    name == MACHINE_FILE || CountedOwner::named(name).is_some()
}

fn make(directory: &Path) -> io::Result<()> {
    match fs::create_dir(directory) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// A mounted cgroup hierarchy of version 2.
struct CgroupMount {
    path: PathBuf,
}

impl CgroupMount {
    fn find() -> Option<Self> {
        let is_version_2 = |path: &&&str| Path::new(path).join("cgroup.controllers").exists();
        CGROUP_MOUNTS.iter().find(is_version_2).map(|path| Self { path: path.into() })
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
