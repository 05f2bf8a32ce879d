//! The 16 bytes that every Wrap token begins with (RFC 4121 §4.2.6.2).

use super::error::WrapError;
use crate::crypto::ends::{ACCEPTOR_SUBKEY, SEALED, SENT_BY_ACCEPTOR};

/// Length of a header in bytes.
pub(super) const HEADER: usize = 16;

const TOKEN_ID: [u8; 2] = [0x05, 0x04];
const FILLER: u8 = 0xff;

/// A header that is well-formed, and of the other end of our context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WrapHeader {
    pub(super) flags: u8,
    /// EC: bytes after the message, or of the checksum.
    pub(super) extra: u16,
    /// RRC: by how many bytes the rest is rotated right.
    pub(super) rotation: u16,
    pub(super) sequence: u64,
}

impl WrapHeader {
    /// Of a token that we make: EC and RRC are 0.
    pub(super) fn new(flags: u8, sequence: u64) -> Self {
        Self { flags, extra: 0, rotation: 0, sequence }
    }

    /// Reads a header. `expected` are the flags that depend on the context; flags that RFC 4121 does not define are ignored here, and
    /// covered by the checksum.
    pub(super) fn read(bytes: &[u8; HEADER], expected: u8) -> Result<Self, WrapError> {
        let [id0, id1, flags, filler, e0, e1, r0, r1, sequence @ ..] = *bytes;
        let differing = flags ^ expected;
        if [id0, id1] != TOKEN_ID {
            return Err(WrapError::Id([id0, id1]));
        }
        if differing & SENT_BY_ACCEPTOR != 0 {
            return Err(WrapError::OwnEnd);
        }
        if differing & ACCEPTOR_SUBKEY != 0 {
            return Err(WrapError::Subkey);
        }
        if filler != FILLER {
            return Err(WrapError::FillerByte);
        }
        let (extra, rotation) = (u16::from_be_bytes([e0, e1]), u16::from_be_bytes([r0, r1]));
        Ok(Self { flags, extra, rotation, sequence: u64::from_be_bytes(sequence) })
    }

    pub(super) fn is_sealed(&self) -> bool {
        self.flags & SEALED != 0
    }

    pub(super) fn bytes(&self) -> [u8; HEADER] {
        let [id0, id1] = TOKEN_ID;
        let ([e0, e1], [r0, r1]) = (self.extra.to_be_bytes(), self.rotation.to_be_bytes());
        let [s0, s1, s2, s3, s4, s5, s6, s7] = self.sequence.to_be_bytes();
        [id0, id1, self.flags, FILLER, e0, e1, r0, r1, s0, s1, s2, s3, s4, s5, s6, s7]
    }

    /// As it stands in the ciphertext: not rotated.
    pub(super) fn unrotated(self) -> [u8; HEADER] {
        Self { rotation: 0, ..self }.bytes()
    }

    /// As the checksum of a token that is only signed has it: EC and RRC 0.
    pub(super) fn signed(self) -> [u8; HEADER] {
        Self { rotation: 0, extra: 0, ..self }.bytes()
    }
}
