//! Opens a requester's credential cache (rules S4, S9): below the requester's root and only a plain file of its
//! owner's. From then on the descriptor is used, never the name again.
//!
//! A DIR collection is resolved here to one of its files. If the library opened the members by name, it would follow
//! their links in the host's file system.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::{FileStat, SFlag, fstat};

use super::cache_name::CacheName;
use super::file_system::{self, Server, kind};
use super::limits::CACHE_BYTES;
use super::path::{PathObstacle, Walker};
use crate::config::Caches;
use crate::event::{Cause, Failure, Stage};
use crate::sys::files::{locate_below, locate_entry, read_located};

/// Longest `primary` file of a DIR collection.
const PRIMARY_LIMIT: usize = 256;

/// A cache that may be used.
#[derive(Debug)]
pub(crate) enum OpenedCache {
    /// A regular file, located but not yet read.
    File(OwnedFd),
    /// A KCM or KEYRING cache, which the library finds by its name alone.
    Named(CacheName),
}

/// Whose caches are opened, and where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CachePolicy<'a> {
    /// The directory that stands for `/`.
    pub root: BorrowedFd<'a>,
    /// The uid that they must belong to.
    pub owner: u32,
    /// The settings for the file systems that they may be on.
    pub allowed: &'a Caches,
}

impl CachePolicy<'_> {
    /// Locates the cache `name`; in a directory collection, the primary one.
    ///
    /// # Errors
    /// [`Failure`] of the stage `Credentials`: there is no such cache, or why it may not be used.
    pub(crate) fn open(&self, name: &CacheName) -> Result<OpenedCache, Failure> {
        match name {
            CacheName::File(path) | CacheName::DirMember(path) => {
                self.file(name, path).map(OpenedCache::File)
            }
            CacheName::Dir(directory) => {
                let located = self.directory(name, directory)?;
                let primary = self.primary(name, located.as_fd())?;
                let (member, status) = locate_in(located.as_fd(), Path::new(&primary))
                    .map_err(|errno| not_found(name, errno))?;
                self.usable(name, member, &status).map(OpenedCache::File)
            }
            CacheName::Kcm(_) | CacheName::Keyring { .. } => Ok(OpenedCache::Named(name.clone())),
        }
    }

    fn file(&self, name: &CacheName, path: &Path) -> Result<OwnedFd, Failure> {
        let (located, status) = self.locate(name, path)?;
        if kind(&status) == SFlag::S_IFLNK {
            return match status.st_uid == self.owner {
                true => self.linked_file(name, path),
                false => Err(unusable(name, "is a link of somebody else's")),
            };
        }
        self.usable(name, located, &status)
    }

    /// A name that is a link of its owner's, as batch systems create them. It must lead to a file of the same owner.
    fn linked_file(&self, name: &CacheName, path: &Path) -> Result<OwnedFd, Failure> {
        let walker = Walker { root: self.root, owner: self.owner, allowed: self.allowed };
        let (located, status) = walker.walk(path).map_err(|obstacle| match obstacle {
            PathObstacle::Errno(Errno::ENOENT | Errno::ENOTDIR) => {
                let detail = format_args!("{}: there is no such cache, the link leads nowhere", name.shown());
                Failure::new(Stage::Credentials, Cause::NoTicket, detail)
            }
            PathObstacle::Errno(errno) => not_found(name, errno),
            PathObstacle::Offence(offence) => unusable(name, offence),
        })?;
        if let Some(offence) =
            self.file_system_offence(located.as_fd()).map_err(|errno| not_found(name, errno))?
        {
            return Err(unusable(name, offence));
        }
        file_offence(&status, self.owner).map_or(Ok(located), |offence| {
            let detail = format_args!("{} is a link to what {offence}", name.shown());
            Err(Failure::new(Stage::Credentials, Cause::BadCache, detail))
        })
    }

    fn usable(&self, name: &CacheName, located: OwnedFd, status: &FileStat) -> Result<OwnedFd, Failure> {
        file_offence(status, self.owner).map_or(Ok(located), |offence| Err(unusable(name, offence)))
    }

    /// Locates the directory of a collection.
    pub(super) fn directory(&self, name: &CacheName, path: &Path) -> Result<OwnedFd, Failure> {
        let (located, status) = self.locate(name, path)?;
        directory_offence(&status, self.owner).map_or(Ok(located), |offence| Err(unusable(name, offence)))
    }

    /// Name of the cache in the collection's file `primary`, or `tkt` without such a file (krb5 ccache types, "DIR").
    pub(super) fn primary(&self, name: &CacheName, directory: BorrowedFd<'_>) -> Result<String, Failure> {
        let malformed = || unusable(name, "has a malformed file primary");
        let (primary, status) = match locate_in(directory, Path::new("primary")) {
            Err(Errno::ENOENT) => return Ok("tkt".to_owned()),
            located => located.map_err(|errno| not_found(name, errno))?,
        };
        let primary = self.usable(name, primary, &status)?;
        let content = read_located(primary.as_fd(), PRIMARY_LIMIT).map_err(|errno| not_found(name, errno))?;
        let member = std::str::from_utf8(&content).map_err(|_| malformed())?.trim_end_matches('\n');
        if is_member(member) { Ok(member.to_owned()) } else { Err(malformed()) }
    }

    /// Locates a file without opening it, on a file system that may be used (rule S8).
    fn locate(&self, name: &CacheName, path: &Path) -> Result<(OwnedFd, FileStat), Failure> {
        let failed = |errno| not_found(name, errno);
        let located = locate_below(self.root, path).map_err(failed)?;
        if let Some(offence) = self.file_system_offence(located.as_fd()).map_err(failed)? {
            return Err(unusable(name, offence));
        }
        let status = fstat(&located).map_err(failed)?;
        Ok((located, status))
    }

    /// Reads a byte of a file on a FUSE or network file system. If that blocks, it blocks here, where the caller is
    /// watched.
    pub(super) fn touch(&self, located: BorrowedFd<'_>) {
        let Caches { allow_fuse, allow_network, .. } = *self.allowed;
        if (allow_fuse || allow_network)
            && file_system::serving(located).is_ok_and(|server| server != Server::Kernel)
        {
            // The reader will report any error.
            let _ = read_located(located, 0);
        }
    }

    /// Why the file system of an entry may not be used.
    pub(super) fn file_system_offence(&self, located: BorrowedFd<'_>) -> Result<Option<&'static str>, Errno> {
        Ok(file_system::offence(file_system::serving(located)?, self.allowed))
    }
}

/// Locates an entry of a directory on the same file system; a link is not followed.
pub(super) fn locate_in(directory: BorrowedFd<'_>, name: &Path) -> Result<(OwnedFd, FileStat), Errno> {
    let located = locate_entry(directory, name)?;
    let status = fstat(&located)?;
    Ok((located, status))
}

/// Whether a name in a directory collection is the name of a cache.
pub(super) fn is_member(name: &str) -> bool {
    name.starts_with("tkt") && !name.contains('/')
}

/// Why a file cannot be a cache of `owner`'s (rule S9).
pub(super) fn file_offence(status: &FileStat, owner: u32) -> Option<&'static str> {
    if kind(status) != SFlag::S_IFREG {
        Some("is not a regular file")
    } else if status.st_nlink > 1 {
        Some("has several names (hard links)")
    } else if status.st_size > CACHE_BYTES.into() {
        Some("is too large")
    } else {
        ownership_offence(status, owner)
    }
}

/// Why a directory cannot be a collection of `owner`'s.
pub(super) fn directory_offence(status: &FileStat, owner: u32) -> Option<&'static str> {
    if kind(status) != SFlag::S_IFDIR { Some("is not a directory") } else { ownership_offence(status, owner) }
}

fn ownership_offence(status: &FileStat, owner: u32) -> Option<&'static str> {
    if status.st_uid != owner {
        Some("belongs to somebody else")
    } else if status.st_mode & 0o022 != 0 {
        Some("is writable by others")
    } else {
        None
    }
}

pub(super) fn not_found(name: &CacheName, errno: Errno) -> Failure {
    let name = name.shown();
    match errno {
        Errno::ENOENT | Errno::ENOTDIR => {
            Failure::new(Stage::Credentials, Cause::NoTicket, format_args!("{name}: there is no such cache"))
        }
        errno => Failure::new(Stage::Credentials, Cause::BadCache, format_args!("{name}: {}", errno.desc())),
    }
}

pub(super) fn unusable(name: &CacheName, offence: &str) -> Failure {
    Failure::new(Stage::Credentials, Cause::BadCache, format_args!("{} {offence}", name.shown()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::creds::test_root::TestRoot;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, lchown};

    impl TestRoot {
        fn open(&self, name: &str) -> Result<OpenedCache, Failure> {
            let uid = nix::unistd::getuid().as_raw();
            let policy = CachePolicy { root: self.root.as_fd(), owner: uid, allowed: &Caches::default() };
            policy.open(&name.parse().unwrap())
        }

        fn cause(&self, name: &str) -> Cause {
            self.open(name).unwrap_err().cause
        }
    }

    #[test]
    fn a_plain_file_of_the_owner_is_opened_below_the_root() {
        let place = TestRoot::with(&["cc"]);
        place.write("cc/krb5cc", 0o600);
        assert!(matches!(place.open("FILE:/cc/krb5cc"), Ok(OpenedCache::File(_))));
        assert_eq!(place.cause("FILE:/cc/other"), Cause::NoTicket);
    }

    #[test]
    fn links_fifos_directories_and_writable_or_doubly_named_files_are_refused() {
        let place = TestRoot::with(&["cc"]);
        let path = |name: &str| place.at(name);
        place.write("good", 0o600);
        place.write("loose", 0o620);
        place.link("link", "loose");
        place.write("twice", 0o600);
        fs::hard_link(path("twice"), path("twin")).unwrap();
        nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        for name in ["loose", "link", "twice", "fifo", "cc"] {
            assert_eq!(place.cause(&format!("FILE:/{name}")), Cause::BadCache, "{name}");
        }
    }

    #[test]
    fn a_link_to_an_own_file_is_followed_below_the_root_and_no_other() {
        let place = TestRoot::with(&["cc"]);
        place.write("cc/good", 0o600);
        let link = |name: &str, target: &str| place.link(name, target);
        link("link", "cc/good");
        link("absolute", "/cc/good");
        link("nowhere", "cc/none");
        link("directory", "cc");
        link("system", "/../../etc/passwd");
        link("itself", "itself");
        link("others", "cc/good");
        lchown(place.at("others"), Some(54_321), None).unwrap();
        for name in ["link", "absolute"] {
            assert!(matches!(place.open(&format!("FILE:/{name}")), Ok(OpenedCache::File(_))), "{name}");
        }
        for (name, cause) in [
            ("nowhere", Cause::NoTicket),
            ("directory", Cause::BadCache),
            ("system", Cause::NoTicket),
            ("itself", Cause::BadCache),
            ("others", Cause::BadCache),
        ] {
            assert_eq!(place.cause(&format!("FILE:/{name}")), cause, "{name}");
        }
    }

    #[test]
    fn a_link_inside_leads_no_further_than_the_root() {
        let place = TestRoot::with(&["cc"]);
        place.link("out", "/../../../../etc");
        assert_eq!(place.cause("FILE:/out/passwd"), Cause::NoTicket);
    }

    #[test]
    fn a_collection_is_resolved_to_its_primary_file() {
        let place = TestRoot::with(&["cc"]);
        let primary = |text: &str| {
            fs::write(place.at("cc/primary"), text).unwrap();
        };
        fs::set_permissions(place.at("cc"), Permissions::from_mode(0o700)).unwrap();
        place.write("cc/tkt", 0o600);
        assert!(place.open("DIR:/cc").is_ok());
        primary("tktAb\n");
        assert_eq!(place.cause("DIR:/cc"), Cause::NoTicket);
        place.write("cc/tktAb", 0o600);
        assert!(place.open("DIR:/cc").is_ok());
        primary("tkt/../../x\n");
        assert_eq!(place.cause("DIR:/cc"), Cause::BadCache);
    }
}
