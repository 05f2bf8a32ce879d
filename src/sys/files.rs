//! Files: opened below somebody's root, opened through a chain of directories that root owns, sealed in memory.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, OpenHow, ResolveFlag, SealFlag, fcntl, open, openat, openat2};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{Mode, mkdirat};

/// Opens `path` with O_PATH below `root`, which plays the part of `/` for it and its links; the last component is not
/// followed (openat2(2), RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS).
///
/// # Errors
/// Those of openat2(2).
pub fn locate_below(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(root, path, how)
}

/// Reads a file that [`locate_below`] has found, at most `limit` bytes. Only for descriptors known to be regular files.
///
/// # Errors
/// EACCES, EIO; EFBIG if there is more.
pub fn read_located(located: BorrowedFd<'_>, limit: usize) -> Result<zeroize::Zeroizing<Vec<u8>>, Errno> {
    let name = format!("/proc/self/fd/{}", located.as_raw_fd());
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let file = File::from(open(name.as_str(), flags, Mode::empty())?);
    let mut content = zeroize::Zeroizing::new(Vec::with_capacity(limit.min(64 * 1024)));
    let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    file.take(bound).read_to_end(&mut content).map_err(raw)?;
    if content.len() > limit { Err(Errno::EFBIG) } else { Ok(content) }
}

fn raw(error: io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

/// A file in memory with that content, sealed against any change, readable by whoever has the descriptor.
///
/// # Errors
/// ENOMEM, EMFILE.
pub fn sealed_memory(content: &[u8]) -> Result<OwnedFd, Errno> {
    let fd = memfd_create(c"lgss", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    let mut file = File::from(fd);
    file.write_all(content).map_err(raw)?;
    let all =
        SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL;
    fcntl(file.as_fd(), FcntlArg::F_ADD_SEALS(all))?;
    Ok(file.into())
}

/// Why a file that root must control is not used.
#[derive(Debug, thiserror::Error)]
pub enum Untrusted {
    /// It, or a directory above it, can be changed by others than root.
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

/// Opens a regular file that nobody but root can have changed: it and every directory above it belong to root and
/// are writable by nobody else, after links have been followed.
///
/// # Errors
/// [`Untrusted`].
pub fn open_trusted(path: &Path, flags: OFlag) -> Result<File, Untrusted> {
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

/// Opens a directory that nobody but root can change, it and every directory above it; makes it, for root alone, if only
/// it is missing.
///
/// # Errors
/// [`Untrusted`].
pub fn private_directory(path: &Path) -> Result<OwnedFd, Untrusted> {
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

/// A directory in one that only root can change; made, for root alone, if it is missing.
///
/// # Errors
/// Those of mkdirat(2) and openat(2).
pub fn subdirectory(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
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

/// The path without links, each part of which belongs to root and is writable by nobody else.
///
/// # Errors
/// [`Untrusted`].
pub fn trusted_path(path: &Path) -> Result<PathBuf, Untrusted> {
    if !path.is_absolute() {
        return Err(Untrusted::Relative(path.to_owned()));
    }
    let real = path.canonicalize().map_err(|e| Untrusted::Open(path.to_owned(), e))?;
    let mut above = PathBuf::new();
    for component in real.components() {
        above.push(component);
        let metadata = above.symlink_metadata().map_err(|e| Untrusted::Open(above.clone(), e))?;
        if metadata.uid() != 0 || metadata.mode() & 0o022 != 0 || matches!(component, Component::ParentDir) {
            return Err(Untrusted::Writable(above));
        }
    }
    Ok(real)
}

/// Whether two descriptors are the same directory through the same mount, which no other mount namespace has.
///
/// # Errors
/// Those of statx(2).
pub fn same_place(a: BorrowedFd<'_>, b: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(place(a)? == place(b)?)
}

fn place(fd: BorrowedFd<'_>) -> Result<(u64, u64), Errno> {
    let mut status = std::mem::MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: the empty path is NUL-terminated, `status` has room for the structure that the kernel fills.
    Errno::result(unsafe {
        libc::statx(
            fd.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            libc::STATX_INO | libc::STATX_MNT_ID,
            status.as_mut_ptr(),
        )
    })?;
    // SAFETY: all bit patterns are valid for this structure of integers, and it was zeroed before.
    let status = unsafe { status.assume_init() };
    Ok((status.stx_mnt_id, status.stx_ino))
}
