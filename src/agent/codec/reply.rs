//! Replies: `u32 length · u32 0 · u32 status · values`, in network byte order; the length is that of status and values. The
//! zero is the status of Heimdal's transport, by which this protocol came into being.

use super::credential::{CredentialId, HeldCredential};
use super::request::CacheLabel;
use crate::wire::Writer;

/// Error codes of MIT Kerberos (com_err's table `krb5`) that clients act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// No error.
    Done,
    /// KRB5_CC_NOTFOUND: no matching credential to remove.
    NotFound,
    /// KRB5_CC_END: nothing more, or nothing that matches.
    End,
    /// KRB5_CC_IO: the kernel has failed.
    Io,
    /// KRB5_FCC_NOFILE: no such cache.
    NoCache,
    /// KRB5_CC_NOMEM: a limit is met.
    Full,
    /// EDQUOT, as caches of KEYRING have it: the user's quota of keys is used up.
    Quota,
    /// KRB5_CC_FORMAT: the request makes no sense.
    Malformed,
    /// KRB5_CC_NOSUPP: there is no such operation here; clients do it another way.
    Unsupported,
}

impl Status {
    fn code(self) -> i32 {
        match self {
            Self::Done => 0,
            Self::NotFound => -1_765_328_243,
            Self::End => -1_765_328_242,
            Self::Io => -1_765_328_191,
            Self::NoCache => -1_765_328_189,
            Self::Quota => libc::EDQUOT,
            Self::Full => -1_765_328_186,
            Self::Malformed => -1_765_328_185,
            Self::Unsupported => -1_765_328_137,
        }
    }
}

/// A reply, ready to be sent. Credentials may be in it.
#[derive(Debug)]
pub(crate) struct KcmReply(Writer);

impl KcmReply {
    /// What stands before the values.
    const HEAD: usize = 12;
    /// The status, which belongs to the length.
    const STATUS: usize = 4;

    /// A reply without values.
    pub(crate) fn status(status: Status) -> Self {
        Self::with(status, 0, |_| {})
    }

    /// A name.
    pub(crate) fn label(label: &CacheLabel) -> Self {
        Self::with(Status::Done, label.bytes().len() + 1, |reply| {
            reply.bytes(label.bytes()).u8(0);
        })
    }

    /// A value as it is.
    pub(crate) fn bytes(bytes: &[u8]) -> Self {
        Self::with(Status::Done, bytes.len(), |reply| {
            reply.bytes(bytes);
        })
    }

    /// Names of 16 bytes.
    pub(crate) fn ids(ids: impl ExactSizeIterator<Item = [u8; 16]>) -> Self {
        Self::with(Status::Done, ids.len().saturating_mul(16), |reply| {
            for id in ids {
                reply.bytes(&id);
            }
        })
    }

    /// Credentials: their number, then each with its length. `None` if the whole reply has more than `limit` bytes.
    pub(crate) fn credentials<'c>(
        credentials: impl ExactSizeIterator<Item = (&'c CredentialId, &'c HeldCredential)> + Clone,
        limit: usize,
    ) -> Option<Self> {
        let size = |size: usize, (_, credential): (_, &HeldCredential)| {
            size.checked_add(4)?.checked_add(credential.bytes().len())
        };
        let size = credentials
            .clone()
            .try_fold(4, size)
            .filter(|size| size.saturating_add(Self::STATUS) <= limit)?;
        let count = u32::try_from(credentials.len()).ok()?;
        Some(Self::with(Status::Done, size, |reply| {
            reply.u32_be(count);
            for (_, credential) in credentials {
                reply.u32_be(u32::try_from(credential.bytes().len()).unwrap_or(0));
                reply.bytes(credential.bytes());
            }
        }))
    }

    fn with(status: Status, size: usize, write: impl FnOnce(&mut Writer)) -> Self {
        // Of its final size at once: growing would leave copies behind.
        let mut reply = Writer::with_capacity(Self::HEAD.saturating_add(size));
        let length = u32::try_from(size.saturating_add(Self::STATUS)).unwrap_or(u32::MAX);
        reply.u32_be(length).u32_be(0).u32_be(status.code().cast_unsigned());
        write(&mut reply);
        Self(reply)
    }

    /// What is sent.
    pub(crate) fn as_slice(&self) -> &[u8] {
        self.0.as_slice()
    }
}

#[cfg(test)]
mod tests {
    use super::super::credential::tests::Sample;
    use super::*;

    #[test]
    fn a_reply_has_its_length_status_and_values() {
        let label = KcmReply::label(&CacheLabel::new(b"1000:x"));
        assert_eq!(label.as_slice(), b"\0\0\0\x0b\0\0\0\0\0\0\0\x001000:x\0");
        assert_eq!(KcmReply::status(Status::NoCache).as_slice(), b"\0\0\0\x04\0\0\0\0\x96\xc7\x3a\xc3");
        let ids = [[1; 16], [2; 16]];
        let listed = KcmReply::ids(ids.into_iter());
        assert_eq!(listed.as_slice(), [&[0, 0, 0, 36, 0, 0, 0, 0, 0, 0, 0, 0][..], &ids.concat()].concat());
    }

    #[test]
    fn a_list_of_credentials_over_the_limit_is_none() {
        let held = [(CredentialId([0; 16]), Sample::for_server("nfs/srv@A").held())];
        let listed = held.iter().map(|(id, held)| (id, held));
        let length = KcmReply::STATUS + 8 + held[0].1.bytes().len();
        let reply = KcmReply::credentials(listed.clone(), length).unwrap();
        assert_eq!(reply.as_slice().len(), 8 + length);
        assert!(KcmReply::credentials(listed, length - 1).is_none());
    }
}
