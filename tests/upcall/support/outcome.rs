//! How a request ends.

use super::probe::Finding;
use super::site::RELEASED_WITHIN;
use super::wait::stretched;
use lgss::ctx::Context;
use lgss::private_to_lgss::ctx::user::{self, State};
use lgss::private_to_lgss::event::Reason;
use nix::errno::Errno;
use std::time::Duration;

/// The end of a request, as the requester sees it.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// request_key(2) itself failed.
    Refused(Errno),
    /// The key says that the negotiation failed.
    Failed { errno: Errno, reason: Option<Reason> },
    /// Reading the key failed: it has expired or was revoked.
    Gone(Errno),
    /// The key holds a context.
    Established(Box<Context>),
}

impl Outcome {
    /// From the findings of a request and, if it got a key, of the wait for that key.
    ///
    /// # Panics
    /// If the requester was not released at once, or the key never settles.
    #[track_caller]
    pub(crate) fn of(findings: &[Finding]) -> Self {
        let Some(Finding::Requested { micros, .. }) = findings.first() else {
            panic!("not a request: {findings:?}")
        };
        assert!(
            Duration::from_micros(*micros) < stretched(RELEASED_WITHIN),
            "the requester was held for {micros} µs"
        );
        Self::of_any_wait(findings)
    }

    /// The same, without a limit on the time to the release.
    #[track_caller]
    pub(crate) fn of_any_wait(findings: &[Finding]) -> Self {
        let Some(Finding::Requested { serial, errno, .. }) = findings.first() else {
            panic!("not a request: {findings:?}")
        };
        if serial.is_none() {
            return Self::Refused(Errno::from_raw(*errno));
        }
        match findings.get(1) {
            Some(Finding::Settled { payload: Some(payload), .. }) => Self::of_payload(payload),
            Some(Finding::Settled { payload: None, errno, .. }) => Self::Gone(Errno::from_raw(*errno)),
            other => panic!("the key stays in progress: {other:?}"),
        }
    }

    #[track_caller]
    fn of_payload(payload: &[u8]) -> Self {
        match user::parse(payload).unwrap() {
            State::Established(context) => Self::Established(Box::new(context)),
            State::Failed(no_context) => {
                Self::Failed { errno: Errno::from_raw(no_context.errno.code()), reason: no_context.reason }
            }
            State::InProgress => panic!("the key stays in progress"),
        }
    }

    /// The context.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub(crate) fn context(self) -> Context {
        match self {
            Self::Established(context) => *context,
            other => panic!("no context: {other:?}"),
        }
    }

    /// The error, whether the requester got it at once or from the key.
    ///
    /// # Panics
    /// If there is a context.
    #[track_caller]
    pub(crate) fn errno(&self) -> Errno {
        match self {
            Self::Refused(errno) | Self::Gone(errno) | Self::Failed { errno, .. } => *errno,
            Self::Established(_) => panic!("there is a context"),
        }
    }
}
