//! Outcome of `lgss get` as data: its meaning, its exit status, its JSON.

use std::time::Duration;

use nix::errno::Errno;
use serde::Serialize;

use super::arguments::GetArgs;
use super::exit::Exit;
use super::words;
use crate::ctx::client::{ClientError, ContextKey};
use crate::ctx::payload::user::State;
use crate::ctx::rings::Session;
use crate::ctx::{NoContext, OsError};
use crate::event::{self, Meaning};
use crate::key::KeyDescription;
use crate::provider::contexts::report::{ContextReport, ContextState, FailureReport};
use crate::time::now_32;

/// How a request ended.
#[derive(Debug)]
pub(super) enum End {
    /// Nothing was requested: the command line or the environment is unusable.
    Unusable(String),
    /// There is no key.
    NotRequested(ClientError),
    /// The key has this state; `InProgress` if the time is up.
    Settled {
        /// The key.
        key: ContextKey,
        /// Whether an earlier request made it.
        found: bool,
        /// The state in the key.
        state: State,
    },
    /// There is, or was, a key whose state cannot be read.
    Unreadable {
        /// The key.
        key: ContextKey,
        /// Whether an earlier request made it.
        found: bool,
        /// Error of reading it.
        error: ClientError,
    },
}

impl End {
    /// The exit status for it.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Unusable(_) => Exit::Usage,
            Self::NotRequested(ClientError::NoUpcall) => Exit::Broken,
            Self::NotRequested(ClientError::Request(OsError(errno))) => Exit::of_failure(*errno),
            Self::NotRequested(ClientError::Session(_)) => Exit::Session,
            Self::NotRequested(ClientError::NotOwn(_)) => Exit::Unreadable,
            Self::NotRequested(_) => Exit::Usage,
            Self::Settled { state: State::Established(_), .. } => Exit::Ok,
            Self::Settled { state: State::InProgress, .. } => Exit::Unreachable,
            Self::Settled { state: State::Failed(no_context), .. } => Exit::of_failure(no_context.errno.0),
            Self::Unreadable { error: ClientError::Read(OsError(Errno::EKEYEXPIRED)), .. } => {
                Exit::Unreachable
            }
            Self::Unreadable { error: ClientError::Read(OsError(Errno::EKEYREVOKED)), .. } => Exit::Again,
            Self::Unreadable { .. } => Exit::Unreadable,
        }
    }
}

/// A key flushed during the wait is in no keyring any more, so that the kernel says it may not be read or does not exist.
/// To the requester it is revoked.
pub(super) fn revoked_if_flushed(key: ContextKey, error: ClientError) -> ClientError {
    let gone = matches!(KeyDescription::of(key.serial()), Err(Errno::ENOKEY));
    match error {
        ClientError::Read(OsError(Errno::ENOKEY | Errno::EACCES)) if gone => {
            ClientError::Read(OsError(Errno::EKEYREVOKED))
        }
        other => other,
    }
}

/// Report on a key that cannot be read.
pub(super) fn unreadable(error: &ClientError) -> FailureReport {
    let errno = if let ClientError::Read(OsError(errno)) = error { *errno } else { Errno::EPROTO };
    let meaning = match error {
        ClientError::Read(OsError(Errno::EKEYEXPIRED)) => Meaning {
            cause: "the time for the whole negotiation was up",
            remedy: "find what is slow: network, KDC, server",
        },
        ClientError::Read(OsError(Errno::EKEYREVOKED)) => {
            Meaning { cause: "the context was revoked or flushed", remedy: "request it again" }
        }
        ClientError::NotOwn(_) => Meaning {
            cause: "the upcall did not make this key for you",
            remedy: "find out who put it there (keyctl show), or ask in a new session: keyctl session - CMD",
        },
        _ => Meaning {
            cause: "the key cannot be read",
            remedy: "see whether your session keyring leads to the key: keyctl show",
        },
    };
    failed(errno, meaning)
}

/// Meaning of a request's errno when there is no key.
pub(super) fn refusal(errno: Errno) -> Meaning {
    match errno {
        Errno::ETIMEDOUT => {
            Meaning { cause: "the upcall could not look at the requester in time", remedy: "try again" }
        }
        Errno::EACCES | Errno::EPERM => Meaning {
            cause: "the upcall refuses the request, or your keyring cannot be written to",
            remedy: "look at your keyring: keyctl show",
        },
        other => event::meaning(other),
    }
}

/// `lgss get --json`: the known members of `show --json`, and two more.
#[derive(Debug, Serialize)]
pub(super) struct GetReport {
    /// `None` if there is no key.
    serial: Option<i32>,
    key: Option<String>,
    service: String,
    state: Option<ContextState>,
    /// Whether an earlier request made the context.
    found: bool,
    waited_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<ContextReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<FailureReport>,
}

impl GetReport {
    /// Reports the end of a request that took `waited`.
    pub(super) fn of(end: &End, get: &GetArgs, waited: Duration) -> Self {
        let mut answer = Self {
            serial: None,
            key: None,
            service: get.service.to_string(),
            state: None,
            found: false,
            waited_ms: u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
            context: None,
            failure: None,
        };
        if let End::Settled { key, found, .. } | End::Unreadable { key, found, .. } = end {
            answer.serial = Some(key.serial().raw());
            answer.key = Some(key.serial().to_string());
            answer.found = *found;
        }
        answer.learn(end);
        answer
    }

    fn learn(&mut self, end: &End) {
        match end {
            End::Unusable(complaint) => {
                let remedy = "see lgss get --help";
                let cause = complaint.clone().into();
                self.failure =
                    Some(FailureReport { cause, ..failed(Errno::EINVAL, Meaning { cause: "", remedy }) });
            }
            End::NotRequested(ClientError::NoUpcall) => {
                self.failure = Some(failed(Errno::ENOKEY, event::NO_UPCALL));
            }
            End::NotRequested(ClientError::Request(OsError(errno))) => {
                self.failure = Some(failed(*errno, refusal(*errno)));
            }
            End::NotRequested(ClientError::Session(OsError(errno))) => {
                let cause = words::session(Session::Dead(*errno)).into();
                let remedy = words::NEW_SESSION;
                self.failure = Some(FailureReport { cause, ..failed(*errno, Meaning { cause: "", remedy }) });
            }
            End::NotRequested(error) => {
                let cause = error.to_string().into();
                self.failure =
                    Some(FailureReport { cause, ..failed(Errno::EINVAL, event::meaning(Errno::EINVAL)) });
            }
            End::Settled { state: State::InProgress, .. } => self.state = Some(ContextState::InProgress),
            End::Settled { state: State::Established(context), .. } => {
                self.state = Some(ContextState::Established);
                self.context = Some(ContextReport::of(context, now_32()));
            }
            End::Settled { state: State::Failed(no_context), .. } => {
                self.state = Some(ContextState::Failed);
                self.failure = Some(FailureReport::of(no_context));
            }
            End::Unreadable { error, .. } => {
                let errno =
                    if let ClientError::Read(OsError(errno)) = error { *errno } else { Errno::EPROTO };
                self.state = match errno {
                    Errno::EKEYEXPIRED => Some(ContextState::Expired),
                    Errno::EKEYREVOKED => Some(ContextState::Revoked),
                    _ => None,
                };
                self.failure = Some(unreadable(error));
            }
        }
    }
}

fn failed(errno: Errno, meaning: Meaning) -> FailureReport {
    FailureReport {
        cause: meaning.cause.into(),
        remedy: meaning.remedy.into(),
        ..FailureReport::of(&NoContext {
            errno: OsError(errno),
            gss_major: 0,
            reason: None,
            no_upcall: false,
        })
    }
}
