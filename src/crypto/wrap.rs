//! Wrap tokens: messages that are encrypted and signed, or only signed (RFC 4121 §4.2.4, §4.2.6.2).
//!
//! Called by the programs that hold a context. Invariants: a token is checked with the keys of the peer's direction; nobody
//! gets a message that has not been checked.
//!
//! Layout: `05 04` · flags · `ff` · `u16 be` EC · `u16 be` RRC · `u64 be` sequence number · rest. The rest of a sealed token
//! is the ciphertext of {16 random bytes · message · EC bytes · these 16 bytes, RRC 0} and a checksum; of one that is only
//! signed the message and a checksum of EC bytes, made with EC and RRC 0. The rest is rotated right by RRC bytes.
#![forbid(unsafe_code)]

mod error;
mod header;
mod seal_keys;

use zeroize::{Zeroize, Zeroizing};

use super::block_cipher::BLOCK;
use super::enctype::Enctype;
use super::ends::{KeyOrigin, Role, SEALED, token_flags};
use super::kdf::KeyLength;
use super::keyed_hash::checksum_length;
use crate::secret::Secret;
use crate::sys::random;
pub use error::WrapError;
use header::{HEADER, WrapHeader};
use seal_keys::SealKeys;

/// The sealing keys of one end of a context.
#[derive(Debug)]
pub struct WrapKeys {
    enctype: Enctype,
    role: Role,
    origin: KeyOrigin,
    own: SealKeys,
    peer: SealKeys,
}

/// What the peer has wrapped.
#[derive(Debug)]
pub struct Unsealed {
    /// The message.
    pub message: Zeroizing<Vec<u8>>,
    /// The token's sequence number. The caller checks whether it is repeated, late or leaves a gap.
    pub sequence: u64,
    /// Whether it was encrypted.
    pub protection: Protection,
}

/// What a token does for its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// It is signed, and can be read by everybody.
    Integrity,
    /// It is encrypted and signed.
    Confidentiality,
}

/// What stands before and after the buffers of a message that was sealed in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Affixes {
    head: [u8; HEAD],
    tail: Vec<u8>,
}

/// Header and encrypted random bytes.
const HEAD: usize = HEADER + BLOCK;

impl Affixes {
    /// How long a head is, in bytes.
    pub const HEAD_LENGTH: usize = HEAD;

    /// How long a tail is without filler, in bytes: 28 for types 17 and 18, 32 for 19, 40 for 20. A sealed token is by head and tail
    /// longer than its message.
    pub fn tail_length(enctype: Enctype) -> usize {
        HEADER + checksum_length(enctype)
    }

    /// What comes before the buffers: 32 bytes.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// What comes after them: 28 to 40 bytes, by the encryption type.
    pub fn tail(&self) -> &[u8] {
        &self.tail
    }
}

impl WrapKeys {
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
        let keys = |sender| SealKeys::new(enctype, base_key.expose(), sender);
        Ok(Self { enctype, role, origin, own: keys(role)?, peer: keys(role.other())? })
    }

    /// The token with the encrypted message, as our end sends it: 60 to 72 bytes longer than the message. RRC and EC are 0.
    ///
    /// The caller counts: `sequence` must be new for every token of this end, which nothing here checks.
    ///
    /// # Errors
    /// [`WrapError::Random`].
    pub fn seal(&self, message: &[u8], sequence: u64) -> Result<Vec<u8>, WrapError> {
        // It never grows, so that no copy of the message is left behind.
        let mut token = Vec::with_capacity(HEAD + message.len() + Affixes::tail_length(self.enctype));
        token.extend_from_slice(&[0; HEAD]);
        token.extend_from_slice(message);
        let (head, message) = token.split_at_mut(HEAD);
        let affixes = self.seal_in_place(&mut [message], sequence)?;
        head.copy_from_slice(affixes.head());
        token.extend_from_slice(affixes.tail());
        Ok(token)
    }

    /// The token with the message signed but readable: 28 to 40 bytes longer than the message. RRC is 0.
    ///
    /// As for [`WrapKeys::seal`], the caller counts.
    ///
    /// # Errors
    /// None; later versions may have some.
    pub fn protect(&self, message: &[u8], sequence: u64) -> Result<Vec<u8>, WrapError> {
        let length = checksum_length(self.enctype);
        let header = WrapHeader::new(token_flags(self.role, self.origin), sequence);
        let extra = u16::try_from(length).map_err(|_| WrapError::ExtraCount(u16::MAX))?;
        let mut token = Vec::with_capacity(HEADER + message.len() + length);
        token.extend_from_slice(&WrapHeader { extra, ..header }.bytes());
        token.extend_from_slice(message);
        self.own.signed(message, &header.signed()).append_leftmost(length, &mut token);
        Ok(token)
    }

    /// Checks that the peer made the token and returns its message. Both kinds of tokens are accepted, with any EC and RRC.
    ///
    /// The caller checks the sequence number: a token seen before passes again.
    ///
    /// # Errors
    /// [`WrapError`] for the first fault of the token.
    pub fn unseal(&self, token: &[u8]) -> Result<Unsealed, WrapError> {
        let (header, rest) = token.split_first_chunk::<HEADER>().ok_or(WrapError::Short(token.len()))?;
        let header = WrapHeader::read(header, token_flags(self.role.other(), self.origin))?;
        let mut rest = Zeroizing::new(rest.to_vec());
        if !rest.is_empty() {
            let rotation = usize::from(header.rotation) % rest.len();
            rest.rotate_left(rotation);
        }
        let protection = match header.is_sealed() {
            true => self.open(&header, &mut rest).map(|()| Protection::Confidentiality),
            false => self.check_signed(&header, &mut rest).map(|()| Protection::Integrity),
        }
        .map_err(|error| match error {
            WrapError::Short(_) => WrapError::Short(token.len()),
            other => other,
        })?;
        Ok(Unsealed { message: rest, sequence: header.sequence, protection })
    }

    /// Encrypts a message of many buffers in place: they are taken as one message. Head, buffers and tail in this order are a token as
    /// [`WrapKeys::seal`] makes it, and what gss_wrap_iov(3) calls header, data and trailer.
    ///
    /// # Errors
    /// [`WrapError::Random`]; the buffers are as they were then.
    pub fn seal_in_place(&self, message: &mut [&mut [u8]], sequence: u64) -> Result<Affixes, WrapError> {
        let confounder = random::random_bytes().map_err(|_| WrapError::Random)?;
        Ok(self.seal_with(confounder, message, sequence))
    }

    /// Checks and decrypts in place what the peer's [`WrapKeys::seal_in_place`] or another library made.
    ///
    /// # Errors
    /// [`WrapError`] for the first fault. The buffers hold zeros then: nobody is to use what was not checked.
    pub fn unseal_in_place(
        &self,
        head: &[u8],
        message: &mut [&mut [u8]],
        tail: &[u8],
    ) -> Result<u64, WrapError> {
        let opened = self.open_pieces(head, message, tail);
        if opened.is_err() {
            message.iter_mut().for_each(|buffer| buffer.zeroize());
        }
        opened
    }

    fn seal_with(&self, confounder: [u8; BLOCK], message: &mut [&mut [u8]], sequence: u64) -> Affixes {
        let header = WrapHeader::new(token_flags(self.role, self.origin) | SEALED, sequence).bytes();
        let mut head = [0; HEAD];
        let mut tail = Vec::with_capacity(Affixes::tail_length(self.enctype));
        let (clear, random) = head.split_at_mut(HEADER);
        clear.copy_from_slice(&header);
        random.copy_from_slice(&confounder);
        let mut inner = header;
        let mut checksum = Vec::with_capacity(checksum_length(self.enctype));
        self.own.encrypt(&mut around(random, message, &mut inner), &mut checksum);
        tail.extend_from_slice(&inner);
        tail.extend_from_slice(&checksum);
        Affixes { head, tail }
    }

    /// Opens the ciphertext and checksum in `rest`, and leaves the message in it.
    fn open(&self, header: &WrapHeader, rest: &mut Vec<u8>) -> Result<(), WrapError> {
        let sealed = rest.len().checked_sub(checksum_length(self.enctype));
        let sealed = sealed.filter(|sealed| *sealed >= BLOCK + HEADER).ok_or(WrapError::Short(rest.len()))?;
        let (ciphertext, checksum) = rest.split_at_mut(sealed);
        self.peer.decrypt(&mut [ciphertext], checksum)?;
        let (plaintext, inner) = ciphertext.split_at_mut(sealed - HEADER);
        if *inner != header.unrotated() {
            return Err(WrapError::Mismatch);
        }
        let length = (plaintext.len() - BLOCK).checked_sub(header.extra.into());
        let length = length.ok_or(WrapError::ExtraCount(header.extra))?;
        rest.copy_within(BLOCK..BLOCK + length, 0);
        rest.truncate(length);
        Ok(())
    }

    fn check_signed(&self, header: &WrapHeader, rest: &mut Vec<u8>) -> Result<(), WrapError> {
        let length = checksum_length(self.enctype);
        if usize::from(header.extra) != length {
            return Err(WrapError::ExtraCount(header.extra));
        }
        let end = rest.len().checked_sub(length).ok_or(WrapError::Short(rest.len()))?;
        let (message, checksum) = rest.split_at(end);
        let computed = self.peer.signed(message, &header.signed());
        computed.verify_leftmost(checksum).map_err(|_| WrapError::Mismatch)?;
        rest.truncate(end);
        Ok(())
    }

    fn open_pieces(&self, head: &[u8], message: &mut [&mut [u8]], tail: &[u8]) -> Result<u64, WrapError> {
        let unfit = WrapError::Pieces { head: head.len(), tail: tail.len() };
        let (header, confounder) = head.split_first_chunk::<HEADER>().ok_or(WrapError::Short(head.len()))?;
        let header = WrapHeader::read(header, token_flags(self.role.other(), self.origin))?;
        if !header.is_sealed() {
            return Err(WrapError::NotSealed);
        }
        if header.rotation != 0 {
            return Err(WrapError::Rotated(header.rotation));
        }
        let extra = usize::from(header.extra);
        if confounder.len() != BLOCK || tail.len() != extra + Affixes::tail_length(self.enctype) {
            return Err(unfit);
        }
        let (after, checksum) = tail.split_at(extra + HEADER);
        let (mut confounder, mut after) =
            (Zeroizing::new(confounder.to_vec()), Zeroizing::new(after.to_vec()));
        self.peer.decrypt(&mut around(&mut confounder, message, &mut after), checksum)?;
        match after.get(extra..) {
            Some(inner) if *inner == header.unrotated() => Ok(header.sequence),
            _ => Err(WrapError::Mismatch),
        }
    }
}

/// The pieces of a plaintext in their order.
fn around<'a>(before: &'a mut [u8], message: &'a mut [&mut [u8]], after: &'a mut [u8]) -> Vec<&'a mut [u8]> {
    let mut pieces = Vec::with_capacity(message.len() + 2);
    pieces.push(before);
    pieces.extend(message.iter_mut().map(|buffer| &mut **buffer));
    pieces.push(after);
    pieces
}

#[cfg(test)]
mod tests;
