//! `--write`: makes a key and its file.

use std::fs;
use std::path::Path;

use super::arguments::SkArguments;
use super::failure::SkFailure;
use super::files::{FileForm, NewFile};
use super::remark::remark;
use super::values::{DEFAULT_KEY_BITS, DEFAULT_PRIME_BITS};
use super::{prime, secrets};
use crate::creds::shared_key::{CipherAlgorithm, HmacAlgorithm, KeyParts, SharedKey, bytes_of_secret};
use crate::secret::Secret;
use crate::terminal::Terminal;
use crate::text::quoted_path;

/// Seconds that a context lasts: a week, or a day where cryptography is certified.
const EXPIRE: u32 = 604_800;
const FIPS_EXPIRE: u32 = 86_400;
const DEFAULT_NODEMAP: &str = "default";

pub(super) fn run(
    path: &Path,
    arguments: &SkArguments,
    terminal: &mut Terminal<'_>,
) -> Result<(), SkFailure> {
    let file = NewFile::at(path)?;
    let key = complete(parts(arguments, terminal)?, terminal)?;
    let form = if arguments.ascii { FileForm::Text } else { FileForm::Binary };
    file.write(&key, form, None)?;
    warn_of_weakness(path, &key, terminal);
    if arguments.verbose {
        remark(terminal.err, format_args!("{} written: {}", quoted_path(path), key.types));
    }
    Ok(())
}

fn parts(arguments: &SkArguments, terminal: &mut Terminal<'_>) -> Result<KeyParts, SkFailure> {
    let expire = if is_fips() { FIPS_EXPIRE } else { EXPIRE };
    Ok(KeyParts {
        hmac: arguments.hmac.unwrap_or(HmacAlgorithm::Sha256),
        cipher: arguments.crypt.unwrap_or(CipherAlgorithm::Aes256Ctr),
        expire: arguments.expire.unwrap_or(expire),
        types: arguments.types.unwrap_or_default(),
        mgs_nids: arguments.mgsnids.clone().map(|list| list.0).unwrap_or_default(),
        file_system: arguments.fsname.clone().unwrap_or_default(),
        nodemap: arguments.nodemap.clone().unwrap_or(DEFAULT_NODEMAP.to_owned()),
        secret: secret(arguments, terminal)?,
        prime_bits: arguments.prime_bits.unwrap_or(DEFAULT_PRIME_BITS),
        prime: None,
    })
}

fn secret(arguments: &SkArguments, terminal: &mut Terminal<'_>) -> Result<Secret, SkFailure> {
    let bits = arguments.key_bits.unwrap_or(DEFAULT_KEY_BITS);
    let length = bytes_of_secret(bits)?;
    let Some(path) = &arguments.data else { return secrets::random(length) };
    let (secret, more) = secrets::from_file(path, length)?;
    if more > 0 {
        let path = quoted_path(path);
        remark(terminal.err, format_args!("of {path} the first {length} bytes are the secret (--key-bits)"));
    }
    Ok(secret)
}

/// The key of these parts, with a prime if a client needs one and there is none yet. Every other rule is checked before
/// the search for a prime.
///
/// # Errors
/// [`SkFailure::Rules`], [`SkFailure::Prime`].
pub(super) fn complete(parts: KeyParts, terminal: &mut Terminal<'_>) -> Result<SharedKey, SkFailure> {
    let key = SharedKey::new(parts)?;
    if !key.types.client || key.prime().is_some() {
        return Ok(key);
    }
    let prime = prime::found(key.prime_bits, terminal)?;
    let with_prime = KeyParts { prime: Some(prime), ..key.into_parts() };
    Ok(SharedKey::new(with_prime)?)
}

/// Says what a key without one of the algorithms is worth.
pub(super) fn warn_of_weakness(path: &Path, key: &SharedKey, terminal: &mut Terminal<'_>) {
    let worth = match (key.cipher, key.hmac) {
        (CipherAlgorithm::Null, HmacAlgorithm::Null) => {
            "is for tests only: with --crypt NONE and --hmac NONE nothing is encrypted or signed"
        }
        (CipherAlgorithm::Null, _) => {
            "is for tests only: with --crypt NONE nothing is encrypted, and the key that signs is no secret"
        }
        (_, HmacAlgorithm::Null) => "serves no client: with --hmac NONE nothing can derive the cipher's key",
        _ => return,
    };
    remark(terminal.err, format_args!("{} {worth}", quoted_path(path)));
}

fn is_fips() -> bool {
    fs::read("/proc/sys/crypto/fips_enabled").is_ok_and(|flag| flag.starts_with(b"1"))
}
