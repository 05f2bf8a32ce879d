//! Files: opened below somebody's root directory, opened through directories that only root can change, sealed in memory.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, FcntlArg, OFlag, OpenHow, ResolveFlag, SealFlag, fcntl, open, openat, openat2};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{Mode, mkdirat};

use super::errno::errno_of;
use super::random::random_bytes;

/// Opens `path` with O_PATH below `root`, which stands for `/` in the path and its links. Does not follow a link in the last
/// component (openat2(2), RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS).
///
/// # Errors
/// Those of openat2(2).
pub(crate) fn locate_below(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(root, path, how)
}

/// Opens one entry of `directory` with O_PATH. Links are not followed, mount points not crossed.
///
/// # Errors
/// Those of openat2(2), including EXDEV for a mount point.
pub(crate) fn locate_entry(directory: BorrowedFd<'_>, name: &Path) -> Result<OwnedFd, Errno> {
    let stay = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_NO_SYMLINKS;
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
        .resolve(stay | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(directory, name, how)
}

/// Reads a file found by [`locate_below`], at most `limit` bytes. Only for descriptors known to be regular files.
///
/// # Errors
/// EACCES, EIO; EFBIG if there is more.
pub(crate) fn read_located(
    located: BorrowedFd<'_>,
    limit: usize,
) -> Result<zeroize::Zeroizing<Vec<u8>>, Errno> {
    let name = format!("/proc/self/fd/{}", located.as_raw_fd());
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let file = File::from(open(name.as_str(), flags, Mode::empty())?);
    let mut content = zeroize::Zeroizing::new(Vec::with_capacity(limit.min(64 * 1024)));
    let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    file.take(bound).read_to_end(&mut content).map_err(|error| errno_of(&error))?;
    if content.len() > limit { Err(Errno::EFBIG) } else { Ok(content) }
}

/// A file in memory with this content, sealed against any change. Everybody with the descriptor can read it.
///
/// # Errors
/// ENOMEM, EMFILE.
pub fn sealed_memory(content: &[u8]) -> Result<OwnedFd, Errno> {
    let fd = memfd_create(c"lgss", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    let mut file = File::from(fd);
    file.write_all(content).and_then(|()| file.rewind()).map_err(|error| errno_of(&error))?;
    let all =
        SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL;
    fcntl(file.as_fd(), FcntlArg::F_ADD_SEALS(all))?;
    Ok(file.into())
}

/// Why a file that root must control is not used.
#[derive(Debug, thiserror::Error)]
pub enum Untrusted {
    /// Others than root can change it or a directory above it.
    #[error("{0} is not owned by root or is writable by others")]
    Writable(PathBuf),
    /// Not an absolute path.
    #[error("{0} is not an absolute path")]
    Relative(PathBuf),
    /// Not a regular file.
    #[error("{0} is not a regular file")]
    NotRegular(PathBuf),
    /// It cannot be opened.
    #[error("{0}: {1}")]
    Open(PathBuf, #[source] io::Error),
}

/// Opens a regular file that only root can have changed: after links are resolved, it and every directory above it belong to
/// root, and nobody else can write to them.
///
/// # Errors
/// [`Untrusted`].
pub(crate) fn open_trusted(path: &Path, flags: OFlag) -> Result<File, Untrusted> {
    let real = trusted_path(path)?;
    let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let file: File =
        open(&real, flags, Mode::empty()).map_err(|e| Untrusted::Open(real.clone(), e.into()))?.into();
    let metadata = file.metadata().map_err(|e| Untrusted::Open(real.clone(), e))?;
    if !metadata.is_file() {
        return Err(Untrusted::NotRegular(real));
    }
    Ok(file)
}

/// Opens a directory that only root can change, like every directory above it. Makes it, for root alone, if only the last one
/// is missing.
///
/// # Errors
/// [`Untrusted`].
pub(crate) fn private_directory(path: &Path) -> Result<OwnedFd, Untrusted> {
    if !path.exists() {
        match nix::unistd::mkdir(path, Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(Untrusted::Open(path.to_owned(), errno.into())),
        }
    }
    let real = trusted_path(path)?;
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    open(&real, flags, Mode::empty()).map_err(|errno| Untrusted::Open(real, errno.into()))
}

/// Opens a directory in one that only root can change. Makes it, for root alone, if it is missing.
///
/// # Errors
/// Those of mkdirat(2) and openat(2).
pub(crate) fn subdirectory(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let opened = || openat(directory, name, flags, Mode::empty());
    match opened() {
        Err(Errno::ENOENT) => match mkdirat(directory, name, Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => opened(),
            Err(errno) => Err(errno),
        },
        other => other,
    }
}

/// Removes files that have not been written to for `age`, from a directory that only root can change.
pub(crate) fn remove_old(directory: &Path, age: std::time::Duration) {
    let is_old = |path: &Path| {
        let modified = std::fs::symlink_metadata(path).and_then(|found| found.modified()).ok();
        modified.is_some_and(|modified| modified.elapsed().is_ok_and(|elapsed| elapsed > age))
    };
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| is_old(path)).for_each(|path| drop(std::fs::remove_file(path)));
}

/// The path, without links, of a regular file that only root can have changed (see [`open_trusted`]).
///
/// # Errors
/// [`Untrusted`].
#[cfg(any(feature = "gss", test))]
pub(crate) fn trusted_file(path: &Path) -> Result<PathBuf, Untrusted> {
    let real = trusted_path(path)?;
    match real.symlink_metadata() {
        Ok(metadata) if metadata.is_file() => Ok(real),
        Ok(_) => Err(Untrusted::NotRegular(real)),
        Err(error) => Err(Untrusted::Open(real, error)),
    }
}

/// Most links on the way to a file, the kernel's limit (path_resolution(7)).
pub(crate) const LINK_LIMIT: usize = 40;

/// The path without links. Everything on the way, including directories that links lead through and the links themselves,
/// belongs to root, and nobody else can write to it (the mode of a link does not count).
///
/// # Errors
/// [`Untrusted`].
pub(crate) fn trusted_path(path: &Path) -> Result<PathBuf, Untrusted> {
    if !path.is_absolute() {
        return Err(Untrusted::Relative(path.to_owned()));
    }
    let failed = |at: &Path, error: io::Error| Untrusted::Open(at.to_owned(), error);
    let mut real = PathBuf::new();
    // Components still to walk, the next one last.
    let mut ahead = reversed(path);
    let mut links = 0;
    while let Some(component) = ahead.pop() {
        if component.as_os_str() == ".." {
            real.pop();
            continue;
        }
        // The root component replaces everything walked so far.
        let next = real.join(&component);
        let metadata = next.symlink_metadata().map_err(|error| failed(&next, error))?;
        if metadata.uid() != 0 || (!metadata.is_symlink() && metadata.mode() & 0o022 != 0) {
            return Err(Untrusted::Writable(next));
        }
        if metadata.is_symlink() {
            links += 1;
            if links > LINK_LIMIT {
                return Err(failed(path, Errno::ELOOP.into()));
            }
            let target = std::fs::read_link(&next).map_err(|error| failed(&next, error))?;
            ahead.extend(reversed(&target));
        } else {
            real = next;
        }
    }
    Ok(real)
}

/// The components of a path, the last one first, without those that say `.`.
pub(crate) fn reversed(path: &Path) -> Vec<PathBuf> {
    let plain = path.components().filter(|component| *component != Component::CurDir);
    let mut components: Vec<_> = plain.map(|component| PathBuf::from(component.as_os_str())).collect();
    components.reverse();
    components
}

/// A name that nobody can guess: 128 random bits in hexadecimal.
///
/// # Errors
/// ENOSYS.
pub(crate) fn unpredictable_name() -> Result<String, Errno> {
    Ok(random_bytes::<16>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The contents of a file of root's or the kernel's in which others may have put words of theirs: bytes that are not
/// UTF-8 are replaced, so that they spoil their own word only.
///
/// # Errors
/// Those of reading.
pub(crate) fn lossy_text(path: impl AsRef<Path>) -> io::Result<String> {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Our own root directory, O_PATH. Not by open(2), which in one C library makes a second system call.
///
/// # Errors
/// Those of openat(2).
pub(crate) fn our_root() -> Result<OwnedFd, Errno> {
    openat(AT_FDCWD, "/", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

/// Whether two descriptors are the same directory by the same mount. No other mount namespace has that mount.
///
/// # Errors
/// Those of statx(2).
pub(crate) fn same_place(a: BorrowedFd<'_>, b: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(place(a)? == place(b)?)
}

/// Asks no server of the file system. The directory may be on one of a user's own, which never answers: FUSE refuses
/// root's calls, but not those that an overlay makes for them.
fn place(fd: BorrowedFd<'_>) -> Result<(u64, u64), Errno> {
    let mut status = std::mem::MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: the empty path is NUL-terminated, `status` has room for the structure that the kernel fills.
    Errno::result(unsafe {
        libc::statx(
            fd.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC,
            libc::STATX_INO | libc::STATX_MNT_ID,
            status.as_mut_ptr(),
        )
    })?;
    // SAFETY: all bit patterns are valid for this structure of integers, and it was zeroed before.
    let status = unsafe { status.assume_init() };
    Ok((status.stx_mnt_id, status.stx_ino))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// A directory that only root can write to.
    fn directory() -> tempfile::TempDir {
        tempfile::Builder::new().prefix("lgss-test").tempdir_in("/var/lib").unwrap()
    }

    #[test]
    fn links_are_trusted_if_root_owns_them_and_all_directories_on_the_way() {
        let trusted = directory();
        let name = |name: &str| trusted.path().join(name);
        fs::write(name("file"), "").unwrap();
        symlink("file", name("link")).unwrap();
        symlink(name("link"), name("link to link")).unwrap();
        symlink("loop", name("loop")).unwrap();
        fs::create_dir(name("closed")).unwrap();
        fs::create_dir(name("open")).unwrap();
        fs::set_permissions(name("open"), fs::Permissions::from_mode(0o777)).unwrap();
        symlink(name("file"), name("open/link")).unwrap();
        symlink("open/link", name("through")).unwrap();
        symlink("file", name("anothers")).unwrap();
        std::os::unix::fs::lchown(name("anothers"), Some(1), None).unwrap();

        for good in ["file", "link", "link to link", "closed/../link", "./file"] {
            assert_eq!(trusted_file(&name(good)).ok(), Some(name("file")), "{good}");
        }
        for bad in ["open/link", "through", "anothers", "open/../link"] {
            assert!(matches!(trusted_file(&name(bad)), Err(Untrusted::Writable(_))), "{bad}");
        }
        assert!(matches!(trusted_file(&name("loop")), Err(Untrusted::Open(..))));
        assert!(matches!(trusted_file(&name("absent")), Err(Untrusted::Open(..))));
        assert!(matches!(trusted_file(&name("")), Err(Untrusted::NotRegular(_))));
        assert!(matches!(trusted_file(Path::new("file")), Err(Untrusted::Relative(_))));
    }

    #[test]
    fn no_two_unpredictable_names_are_alike() {
        let names: std::collections::BTreeSet<_> = (0..100).map(|_| unpredictable_name().unwrap()).collect();
        assert!(names.len() == 100 && names.iter().all(|name| name.len() == 32), "{names:?}");
    }

    #[test]
    fn a_file_that_others_may_write_or_own_is_not_trusted() {
        let trusted = directory();
        let file = trusted.path().join("file");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o664)).unwrap();
        assert!(matches!(trusted_file(&file), Err(Untrusted::Writable(_))));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        std::os::unix::fs::chown(&file, Some(1), None).unwrap();
        assert!(matches!(trusted_file(&file), Err(Untrusted::Writable(_))));
    }
}
