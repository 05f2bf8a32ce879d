//! Payload of `lgssc` keys, which Lustre's kernel part imports (docs/formats.md, "Payload of an `lgssc` key").
//!
//! Established: `u32 window (≠ 0) · u32 length + handle · u32 length + context token`; failed: `u32 0 · i32 negative errno
//! · u32 GSS major`. Host byte order. The context token is version 2: `u32 2 · u32 endtime · u32 flags · u64 send
//! sequence · u32 enctype · u32 key length · u32 3 · Ke · Ki · Kc`.
//!
//! The three keys are derived by RFC 3961's DK on both sides and for all types, also for those of RFC 8009.

mod shared;

pub(crate) use shared::{NullContext, SharedKeyContext, established_by_null, established_by_shared_key};

use super::super::context::Context;
use super::flags;
use super::no_context::not_established;
use crate::crypto::kdf::{KeyPurpose, dk};
use crate::event::Failure;
use crate::wire::{WireError, Writer};

const TOKEN_VERSION: u32 = 2;
/// Key usage numbers of the three keys (RFC 4121 §2: acceptor seal, acceptor sign).
const USAGE_SEAL: u32 = 22;
const USAGE_SIGN: u32 = 23;
const KEY_COUNT: u32 = 3;
/// The longest payload but for the handle: lengths, 32 bytes of the token's head, three keys of 32.
const REST_LIMIT: usize = 12 + 32 + 3 * 32;

/// Why a context cannot be written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EncodeError {
    /// A length over its field's.
    #[error(transparent)]
    Layout(#[from] WireError),
    /// The base key does not fit its type, which its own type rules out.
    #[error("base key of a wrong length")]
    Key,
}

/// The payload of an established context; zeroed when dropped.
///
/// # Errors
/// [`EncodeError`].
pub(crate) fn established(context: &Context) -> Result<Writer, EncodeError> {
    let handle = context.handle.as_bytes();
    let mut writer = Writer::with_capacity(handle.len() + REST_LIMIT);
    writer.u32_host(context.window.count()).opaque_host(handle)?.opaque_host(token(context)?.as_slice())?;
    Ok(writer)
}

fn token(context: &Context) -> Result<Writer, EncodeError> {
    let base_key = &context.base_key;
    let (enctype, secret) = (base_key.enctype(), base_key.secret().expose());
    let length = u32::try_from(secret.len()).map_err(|_| EncodeError::Key)?;
    let mut writer = Writer::with_capacity(REST_LIMIT);
    writer
        .u32_host(TOKEN_VERSION)
        .u32_host(context.endtime)
        .u32_host(flags::of(context.key_origin))
        .u64_host(context.send_sequence)
        .u32_host(enctype.number())
        .u32_host(length)
        .u32_host(KEY_COUNT);
    for (usage, kind) in [
        (USAGE_SEAL, KeyPurpose::Encryption),
        (USAGE_SEAL, KeyPurpose::Integrity),
        (USAGE_SIGN, KeyPurpose::Checksum),
    ] {
        writer.bytes(dk(enctype, secret, usage, kind).map_err(|_| EncodeError::Key)?.expose());
    }
    Ok(writer)
}

/// The payload of a failed negotiation. The kernel takes an errno of 0 for a refusal of the server's, and would retry on
/// ERESTART, which no [`Failure`] has.
pub(crate) fn failed(failure: &Failure) -> Writer {
    not_established(failure.cause.errno(), failure.gss_major)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::enctype::Enctype;
    use crate::crypto::mic::KeyOrigin;
    use crate::ctx::{BaseKey, Handle, SeqWindow};
    use crate::event::{Cause, Stage};
    use crate::secret::Secret;
    use serde_json::Value;

    fn bytes(hex: &Value) -> Vec<u8> {
        let hex = hex.as_str().unwrap();
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    fn number(value: &Value) -> u32 {
        value.as_u64().unwrap().try_into().unwrap()
    }

    fn context_of(captured: &Value) -> Context {
        let enctype = Enctype::try_from(number(&captured["acceptor_subkey_etype"])).unwrap();
        Context {
            window: SeqWindow::new(2048).unwrap(),
            handle: Handle::new(&[1, 2, 3, 4, 5, 6, 7, 8]).unwrap(),
            base_key: BaseKey::new(enctype, Secret::new(bytes(&captured["acceptor_subkey"]))).unwrap(),
            key_origin: KeyOrigin::AcceptorSubkey,
            endtime: number(&captured["payload_endtime"]),
            send_sequence: captured["payload_seq_send"].as_u64().unwrap(),
            initiator: None,
        }
    }

    /// As taken from a real file system (tests/golden).
    #[test]
    fn a_payload_is_byte_for_byte_what_lustre_took() {
        let captured: Vec<Value> =
            serde_json::from_str(include_str!("../../../tests/golden/lustre-context-keys.json")).unwrap();
        assert!(captured.len() >= 3);
        for record in captured {
            let mut expected = Vec::new();
            let keys: Vec<Vec<u8>> = record["payload_keys"].as_array().unwrap().iter().map(bytes).collect();
            let key_length = u32::try_from(keys[0].len()).unwrap();
            expected.extend([2048u32, 8].map(u32::to_ne_bytes).as_flattened());
            expected.extend([1, 2, 3, 4, 5, 6, 7, 8]);
            expected.extend((32 + 3 * key_length).to_ne_bytes());
            expected.extend(2u32.to_ne_bytes());
            expected.extend(number(&record["payload_endtime"]).to_ne_bytes());
            expected.extend(number(&record["payload_flags"]).to_ne_bytes());
            expected.extend(record["payload_seq_send"].as_u64().unwrap().to_ne_bytes());
            expected.extend(
                [number(&record["payload_enctype"]), key_length, 3].map(u32::to_ne_bytes).as_flattened(),
            );
            expected.extend(keys.concat());
            assert_eq!(established(&context_of(&record)).unwrap().as_slice(), expected);
        }
    }

    #[test]
    fn a_failure_has_no_window_and_a_negative_errno() {
        let failure = Failure::new(Stage::Credentials, Cause::NoTicket, "no ticket").with_gss_major(0xd_0000);
        let expected: Vec<u8> = [0, (-126i32).cast_unsigned(), 0xd_0000].map(u32::to_ne_bytes).concat();
        assert_eq!(failed(&failure).as_slice(), expected);
    }
}
