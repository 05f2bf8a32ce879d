//! The final content of a key, and how much it reveals: a context and its principal, or a failure, in words if the
//! requester may know them (rule S15). If the owner's quota has no room for words, the key goes without.
//!
//! Called by the monitor to finish a live key.

use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::authorise::Acting;
use super::check::AgreedContext;
use super::outcome::Outcome;
use crate::config::Config;
use crate::ctx::payload::lustre::{self, EncodeError};
use crate::ctx::payload::user;
use crate::ctx::{Context, Lifetime};
use crate::event::{Cause, Failure, Reason, Stage};
use crate::key::{Consumer, LiveKey};
use crate::wire::{WireError, Writer};

/// How long a key holds the error that a limit was reached. It is short, since the next try may well succeed; but the kernel
/// tells the requester ENOKEY if the key has expired before it goes on with it, on a machine that is busy or stands still.
const BUSY_TTL: Duration = Duration::from_secs(5);

/// A failed attempt to finish a key: the key, still live, and the kernel's error.
type Finished = Result<(), (LiveKey, Errno)>;

/// Fails the key. Programs can read the error for the negative-cache time; the kernel takes the error and drops the
/// key.
pub(super) fn fail(
    live: LiveKey,
    failure: Failure,
    acting: Acting,
    config: &Config,
    deadline: Instant,
) -> Outcome {
    let ttl = remembered_for(failure.cause, config.timeouts.negative_cache.0);
    let told = match live.consumer() {
        Consumer::Program => publish(live, failed_for(acting, &failure), || user::failed(&failure), ttl),
        Consumer::Kernel => live.fail_import(lustre::failed(&failure).as_slice(), deadline),
    };
    match told {
        Ok(()) => Outcome::Failed(failure),
        Err((live, errno)) => {
            live.hand_over();
            let detail = format!("{}; and the key could not be updated: {errno}", failure.detail);
            Outcome::Failed(Failure { detail, ..failure })
        }
    }
}

/// How long a key holds its error.
fn remembered_for(cause: Cause, negative_cache: Duration) -> Duration {
    match cause {
        Cause::TooMany | Cause::Paused | Cause::Unpaused => negative_cache.min(BUSY_TTL),
        _ => negative_cache,
    }
}

/// Words are only for a requester that asks for itself; a server that acts for a user gets the errno, as a stranger
/// would.
fn failed_for(acting: Acting, failure: &Failure) -> Writer {
    let reason = if acting == Acting::ForItself { Reason::of(failure) } else { None };
    let told = reason.and_then(|reason| user::failed_because(failure, &reason).ok());
    told.unwrap_or_else(|| user::failed(failure))
}

/// Gives a program its context. Everybody who may use the context may know its principal; only the requester itself may
/// know which wish was not met.
///
/// # Errors
/// [`WireError`] for a context that does not fit a payload, which its types exclude.
pub(super) fn publish_context(
    live: LiveKey,
    mut context: Context,
    acting: Acting,
    lifetime: Lifetime,
) -> Result<Finished, WireError> {
    if let Some(initiator) = context.initiator.as_mut().filter(|_| acting != Acting::ForItself) {
        initiator.unmet = None;
    }
    let full = user::established(&context)?;
    context.initiator = None;
    let bare = user::established(&context)?;
    Ok(publish(live, full, || bare, lifetime.as_duration()))
}

/// The payload of a context for the kernel.
///
/// # Errors
/// [`EncodeError`] for a context that does not fit a payload, which its types exclude.
pub(super) fn kernels_payload(context: &AgreedContext) -> Result<Writer, EncodeError> {
    match context {
        AgreedContext::Kerberos(context) => lustre::established(context),
        AgreedContext::SharedKey(context) => Ok(lustre::established_by_shared_key(context)?),
        AgreedContext::Null(context) => Ok(lustre::established_by_null(context)?),
    }
}

fn publish(live: LiveKey, full: Writer, bare: impl FnOnce() -> Writer, ttl: Duration) -> Finished {
    match live.publish(full.as_slice(), ttl) {
        Err((live, Errno::EDQUOT)) => live.publish(bare().as_slice(), ttl),
        other => other,
    }
}

/// Fails a key that has not taken its context.
pub(super) fn fail_unpublished(
    live: LiveKey,
    errno: Errno,
    acting: Acting,
    config: &Config,
    deadline: Instant,
) -> Outcome {
    let failure =
        |cause| Failure::new(Stage::Publish, cause, format_args!("the key cannot be updated: {errno}"));
    let cause = match errno {
        Errno::ENOKEY | Errno::EKEYREVOKED | Errno::EKEYEXPIRED => {
            // Nobody waits for the key any more, and nothing can be written to it.
            live.hand_over();
            return Outcome::Failed(failure(Cause::KeyGone));
        }
        Errno::EDQUOT => Cause::Quota,
        Errno::EAGAIN => Cause::Deadline,
        _ => Cause::Setup,
    };
    fail(live, failure(cause), acting, config, deadline)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_a_limit_was_reached_is_remembered_for_five_seconds_at_most() {
        let seconds = Duration::from_secs;
        assert_eq!(remembered_for(Cause::NoTicket, seconds(60)), seconds(60));
        for cause in [Cause::TooMany, Cause::Paused, Cause::Unpaused] {
            assert_eq!(remembered_for(cause, seconds(60)), seconds(5), "{cause:?}");
            assert_eq!(remembered_for(cause, seconds(1)), seconds(1), "{cause:?}");
        }
    }

    #[test]
    fn words_are_for_whoever_asks_for_itself_and_about_its_own_affairs_only() {
        let told = |acting, cause| {
            let failure = Failure::new(Stage::Kdc, cause, "a detail");
            let full = failed_for(acting, &failure);
            assert!(full.as_slice().starts_with(user::failed(&failure).as_slice()));
            full.len() > user::failed(&failure).len()
        };
        assert!(told(Acting::ForItself, Cause::KdcDown));
        for (acting, cause) in [
            (Acting::ForAnother, Cause::KdcDown),
            (Acting::Machine, Cause::KdcDown),
            (Acting::ForItself, Cause::Setup),
            (Acting::ForItself, Cause::Refused),
        ] {
            assert!(!told(acting, cause), "{acting:?} {cause:?}");
        }
    }
}
