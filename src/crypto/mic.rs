//! MIC tokens: signatures over a message that both ends of a context can make and check (RFC 4121 §4.2.6.1).
//!
//! Called by the programs that hold a context. Invariant: a token is checked with the key of the peer's direction, so
//! one of our own tokens sent back to us is refused.
//!
//! Layout: `04 04` · flags · `ff ff ff ff ff` · `u64 be` sequence number · checksum of the message and of those 16
//! bytes.
#![forbid(unsafe_code)]

use super::enctype::Enctype;
use super::ends::{
    ACCEPTOR_SUBKEY, GSS_S_BAD_SIG, GSS_S_DEFECTIVE_TOKEN, SEALED, SENT_BY_ACCEPTOR, token_flags,
};
pub use super::ends::{KeyOrigin, Role};
use super::kdf::{self, KeyLength, KeyPurpose};
use super::keyed_hash::{KeyedHash, checksum_length};
use crate::secret::Secret;

/// The signing keys of one end of a context.
#[derive(Debug)]
pub struct MicKeys {
    enctype: Enctype,
    role: Role,
    origin: KeyOrigin,
    /// With the keys of the two directions, before a message.
    own: KeyedHash,
    peer: KeyedHash,
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MicError {
    /// Shorter than the 16 bytes before the checksum.
    #[error("token of {0} bytes is too short")]
    Truncated(usize),
    /// It does not begin with `04 04`.
    #[error("token id {:02x} {:02x} is not that of a MIC token", .0[0], .0[1])]
    TokenId([u8; 2]),
    /// Its SentByAcceptor flag names our own end.
    #[error("token was sent by our own end of the context")]
    OwnDirection,
    /// Its Sealed flag is set, which belongs to encrypted tokens.
    #[error("MIC token claims to be sealed")]
    Sealed,
    /// Its AcceptorSubkey flag disagrees with the context.
    #[error("token was made with the other end's choice of key")]
    KeyOrigin,
    /// Bytes 3 to 7 are not all `ff`.
    #[error("filler bytes of the token are not ff")]
    Filler,
    /// The checksum is not as long as the encryption type says.
    #[error("checksum of {found} bytes, the context's have {expected}")]
    ChecksumLength {
        /// Length for the context's encryption type.
        expected: usize,
        /// Length in the token.
        found: usize,
    },
    /// The message, the token or the key is not what was signed.
    #[error("checksum does not fit the message")]
    Checksum,
}

/// How long MIC tokens are, in bytes: 28 for types 17 and 18, 32 for 19, 40 for 20. A Wrap token that is only signed is as much longer
/// than its message.
pub fn mic_length(enctype: Enctype) -> usize {
    HEADER + checksum_length(enctype)
}

impl MicError {
    /// The GSS major status for it (RFC 2744 §3.9.1): GSS_S_BAD_SIG if it is well-formed, else GSS_S_DEFECTIVE_TOKEN.
    pub fn gss_major(&self) -> u32 {
        match self {
            Self::Checksum => GSS_S_BAD_SIG,
            _ => GSS_S_DEFECTIVE_TOKEN,
        }
    }
}

impl MicKeys {
    /// Derives the keys of both directions, seen from the end `role`.
    ///
    /// # Errors
    /// [`KeyLength`] if `base_key` is not a key of that type.
    pub fn new(
        enctype: Enctype,
        base_key: &Secret,
        origin: KeyOrigin,
        role: Role,
    ) -> Result<Self, KeyLength> {
        let key = |role| -> Result<KeyedHash, KeyLength> {
            let key = kdf::derive(enctype, base_key.expose(), sign_usage(role), KeyPurpose::Checksum)?;
            Ok(KeyedHash::new(enctype, key.expose()))
        };
        Ok(Self { enctype, role, origin, own: key(role)?, peer: key(role.other())? })
    }

    /// The token for `message`, as our end sends it.
    ///
    /// The caller counts: `sequence` must be new for every token of this end, which nothing here checks.
    pub fn sign(&self, message: &[u8], sequence: u64) -> Vec<u8> {
        self.sign_pieces(&[message], sequence)
    }

    /// [`MicKeys::sign`] for a message in pieces.
    pub fn sign_pieces(&self, pieces: &[&[u8]], sequence: u64) -> Vec<u8> {
        let length = checksum_length(self.enctype);
        let header = header(self.flags(self.role), sequence);
        let mut token = Vec::with_capacity(header.len() + length);
        token.extend_from_slice(&header);
        keyed(&self.own, pieces, &header).append_leftmost(length, &mut token);
        token
    }

    /// Checks that the peer made `token` for `message` and returns the token's sequence number.
    ///
    /// The caller checks whether the number is repeated, late or leaves a gap: a token seen before passes again. Unknown flags
    /// are ignored as RFC 4121 §4.2.2 requires, but the checksum covers them.
    ///
    /// # Errors
    /// [`MicError`] for the first fault of the token.
    pub fn verify(&self, message: &[u8], token: &[u8]) -> Result<u64, MicError> {
        self.verify_pieces(&[message], token)
    }

    /// [`MicKeys::verify`] for a message in pieces.
    ///
    /// # Errors
    /// As [`MicKeys::verify`].
    pub fn verify_pieces(&self, pieces: &[&[u8]], token: &[u8]) -> Result<u64, MicError> {
        let (header, checksum) = token.split_first_chunk::<16>().ok_or(MicError::Truncated(token.len()))?;
        let sequence = self.check_header(header)?;

        let (expected, found) = (checksum_length(self.enctype), checksum.len());
        if found != expected {
            return Err(MicError::ChecksumLength { expected, found });
        }
        keyed(&self.peer, pieces, header).verify_leftmost(checksum).map_err(|_| MicError::Checksum)?;
        Ok(sequence)
    }

    /// Checks everything before the checksum and returns the sequence number.
    fn check_header(&self, header: &[u8; 16]) -> Result<u64, MicError> {
        let [id0, id1, flags, f3, f4, f5, f6, f7, sequence @ ..] = *header;
        let differing = flags ^ self.flags(self.role.other());
        if [id0, id1] != TOKEN_ID {
            return Err(MicError::TokenId([id0, id1]));
        }
        if differing & SENT_BY_ACCEPTOR != 0 {
            return Err(MicError::OwnDirection);
        }
        if differing & SEALED != 0 {
            return Err(MicError::Sealed);
        }
        if differing & ACCEPTOR_SUBKEY != 0 {
            return Err(MicError::KeyOrigin);
        }
        if [f3, f4, f5, f6, f7] != FILLER {
            return Err(MicError::Filler);
        }
        Ok(u64::from_be_bytes(sequence))
    }

    /// The flags of a MIC token from `sender`.
    fn flags(&self, sender: Role) -> u8 {
        token_flags(sender, self.origin)
    }
}

const HEADER: usize = 16;
const TOKEN_ID: [u8; 2] = [0x04, 0x04];
const FILLER: [u8; 5] = [0xff; 5];

/// KG-USAGE-INITIATOR-SIGN and KG-USAGE-ACCEPTOR-SIGN (RFC 4121 §2).
fn sign_usage(signer: Role) -> u32 {
    match signer {
        Role::Initiator => 25,
        Role::Acceptor => 23,
    }
}

fn header(flags: u8, sequence: u64) -> [u8; 16] {
    let [id0, id1] = TOKEN_ID;
    let [f3, f4, f5, f6, f7] = FILLER;
    let [s0, s1, s2, s3, s4, s5, s6, s7] = sequence.to_be_bytes();
    [id0, id1, flags, f3, f4, f5, f6, f7, s0, s1, s2, s3, s4, s5, s6, s7]
}

/// The hash of the message and, after it, of the header (RFC 4121 §4.2.4).
fn keyed(key: &KeyedHash, pieces: &[&[u8]], header: &[u8]) -> KeyedHash {
    let mut hash = key.clone();
    pieces.iter().for_each(|piece| hash.update(piece));
    hash.update(header);
    hash
}

#[cfg(test)]
mod tests {
    use super::{KeyOrigin, MicError, MicKeys, Role};
    use crate::crypto::enctype::Enctype;
    use crate::secret::Secret;
    use proptest::prelude::*;

    fn ends(enctype: Enctype, origin: KeyOrigin) -> (MicKeys, MicKeys) {
        let key = Secret::new((0_u8..32).take(enctype.key_length()).collect());
        let end = |role| MicKeys::new(enctype, &key, origin, role).unwrap();
        (end(Role::Initiator), end(Role::Acceptor))
    }

    fn initiator_token() -> (MicKeys, Vec<u8>) {
        let (initiator, acceptor) = ends(Enctype::Aes256Sha384, KeyOrigin::AcceptorSubkey);
        let token = initiator.sign(b"message", 7);
        (acceptor, token)
    }

    /// The result of `verify` for a good token after `change`.
    fn refusal(change: impl FnOnce(&mut Vec<u8>)) -> MicError {
        let (acceptor, mut token) = initiator_token();
        change(&mut token);
        acceptor.verify(b"message", &token).unwrap_err()
    }

    #[test]
    fn every_offence_has_its_own_error() {
        assert_eq!(refusal(|token| token.truncate(15)), MicError::Truncated(15));
        assert_eq!(refusal(|token| token[0] = 5), MicError::TokenId([5, 4]));
        assert_eq!(refusal(|token| token[2] ^= 0x01), MicError::OwnDirection);
        assert_eq!(refusal(|token| token[2] ^= 0x02), MicError::Sealed);
        assert_eq!(refusal(|token| token[2] ^= 0x04), MicError::KeyOrigin);
        assert_eq!(refusal(|token| token[7] = 0xfe), MicError::Filler);
        let (expected, found) = (24, 23);
        assert_eq!(refusal(|token| token.truncate(39)), MicError::ChecksumLength { expected, found });
        assert_eq!(refusal(|token| token[39] ^= 0x80), MicError::Checksum);
    }

    #[test]
    fn an_unknown_flag_is_left_to_the_checksum() {
        assert_eq!(refusal(|token| token[2] |= 0x80), MicError::Checksum);
    }

    #[test]
    fn our_own_token_sent_back_is_refused() {
        let (initiator, _) = ends(Enctype::Aes128Sha1, KeyOrigin::Initiator);
        let token = initiator.sign(b"message", 1);
        assert_eq!(initiator.verify(b"message", &token), Err(MicError::OwnDirection));
    }

    #[test]
    fn a_key_for_another_type_is_refused() {
        let key = Secret::new(vec![0; 16]);
        assert!(MicKeys::new(Enctype::Aes256Sha1, &key, KeyOrigin::Initiator, Role::Initiator).is_err());
    }

    fn enctypes() -> impl Strategy<Value = Enctype> {
        (17_u32..=20).prop_map(|number| Enctype::try_from(number).unwrap())
    }

    fn origins() -> impl Strategy<Value = KeyOrigin> {
        any::<bool>()
            .prop_map(|acceptor| if acceptor { KeyOrigin::AcceptorSubkey } else { KeyOrigin::Initiator })
    }

    proptest! {
        #[test]
        fn the_other_end_gets_the_sequence_number(
            enctype in enctypes(), origin in origins(), message: Vec<u8>, sequence: u64,
        ) {
            let (initiator, acceptor) = ends(enctype, origin);
            prop_assert_eq!(acceptor.verify(&message, &initiator.sign(&message, sequence)), Ok(sequence));
            prop_assert_eq!(initiator.verify(&message, &acceptor.sign(&message, sequence)), Ok(sequence));
        }

        #[test]
        fn a_flipped_bit_in_the_token_or_the_message_is_noticed(
            enctype in enctypes(), origin in origins(), sequence: u64, bit in 0_u8..8, place: prop::sample::Index,
            message in prop::collection::vec(any::<u8>(), 1..64),
        ) {
            let (initiator, acceptor) = ends(enctype, origin);
            let token = initiator.sign(&message, sequence);
            let mut both = [token.as_slice(), &message].concat();
            both[place.index(token.len() + message.len())] ^= 1 << bit;
            let (token, message) = both.split_at(token.len());
            prop_assert!(acceptor.verify(message, token).is_err());
        }

        #[test]
        fn only_the_whole_token_and_nothing_else_passes(
            enctype in enctypes(), kept in 0_usize..=40, tail in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let (initiator, acceptor) = ends(enctype, KeyOrigin::AcceptorSubkey);
            let good = acceptor.sign(b"message", 9);
            let token = [&good[..kept.min(good.len())], &tail].concat();
            prop_assert_eq!(initiator.verify(b"message", &token).is_ok(), token == good);
        }
    }
}
