//! Payloads of contexts without Kerberos: by a shared key, and by `gssnull` (docs/formats.md, "Payload of an `lgssc`
//! key").
//!
//! The context token of a shared key: `u32 1 · HMAC's name, 128 bytes padded with zeros · cipher's name, the same · u32
//! seconds of validity · our 4 random bytes · the server's 4 · u32 length + HMAC key · u32 length + encryption key`. That
//! of `gssnull` is the server's token as it is.

use crate::ctx::{Handle, SeqWindow};
use crate::secret::Secret;
use crate::wire::{WireError, Writer};

const TOKEN_VERSION: u32 = 1;
/// Room for the name of an algorithm, in bytes.
const NAME_SIZE: usize = 128;
/// Lengths, numbers and random bytes of the token and the payload.
const REST_SIZE: usize = 36;

/// A context by a shared key.
#[derive(Debug)]
pub(crate) struct SharedKeyContext {
    /// The server's sequence window.
    pub window: SeqWindow,
    /// The server's handle.
    pub handle: Handle,
    /// The kernel's name of the HMAC's hash, such as `sha256`.
    pub hmac: &'static str,
    /// The kernel's name of the cipher, such as `ctr(aes)`.
    pub cipher: &'static str,
    /// How long the context is valid, in seconds.
    pub expire: u32,
    /// Our random bytes.
    pub host_random: [u8; 4],
    /// The server's.
    pub peer_random: [u8; 4],
    /// The key of the HMAC.
    pub hmac_key: Secret,
    /// The key of the cipher; empty unless the level is privacy.
    pub encryption_key: Secret,
}

/// A context without security.
#[derive(Debug)]
pub(crate) struct NullContext {
    /// The server's sequence window.
    pub window: SeqWindow,
    /// The server's handle.
    pub handle: Handle,
    /// The server's token.
    pub token: Secret,
}

/// The payload of a context by a shared key; zeroed when dropped.
///
/// # Errors
/// [`WireError::TooLong`] for a name or key that is too long.
pub(crate) fn established_by_shared_key(context: &SharedKeyContext) -> Result<Writer, WireError> {
    let keys = context.hmac_key.len() + context.encryption_key.len();
    let mut token = Writer::with_capacity(2 * NAME_SIZE + REST_SIZE + keys);
    token.u32_host(TOKEN_VERSION).bytes(&padded(context.hmac)?).bytes(&padded(context.cipher)?);
    token.u32_host(context.expire).bytes(&context.host_random).bytes(&context.peer_random);
    token.opaque_host(context.hmac_key.expose())?.opaque_host(context.encryption_key.expose())?;
    payload(context.window, &context.handle, token.as_slice())
}

/// The payload of a context by `gssnull`; zeroed when dropped.
///
/// # Errors
/// [`WireError::TooLong`] for a token that is too long.
pub(crate) fn established_by_null(context: &NullContext) -> Result<Writer, WireError> {
    payload(context.window, &context.handle, context.token.expose())
}

fn payload(window: SeqWindow, handle: &Handle, token: &[u8]) -> Result<Writer, WireError> {
    let mut writer = Writer::with_capacity(REST_SIZE + handle.as_bytes().len() + token.len());
    writer.u32_host(window.count()).opaque_host(handle.as_bytes())?.opaque_host(token)?;
    Ok(writer)
}

fn padded(name: &str) -> Result<[u8; NAME_SIZE], WireError> {
    let mut field = [0; NAME_SIZE];
    // One zero at least ends the name.
    let room = field.get_mut(..name.len()).filter(|_| name.len() < NAME_SIZE);
    room.ok_or(WireError::TooLong(name.len(), NAME_SIZE - 1))?.copy_from_slice(name.as_bytes());
    Ok(field)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn captured() -> Vec<Value> {
        serde_json::from_str(include_str!("../../../../tests/golden/lustre-shared-payloads.json")).unwrap()
    }

    fn bytes(hex: &Value) -> Vec<u8> {
        let hex = hex.as_str().unwrap();
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    fn four(bytes: &[u8]) -> [u8; 4] {
        bytes.try_into().unwrap()
    }

    /// Those that the C tool gave to a real kernel (tests/golden); it sends zeros after the token's end, which the kernel
    /// ignores.
    #[test]
    fn payloads_are_those_of_the_c_tool() {
        let (mut shared, mut null) = (0, 0);
        for record in captured() {
            let (expected, handle) =
                (bytes(&record["payload"]), Handle::new(&bytes(&record["handle"])).unwrap());
            let window = SeqWindow::new(2048).unwrap();
            let token = bytes(&record["token"]);
            if record["mechanism"] == "gssnull" {
                let context = NullContext { window, handle, token: Secret::new(token) };
                assert_eq!(established_by_null(&context).unwrap().as_slice(), expected);
                null += 1;
                continue;
            }
            let context = SharedKeyContext {
                window,
                handle,
                hmac: "sha256",
                cipher: "ctr(aes)",
                expire: 604_800,
                host_random: four(&token[264..268]),
                peer_random: four(&token[268..272]),
                hmac_key: Secret::new(token[276..308].to_vec()),
                encryption_key: Secret::new(Vec::new()),
            };
            let ours = established_by_shared_key(&context).unwrap();
            // But for the token's length, which counts the zeros.
            assert_eq!(ours.as_slice()[..16], expected[..16]);
            assert_eq!(ours.as_slice()[20..], expected[20..ours.as_slice().len()]);
            assert!(expected[ours.as_slice().len()..].iter().all(|&byte| byte == 0));
            shared += 1;
        }
        assert_eq!((shared, null), (2, 2));
    }

    #[test]
    fn a_name_must_leave_room_for_its_end() {
        assert!(padded(&"x".repeat(NAME_SIZE - 1)).is_ok());
        assert_eq!(padded(&"x".repeat(NAME_SIZE)), Err(WireError::TooLong(NAME_SIZE, NAME_SIZE - 1)));
    }
}
