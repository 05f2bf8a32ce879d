//! The client's side: ask the kernel for a context, wait for it, read it from its key.
//!
//! Called by programs that use contexts and by `lgss`. Invariant: no ticket and no private key ever comes into this
//! process; all it gets is the finished context, and that only if it possesses the key.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use lgss::ctx::{client, payload::user::State, request::{Callout, Description}};
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
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::{geteuid, getuid};

use super::payload::user::{self, PayloadError, State};
use super::request::{Callout, Description, Owner, RequestError};
use crate::key::KeySerial;
use crate::sys::keyctl;

/// First and longest pause between two looks at a key in progress.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Why there is no context or none that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// Description or callout would not be understood: a value holds a separator, or the whole is too long.
    #[error("the request cannot be written down: {0}")]
    Text(#[from] RequestError),
    /// Description and callout name different services.
    #[error("description and callout name different services")]
    ServicesDiffer,
    /// The request was refused before there was a key. ENOKEY: no upcall is installed, or it did not answer.
    #[error("request_key: {0}")]
    Request(Errno),
    /// The key cannot be read. EACCES: the caller does not possess it; EKEYEXPIRED, EKEYREVOKED: it has ended.
    #[error("reading the key: {0}")]
    Read(Errno),
    /// The key holds something else than a context.
    #[error(transparent)]
    Payload(#[from] PayloadError),
}

/// Requests a context, or finds the one that the caller has; returns as soon as there is a key, which may still be in
/// progress. The calling thread is blocked for a millisecond or two and cannot be interrupted meanwhile.
///
/// The context belongs to the thread's fsuid. The key is linked to a keyring of the caller's: see [`destination`].
///
/// # Errors
/// [`ClientError::Text`], [`ClientError::ServicesDiffer`], [`ClientError::Request`].
pub fn request(description: &Description, callout: &Callout) -> Result<ContextKey, ClientError> {
    if description.service != callout.service {
        return Err(ClientError::ServicesDiffer);
    }
    let description_text = read_back(description)?;
    let callout_text = read_back(callout)?;
    let ring = destination().map_err(ClientError::Request)?.raw();
    let raw =
        keyctl::request(c"user", &description_text, &callout_text, ring).map_err(ClientError::Request)?;
    KeySerial::new(raw).map(ContextKey).ok_or(ClientError::Request(Errno::EPROTO))
}

/// The context of that description that the caller has, in progress, established or failed; never makes one. Channel,
/// cache and level are no part of a description: a context is found whatever it was asked for with.
///
/// # Errors
/// [`ClientError::Text`], [`ClientError::Request`].
pub fn find(description: &Description) -> Result<Option<ContextKey>, ClientError> {
    match keyctl::find(c"user", &read_back(description)?) {
        Ok(raw) => KeySerial::new(raw)
            .map(|serial| Some(ContextKey(serial)))
            .ok_or(ClientError::Request(Errno::EPROTO)),
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

/// The keyring that a requested key is linked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// The user keyring: every session of the user finds the context.
    User,
    /// The session keyring: only this session finds it.
    Session,
}

impl Destination {
    fn raw(self) -> keyctl::RawSerial {
        match self {
            Self::User => keyctl::USER_KEYRING,
            Self::Session => keyctl::SESSION_KEYRING,
        }
    }
}

/// The user keyring if the session keyring leads to it, else the session keyring: a key in a keyring that the session
/// does not reach would not be possessed, so that the caller could not read its own context.
///
/// A process without a session keyring is given the user's default one (user-session-keyring(7)), which leads to the
/// user keyring; asking for the session keyring first, as here, keeps the kernel from making a new anonymous one that
/// would take the key with it when the process ends.
///
/// # Errors
/// The kernel's: EKEYREVOKED if the session keyring has been revoked, EDQUOT.
pub fn destination() -> Result<Destination, Errno> {
    keyctl::keyring_id(keyctl::SESSION_KEYRING)?;
    let name = CString::new(format!("_uid.{}", getuid())).map_err(|_| Errno::EINVAL)?;
    let user = keyctl::keyring_id(keyctl::USER_KEYRING)?;
    match keyctl::search(keyctl::SESSION_KEYRING, c"keyring", &name) {
        Ok(found) if found == user => Ok(Destination::User),
        _ => Ok(Destination::Session),
    }
}

/// A key that holds a context, or will.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextKey(KeySerial);

impl ContextKey {
    /// The key of this number; nothing is checked before it is read.
    pub fn of(serial: KeySerial) -> Self {
        Self(serial)
    }

    /// Its number.
    pub fn serial(self) -> KeySerial {
        self.0
    }

    /// What it says now.
    ///
    /// # Errors
    /// [`ClientError::Read`], [`ClientError::Payload`].
    pub fn state(self) -> Result<State, ClientError> {
        let payload = keyctl::read(self.0.raw()).map_err(ClientError::Read)?;
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
mod tests {
    use super::*;
    use crate::ctx::request::{Level, Mechanism};

    fn callout(cache: &str) -> Callout {
        Callout {
            mechanism: Mechanism::Krb5,
            service: "nfs@srv.example.test".parse().unwrap(),
            channel: "rpc:srv.example.test:2049,100003,4".parse().unwrap(),
            level: Level::Integrity,
            cache: Some(cache.to_owned()),
            ttl: None,
        }
    }

    fn description(service: &str) -> Description {
        Description { owner: Owner::Uid(1000), service: service.parse().unwrap(), instance: None }
    }

    #[test]
    fn a_value_cannot_smuggle_a_field_into_the_callout() {
        let smuggled = request(&description("nfs@srv.example.test"), &callout("FILE:/x;ttl=1"));
        assert!(matches!(smuggled, Err(ClientError::Text(_))), "{smuggled:?}");
        let long = request(&description("nfs@srv.example.test"), &callout(&"x".repeat(600)));
        assert_eq!(long, Err(ClientError::Text(RequestError::Malformed("cache"))));
        let line = request(&description("nfs@srv.example.test"), &callout("FILE:/x\ny"));
        assert_eq!(line, Err(ClientError::Text(RequestError::NotPrintable)));
    }

    #[test]
    fn one_service_is_asked_for_in_both_texts() {
        assert_eq!(request(&description("nfs@other"), &callout("KCM:")), Err(ClientError::ServicesDiffer));
    }

    /// Needs a kernel with keys, as the whole package does.
    #[test]
    fn the_state_in_a_key_is_read_and_its_end_is_seen() {
        let ring = keyctl::PROCESS_KEYRING;
        let add = |payload: &[u8]| keyctl::add(c"user", c"lgss:test:client", payload, ring).unwrap();
        let raw = add(user::in_progress().as_slice());
        let key = ContextKey::of(KeySerial::new(raw).unwrap());
        let start = Instant::now();
        assert!(matches!(key.wait(Duration::from_millis(20)), Ok(State::InProgress)));
        assert!(start.elapsed() >= Duration::from_millis(20));
        keyctl::update(raw, b"something else").unwrap();
        assert!(matches!(key.wait(Duration::from_secs(9)), Err(ClientError::Payload(_))));
        keyctl::revoke(raw).unwrap();
        assert_eq!(key.state().unwrap_err(), ClientError::Read(Errno::EKEYREVOKED));
    }
}
