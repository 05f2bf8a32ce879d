//! The client's side: ask the kernel for a context, wait for it, read it from its key.
//!
//! Called by programs that use contexts and by `lgss`. Invariant: no ticket and no private key ever comes into this
//! process; all it gets is the finished context, and that only if it possesses the key.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use lgss::ctx::{Callout, Description, State, client};
//! use std::time::Duration;
//!
//! let callout: Callout = "lgss1;svc=nfs@srv.example.test;chan=rpc:srv.example.test:2049,100003,4".parse()?;
//! let owner = client::calling_user();
//! let description = Description { owner, service: callout.service.clone(), instance: None };
//! let key = client::request(&description, &callout)?;
//! match key.wait(Duration::from_secs(30))? {
//!     State::Established(context) => println!("window {}", context.window.count()),
//!     State::Failed { errno, .. } => println!("failed: {errno}"),
//!     State::InProgress => println!("not yet"),
//! }
//! # Ok(()) }
//! ```

use std::ffi::CString;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::geteuid;

pub use super::destination::Destination;
use super::initiator::Principal;
use super::payload::user::{self, PayloadError, State};
use super::preference::Preference;
use super::request::{Callout, Description, Owner, RequestError};
use super::rings::{self, Doubt, Session};
use crate::key::KeySerial;
use crate::sys::keyctl;
use crate::time::now;

/// First and longest pause between two looks at a key in progress.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// How long the kernel may take to forget a key.
const FORGETTING: Duration = Duration::from_secs(1);

/// Why there is no context or none that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// Description or callout would not be understood: a value holds a separator, or the whole is too long.
    #[error("the request cannot be written down: {0}")]
    Text(#[from] RequestError),
    /// Description and callout name different services.
    #[error("description and callout name different services")]
    ServicesDiffer,
    /// The session keyring has ended, EKEYREVOKED or EKEYEXPIRED, as it does with its login.
    #[error("the session keyring has ended: {0}")]
    Session(Errno),
    /// The request was refused before there was a key. ENOKEY: no upcall is installed, or it did not answer.
    #[error("request_key: {0}")]
    Request(Errno),
    /// The key cannot be read. EACCES: the caller does not possess it; EKEYEXPIRED, EKEYREVOKED: it has ended.
    #[error("reading the key: {0}")]
    Read(Errno),
    /// The key is not the caller's, and not read (rule S20).
    #[error("the key is not believed: {0}")]
    NotOwn(Doubt),
    /// The key holds something else than a context.
    #[error(transparent)]
    Payload(#[from] PayloadError),
}

/// Requests a context for this process alone; returns as soon as there is a key, which may still be in progress. The
/// calling thread is blocked for a millisecond or two and cannot be interrupted meanwhile.
///
/// A context's calls are numbered by whoever uses it, and servers drop a number that they have seen, or that lies below
/// their window, without a word: two programs cannot share one. So it goes into the process keyring, by an instance of
/// this process's own unless the description names one. Of the process's threads those possess the key that are started
/// later.
///
/// The context belongs to the thread's fsuid.
///
/// # Errors
/// [`ClientError::Text`], [`ClientError::ServicesDiffer`], [`ClientError::Session`], [`ClientError::Request`];
/// [`ClientError::NotOwn`] if only a key that another has planted can be had.
pub fn request(description: &Description, callout: &Callout) -> Result<ContextKey, ClientError> {
    let instance = description.instance.clone().unwrap_or_else(own_instance);
    let description = Description { instance: Some(instance), ..description.clone() };
    request_into(Destination::Process, &description, callout)
}

/// Of this process and no other, after a fork neither.
fn own_instance() -> String {
    static OWN: Mutex<Option<(u32, u64)>> = Mutex::new(None);
    let process = std::process::id();
    let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    let (process, random) = match *own {
        Some((owner, random)) if owner == process => (owner, random),
        _ => (process, RandomState::new().build_hasher().finish()),
    };
    *own = Some((process, random));
    format!("{process}-{random:016x}")
}

/// A context that all programs of the user find, in the keyring that [`destination`] tells: for those that agree on who
/// uses it, or only look at it.
///
/// What an earlier request has left is not taken if it has failed or ended, which may be otherwise by now, nor if it
/// speaks for another than `expected`, or than the callout's `principal`: a new one takes its place.
///
/// # Errors
/// As [`request`].
pub fn request_shared(
    description: &Description,
    callout: &Callout,
    expected: Option<&Principal>,
) -> Result<Asked, ClientError> {
    // A refusal is remembered by a key that cannot be read; the request itself tells it.
    let had = match find(description) {
        Err(ClientError::Request(_) | ClientError::NotOwn(_)) => None,
        other => other?,
    };
    let stale = had.and_then(|key| key.stale(callout.principal.as_ref().or(expected)).map(|why| (key, why)));
    let stale = stale.map(|(key, why)| {
        key.end();
        why
    });
    let key = after(stale.as_ref(), || request_into(destination()?, description, callout))?;
    let found = match stale {
        Some(why) => Found::InPlaceOf(why),
        None if had == Some(key) => Found::Had,
        None => Found::New,
    };
    Ok(Asked { key, found })
}

/// Until the kernel has forgotten a key that was ended just before.
fn after(
    ended: Option<&Stale>,
    request: impl Fn() -> Result<ContextKey, ClientError>,
) -> Result<ContextKey, ClientError> {
    let start = Instant::now();
    loop {
        match request() {
            Err(ClientError::Request(Errno::EKEYREVOKED))
                if ended.is_some() && start.elapsed() < FORGETTING =>
            {
                thread::sleep(FIRST_PAUSE * 5);
            }
            other => return other,
        }
    }
}

/// What a shared request has given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The key.
    pub key: ContextKey,
    /// Whose request made it.
    pub found: Found,
}

/// Whose request made a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// This one.
    New,
    /// An earlier one.
    Had,
    /// This one, after what an earlier one had made was ended.
    InPlaceOf(Stale),
}

/// Ends the pause that the caller's requests have after many failures, if there is one, which a caller may once a
/// second; returns what the upcall says of it. Contexts and remembered failures are left as they are.
///
/// # Errors
/// As [`request`], and as [`ContextKey::wait`].
pub fn end_pause(timeout: Duration) -> Result<State, ClientError> {
    // For no service: nothing is negotiated.
    let callout: Callout = "lgss1;svc=lgss@localhost;chan=rpc:localhost:1,0,0;anew=only".parse()?;
    let description = Description { owner: calling_user(), service: callout.service.clone(), instance: None };
    let key = request(&description, &callout)?;
    let state = key.wait(timeout);
    key.end();
    state
}

/// Why a key of an earlier request is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stale {
    /// It remembers a failure.
    Failed(Errno),
    /// The context has ended.
    Ended,
    /// It speaks for this one.
    Another(Principal),
    /// It does not say for whom.
    Unnamed,
}

/// Requests a context into a keyring of one's choice, or finds it there. Unless the callout names a cache or a
/// preference, the caller's KRB5CCNAME as it is now is sent along as a preference.
///
/// # Errors
/// As [`request`].
pub fn request_into(
    destination: Destination,
    description: &Description,
    callout: &Callout,
) -> Result<ContextKey, ClientError> {
    if description.service != callout.service {
        return Err(ClientError::ServicesDiffer);
    }
    let description_text = read_back(description)?;
    let callout_text = with_preference(callout, Preference::of_caller())?;
    let ask = |ring| keyctl::request(c"user", &description_text, &callout_text, ring);
    let own = ContextKey::checked(destination.search(ask).map_err(ClientError::Request)?, description);
    match own {
        // Somebody who shares the session has put it there.
        Err(ClientError::NotOwn(_)) if destination == Destination::Session => {
            let aside = Destination::User.search_aside(ask).map_err(ClientError::Request)?;
            ContextKey::checked(aside, description)
        }
        other => other,
    }
}

/// The callout's text, with the caller's KRB5CCNAME as far as there is room for it: the upcall sees only what the
/// program was started with, and nothing of one that has ended by then.
fn with_preference(callout: &Callout, caller: Option<Preference>) -> Result<CString, RequestError> {
    let plain = read_back(callout)?;
    if callout.cache.is_some() || callout.prefer.is_some() || caller.is_none() {
        return Ok(plain);
    }
    Ok(read_back(&Callout { prefer: caller, ..callout.clone() }).unwrap_or(plain))
}

/// The context of that description that the caller has, in progress, established or failed; never makes one. Channel,
/// cache and level are no part of a description: a context is found whatever it was asked for with.
///
/// # Errors
/// [`ClientError::Text`], [`ClientError::Session`], [`ClientError::Request`], [`ClientError::NotOwn`].
pub fn find(description: &Description) -> Result<Option<ContextKey>, ClientError> {
    let text = read_back(description)?;
    match destination()?.search(|_| keyctl::find(c"user", &text)) {
        Ok(raw) => ContextKey::checked(raw, description).map(Some),
        Err(Errno::ENOKEY) => Ok(None),
        Err(errno) => Err(ClientError::Request(errno)),
    }
}

/// The text of `value`, if it means `value`: a field that holds a separator would mean something else.
fn read_back<T>(value: &T) -> Result<CString, RequestError>
where
    T: fmt::Display + std::str::FromStr<Err = RequestError> + PartialEq,
{
    let text = value.to_string();
    if text.parse::<T>()? != *value {
        return Err(RequestError::UnknownField);
    }
    CString::new(text).map_err(|_| RequestError::NotPrintable)
}

/// Whose context the caller asks for: its uid as the initial user namespace has it, or [`Owner::Caller`] in a
/// container whose ids are mapped, where it cannot know that.
pub fn calling_user() -> Owner {
    let identity = |map: &str| map.split_ascii_whitespace().eq(["0", "0", "4294967295"]);
    match std::fs::read_to_string("/proc/self/uid_map") {
        Ok(map) if identity(&map) => Owner::Uid(geteuid().as_raw()),
        _ => Owner::Caller,
    }
}

/// The user keyring if the session keyring leads to it, else the session keyring: a key in a keyring that the session
/// does not reach would not be possessed, so that the caller could not read its own context. In a session that belongs
/// to another uid it is the user keyring, which the process keyring is made to lead to: all processes of a user share
/// one context there, whatever sessions they run in, and nobody else has it (rule S20). For root it is always so: whom
/// su(1) or a daemon makes of a process of root's has the session keyring still.
///
/// A process without a session keyring is given the user's default one (user-session-keyring(7)), which leads to the
/// user keyring; asking for the session keyring first, as here, keeps the kernel from making a new anonymous one that
/// would take the key with it when the process ends.
///
/// # Errors
/// [`ClientError::Session`] if the session keyring has ended; [`ClientError::Request`], the kernel's.
pub fn destination() -> Result<Destination, ClientError> {
    match rings::session() {
        Session::Dead(errno) => Err(ClientError::Session(errno)),
        Session::Own if geteuid().is_root() => Ok(Destination::User),
        Session::Anothers(_) | Session::Closed => Ok(Destination::User),
        Session::Own => match rings::session_leads_to_user() {
            Ok(true) => Ok(Destination::User),
            Ok(false) => Ok(Destination::Session),
            Err(errno) => Err(ClientError::Request(errno)),
        },
    }
}

/// A key that holds a context, or will.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextKey {
    serial: KeySerial,
    /// Whose it has to be.
    owner: u32,
}

impl ContextKey {
    /// The key of this number, which has to be the caller's own; nothing is checked before it is read.
    pub fn of(serial: KeySerial) -> Self {
        Self { serial, owner: geteuid().as_raw() }
    }

    /// The key that was asked for by this description.
    fn checked(raw: keyctl::RawSerial, description: &Description) -> Result<Self, ClientError> {
        let serial = KeySerial::new(raw).ok_or(ClientError::Request(Errno::EPROTO))?;
        let key = match description.owner {
            Owner::Uid(owner) => Self { serial, owner },
            Owner::Caller => Self::of(serial),
        };
        match key.judge() {
            Err(ClientError::NotOwn(doubt)) => Err(ClientError::NotOwn(doubt)),
            // What has ended meanwhile is told when it is read.
            _ => Ok(key),
        }
    }

    /// Its number.
    pub fn serial(self) -> KeySerial {
        self.serial
    }

    /// Ends it for everybody: the next request of it negotiates anew.
    fn end(self) {
        rings::end(self.serial);
    }

    /// Why it is not to be taken, for a context of this principal.
    fn stale(self, expected: Option<&Principal>) -> Option<Stale> {
        let context = match self.state().ok()? {
            State::Failed { errno, .. } => return Some(Stale::Failed(errno)),
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
        rings::judge(self.serial, self.owner).map_err(ClientError::Read)?.map_err(ClientError::NotOwn)
    }

    /// What it says now.
    ///
    /// # Errors
    /// [`ClientError::NotOwn`], [`ClientError::Read`], [`ClientError::Payload`].
    pub fn state(self) -> Result<State, ClientError> {
        self.judge()?;
        let payload = keyctl::read(self.serial.raw()).map_err(ClientError::Read)?;
        Ok(user::parse(&payload)?)
    }

    /// Waits until the negotiation has ended, or for `timeout`; [`State::InProgress`] means that the time is up. The
    /// negotiation goes on then, and the key can be waited for again.
    ///
    /// # Errors
    /// As [`ContextKey::state`].
    pub fn wait(self, timeout: Duration) -> Result<State, ClientError> {
        let start = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let state = self.state()?;
            let left = timeout.saturating_sub(start.elapsed());
            if !matches!(state, State::InProgress) || left.is_zero() {
                return Ok(state);
            }
            thread::sleep(pause.min(left));
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

#[cfg(test)]
mod tests;
