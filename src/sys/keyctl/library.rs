//! The library's keys and errors: made of our serials, and back into the kernel's errno.

use linux_keyutils::{Key, KeyError, KeySerialId};
use nix::errno::Errno;

/// The key of that serial, or special id.
pub(super) fn library(key: i32) -> Key {
    Key::from_id(KeySerialId(key))
}

/// The kernel's errno, which the library has given a name.
pub(super) fn errno(error: KeyError) -> Errno {
    match error {
        KeyError::MissingFileOrDirectory => Errno::ENOENT,
        KeyError::PermissionDenied => Errno::EPERM,
        KeyError::AccessDenied => Errno::EACCES,
        KeyError::QuotaExceeded => Errno::EDQUOT,
        KeyError::BadAddress => Errno::EFAULT,
        KeyError::InvalidArguments => Errno::EINVAL,
        KeyError::KeyExpired => Errno::EKEYEXPIRED,
        KeyError::KeyRevoked => Errno::EKEYREVOKED,
        KeyError::KeyRejected => Errno::EKEYREJECTED,
        KeyError::OutOfMemory => Errno::ENOMEM,
        KeyError::KeyDoesNotExist => Errno::ENOKEY,
        KeyError::OperationNotSupported => Errno::EOPNOTSUPP,
        KeyError::Unknown(number) => Errno::from_raw(number),
        // Of strings and serials that it has looked at itself; the calls used here have none.
        KeyError::KeyringDoesNotExist
        | KeyError::InvalidDescription
        | KeyError::InvalidIdentifier
        | KeyError::WriteError => Errno::EPROTO,
    }
}

#[cfg(test)]
mod tests {
    use super::{KeyError, errno};
    use nix::errno::Errno;

    #[test]
    fn no_errno_is_lost_on_the_way_through_the_library() {
        let known: Vec<_> =
            (1..134).map(Errno::from_raw).filter(|&errno| errno != Errno::UnknownErrno).collect();
        assert!(known.len() > 120, "{known:?}");
        for kernels in known {
            kernels.set();
            assert_eq!(errno(KeyError::from_errno()), kernels);
        }
    }
}
