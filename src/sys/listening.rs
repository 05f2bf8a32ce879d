//! A listening socket at a path, in the place of one that nobody serves any more.
//!
//! Used by `lgss_kcm` and an agent with a socket of its own. Invariant: a socket at which somebody listens is never removed, nor
//! anything that is no socket.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nix::unistd::geteuid;

use super::errno::errno_of;
use super::files::unpredictable_name;

/// Longest wait for another who begins to listen in the same directory, and how often it is looked for.
const LOCKED_AT_MOST: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(5);

/// Why there is no socket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PlaceTaken {
    /// Somebody listens, or it is a socket of another type.
    InUse,
    /// What is there is no socket.
    NoSocket,
    /// The kernel's reason.
    Kernel(Errno),
}

impl From<io::Error> for PlaceTaken {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::AddrInUse => Self::InUse,
            // The standard library's word for a name that is too long.
            ErrorKind::InvalidInput => Self::Kernel(Errno::ENAMETOOLONG),
            _ => Self::Kernel(errno_of(&error)),
        }
    }
}

/// Listens at a path.
///
/// # Errors
/// [`PlaceTaken`]; what is there stays.
pub(crate) fn listen(path: &Path) -> Result<UnixListener, PlaceTaken> {
    // Between bind(2) and listen(2), and while it is aside, a socket looks as if nobody served it.
    let _alone = lock_directory(path);
    clear(path)?;
    Ok(UnixListener::bind(path)?)
}

/// Keeps others who do the same away, until it is dropped. Whoever may read a directory can lock it, so for a while only.
fn lock_directory(path: &Path) -> Option<Flock<File>> {
    let flags = (OFlag::O_DIRECTORY | OFlag::O_CLOEXEC).bits();
    let mut directory = File::options().read(true).custom_flags(flags).open(path.parent()?).ok()?;
    let begun = Instant::now();
    loop {
        match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
            Ok(locked) => return Some(locked),
            Err((unlocked, Errno::EAGAIN)) if begun.elapsed() < LOCKED_AT_MOST => directory = unlocked,
            Err(_) => return None,
        }
        std::thread::sleep(LOOK);
    }
}

/// Removes a socket at which nobody listens. It is taken away first and then looked at again: another program could have put
/// its own there meanwhile.
fn clear(path: &Path) -> Result<(), PlaceTaken> {
    if is_absent(path)? {
        return Ok(());
    }
    let name = unpredictable_name().map_err(PlaceTaken::Kernel)?;
    // Short, as the whole name of a socket must be.
    let aside = path.with_file_name(format!(".{}", name.get(..7).unwrap_or_default()));
    match rename(path, &aside) {
        Err(Errno::ENOENT) => return Ok(()),
        moved => moved.map_err(PlaceTaken::Kernel)?,
    }
    let stale = is_absent(&aside);
    match stale {
        Ok(_) => fs::remove_file(&aside)?,
        // If there is a new one already, it stays aside.
        Err(_) => rename(&aside, path).unwrap_or_default(),
    }
    stale.map(drop)
}

/// Nothing is replaced (renameat2(2)).
fn rename(from: &Path, to: &Path) -> Result<(), Errno> {
    let name = |path: &Path| CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL);
    let (from, to) = (name(from)?, name(to)?);
    let (here, flags) = (libc::AT_FDCWD, libc::RENAME_NOREPLACE);
    // SAFETY: both names end with NUL, live through the call and are only read.
    Errno::result(unsafe {
        libc::syscall(libc::SYS_renameat2, here, from.as_ptr(), here, to.as_ptr(), flags)
    })
    .map(drop)
}

/// Whether nothing is there; false for a socket of ours at which nobody listens.
fn is_absent(path: &Path) -> Result<bool, PlaceTaken> {
    let found = match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        Ok(found) if !found.file_type().is_socket() => return Err(PlaceTaken::NoSocket),
        found => found?,
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let client = socket(AddressFamily::Unix, SockType::Stream, flags, None).map_err(PlaceTaken::Kernel)?;
    let address = UnixAddr::new(path).map_err(PlaceTaken::Kernel)?;
    match connect(client.as_raw_fd(), &address) {
        // Another user's is none of ours.
        Err(Errno::ECONNREFUSED) if geteuid().is_root() || found.uid() == geteuid().as_raw() => Ok(false),
        Err(Errno::ENOENT) => Ok(true),
        // It listens, its queue is full, or it is of another type.
        Ok(()) | Err(Errno::EAGAIN | Errno::EPROTOTYPE | Errno::ECONNREFUSED) => Err(PlaceTaken::InUse),
        Err(errno) => Err(PlaceTaken::Kernel(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn of_many_who_begin_at_once_one_listens_and_stays_reachable() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        for _ in 0..20 {
            // What one has left that was killed.
            drop(UnixListener::bind(&path).unwrap());
            let all: Vec<_> = std::thread::scope(|scope| {
                let begun: Vec<_> = (0..4).map(|_| scope.spawn(|| listen(&path))).collect();
                begun.into_iter().map(|one| one.join().unwrap()).collect()
            });
            let (listening, others): (Vec<_>, Vec<_>) = all.into_iter().partition(Result::is_ok);
            assert!(others.iter().all(|one| matches!(one, Err(PlaceTaken::InUse))), "{others:?}");
            let [Ok(listener)] = listening.as_slice() else { panic!("{listening:?}") };
            let _client = UnixStream::connect(&path).unwrap();
            listener.accept().unwrap();
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_stale_socket_with_the_longest_name_is_replaced_and_a_longer_one_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let below = |length: usize| {
            let rest = length - directory.path().as_os_str().len() - 1;
            directory.path().join("s".repeat(rest))
        };
        let path = below(107);
        drop(listen(&path).unwrap());
        let _again = listen(&path).unwrap();
        assert_eq!(listen(&below(108)).unwrap_err(), PlaceTaken::Kernel(Errno::ENAMETOOLONG));
    }

    #[test]
    fn a_server_whose_queue_is_full_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let server = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        nix::sys::socket::bind(server.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
        nix::sys::socket::listen(&server, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
        let _first = UnixStream::connect(&path).unwrap();
        assert_eq!(listen(&path).unwrap_err(), PlaceTaken::InUse);
    }
}
