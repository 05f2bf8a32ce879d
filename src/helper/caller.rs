//! Who called, by the kernel's word alone: the ids of this process, which it has from the one that executed it.

use std::fs::metadata;
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, getgid, getgroups, getuid};

use crate::provider::Undone;

/// The caller's ids, as they were at the start.
#[derive(Debug)]
pub(super) struct Caller {
    uid: Uid,
    /// The primary group and the others.
    groups: Vec<Gid>,
    /// The group that the file of this program belongs to.
    group: Option<Gid>,
}

impl Caller {
    /// Looks at this process.
    ///
    /// # Errors
    /// Those of getgroups(2).
    pub(super) fn of_process() -> Result<Self, Errno> {
        // In a user namespace of its own it has neither rights nor a uid that means anything outside.
        let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        if !map.split_whitespace().eq(["0", "0", "4294967295"]) {
            return Err(Errno::EPERM);
        }
        let mut groups = getgroups()?;
        groups.push(getgid());
        // The effective group may be a program's, and says nothing about the user.
        let group = metadata("/proc/self/exe").ok().map(|file| Gid::from_raw(file.gid()));
        Ok(Self { uid: getuid(), groups, group })
    }

    /// The real uid.
    pub(super) fn uid(&self) -> Uid {
        self.uid
    }

    /// Whether they may call. The kernel has looked at the file's mode; this holds where somebody has loosened that.
    ///
    /// # Errors
    /// [`Undone`].
    pub(super) fn check(&self) -> Result<(), Undone> {
        if self.uid.is_root() {
            return Ok(());
        }
        match self.group {
            None => Err(Undone::plain("lgss_helper cannot see its own file below /proc")),
            Some(group) if group.as_raw() == 0 => Err(Undone::new(
                "lgss_helper belongs to group root, and is for a group of operators",
                "chgrp lgss it, then chmod 4750, which chgrp clears",
            )),
            Some(group) if self.groups.contains(&group) => Ok(()),
            Some(group) => Err(Undone::new(
                format!("you are neither root nor in group {group}"),
                "make sure that lgss_helper has mode 4750: only that group should be able to start it",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_root_or_in_the_files_group_which_is_not_roots() {
        let caller = |uid, groups: &[u32], group: Option<u32>| {
            let groups = groups.iter().copied().map(Gid::from_raw).collect();
            Caller { uid: Uid::from_raw(uid), groups, group: group.map(Gid::from_raw) }.check()
        };
        assert!(caller(0, &[], None).is_ok());
        assert!(caller(1000, &[1000, 900], Some(900)).is_ok());
        assert!(caller(1000, &[1000, 901], Some(900)).is_err());
        assert!(caller(1000, &[0], Some(0)).is_err());
        assert!(caller(1000, &[1000], None).is_err());
    }
}
