//! Checks what the worker reports before it comes into a key (rule S12): nothing of it is trusted.

use crate::config::Enctypes;
use crate::crypto::enctype::Enctype;
use crate::crypto::mic::KeyOrigin;
use crate::ctx::initiator::{Initiator, Principal};
use crate::ctx::{BaseKey, Context, Handle, Lifetime, SeqWindow};
use crate::event::{Cause, Failure, Stage, one_line};
use crate::negotiate::messages::Established;
use crate::secret::Secret;
use crate::time::now_32;

/// A context that has passed the checks.
pub(super) struct Agreed {
    /// For the key.
    pub(super) context: Context,
    /// How long the key may have it.
    pub(super) lifetime: Lifetime,
    /// Who, from which cache; for the log.
    pub(super) credential: String,
    /// Who has answered; for the log.
    pub(super) server: String,
}

/// Window, handle, key length and end must make sense, and the encryption type be `allowed`.
///
/// # Errors
/// `WorkerFault` for what cannot be, `TicketExpired` for a context that has no life left.
pub(super) fn check(
    context: Established,
    base_key: Secret,
    handle: &[u8],
    allowed: &Enctypes,
) -> Result<Agreed, Failure> {
    let bad = |what: &str| Failure::new(Stage::Publish, Cause::WorkerFault, format_args!("S12: {what}"));
    let enctype = Enctype::try_from(context.enctype).map_err(|error| bad(&error.to_string()))?;
    if !allowed.allow(enctype) {
        return Err(bad(&format!("context of {enctype}; allowed by lgss.toml: {allowed}")));
    }
    let key_origin = if context.acceptor_subkey { KeyOrigin::AcceptorSubkey } else { KeyOrigin::Initiator };
    let left = context.endtime.saturating_sub(now_32());
    let lifetime = Lifetime::from_secs(context.lifetime.min(left)).less_margin();
    if lifetime.as_secs() == 0 {
        let detail = "the context is valid for less than a second or two";
        return Err(Failure::new(Stage::Publish, Cause::TicketExpired, detail));
    }
    Ok(Agreed {
        context: Context {
            window: SeqWindow::new(context.window).ok_or_else(|| bad("sequence window of 0"))?,
            handle: Handle::new(handle).ok_or_else(|| bad("no handle, or one too long"))?,
            base_key: BaseKey::new(enctype, base_key)
                .ok_or_else(|| bad("key of a wrong length, or all zeros"))?,
            key_origin,
            endtime: context.endtime,
            send_sequence: context.send_sequence,
            // One that cannot be written down is left out: no reader could compare it.
            initiator: Principal::new(&context.principal)
                .map(|principal| Initiator { principal, unmet: context.unmet.as_deref().map(one_line) }),
        },
        lifetime,
        credential: one_line(&context.credential),
        server: one_line(&context.server),
    })
}
