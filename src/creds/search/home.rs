//! Finds `.k5identity` in a requester's home directory, as carefully as its caches.
//!
//! Opened below the requester's root, as the requester. Home directories on network file systems are skipped unless
//! caches there are allowed: a Lustre file system may wait for the very context that is being made.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::environment::Environment;
use crate::creds::limits::IDENTITIES_BYTES;
use crate::creds::open::{CachePolicy, file_offence};
use crate::creds::passwd;
use crate::creds::path::{PathObstacle, Walker};
use crate::creds::source::{Source, SourceHandle, SourceRole};
use crate::text::quoted;

const NAME: &str = ".k5identity";
/// The file of users in a requester's root.
const PASSWD: &str = "/etc/passwd";

/// The file, or why it is not read; `None` without the file or a home directory. `inside` is the requester's uid in
/// its own file of users.
pub(super) fn identities(policy: CachePolicy<'_>, environment: &Environment, inside: u32) -> Option<Source> {
    let CachePolicy { root, owner, allowed } = policy;
    let walker = Walker { root, owner, allowed };
    let home = environment.home.clone().map(PathBuf::from).or_else(|| {
        let (found, _) = walker.walk(Path::new(PASSWD)).ok()?;
        passwd::read(&found).ok()?.of_uid(inside).map(|user| PathBuf::from(user.home))
    })?;
    let path = Some(home.join(NAME)).filter(|path| path.is_absolute())?;
    let display = path.display().to_string();
    let offence = match walker.walk(&path) {
        Ok((file, status)) => {
            // An administrator may have put it there.
            let by = if status.st_uid == 0 { 0 } else { owner };
            match file_offence(&status, by)
                .or_else(|| (status.st_size > IDENTITIES_BYTES.into()).then_some("is too large"))
            {
                None => {
                    policy.touch(file.as_fd());
                    let handle = SourceHandle::Descriptor(file);
                    return Some(Source { role: SourceRole::Identities, handle, ..Source::named(display) });
                }
                Some(offence) => offence.to_owned(),
            }
        }
        // EACCES is not worth a report either: a program may have kept the HOME of the user who started it.
        Err(PathObstacle::Errno(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES)) => return None,
        Err(PathObstacle::Errno(errno)) => format!("cannot be read: {}", errno.desc()),
        Err(PathObstacle::Offence(offence)) => offence.to_owned(),
    };
    Some(Source::foreign(&display, &format!("{} {offence}", quoted(&display))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Caches;
    use crate::creds::source::Defect;
    use std::fs::{self, File, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// What the search returns for a file in the home directory of this user.
    fn found(prepare: impl Fn(&Path), home: Option<&str>) -> Option<(SourceRole, String)> {
        let directory = tempfile::tempdir().unwrap();
        let root = File::open(directory.path()).unwrap();
        let owner = nix::unistd::getuid().as_raw();
        fs::create_dir_all(directory.path().join("home/u")).unwrap();
        prepare(directory.path());
        let environment = Environment { home: home.map(str::to_owned), ..Environment::default() };
        let policy = CachePolicy { root: root.as_fd(), owner, allowed: &Caches::DEFAULT };
        identities(policy, &environment, owner).map(|source| (source.role, source.display))
    }

    fn write(path: &Path, mode: u32) {
        fs::write(path, "alice\n").unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn it_is_opened_in_the_home_directory_of_the_environment_or_of_the_file_of_users() {
        let plain = |root: &Path| write(&root.join("home/u/.k5identity"), 0o644);
        let there = Some((SourceRole::Identities, "/home/u/.k5identity".to_owned()));
        assert_eq!(found(plain, Some("/home/u")), there);
        let by_passwd = |root: &Path| {
            plain(root);
            fs::create_dir(root.join("etc")).unwrap();
            let uid = nix::unistd::getuid();
            fs::write(root.join("etc/passwd"), format!("x:x:77:1::/x:\nu:x:{uid}:1::/home/u:/bin/sh\n"))
                .unwrap();
        };
        assert_eq!(found(by_passwd, None), there);
        assert_eq!(found(plain, None), None);
        assert_eq!(found(|_| {}, Some("/home/u")), None);
        assert_eq!(found(plain, Some("home/u")), None);
        // A user may link its own files.
        let linked = |root: &Path| {
            write(&root.join("real"), 0o644);
            symlink("/real", root.join("home/u/.k5identity")).unwrap();
        };
        assert_eq!(found(linked, Some("/home/u")), there);
    }

    #[test]
    fn what_others_could_have_written_and_what_is_no_file_is_told_and_not_read() {
        for (mode, part) in [(0o666, "is writable by others"), (0, "is not a regular file")] {
            let prepare = |root: &Path| {
                let path = root.join("home/u/.k5identity");
                if mode == 0 { fs::create_dir(path).unwrap() } else { write(&path, mode) }
            };
            let (role, told) = found(prepare, Some("/home/u")).unwrap();
            assert!(role == SourceRole::Unfit(Defect::Foreign) && told.ends_with(part), "{told}");
        }
        let large = |root: &Path| fs::write(root.join("home/u/.k5identity"), vec![b'#'; 70_000]).unwrap();
        assert!(found(large, Some("/home/u")).unwrap().1.ends_with("is too large"));
    }
}
