//! The owner that a requester is counted for when negotiations are limited (rule S8): a user together with all its
//! subordinate uids, because any user may have a user namespace, and some have thousands of uids in it.
//!
//! Used by the monitor for slots, log lines and cgroups.

use std::fmt;
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use crate::sys::namespaces;

/// Deepest nesting of user namespaces (user_namespaces(7)).
const NAMESPACE_DEPTH: usize = 33;

/// An owner of negotiations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CountedOwner {
    /// A user: the requester, or the owner of the requester's namespace.
    User(u32),
    /// A whole namespace that root has made, by its inode: a container for whose uids no user outside is responsible.
    Namespace(u64),
    /// A user's whole range of subordinate uids, by its first one.
    Subordinates(u32),
}

impl CountedOwner {
    /// The owner of a requester with this uid in this user namespace.
    ///
    /// # Errors
    /// Those of open(2) and ioctl_ns(2).
    pub(crate) fn of(namespace: BorrowedFd<'_>, uid: u32) -> Result<Self, Errno> {
        let ours = open("/proc/self/ns/user", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        let ours = namespaces::identity(ours.as_fd())?;
        if namespaces::identity(namespace)? == ours {
            return Ok(Self::User(uid));
        }
        // The outermost one counts: root in a namespace can make others in the name of its other uids.
        let mut outermost = namespace.try_clone_to_owned().map_err(|_| Errno::EMFILE)?;
        for _ in 0..NAMESPACE_DEPTH {
            let parent = namespaces::parent(outermost.as_fd())?;
            if namespaces::identity(parent.as_fd())? == ours {
                return match namespaces::owner(outermost.as_fd())? {
                    0 => namespaces::identity(outermost.as_fd()).map(Self::Namespace),
                    owner => Ok(Self::User(owner)),
                };
            }
            outermost = parent;
        }
        Err(Errno::ELOOP)
    }

    /// The owner of a uid whose namespace is unknown, by the text of subuid(5).
    pub(crate) fn by_ranges(subuid: &str, uid: u32) -> Self {
        Self::range_of(subuid, uid).map_or(Self::User(uid), |range| Self::Subordinates(*range.start()))
    }

    /// The range of subordinate uids that this one is of, by the text of subuid(5).
    pub(crate) fn range_of(subuid: &str, uid: u32) -> Option<RangeInclusive<u32>> {
        let range = |line: &str| {
            let mut numbers = line.split(':').skip(1).map(|number| number.trim().parse::<u32>().ok());
            let (first, count) = (numbers.next()??, numbers.next()??);
            let after = count.checked_sub(1)?;
            Some(first..=first.saturating_add(after)).filter(|range| range.contains(&uid))
        };
        subuid.lines().find_map(range)
    }

    /// The owner whose [`CountedOwner::file_name`] this is.
    pub(crate) fn named(file_name: &str) -> Option<Self> {
        let (kind, number) = file_name.split_once('-')?;
        let owner = match kind {
            "uid" => Self::User(number.parse().ok()?),
            "ns" => Self::Namespace(number.parse().ok()?),
            "subuids" => Self::Subordinates(number.parse().ok()?),
            _ => return None,
        };
        (owner.file_name() == file_name).then_some(owner)
    }

    /// A file name that no other owner has.
    pub(crate) fn file_name(self) -> String {
        match self {
            Self::User(uid) => format!("uid-{uid}"),
            Self::Namespace(inode) => format!("ns-{inode}"),
            Self::Subordinates(first) => format!("subuids-{first}"),
        }
    }
}

impl fmt::Display for CountedOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(uid) => write!(f, "uid {uid}"),
            Self::Namespace(inode) => write!(f, "user namespace {inode}"),
            Self::Subordinates(first) => write!(f, "subordinate uids from {first}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_the_initial_namespace_everybody_is_its_own_owner() {
        let ours = std::fs::File::open("/proc/self/ns/user").unwrap();
        assert_eq!(CountedOwner::of(ours.as_fd(), 1000), Ok(CountedOwner::User(1000)));
        assert_eq!(CountedOwner::User(1000).file_name(), "uid-1000");
    }

    #[test]
    fn a_range_of_subordinate_uids_is_one_owner() {
        let subuid = "# x\nu:100000:65536\n1001:165536:65536\nv:x:1\nw:4294967295:9\n";
        for uid in [100_000, 130_000, 165_535] {
            assert_eq!(CountedOwner::by_ranges(subuid, uid), CountedOwner::Subordinates(100_000));
        }
        assert_eq!(CountedOwner::by_ranges(subuid, 165_536), CountedOwner::Subordinates(165_536));
        assert_eq!(CountedOwner::by_ranges(subuid, u32::MAX), CountedOwner::Subordinates(u32::MAX));
        for uid in [99_999, 231_072, 1001] {
            assert_eq!(CountedOwner::by_ranges(subuid, uid), CountedOwner::User(uid));
        }
        assert_eq!(CountedOwner::range_of(subuid, 130_000), Some(100_000..=165_535));
        assert_eq!(CountedOwner::range_of(subuid, u32::MAX), Some(u32::MAX..=u32::MAX));
        assert_eq!(CountedOwner::range_of("u:1:0\n", 1), None);
        assert_eq!(CountedOwner::by_ranges("", 100_000), CountedOwner::User(100_000));
    }
}
