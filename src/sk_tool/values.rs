//! Values on the command line of `lgss_sk`, and what can be offered for them.

use std::ops::RangeInclusive;

use clap_complete::engine::CompletionCandidate;

use crate::creds::shared_key::{CipherAlgorithm, HmacAlgorithm, KeyTypes};
use crate::crypto::prime_size::{PRIME_CEILING, PRIME_FLOOR};
use crate::nid::Nid;

/// Bits of a prime that Lustre takes.
pub(super) const PRIME_BITS: RangeInclusive<i64> = PRIME_FLOOR as i64..=PRIME_CEILING as i64;
pub(super) const DEFAULT_PRIME_BITS: u32 = 2048;
/// Bits of a secret.
pub(super) const KEY_BITS: RangeInclusive<i64> = 8..=1024;
pub(super) const DEFAULT_KEY_BITS: u32 = 256;

/// Network identifiers of management servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NidList(pub Vec<Nid>);

/// Names of each, the first of which is shown.
const HMACS: [(HmacAlgorithm, [&str; 2]); 3] = [
    (HmacAlgorithm::Sha256, ["SHA256", "sha256"]),
    (HmacAlgorithm::Sha512, ["SHA512", "sha512"]),
    (HmacAlgorithm::Null, ["NONE", "null"]),
];
const CIPHERS: [(CipherAlgorithm, [&str; 2]); 2] =
    [(CipherAlgorithm::Aes256Ctr, ["AES-256-CTR", "ctr(aes)"]), (CipherAlgorithm::Null, ["NONE", "null"])];
const TYPES: [&str; 3] = ["client", "server", "mgs"];

pub(super) fn hmac(text: &str) -> Result<HmacAlgorithm, &'static str> {
    by_name(&HMACS, text).ok_or("the hashes are SHA256, SHA512 and NONE")
}

pub(super) fn cipher(text: &str) -> Result<CipherAlgorithm, &'static str> {
    by_name(&CIPHERS, text).ok_or("the ciphers are AES-256-CTR and NONE")
}

fn by_name<T: Copy>(all: &[(T, [&str; 2])], text: &str) -> Option<T> {
    let found = all.iter().find(|(_, names)| names.iter().any(|name| name.eq_ignore_ascii_case(text)));
    found.map(|(value, _)| *value)
}

pub(super) fn types_of(text: &str) -> Result<KeyTypes, &'static str> {
    let mut types = KeyTypes::default();
    for word in text.split(',') {
        match word.to_ascii_lowercase().as_str() {
            "client" => types.client = true,
            "server" => types.server = true,
            "mgs" => types.mgs = true,
            _ => return Err("the types are client, server and mgs, separated by commas"),
        }
    }
    Ok(types)
}

pub(super) fn expire(text: &str) -> Result<u32, &'static str> {
    let seconds = text.parse().map_err(|_| "the value must be a number of seconds")?;
    match seconds {
        0..60 => Err("the minimum is 60 seconds; clients and servers refuse less"),
        60..=0x7fff_ffff => Ok(seconds),
        _ => Err("the maximum is 2147483647 seconds"),
    }
}

/// The name of a file system or nodemap. Some characters have a meaning in the names of loaded keys, or would in a path. An empty one stands
/// for none.
pub(super) fn name(text: &str) -> Result<String, &'static str> {
    if text.chars().any(|c| !c.is_ascii_graphic() || matches!(c, ':' | '#' | '/')) {
        return Err("a name has printable ASCII characters, without blanks and without : # /");
    }
    Ok(text.to_owned())
}

/// The name of a nodemap, which every key has.
pub(super) fn nodemap(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Err("a nodemap has a name, such as default") } else { name(text) }
}

/// An empty text is no network identifier at all.
pub(super) fn nids(text: &str) -> Result<NidList, String> {
    if text.is_empty() {
        return Ok(NidList(Vec::new()));
    }
    let nid = |word: &str| {
        let nid = word.trim().parse::<Nid>().map_err(|error| error.to_string())?;
        if nid.is_any() { Err("a key names each MGS".to_owned()) } else { Ok(nid) }
    };
    text.split(',').map(nid).collect::<Result<_, _>>().map(NidList)
}

pub(super) fn hmacs() -> Vec<CompletionCandidate> {
    HMACS.iter().map(|(_, [name, _])| CompletionCandidate::new(*name)).collect()
}

pub(super) fn ciphers() -> Vec<CompletionCandidate> {
    CIPHERS.iter().map(|(_, [name, _])| CompletionCandidate::new(*name)).collect()
}

pub(super) fn types() -> Vec<CompletionCandidate> {
    TYPES.iter().map(CompletionCandidate::new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algorithms_have_lustres_names_whatever_the_case() {
        for name in ["SHA512", "sha512", "Sha512"] {
            assert_eq!(hmac(name), Ok(HmacAlgorithm::Sha512));
        }
        assert_eq!((hmac("null"), hmac("NONE")), (Ok(HmacAlgorithm::Null), Ok(HmacAlgorithm::Null)));
        assert_eq!(cipher("ctr(aes)"), Ok(CipherAlgorithm::Aes256Ctr));
        assert_eq!(
            (HmacAlgorithm::Sha256.shown_name(), CipherAlgorithm::Null.shown_name()),
            ("SHA256", "NONE")
        );
        assert!(hmac("MD5").is_err() && cipher("AES").is_err() && hmac("").is_err());
    }

    #[test]
    fn types_are_words_between_commas() {
        let types = types_of("Client,MGS").unwrap();
        assert_eq!((types.client, types.server, types.mgs), (true, false, true));
        assert!(types_of("").is_err() && types_of("client,").is_err() && types_of("oss").is_err());
    }

    #[test]
    fn every_network_identifier_must_be_one() {
        let list = nids("10.0.0.1, 10.0.0.1@o2ib3").unwrap();
        assert_eq!(list.0.iter().map(Nid::to_string).collect::<Vec<_>>(), ["10.0.0.1@tcp", "10.0.0.1@o2ib3"]);
        assert_eq!(nids(""), Ok(NidList(Vec::new())));
        assert!(
            nids("10.0.0").is_err() && nids("10.0.0.1@tcp,").is_err() && nids("0xffffffffffffffff").is_err()
        );
    }

    #[test]
    fn contexts_last_as_long_as_lustre_lets_them() {
        assert_eq!((expire("60"), expire("2147483647")), (Ok(60), Ok(0x7fff_ffff)));
        assert!(expire("59").is_err() && expire("2147483648").is_err() && expire("1d").is_err());
    }
}
