//! The writing of `user` keys' payloads, for the upcall.

use super::super::flags;
use super::super::no_context::not_established;
use super::super::texts::{TEXT_LIMIT, TextKind};
use crate::ctx::context::Context;
use crate::ctx::initiator::Initiator;
use crate::event::{Failure, Reason};
use crate::wire::{WireError, Writer};
use nix::errno::Errno;

/// Major status of a token after which the peer expects another (RFC 2743 §1.2.1.1).
pub(crate) const GSS_S_CONTINUE_NEEDED: u32 = 0x1;
/// Bytes of a token before its key.
const TOKEN_HEAD: usize = 20;

/// The payload that a key is instantiated with.
pub fn in_progress() -> Writer {
    not_established(Errno::EINPROGRESS, GSS_S_CONTINUE_NEEDED)
}

/// The payload of a failed negotiation, for readers that may know no more than the errno.
pub fn failed(failure: &Failure) -> Writer {
    not_established(failure.cause.errno(), failure.gss_major)
}

/// The same with the reason in words.
///
/// # Errors
/// `WireError::TooLong`, which the limits of a failure exclude.
pub fn failed_because(failure: &Failure, reason: &Reason) -> Result<Writer, WireError> {
    let mut writer = failed(failure);
    let Reason { stage, cause, detail, remedy } = reason;
    for (kind, text) in [
        (TextKind::Stage, stage),
        (TextKind::Cause, cause),
        (TextKind::Detail, detail),
        (TextKind::Remedy, remedy),
    ] {
        put(&mut writer, kind, text)?;
    }
    Ok(writer)
}

/// The payload of an established context.
///
/// # Errors
/// `WireError::TooLong`, which the types' limits exclude.
pub fn established(context: &Context) -> Result<Writer, WireError> {
    let key = context.base_key.secret().expose();
    let mut token = Writer::with_capacity(TOKEN_HEAD + key.len());
    token
        .u32_host(flags::of(context.key_origin))
        .u32_host(context.endtime)
        .u64_host(context.send_sequence)
        .u32_host(context.base_key.enctype().number())
        .bytes(key);
    let handle = context.handle.as_bytes();
    let Texted { principal, unmet } = Texted::of(context);
    let capacity = 12 + handle.len() + token.len() + 16 + principal.len() + unmet.len();
    let mut writer = Writer::with_capacity(capacity);
    writer.u32_host(context.window.count()).opaque_host(handle)?.opaque_host(token.as_slice())?;
    for (kind, text) in [(TextKind::Principal, principal), (TextKind::Unmet, unmet)] {
        if !text.is_empty() {
            put(&mut writer, kind, text)?;
        }
    }
    Ok(writer)
}

/// What is said of the initiator; empty where there is nothing to say.
struct Texted<'a> {
    principal: &'a str,
    unmet: &'a str,
}

impl<'a> Texted<'a> {
    fn of(context: &'a Context) -> Self {
        match &context.initiator {
            Some(Initiator { principal, unmet }) => {
                Self { principal: principal.as_str(), unmet: unmet.as_deref().unwrap_or_default() }
            }
            None => Self { principal: "", unmet: "" },
        }
    }
}

/// Appends a text.
///
/// # Errors
/// [`WireError::TooLong`].
fn put(writer: &mut Writer, kind: TextKind, text: &str) -> Result<(), WireError> {
    if text.len() > TEXT_LIMIT {
        return Err(WireError::TooLong(text.len(), TEXT_LIMIT));
    }
    writer.u32_host(kind as u32).opaque_host(text.as_bytes()).map(drop)
}
