//! Where the processes of an upcall are accounted for: a cgroup for each owner below one of ours, so that an
//! administrator can see and limit what users' requests cost (rule S22). Only where the machine has cgroup v2 and root
//! may write there; everywhere else they stay where the kernel has started them.
//!
//! Launchers, and with them the workers that they become, are started there. No process is moved: for that the kernel
//! waits until every processor has passed through its scheduler, and meanwhile no process of the machine moves, starts
//! or ends; hundreds of monitors that moved at once on a busy machine kept each other waiting for longer than their
//! keys had.
//!
//! Called by the monitor, after the requester's release. Invariant: no failure here is one of the request's.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::log_budget::{MACHINE, Payer};
use crate::config::{Config, Limits};
use crate::identity::counted_owner::CountedOwner;

/// Where cgroup v2 is mounted: alone, or beside version 1.
const CGROUP_MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// A cgroup may be removed between its making and its use, by whoever of the same owner has ended just then.
const CGROUP_TRIES: usize = 16;

/// The cgroup of an owner, for those of its processes that are started in it.
#[derive(Debug)]
pub(super) struct OwnerCgroup<'c> {
    limits: &'c Limits,
    /// Of all owners.
    all: PathBuf,
    own: PathBuf,
    payer: Payer,
}

impl<'c> OwnerCgroup<'c> {
    /// `None` where that is not wanted or there is no cgroup v2.
    pub(super) fn of(config: &'c Config, payer: Payer) -> Option<Self> {
        let limits = &config.limits;
        let all = CgroupMount::find().filter(|_| !limits.cgroup.is_empty())?.path.join(&limits.cgroup);
        let own = all.join(payer.file_name());
        Some(Self { limits, all, own, payer })
    }

    /// Runs `start` with the cgroup's directory; `None` if nothing can be started there.
    pub(super) fn start_in<T>(&self, start: impl Fn(BorrowedFd<'_>) -> Result<T, Errno>) -> Option<T> {
        for _ in 0..CGROUP_TRIES {
            let opened = match self.open() {
                Ok(opened) => opened,
                // It has been removed meanwhile.
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

    /// Makes it, with its limit, if need be. What is right already is not written: most writes take the one lock that
    /// all cgroups have.
    fn open(&self) -> io::Result<File> {
        make(&self.all)?;
        make(&self.own)?;
        let limit = self.own.join("memory.max");
        if !limit.exists() {
            // Without this controller there is nobody to limit memory; each owner is still told apart.
            let _ = fs::write(self.all.join("cgroup.subtree_control"), "+memory");
        }
        // The node's requests are everybody's, and as many as targets.
        if self.limits.owner_memory > 0 && self.payer != Payer::Machine {
            let bytes = (u64::from(self.limits.owner_memory) * 1024 * 1024).to_string();
            if fs::read_to_string(&limit).is_ok_and(|now| now.trim_end() != bytes) {
                let _ = fs::write(&limit, bytes);
                // A limit that swap space gets round is none.
                let _ = fs::write(self.own.join("memory.swap.max"), "0");
            }
        }
        File::open(&self.own)
    }

    /// Removes the cgroup if nobody is in it.
    pub(super) fn leave(self) {
        let _ = fs::remove_dir(&self.own);
    }
}

/// Removes cgroups of owners that nobody is in.
pub(super) fn sweep(config: &Config) {
    if let Some(mount) = CgroupMount::find().filter(|_| !config.limits.cgroup.is_empty()) {
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
    name == MACHINE || CountedOwner::named(name).is_some()
}

fn make(directory: &Path) -> io::Result<()> {
    match fs::create_dir(directory) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// A mounted hierarchy of version 2.
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
