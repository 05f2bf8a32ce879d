//! AES with the key length of an encryption type, and its CBC mode with ciphertext stealing (RFC 3962 §5) over messages in
//! pieces.
//!
//! Called by [`kdf`](super::kdf) and [`wrap`](super::wrap). The result depends on the bytes alone, not on how they are cut
//! into pieces; nothing is copied but the blocks that lie across a cut, and the last two.
#![forbid(unsafe_code)]

use super::enctype::{Enctype, KeyLength};
use aes::cipher::array::Array;
use aes::cipher::consts::U16;
use aes::cipher::{
    BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, KeyInit,
};
use aes::{Aes128, Aes256};
use zeroize::Zeroizing;

/// Bytes of a block.
pub(super) const BLOCK: usize = 16;

type CipherBlock = Array<u8, U16>;

/// AES with a key; hardware is used where there is some.
pub(super) enum BlockCipher {
    Aes128(Aes128),
    Aes256(Aes256),
}

impl BlockCipher {
    pub(super) fn new(enctype: Enctype, key: &[u8]) -> Result<Self, KeyLength> {
        let cipher = match enctype {
            Enctype::Aes128Sha1 | Enctype::Aes128Sha256 => Aes128::new_from_slice(key).map(Self::Aes128),
            Enctype::Aes256Sha1 | Enctype::Aes256Sha384 => Aes256::new_from_slice(key).map(Self::Aes256),
        };
        cipher.map_err(|_| KeyLength { enctype, length: key.len() })
    }

    /// One block.
    pub(super) fn encrypt_block(&self, block: &mut [u8; BLOCK]) {
        match self {
            Self::Aes128(cipher) => cipher.encrypt_block(block.into()),
            Self::Aes256(cipher) => cipher.encrypt_block(block.into()),
        }
    }

    /// Encrypts the pieces as one message, which has at least two blocks, with an initialisation vector of zeros.
    pub(super) fn encrypt(&self, pieces: &mut [&mut [u8]]) {
        match self {
            Self::Aes128(cipher) => encrypt(cipher, pieces),
            Self::Aes256(cipher) => encrypt(cipher, pieces),
        }
    }

    /// The reverse of [`BlockCipher::encrypt`].
    pub(super) fn decrypt(&self, pieces: &mut [&mut [u8]]) {
        match self {
            Self::Aes128(cipher) => decrypt(cipher, pieces),
            Self::Aes256(cipher) => decrypt(cipher, pieces),
        }
    }
}

fn encrypt<C: BlockCipherEncrypt<BlockSize = U16>>(cipher: &C, pieces: &mut [&mut [u8]]) {
    let mut mode = cbc::Encryptor::inner_iv_init(cipher, &CipherBlock::default());
    let (bulk, stolen) = split(pieces);
    let end = in_blocks(pieces, bulk, |blocks| mode.encrypt_blocks(blocks));
    let [mut first, mut second] = [(); 2].map(|()| Zeroizing::new([0; BLOCK]));
    gather(pieces, end, &mut [&mut *first, second.get_mut(..stolen).unwrap_or_default()]);
    mode.encrypt_block((&mut *first).into());
    mode.encrypt_block((&mut *second).into());
    // The last two change places, and of the second to last as much remains as there was of the last.
    scatter(pieces, end, &[&*second, first.get(..stolen).unwrap_or_default()]);
}

fn decrypt<C: BlockCipherDecrypt<BlockSize = U16>>(cipher: &C, pieces: &mut [&mut [u8]]) {
    let mut mode = cbc::Decryptor::inner_iv_init(cipher, &CipherBlock::default());
    let (bulk, stolen) = split(pieces);
    let end = in_blocks(pieces, bulk, |blocks| mode.decrypt_blocks(blocks));
    let [mut first, mut second] = [(); 2].map(|()| Zeroizing::new([0; BLOCK]));
    gather(pieces, end, &mut [&mut *second, first.get_mut(..stolen).unwrap_or_default()]);
    // What was stolen: the last block was filled up with zeros, so that its decryption shows the rest of the one before.
    let mut opened = second.clone();
    cipher.decrypt_block((&mut *opened).into());
    for (place, byte) in first.iter_mut().zip(&*opened).skip(stolen) {
        *place = *byte;
    }
    mode.decrypt_block((&mut *first).into());
    mode.decrypt_block((&mut *second).into());
    scatter(pieces, end, &[&*first, second.get(..stolen).unwrap_or_default()]);
}

/// How many bytes come before the last two blocks, and how long the last one is, 1 to 16.
fn split(pieces: &[&mut [u8]]) -> (usize, usize) {
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    let blocks = length.div_ceil(BLOCK);
    (blocks.saturating_sub(2) * BLOCK, length - blocks.saturating_sub(1) * BLOCK)
}

/// A byte's place in a message in pieces.
#[derive(Debug, Clone, Copy, Default)]
struct PiecePlace {
    piece: usize,
    offset: usize,
}

/// Calls `work` for the first `bytes`, a multiple of a block, in order: for runs of whole blocks in place, and for each
/// block that lies across a cut. Returns the place after them.
fn in_blocks(
    pieces: &mut [&mut [u8]],
    mut bytes: usize,
    mut work: impl FnMut(&mut [CipherBlock]),
) -> PiecePlace {
    let mut place = PiecePlace::default();
    while bytes > 0 {
        let Some(piece) = pieces.get_mut(place.piece) else { break };
        let here = piece.get_mut(place.offset..).unwrap_or_default();
        let run = here.len().min(bytes) / BLOCK * BLOCK;
        if run > 0 {
            let (blocks, _) = Array::slice_as_chunks_mut(here.get_mut(..run).unwrap_or_default());
            work(blocks);
            place.offset += run;
            bytes -= run;
        } else if here.is_empty() {
            place = PiecePlace { piece: place.piece + 1, offset: 0 };
        } else {
            let mut across = Zeroizing::new([0; BLOCK]);
            gather(pieces, place, &mut [&mut *across]);
            work(std::slice::from_mut((&mut *across).into()));
            place = scatter(pieces, place, &[&*across]);
            bytes -= BLOCK;
        }
    }
    place
}

/// Copies the bytes from a place on.
fn gather(pieces: &[&mut [u8]], place: PiecePlace, to: &mut [&mut [u8]]) {
    let after = pieces.iter().skip(place.piece).flat_map(|piece| piece.iter()).skip(place.offset);
    let room = to.iter_mut().flat_map(|part| part.iter_mut());
    room.zip(after).for_each(|(room, byte)| *room = *byte);
}

/// Puts bytes back, from a place on, and returns the place after them.
fn scatter(pieces: &mut [&mut [u8]], mut place: PiecePlace, from: &[&[u8]]) -> PiecePlace {
    for part in from {
        let mut part = *part;
        while let Some(piece) = pieces.get_mut(place.piece).filter(|_| !part.is_empty()) {
            let here = piece.get_mut(place.offset..).unwrap_or_default();
            let (now, later) = part.split_at(part.len().min(here.len()));
            here.iter_mut().zip(now).for_each(|(room, byte)| *room = *byte);
            place = match later.is_empty() {
                true => PiecePlace { offset: place.offset + now.len(), ..place },
                false => PiecePlace { piece: place.piece + 1, offset: 0 },
            };
            part = later;
        }
    }
    place
}
