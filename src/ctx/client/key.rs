//! A context's key: reading it, and waiting for it.

use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::geteuid;

use super::error::{ClientError, NotEstablished};
use crate::ctx::context::Context;
use crate::ctx::initiator::Principal;
use crate::ctx::os_error::OsError;
use crate::ctx::payload::user::{self, State};
use crate::ctx::request::{Description, Owner};
use crate::ctx::rings;
use crate::key::KeySerial;
use crate::sys::key_watch::KeyWatch;
use crate::sys::keyctl;
use crate::time::now;

/// First and longest pause between two looks at a key in progress.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Longest time without a look at a watched key.
const UNTOLD: Duration = Duration::from_secs(1);

/// A key that holds a context, or will.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextKey {
    serial: KeySerial,
    /// The uid that must own it.
    owner: u32,
}

/// Why a key of an earlier request is replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stale {
    /// It remembers a failure.
    Failed(OsError),
    /// The context has ended.
    Ended,
    /// It speaks for this other principal.
    Another(Principal),
    /// It does not say for whom it speaks.
    Unnamed,
}

impl ContextKey {
    /// The key of this number, which has to be the caller's own; nothing is checked before it is read.
    pub fn of(serial: KeySerial) -> Self {
        Self { serial, owner: geteuid().as_raw() }
    }

    /// The key that was asked for by this description.
    pub(super) fn checked(raw: keyctl::RawSerial, description: &Description) -> Result<Self, ClientError> {
        let serial = KeySerial::new(raw).ok_or(ClientError::Request(OsError(Errno::EPROTO)))?;
        let key = match description.owner {
            Owner::Uid(owner) => Self { serial, owner },
            Owner::Caller => Self::of(serial),
        };
        match key.judge() {
            Err(ClientError::NotOwn(doubt)) => Err(ClientError::NotOwn(doubt)),
            // A key that has ended is reported when it is read.
            _ => Ok(key),
        }
    }

    /// The key's serial number.
    pub fn serial(self) -> KeySerial {
        self.serial
    }

    /// Whether there is still such a key. One that has expired or been revoked or invalidated is gone; one that the
    /// caller may not look at, since it acts for another user at the moment, is there.
    pub(crate) fn is_there(self) -> bool {
        let gone = [Errno::ENOKEY, Errno::EKEYREVOKED, Errno::EKEYEXPIRED];
        !keyctl::describe(self.serial.raw()).is_err_and(|errno| gone.contains(&errno))
    }

    /// The uid that must own it.
    pub(crate) fn owner(self) -> u32 {
        self.owner
    }

    /// Ends the key for everybody: the next request negotiates anew.
    pub(crate) fn end(self) {
        rings::end(self.serial);
    }

    /// Why it cannot serve as a context of `expected`, if it cannot.
    pub(super) fn stale(self, expected: Option<&Principal>) -> Option<Stale> {
        let context = match self.state().ok()? {
            State::Failed(no_context) => return Some(Stale::Failed(no_context.errno)),
            State::InProgress => return None,
            State::Established(context) => context,
        };
        if u64::from(context.endtime) <= now() {
            return Some(Stale::Ended);
        }
        let expected = expected?;
        match context.initiator {
            Some(initiator) if initiator.principal == *expected => None,
            Some(initiator) => Some(Stale::Another(initiator.principal)),
            None => Some(Stale::Unnamed),
        }
    }

    fn judge(self) -> Result<(), ClientError> {
        rings::judge(self.serial, self.owner).map_err(unreadable)?.map_err(ClientError::NotOwn)
    }

    /// What the key says now.
    ///
    /// # Errors
    /// [`ClientError::NotOwn`], [`ClientError::Read`], [`ClientError::Payload`].
    pub fn state(self) -> Result<State, ClientError> {
        self.judge()?;
        let payload = keyctl::read(self.serial.raw()).map_err(unreadable)?;
        Ok(user::parse(&payload)?)
    }

    /// Waits until the negotiation has ended, or for `timeout`; [`State::InProgress`] means that the time is up. The
    /// negotiation goes on then, and the key can be waited for again.
    ///
    /// The kernel tells of the end where it is built for that (KEYCTL_WATCH_KEY); elsewhere the key is looked at after 1, 2, 4,
    /// … 50 ms.
    ///
    /// # Errors
    /// As [`ContextKey::state`].
    pub fn wait(self, timeout: Duration) -> Result<State, ClientError> {
        let start = Instant::now();
        let mut alarm = Alarm::Unset;
        loop {
            let state = self.state()?;
            let left = timeout.saturating_sub(start.elapsed());
            if !matches!(state, State::InProgress) || left.is_zero() {
                return Ok(state);
            }
            alarm = alarm.next(self.serial, left);
        }
    }

    /// Waits as [`ContextKey::wait`] does, for the context itself.
    ///
    /// # Errors
    /// [`NotEstablished::Failed`] with the reason in words, if the requester may know it; [`NotEstablished::InProgress`]
    /// after `timeout`; [`NotEstablished::Client`] as [`ContextKey::state`].
    pub fn established(self, timeout: Duration) -> Result<Context, NotEstablished> {
        match self.wait(timeout)? {
            State::Established(context) => Ok(context),
            State::InProgress => Err(NotEstablished::InProgress),
            State::Failed(no_context) => Err(no_context.into()),
        }
    }
}

/// What ends the pause between two looks at a key in progress.
enum Alarm {
    /// Nothing yet: the first look may be the last.
    Unset,
    /// The kernel.
    Watch(KeyWatch),
    /// The clock, after this time.
    Clock(Duration),
}

impl Alarm {
    /// Pauses for `left` at most. A watch that has just been set is not waited for: the key may have changed before it.
    fn next(self, key: KeySerial, left: Duration) -> Self {
        match self {
            Self::Unset => KeyWatch::of(key.raw()).map_or(Self::Clock(FIRST_PAUSE), Self::Watch),
            // The end of the key's time is not told.
            Self::Watch(watch) => match watch.wait(left.min(UNTOLD)) {
                Ok(()) => Self::Watch(watch),
                Err(_) => Self::Clock(FIRST_PAUSE),
            },
            Self::Clock(pause) => {
                thread::sleep(pause.min(left));
                Self::Clock((pause * 2).min(LONGEST_PAUSE))
            }
        }
    }
}

fn unreadable(errno: Errno) -> ClientError {
    ClientError::Read(OsError(errno))
}
