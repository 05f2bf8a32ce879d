//! Tokens by Lustre's own RPCs. The monitor hands them to the kernel, which sends them (docs/formats.md, "Lustre's
//! channel").
//!
//! This file decodes the server's answer as the kernel returns it, in host byte order: `u32 0 · u32 gss_major · u32
//! gss_minor · u32 window · u32 length + handle, padded to four · u32 length + token, padded to four`. The rest of the
//! buffer has no meaning.

#[cfg(feature = "gss")]
use super::answer::WindowProof;
use super::answer::{Answer, GSS_S_UNAUTHORIZED};
use crate::class::Private;
use crate::ctx::HANDLE_LIMIT;
use crate::secret::Secret;
use crate::wire::{Reader, WireError};

/// Longest token in either direction, in bytes (rule S11).
pub(crate) const LUSTRE_TOKEN_LIMIT: usize = 64 * 1024;
/// Room for the longest answer.
pub(crate) const REPLY_SIZE: usize = 24 + HANDLE_LIMIT + LUSTRE_TOKEN_LIMIT;

/// What is wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LustreReplyError {
    /// Lengths do not fit.
    #[error("answer of the server: {0}")]
    Layout(#[from] WireError),
    /// The first word is not 0.
    #[error("answer of the server: status {0}")]
    Status(u32),
}

/// Decodes an answer.
///
/// # Errors
/// [`LustreReplyError`].
pub(crate) fn decode(reply: &[u8]) -> Result<Answer, LustreReplyError> {
    let mut reader = Reader::new(reply);
    match reader.u32_host()? {
        0 => {}
        status => return Err(LustreReplyError::Status(status)),
    }
    let (gss_major, gss_minor, window) = (reader.u32_host()?, reader.u32_host()?, reader.u32_host()?);
    let handle = Private::new(reader.opaque_host_padded(HANDLE_LIMIT)?.to_vec());
    let token = Secret::new(reader.opaque_host_padded(LUSTRE_TOKEN_LIMIT)?.to_vec());
    Ok(Answer {
        handle,
        gss_major,
        gss_minor,
        window,
        token,
        #[cfg(feature = "gss")]
        window_proof: WindowProof::TheKernels,
    })
}

/// The answer of a server that has denied the RPC itself: no handle, no token.
pub(crate) fn denial() -> Answer {
    Answer {
        handle: Private::new(Vec::new()),
        gss_major: GSS_S_UNAUTHORIZED,
        gss_minor: 0,
        window: 0,
        token: Secret::new(Vec::new()),
        #[cfg(feature = "gss")]
        window_proof: WindowProof::TheKernels,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Writer;
    use proptest::prelude::*;
    use serde_json::Value;

    fn reply(words: [u32; 4], handle: &[u8], token: &[u8]) -> Vec<u8> {
        let mut writer = Writer::new();
        for word in words {
            writer.u32_host(word);
        }
        for field in [handle, token] {
            writer.opaque_host(field).unwrap().bytes(&[0xff; 3][..field.len().wrapping_neg() % 4]);
        }
        writer.as_slice().to_vec()
    }

    #[test]
    fn an_answer_is_taken_apart_whatever_lies_behind_it() {
        for token in [&b"token"[..], b"toke", b""] {
            let mut bytes = reply([0, 0, 0, 2048], b"handle78", token);
            bytes.extend([7; 100]);
            let answer = decode(&bytes).unwrap();
            assert_eq!((answer.window, answer.handle.expose().as_slice()), (2048, &b"handle78"[..]));
            assert_eq!(answer.token.expose(), token);
        }
    }

    /// Every answer of a real server (tests/golden), with zeros in place of Kerberos tokens.
    #[test]
    fn every_captured_answer_is_understood() {
        let captured: Vec<Value> =
            serde_json::from_str(include_str!("../../../tests/golden/lustre-exchanges.json")).unwrap();
        let (mut accepted, mut refused) = (0, 0);
        for record in captured.iter().filter(|record| record["status"] == 0) {
            let number = |name: &str| record[name].as_u64().unwrap();
            let mut reply = bytes(&record["reply"]);
            reply.resize(usize::try_from(number("reply_size")).unwrap(), 0);
            let answer = decode(&reply).unwrap();
            assert_eq!(u64::from(answer.gss_major), number("gss_major"));
            assert_eq!(u64::from(answer.window), number("window"));
            assert_eq!(*answer.handle.expose(), bytes(&record["handle"]));
            assert_eq!(answer.token.len() as u64, number("reply_token_size"));
            *if answer.gss_major == 0 { &mut accepted } else { &mut refused } += 1;
        }
        assert!(accepted > 20 && refused > 1, "{accepted} and {refused}");
    }

    fn bytes(hex: &Value) -> Vec<u8> {
        let hex = hex.as_str().unwrap();
        let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(digits).collect()
    }

    #[test]
    fn a_refusal_is_an_answer_and_a_status_or_a_length_beyond_the_end_is_not() {
        assert_eq!(decode(&reply([0, 0xd_0000, 5, 0], b"", b"")).unwrap().gss_major, 0xd_0000);
        assert!(matches!(decode(&reply([3, 0, 0, 0], b"", b"")), Err(LustreReplyError::Status(3))));
        let long = vec![0; LUSTRE_TOKEN_LIMIT + 1];
        assert!(matches!(
            decode(&reply([0; 4], b"", &long)),
            Err(LustreReplyError::Layout(WireError::TooLong(..)))
        ));
        let whole = reply([0, 0, 0, 2048], b"handle78", b"token");
        for cut in 0..whole.len() {
            assert!(matches!(decode(&whole[..cut]), Err(LustreReplyError::Layout(_))), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused_without_a_panic(bytes in any::<Vec<u8>>()) {
            let _ = decode(&bytes);
        }
    }
}
