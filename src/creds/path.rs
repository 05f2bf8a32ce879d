//! Walks a path below a requester's root one name at a time, so that every link and every file system on the way is
//! checked before it is entered (rules S4, S8, S9).
//!
//! Used where openat2(2) would follow blindly: for home directories, which may be on network file systems, and for
//! caches that are links.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2, readlinkat};
use nix::sys::stat::{FileStat, SFlag, fstat};

use super::file_system::{self, Server, kind};
use crate::config::Caches;
use crate::sys::files::lossy_text;

/// Most symbolic links in a path (path_resolution(7)).
const SYMLINKS_LIMIT: usize = 40;

/// Why a path leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PathObstacle {
    /// The kernel's error.
    Errno(Errno),
    /// A part of it may not be entered, for this reason.
    Offence(&'static str),
}

impl From<Errno> for PathObstacle {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

/// For whom a path is walked, and what may be entered.
#[derive(Clone, Copy)]
pub(super) struct Walker<'a> {
    /// The directory that stands for `/`.
    pub(super) root: BorrowedFd<'a>,
    /// Only links of this user and of root are followed.
    pub(super) owner: u32,
    /// The settings for the file systems that may be entered.
    pub(super) allowed: &'a Caches,
}

impl Walker<'_> {
    /// Follows the path, including a link at its end; returns the file, opened with O_PATH, and its status.
    pub(super) fn walk(self, path: &Path) -> Result<(OwnedFd, FileStat), PathObstacle> {
        let root = self.root.try_clone_to_owned().map_err(|_| Errno::EMFILE)?;
        let mut mount = mount_of(root.as_fd());
        // Directories entered so far, the root first.
        let mut way = vec![root];
        let mut ahead = names(path);
        let mut links = 0;
        while let Some(name) = ahead.pop_front() {
            if name == ".." {
                way.truncate(way.len().saturating_sub(1).max(1));
                mount = way.last().and_then(|directory| mount_of(directory.as_fd()));
                continue;
            }
            let directory = way.last().ok_or(Errno::ENOENT)?;
            let found = locate(directory.as_fd(), Path::new(&name))?;
            let now_in = mount_of(found.as_fd());
            if now_in.is_none() || now_in != mount {
                self.may_enter(found.as_fd(), now_in)?;
            }
            let status = fstat(&found)?;
            if kind(&status) == SFlag::S_IFLNK {
                links += 1;
                if links > SYMLINKS_LIMIT {
                    return Err(Errno::ELOOP.into());
                }
                if ![0, self.owner].contains(&status.st_uid) {
                    return Err(PathObstacle::Offence("leads over a link of somebody else's"));
                }
                let target = readlinkat(&found, "")?;
                let target = Path::new(&target);
                if target.is_absolute() {
                    way.truncate(1);
                    mount = way.last().and_then(|root| mount_of(root.as_fd()));
                }
                for name in names(target).into_iter().rev() {
                    ahead.push_front(name);
                }
            } else {
                mount = now_in;
                way.push(found);
            }
        }
        let found = way.pop().ok_or(Errno::ENOENT)?;
        let status = fstat(&found)?;
        Ok((found, status))
    }

    /// Whether another file system may be entered. Asking it for its type could hang, so the table of mounts is read.
    fn may_enter(self, found: BorrowedFd<'_>, mount: Option<u64>) -> Result<(), PathObstacle> {
        let server = match mount.and_then(server_of_mount) {
            Some(server) => server,
            // It is mounted in the requester's namespace only.
            None => file_system::serving(found)?,
        };
        file_system::offence(server, self.allowed)
            .map_or(Ok(()), |offence| Err(PathObstacle::Offence(offence)))
    }
}

fn names(path: &Path) -> VecDeque<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    names.collect()
}

fn locate(directory: BorrowedFd<'_>, name: &Path) -> Result<OwnedFd, Errno> {
    let stay = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
        .resolve(stay | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(directory, name, how)
}

/// The id of the mount that an open file is on (proc_pid_fdinfo(5)), found without asking the file system.
fn mount_of(file: BorrowedFd<'_>) -> Option<u64> {
    let told = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).ok()?;
    told.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()
}

/// Who serves the mount with that id in our namespace (proc_pid_mountinfo(5)).
fn server_of_mount(mount: u64) -> Option<Server> {
    let mounts = lossy_text("/proc/self/mountinfo").ok()?;
    let number = mount.to_string();
    let line = mounts.lines().find(|line| line.split(' ').next() == Some(&number))?;
    let kind = line.split_once(" - ")?.1.split(' ').next()?;
    Some(file_system::of_type(kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::lchown;

    use crate::creds::test_root::TestRoot;

    fn root_with_a_file() -> TestRoot {
        let place = TestRoot::with(&["a/b"]);
        place.write("a/b/file", 0o600);
        place
    }

    impl TestRoot {
        fn walk(&self, path: &str) -> Result<u64, PathObstacle> {
            let owner = nix::unistd::getuid().as_raw();
            let walker = Walker { root: self.root.as_fd(), owner, allowed: &Caches::DEFAULT };
            walker.walk(Path::new(path)).map(|(_, status)| status.st_ino)
        }
    }

    #[test]
    fn links_lead_as_far_as_the_root_and_no_further() {
        let place = root_with_a_file();
        place.link("relative", "a/b");
        place.link("absolute", "/a/b");
        place.link("a/b/out", "../../../../a");
        place.link("loop", "loop");
        let file = place.walk("/a/b/file").unwrap();
        for path in ["/relative/file", "/absolute/file", "/a/b/out/b/file", "/../a/../a/b/file"] {
            assert_eq!(place.walk(path), Ok(file), "{path}");
        }
        assert_eq!(place.walk("/loop"), Err(Errno::ELOOP.into()));
        assert_eq!(place.walk("/a/c"), Err(Errno::ENOENT.into()));
        assert_eq!(place.walk("/a/b/file/x"), Err(Errno::ENOTDIR.into()));
    }

    #[test]
    fn links_of_others_are_not_followed() {
        let place = root_with_a_file();
        place.link("others", "a/b/file");
        lchown(place.at("others"), Some(54_321), None).unwrap();
        assert_eq!(place.walk("/others"), Err(PathObstacle::Offence("leads over a link of somebody else's")));
    }

    #[test]
    fn what_is_mounted_is_known_by_the_table_of_mounts() {
        let proc = File::open("/proc").unwrap();
        assert_eq!(mount_of(proc.as_fd()).and_then(server_of_mount), Some(Server::Kernel));
        assert_eq!(server_of_mount(u64::MAX), None);
    }
}
