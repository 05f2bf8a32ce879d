//! Checks for the fuzz targets (docs/fuzzing.md): tokens of RFC 4121.

use super::enctype::Enctype;
use super::kdf::KeyLength;
use super::mic::{KeyOrigin, MicKeys, Role};
use super::wrap::{Protection, WrapError, WrapKeys};
use crate::secret::Secret;

const KEY: [u8; 32] = *b"throw-away key of the fuzz tests";
const ENCTYPES: [Enctype; 4] =
    [Enctype::Aes128Sha1, Enctype::Aes256Sha1, Enctype::Aes128Sha256, Enctype::Aes256Sha384];

/// `choice · length of the message · message · token`: only the token that the other end would have made is accepted, and
/// not with any bit of it or of the message changed.
pub fn mic(data: &[u8]) {
    let Some((&[choice, length], rest)) = data.split_first_chunk() else { return };
    let (message, token) = rest.split_at(rest.len().min(length.into()));
    let Some([ours, theirs]) = ends(choice, MicKeys::new) else { return };
    if let Ok(sequence) = ours.verify(message, token) {
        assert_eq!(theirs.sign(message, sequence), token);
    }
    let sequence = u64::from(choice) << 40 | u64::from(length);
    let mut made = theirs.sign(message, sequence);
    assert_eq!(ours.verify(message, &made), Ok(sequence));
    assert!(theirs.verify(message, &made).is_err(), "an end takes its own token");
    if let Some(bit) = flip_a_bit(rest, &mut made) {
        assert!(ours.verify(message, &made).is_err(), "bit {bit}");
    }
}

/// The same for Wrap tokens. Sealing is random, so of an accepted token only what is not random is compared.
pub fn wrap(data: &[u8]) {
    let Some((&[choice, length], rest)) = data.split_first_chunk() else { return };
    let (message, token) = rest.split_at(rest.len().min(length.into()));
    let Some([ours, theirs]) = ends(choice, WrapKeys::new) else { return };
    accepted_as_made(&ours, &theirs, token);
    same_in_place(&ours, token);
    let sequence = u64::from(choice) << 40 | u64::from(length);
    let (Ok(sealed), Ok(signed)) = (theirs.seal(message, sequence), theirs.protect(message, sequence)) else {
        return;
    };
    for (mut made, protection) in [(sealed, Protection::Confidentiality), (signed, Protection::Integrity)] {
        let rotation = u16::from_be_bytes([choice, length]);
        rotate(&mut made, rotation);
        assert_eq!(opened(&ours, &made), Some((message.to_vec(), sequence, protection)));
        assert!(theirs.unseal(&made).is_err(), "an end takes its own token");
        accepted_as_made(&ours, &theirs, &made);
        same_in_place(&ours, &made);
        match flip_a_bit(rest, &mut made) {
            // The same rotation may have several numbers.
            Some(bit) if RRC.contains(&(bit / 8)) => {}
            bit => assert!(ours.unseal(&made).is_err(), "bit {bit:?}"),
        }
        same_in_place(&ours, &made);
    }
}

const HEADER: usize = 16;
/// The bytes of a Wrap token that no checksum covers.
const RRC: std::ops::Range<usize> = 6..8;

/// Keys of our end and of the other, by the first byte of an input.
fn ends<K>(
    choice: u8,
    derive: impl Fn(Enctype, &Secret, KeyOrigin, Role) -> Result<K, KeyLength>,
) -> Option<[K; 2]> {
    let enctype = *ENCTYPES.get(usize::from(choice & 3))?;
    let origin = if choice & 4 == 0 { KeyOrigin::Initiator } else { KeyOrigin::AcceptorSubkey };
    let roles = [Role::Initiator, Role::Acceptor];
    let [ours, theirs] = if choice & 8 == 0 { roles } else { [roles[1], roles[0]] };
    let key = Secret::new(KEY.iter().take(enctype.key_length()).copied().collect());
    Some([derive(enctype, &key, origin, ours).ok()?, derive(enctype, &key, origin, theirs).ok()?])
}

/// Changes the bit that the input chooses, and returns its number.
fn flip_a_bit(input: &[u8], token: &mut [u8]) -> Option<usize> {
    let chosen = input.iter().fold(0, |sum, &byte| sum * 31 % 8191 + usize::from(byte));
    let bit = chosen.checked_rem(token.len() * 8)?;
    *token.get_mut(bit / 8)? ^= 1 << (bit % 8);
    Some(bit)
}

/// Rotates the rest of a token further right, and says so in its RRC.
fn rotate(token: &mut [u8], by: u16) {
    let Some((header, rest)) = token.split_first_chunk_mut::<HEADER>() else { return };
    let [.., r0, r1, _, _, _, _, _, _, _, _] = header;
    let rotation = u16::from_be_bytes([*r0, *r1]).wrapping_add(by);
    [*r0, *r1] = rotation.to_be_bytes();
    if !rest.is_empty() {
        rest.rotate_right(usize::from(by) % rest.len());
    }
}

/// An accepted token that is only signed is, but for its rotation, the one that the other end makes. A sealed one has as
/// many bytes, apart from those that EC counts.
fn accepted_as_made(ours: &WrapKeys, theirs: &WrapKeys, token: &[u8]) {
    let Some((message, sequence, protection)) = opened(ours, token) else { return };
    let (mut plain, (rotation, extra)) = (token.to_vec(), (number(token, RRC.start), number(token, 4)));
    if let Some((header, rest)) = plain.split_first_chunk_mut::<HEADER>() {
        let [.., r0, r1, _, _, _, _, _, _, _, _] = header;
        [*r0, *r1] = [0; 2];
        rest.rotate_left(usize::from(rotation) % rest.len());
    }
    let Ok(made) = (match protection {
        Protection::Integrity => theirs.protect(&message, sequence),
        Protection::Confidentiality => theirs.seal(&message, sequence),
    }) else {
        return;
    };
    match protection {
        Protection::Integrity => assert_eq!(made, plain),
        Protection::Confidentiality => assert_eq!(made.len() + usize::from(extra), token.len()),
    }
    assert_eq!(opened(ours, &made), Some((message, sequence, protection)));
}

fn opened(ours: &WrapKeys, token: &[u8]) -> Option<(Vec<u8>, u64, Protection)> {
    ours.unseal(token).ok().map(|opened| (opened.message.to_vec(), opened.sequence, opened.protection))
}

/// In pieces a sealed token that is not rotated has the same message, or the same fault; of others there are no pieces.
/// Buffers whose message is refused hold zeros.
fn same_in_place(ours: &WrapKeys, token: &[u8]) {
    let Some((head, rest)) = token.split_at_checked(HEADER + 16) else { return };
    let checksum = match ours.seal(&[], 0) {
        Ok(empty) => empty.len() - 3 * HEADER,
        Err(_) => return,
    };
    let tail = usize::from(number(token, 4)) + HEADER + checksum;
    let Some((message, tail)) = rest.len().checked_sub(tail).map(|length| rest.split_at(length)) else {
        return;
    };
    let mut buffer = message.to_vec();
    let (first, second) = buffer.split_at_mut(message.len() / 3);
    let result = ours.unseal_in_place(head, &mut [first, &mut [], second], tail);
    if !matches!(result, Err(WrapError::NotSealed | WrapError::Rotated(_))) {
        let whole = ours.unseal(token);
        assert_eq!(result, whole.as_ref().map(|opened| opened.sequence).map_err(|error| *error));
        assert!(whole.is_err() || whole.is_ok_and(|opened| *opened.message == buffer));
    }
    assert!(result.is_ok() || buffer.iter().all(|&byte| byte == 0), "a refused message is left");
}

/// The number of two bytes here.
fn number(token: &[u8], at: usize) -> u16 {
    token.get(at..at + 2).and_then(|bytes| bytes.try_into().ok()).map_or(0, u16::from_be_bytes)
}
