//! A secret as a JSON string of hexadecimal digits. Only the pipe's own messages use it: their buffers are zeroed (pipe.rs).

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserializer, Serializer};
use zeroize::Zeroizing;

use crate::secret::Secret;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Writes the digits.
///
/// # Errors
/// Those of the serialiser.
pub(super) fn serialize<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    let mut text = Zeroizing::new(String::with_capacity(secret.len() * 2));
    for byte in secret.expose() {
        for half in [byte >> 4, byte & 0xf] {
            text.extend(DIGITS.get(usize::from(half)).copied().map(char::from));
        }
    }
    serializer.serialize_str(&text)
}

/// Reads the digits from where they stand.
///
/// # Errors
/// Those of the deserialiser, if these are no pairs of digits.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    struct Digits;

    impl Visitor<'_> for Digits {
        type Value = Secret;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("hexadecimal digits")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Secret, E> {
            let half = |digit: &u8| char::from(*digit).to_digit(16).and_then(|half| u8::try_from(half).ok());
            let (pairs, rest) = text.as_bytes().as_chunks::<2>();
            let mut bytes = Zeroizing::new(Vec::with_capacity(pairs.len()));
            for [high, low] in pairs {
                match (half(high), half(low)) {
                    (Some(high), Some(low)) => bytes.push(high << 4 | low),
                    _ => return Err(E::custom("no hexadecimal digit")),
                }
            }
            if rest.is_empty() { Ok(bytes.into()) } else { Err(E::custom("half a byte")) }
        }
    }
    deserializer.deserialize_str(Digits)
}
