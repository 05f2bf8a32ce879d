//! File caches, version 4, with one credential: as a ticket is handed to a worker and comes back renewed.
//!
//! `u8 5 · u8 4 · u16 length of the header · header · principal · credential`; a field of the header is `u16 tag · u16 length ·
//! bytes`, of which one is known, 1: `i32 seconds · i32 microseconds` by which the KDC's clock is ahead.

use zeroize::Zeroizing;

use super::principal::PrincipalBytes;
use crate::secret::Secret;
use crate::wire::{Reader, WireError};

const VERSION: u16 = 0x0504;
/// The field about the KDC's clock without its last number: length of the header, tag, length.
const CLOCK: [u8; 6] = [0, 12, 0, 1, 0, 8];

/// What is wrong with a file cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FileCacheFault {
    /// Another version.
    #[error("a file cache of version {0:#06x}")]
    Version(u16),
    /// Its parts are not whole.
    #[error("a file cache that is {0}")]
    Parts(#[from] WireError),
}

/// A file cache of this principal with one credential. `offset` is the difference of the KDC's clock, a signed number.
pub(crate) fn with_one(principal: &[u8], offset: u32, credential: &[u8]) -> Secret {
    let room = 64 + principal.len() + credential.len();
    // As large as it gets: a buffer that grows leaves tickets behind in memory.
    let mut file = Zeroizing::new(Vec::with_capacity(room));
    file.extend_from_slice(&VERSION.to_be_bytes());
    if offset == 0 {
        file.extend_from_slice(&[0, 0]);
    } else {
        file.extend_from_slice(&CLOCK);
        file.extend_from_slice(&offset.to_be_bytes());
        file.extend_from_slice(&[0; 4]);
    }
    file.extend_from_slice(principal);
    file.extend_from_slice(credential);
    file.into()
}

/// The principal of a file cache, and what follows it: the credential, if there is one.
///
/// # Errors
/// [`FileCacheFault`].
pub(crate) fn only_credential(file: &[u8]) -> Result<(PrincipalBytes<'_>, &[u8]), FileCacheFault> {
    let mut reader = Reader::new(file);
    match reader.u16_be()? {
        VERSION => {}
        other => return Err(FileCacheFault::Version(other)),
    }
    let header = reader.u16_be()?;
    reader.take(header.into())?;
    Ok((PrincipalBytes::read(&mut reader)?, reader.rest()))
}

#[cfg(test)]
mod tests {
    use super::super::credential::tests::{Sample, principal};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_credential_comes_out_as_it_went_in_whatever_the_clock_says() {
        let (alice, credential) = (principal("alice@A"), Sample::for_server("krbtgt/A@A").bytes());
        for offset in [0, 7, u32::MAX] {
            let file = with_one(&alice, offset, &credential);
            let (client, bytes) = only_credential(file.expose()).unwrap();
            assert_eq!((client.bytes(), bytes), (&alice[..], &credential[..]), "{offset}");
        }
        assert_eq!(only_credential(&[5, 3, 0, 0]).unwrap_err(), FileCacheFault::Version(0x0503));
    }

    proptest! {
        #[test]
        fn no_bytes_lead_to_a_panic(bytes: Vec<u8>) {
            let _ = only_credential(&[&[5, 4][..], &bytes].concat());
        }
    }
}
