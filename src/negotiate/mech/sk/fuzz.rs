//! Checks for the fuzz targets (docs/fuzzing.md): tokens of Lustre's shared keys.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::keys::keyed;
use super::netstring::{decode, encode};
use super::token::ResponderFields;
use crate::crypto::dh::{KeyPair, SafePrime};
use crate::secret::Secret;

const VERSION: [u8; 4] = [0, 0, 0, 1];
/// A safe prime of 512 bits.
const PRIME: [u64; 8] = [
    0xfa2d_267a_88a1_daea,
    0x4e94_8f35_9a6d_7921,
    0x44cb_cce6_f0c0_5baa,
    0x21d6_27bd_0107_55bc,
    0xe5cb_5e1f_47ab_197d,
    0x4811_55a2_1caa_e053,
    0x0c88_4a7d_589a_39db,
    0x8144_ebfe_c4c7_478f,
];

/// Netstrings, which have one form only.
pub fn netstrings(data: &[u8]) {
    if let Ok(fields) = decode::<8>(data, [4, 4, 2048, 2048, 64, 32, 4, 32]) {
        assert_eq!(encode(&fields), data);
    }
    if let Ok(fields) = decode::<4>(data, [4, 4, 64, 32]) {
        assert_eq!(encode(&fields), data);
    }
}

/// The server's token: as it is, and with an HMAC of somebody who has the secret.
pub fn responder_token(data: &[u8]) {
    let secret = Secret::new(b"throw-away secret of fuzz tests".to_vec());
    assert!(ResponderFields::verified(data, 64, &secret).is_err(), "an HMAC was guessed");
    let (random, public) = data.split_at(data.len().min(4));
    let Ok(mac) = keyed::<Hmac<Sha256>>(&secret, &[&VERSION, random, public]) else { return };
    let token = encode(&[&VERSION, random, public, mac.finalize().as_bytes()]);
    match ResponderFields::verified(&token, 64, &secret) {
        Ok(fields) => {
            assert_eq!((fields.random.as_slice(), fields.public), (random, public));
            agree(fields.public);
        }
        Err(_) => assert!(random.len() < 4 || public.len() > 64),
    }
}

/// A public key agrees only if it is between 1 and the prime less one, both not included.
fn agree(public: &[u8]) {
    let bytes: Vec<u8> = PRIME.iter().flat_map(|word| word.to_be_bytes()).collect();
    let Ok(prime) = SafePrime::checked_before(&bytes) else { return };
    let Ok(pair) = KeyPair::of(&prime, &[0xc3, 0x8a, 0x5d, 0x11]) else { return };
    let significant = public.iter().skip_while(|&&byte| byte == 0).copied().collect::<Vec<_>>();
    let in_range = !significant.is_empty()
        && significant != [1]
        && (significant.len() < bytes.len() || significant[..] < bytes[..])
        && Some(&significant) != bytes.split_last().map(|(last, head)| [head, &[last - 1]].concat()).as_ref();
    match pair.agree(public) {
        Ok(shared) => assert!(in_range && shared.len() == bytes.len()),
        Err(error) => assert!(!in_range || error.to_string().contains("short"), "{error}"),
    }
}
