//! The socket that all users' programs know: passed by a service manager, or made here.

use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockType, SockaddrLike, SockaddrStorage, getsockname, getsockopt, sockopt,
};

use super::failure::KcmFailure;
use crate::sys::errno::errno_of;
use crate::sys::files::trusted_path;
use crate::sys::listening::{PlaceTaken, listen};

/// What a passed descriptor is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PassedKind {
    /// A local stream socket that listens.
    Listener,
    /// A local socket that keeps messages apart, as doors are.
    Door,
    /// Something else.
    Other,
}

/// Looks at a passed descriptor.
pub(super) fn kind(descriptor: BorrowedFd<'_>) -> PassedKind {
    let local = getsockname::<SockaddrStorage>(descriptor.as_raw_fd())
        .is_ok_and(|name| name.family() == Some(AddressFamily::Unix));
    let listens = getsockopt(&descriptor, sockopt::AcceptConn) == Ok(true);
    match getsockopt(&descriptor, sockopt::SockType) {
        Ok(SockType::Stream) if local && listens => PassedKind::Listener,
        Ok(SockType::SeqPacket) if local && !listens => PassedKind::Door,
        _ => PassedKind::Other,
    }
}

/// Makes the socket, to which everybody may connect. Only root can change the directories on the way to it.
///
/// # Errors
/// [`KcmFailure`].
pub(super) fn make(path: &Path) -> Result<UnixListener, KcmFailure> {
    let failed = |error: std::io::Error| KcmFailure::Socket(path.to_owned(), errno_of(&error));
    let (parent, name) = match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => (parent, name),
        _ => return Err(KcmFailure::Socket(path.to_owned(), Errno::EINVAL)),
    };
    let real = trusted_path(parent).map_err(KcmFailure::SocketDirectory)?.join(name);
    let listener = listen(&real).map_err(|taken| match taken {
        PlaceTaken::InUse => KcmFailure::SocketInUse(real.clone()),
        PlaceTaken::NoSocket => KcmFailure::NoSocket(real.clone()),
        PlaceTaken::Kernel(errno) => KcmFailure::Socket(real.clone(), errno),
    })?;
    fs::set_permissions(&real, fs::Permissions::from_mode(0o666)).map_err(failed)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::{UnixDatagram, UnixStream};

    /// A directory of root's, as the tests are run by root.
    fn directory() -> tempfile::TempDir {
        tempfile::Builder::new().prefix("lgss-test").tempdir_in("/var/lib").unwrap()
    }

    #[test]
    fn a_socket_that_nobody_serves_is_replaced_and_everybody_may_connect() {
        let directory = directory();
        let path = directory.path().join("socket");
        drop(make(&path).unwrap());
        let listener = make(&path).unwrap();
        assert_eq!(kind(listener.as_fd()), PassedKind::Listener);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o666);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn what_somebody_serves_or_what_is_no_socket_stays() {
        let directory = directory();
        let path = |name: &str| directory.path().join(name);
        let _served = make(&path("served")).unwrap();
        let _datagrams = UnixDatagram::bind(path("datagrams")).unwrap();
        fs::write(path("file"), "kept").unwrap();
        symlink("file", path("link")).unwrap();
        for name in ["served", "datagrams"] {
            assert!(matches!(make(&path(name)), Err(KcmFailure::SocketInUse(_))), "{name}");
        }
        for name in ["file", "link"] {
            assert!(matches!(make(&path(name)), Err(KcmFailure::NoSocket(_))), "{name}");
        }
        assert_eq!(fs::read(path("link")).unwrap(), b"kept");
        UnixStream::connect(path("served")).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 4);
    }

    #[test]
    fn a_directory_that_others_may_change_has_no_socket_of_ours() {
        let directory = directory();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let told = make(&directory.path().join("socket")).unwrap_err();
        assert!(matches!(told, KcmFailure::SocketDirectory(_)), "{told}");
    }

    #[test]
    fn doors_and_listeners_are_told_from_everything_else() {
        let (door, _other) = crate::sys::passing::pair().unwrap();
        assert_eq!(kind(door.as_fd()), PassedKind::Door);
        let (stream, _other) = UnixStream::pair().unwrap();
        assert_eq!(kind(stream.as_fd()), PassedKind::Other);
        assert_eq!(kind(std::net::TcpListener::bind("127.0.0.1:0").unwrap().as_fd()), PassedKind::Other);
        assert_eq!(kind(fs::File::open("/dev/null").unwrap().as_fd()), PassedKind::Other);
    }
}
