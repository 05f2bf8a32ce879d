//! The upcall's run directory: whose it is, who can look into it, what serves it, and whether there is room.

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::sys::statvfs::statvfs;
use nix::unistd::geteuid;

use super::finding::Finding;
use super::trusted::{OWNERSHIP, untrusted};
use crate::creds::file_system::{Server, serving};
use crate::sys::files::trusted_path;
use crate::text::shell_word;

/// Checks the directory, or the one above it if it is still to be made.
pub(crate) fn check(path: &Path) -> Finding {
    match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => absent_run_dir(path),
        Err(error) => {
            Finding::error("run_dir", format_args!("{}: {error}", path.display()), "run this as root")
        }
        Ok(metadata) if !metadata.is_dir() => Finding::error(
            "run_dir",
            format_args!("{} is not a directory", path.display()),
            "remove it; it is made when needed",
        ),
        Ok(metadata) => match trusted_path(path) {
            Err(error) => Finding::error("run_dir", error, OWNERSHIP),
            Ok(_) if metadata.mode() & 0o077 != 0 => Finding::warning(
                "run_dir",
                format_args!(
                    "{} has mode {:04o}: users see who negotiates",
                    path.display(),
                    metadata.mode() & 0o7777
                ),
                format_args!("chmod 0700 {}", shell_word(path)),
            ),
            Ok(_) => usable_run_dir(path),
        },
    }
}

/// Checks that the upcalls' entries there are directories, and that there is room for more.
fn usable_run_dir(path: &Path) -> Finding {
    let is_other = |name: &&str| path.join(name).symlink_metadata().is_ok_and(|there| !there.is_dir());
    if let Some(name) = ["slots", "owners", "machine"].iter().find(|name| is_other(name)) {
        let finding = format_args!("{}/{name} is not a directory: every request fails", path.display());
        return Finding::error("run_dir", finding, "remove it; it is made when needed");
    }
    served_elsewhere(path).or_else(|| room(path)).unwrap_or_else(|| Finding::ok("run_dir", path.display()))
}

/// A file system that the kernel does not serve by itself can hold up every upcall, and forget a lock.
fn served_elsewhere(directory: &Path) -> Option<Finding> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let opened = open(directory, flags, Mode::empty()).ok()?;
    let kind = match serving(opened.as_fd()).ok()? {
        Server::Kernel => return None,
        Server::Fuse => "FUSE",
        Server::Network => "network",
    };
    Some(Finding::warning(
        "run_dir",
        format_args!("{} is on a {kind} file system, which can block every upcall", directory.display()),
        "put run_dir on a tmpfs or a local disk, such as below /run",
    ))
}

/// Tries to write a file without a name, which nobody sees. Only root tries: the directory is root's.
fn room(path: &Path) -> Option<Finding> {
    const PAGE: [u8; 4096] = [0; 4096];
    if !geteuid().is_root() {
        return None;
    }
    let flags = OFlag::O_TMPFILE | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let tried = open(path, flags, Mode::S_IRUSR | Mode::S_IWUSR)
        .and_then(|fd| nix::unistd::write(fd, &PAGE))
        .map(drop);
    let errno = match tried {
        // Some file systems do not support files without a name.
        Ok(()) | Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::EINVAL) => return None,
        Err(errno) => errno,
    };
    let no_inodes = statvfs(path).is_ok_and(|fs| fs.files() > 0 && fs.files_available() == 0);
    let remedy = match errno {
        Errno::ENOSPC | Errno::EDQUOT if no_inodes => {
            "its file system has no inodes left (df -i): remove files, or mount it with more (tmpfs: nr_inodes)"
        }
        Errno::ENOSPC | Errno::EDQUOT => "its file system is full (df): make room",
        Errno::EROFS => "its file system is read-only (findmnt): mount it rw, or set run_dir",
        _ => "see that root can write there: mount options, SELinux, a container",
    };
    let finding =
        format_args!("{}: no file can be made there: {}: requests fail", path.display(), errno.desc());
    Some(Finding::error("run_dir", finding, remedy))
}

/// Checks the parent: upcalls make the run directory, but nothing above it.
fn absent_run_dir(path: &Path) -> Finding {
    match path.parent().map(trusted_path) {
        Some(Ok(parent)) => served_elsewhere(&parent).or_else(|| room(&parent)).unwrap_or_else(|| {
            Finding::ok("run_dir", format_args!("{} is made when needed", path.display()))
        }),
        Some(Err(error)) => untrusted("run_dir", &error, "make the directory above it, for root"),
        None => Finding::error("run_dir", "is the root directory", "name a directory below /run"),
    }
}
