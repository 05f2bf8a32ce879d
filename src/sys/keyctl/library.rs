//! Conversions for linux-keyutils: from our serials to its keys, and from its errors back to the kernel's errno.

use linux_keyutils::{Key, KeyError, KeySerialId};
use nix::errno::Errno;

/// The library's key for a serial or special id.
pub(super) fn library(key: i32) -> Key {
    Key::from_id(KeySerialId(key))
}

/// The kernel's errno behind an error of the library.
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
        // From the library's own checks of strings and serials, which the calls used here do not make.
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
