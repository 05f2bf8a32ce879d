//! Checks for the fuzz targets (docs/fuzzing.md): tokens of RFC 4121.

use super::enctype::Enctype;
use super::mic::{KeyOrigin, MicKeys, Role};
use crate::secret::Secret;

const KEY: [u8; 32] = *b"throw-away key of the fuzz tests";
const ENCTYPES: [Enctype; 4] =
    [Enctype::Aes128Sha1, Enctype::Aes256Sha1, Enctype::Aes128Sha256, Enctype::Aes256Sha384];

/// `choice · length of the message · message · token`: only the token that the other end would have made is accepted, and
/// not with any bit of it or of the message changed.
pub fn mic(data: &[u8]) {
    let Some((&[choice, length], rest)) = data.split_first_chunk() else { return };
    let (message, token) = rest.split_at(rest.len().min(length.into()));
    let Some(&enctype) = ENCTYPES.get(usize::from(choice & 3)) else { return };
    let origin = if choice & 4 == 0 { KeyOrigin::Initiator } else { KeyOrigin::AcceptorSubkey };
    let roles = [Role::Initiator, Role::Acceptor];
    let [ours, theirs] = if choice & 8 == 0 { roles } else { [roles[1], roles[0]] };
    let keys = |role| {
        let key = Secret::new(KEY.iter().take(enctype.key_length()).copied().collect());
        MicKeys::new(enctype, &key, origin, role).ok()
    };
    let (Some(ours), Some(theirs)) = (keys(ours), keys(theirs)) else { return };
    if let Ok(sequence) = ours.verify(message, token) {
        assert_eq!(theirs.sign(message, sequence), token);
    }
    let sequence = u64::from(choice) << 40 | u64::from(length);
    let mut made = theirs.sign(message, sequence);
    assert_eq!(ours.verify(message, &made), Ok(sequence));
    assert!(theirs.verify(message, &made).is_err(), "an end takes its own token");
    let (bit, bits) = (rest.iter().fold(0, |sum, &byte| sum * 31 % 8191 + usize::from(byte)), made.len() * 8);
    if let Some(byte) = made.get_mut(bit % bits / 8) {
        *byte ^= 1 << (bit % 8);
        assert!(ours.verify(message, &made).is_err(), "bit {}", bit % bits);
    }
}
