//! The client's side: ask the kernel for a context, find one, wait for it.
//!
//! Called by programs that use contexts and by `lgss`. Invariant: no ticket and no private key comes into this process;
//! it gets the finished context, and only if it possesses the key.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use lgss::ctx::{ContextRequest, client};
//! use std::time::Duration;
//!
//! let channel = "rpc:srv.example.test:2049,100003,4".parse()?;
//! let request = ContextRequest::new("nfs@srv.example.test".parse()?, channel);
//! let context = client::request(&request)?.established(Duration::from_secs(30))?;
//! println!("window {}", context.window.count());
//! # Ok(()) }
//! ```

mod error;
mod key;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::{geteuid, getuid};

pub use self::error::{ClientError, NotEstablished};
pub use self::key::{ContextKey, Stale};
use super::context_request::{ContextRequest, calling_user, exact_text};
pub use super::destination::Destination;
use super::initiator::Principal;
use super::os_error::OsError;
use super::payload::user::State;
use super::preference::Preference;
use super::request::{Description, OnPause, RpcChannel, Service};
use super::rings::{self, Session};
use crate::sys::keyctl;
use crate::sys::per_process::PerProcess;

/// Pause between two attempts while the kernel forgets a key, and how long that may take.
const FORGETTING_PAUSE: Duration = Duration::from_millis(5);
const FORGETTING: Duration = Duration::from_secs(1);

/// Requests a context for this process alone; returns as soon as there is a key, which may still be in progress. The
/// calling thread is blocked for a millisecond or two and cannot be interrupted meanwhile.
///
/// The calls of a context are numbered by whoever uses it, and servers silently drop a number that they have seen or
/// that lies below their window: two programs cannot share one context. So it goes into the process keyring, under an
/// instance that only this process uses unless the request names one. Threads of this process that start later possess
/// the key, too.
///
/// All requests of a process for one service and instance get the same key and share its window, and a failed one stays
/// for some seconds: name an [`instance`](ContextRequest::instance) for each context that is to be separate.
///
/// The context belongs to the thread's fsuid.
///
/// # Errors
/// [`ClientError::Text`], [`ClientError::Session`], [`ClientError::NoUpcall`], [`ClientError::Request`];
/// [`ClientError::NotOwn`] if only a key that another has planted can be had.
pub fn request(request: &ContextRequest) -> Result<ContextKey, ClientError> {
    let instance = request.instance.clone().unwrap_or_else(own_instance);
    request_into(Destination::Process, &ContextRequest { instance: Some(instance), ..request.clone() })
}

/// A random instance for this process; a forked child gets another.
fn own_instance() -> String {
    static OWN: PerProcess<u64> = PerProcess::new(|| RandomState::new().build_hasher().finish());
    format!("{}-{:016x}", std::process::id(), OWN.here())
}

/// Requests a context that all programs of the user find, in the keyring that [`destination`] chooses: for programs that
/// agree on who uses it, or only look at it.
///
/// A key of an earlier request that has failed or ended is replaced, and so is one that speaks for another principal
/// than `expected` or than the request's own.
///
/// # Errors
/// As [`request`].
pub fn request_shared(
    request: &ContextRequest,
    expected: Option<&Principal>,
) -> Result<Obtained, ClientError> {
    // A remembered refusal is a key that cannot be read; the request itself reports it.
    let earlier = match find(&request.service, request.instance.as_deref()) {
        Err(ClientError::Request(_) | ClientError::NoUpcall | ClientError::NotOwn(_)) => None,
        other => other?,
    };
    let stale = earlier.and_then(|key| Some((key, key.stale(request.principal.as_ref().or(expected))?)));
    let stale = stale.map(|(key, why)| {
        key.end();
        why
    });
    let key = after(stale.as_ref(), || request_into(destination()?, request))?;
    let provenance = match stale {
        Some(why) => Provenance::Replaced(why),
        None if earlier == Some(key) => Provenance::Earlier,
        None => Provenance::New,
    };
    Ok(Obtained { key, provenance })
}

/// Repeats the request until the kernel has forgotten the key that was just ended.
fn after(
    ended: Option<&Stale>,
    request: impl Fn() -> Result<ContextKey, ClientError>,
) -> Result<ContextKey, ClientError> {
    let start = Instant::now();
    loop {
        match request() {
            Err(ClientError::Request(OsError(Errno::EKEYREVOKED)))
                if ended.is_some() && start.elapsed() < FORGETTING =>
            {
                thread::sleep(FORGETTING_PAUSE);
            }
            other => return other,
        }
    }
}

/// What [`request_shared`] returns.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Obtained {
    /// The key.
    pub key: ContextKey,
    /// Which request made it.
    pub provenance: Provenance,
}

/// Which request made a key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Provenance {
    /// This one.
    New,
    /// An earlier one.
    Earlier,
    /// This one, after it ended an earlier request's key for this reason.
    Replaced(Stale),
}

/// Ends the pause that the caller's requests have after many failures, if there is one; a caller may do so once a
/// second. Returns what the upcall says of it. Contexts and remembered failures stay as they are.
///
/// # Errors
/// As [`request`], and as [`ContextKey::wait`].
pub fn end_pause(timeout: Duration) -> Result<State, ClientError> {
    // A service in name only: nothing is negotiated.
    let channel = RpcChannel { host: "localhost".to_owned(), port: 1, program: 0, version: 0 };
    let nothing = ContextRequest::new("lgss@localhost".parse()?, channel);
    let key = request(&ContextRequest { on_pause: OnPause::EndOnly, ..nothing })?;
    let state = key.wait(timeout);
    key.end();
    state
}

/// Requests a context into a keyring of one's choice, or finds it there. Unless the request names a cache or a
/// preference, the caller's KRB5CCNAME as it is now is sent along as a preference.
///
/// # Errors
/// As [`request`].
pub fn request_into(destination: Destination, request: &ContextRequest) -> Result<ContextKey, ClientError> {
    let description = request.description();
    let description_text = exact_text(&description)?;
    let callout_text = request.callout_text(Preference::of_caller())?;
    let ask = |ring| keyctl::request(c"user", &description_text, &callout_text, ring);
    match ContextKey::checked(destination.search(ask).map_err(refused)?, &description) {
        // Somebody who shares the session has put it there.
        Err(ClientError::NotOwn(_)) if destination == Destination::Session => {
            ContextKey::checked(Destination::User.search_aside(ask).map_err(refused)?, &description)
        }
        other => other,
    }
}

/// Requests a context for a thread that does nothing else: its key is in the thread keyring. The thread loses a session
/// keyring that is not its user's own, or root's, so that nothing is looked for there (rule S20).
///
/// # Errors
/// As [`request`].
pub(crate) fn request_into_thread(request: &ContextRequest) -> Result<ContextKey, ClientError> {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let instance = request.instance.clone().unwrap_or_else(|| format!("{}-{number}", own_instance()));
    let request = ContextRequest { instance: Some(instance), ..request.clone() };
    if rings::session() != Session::Own || geteuid().is_root() || getuid().is_root() {
        keyctl::join_anonymous_session().map_err(refused)?;
    }
    let description = request.description();
    let callout_text = request.callout_text(Preference::of_caller())?;
    let asked = keyctl::request(c"user", &exact_text(&description)?, &callout_text, keyctl::THREAD_KEYRING);
    ContextKey::checked(asked.map_err(refused)?, &description)
}

fn refused(errno: Errno) -> ClientError {
    if errno == Errno::ENOKEY { ClientError::NoUpcall } else { ClientError::Request(OsError(errno)) }
}

/// The caller's shared context with this service and instance, in progress, established or failed; never makes one.
/// Contexts of [`request`] are in the process keyring, and are not found.
///
/// # Errors
/// [`ClientError::Text`], [`ClientError::Session`], [`ClientError::Request`], [`ClientError::NotOwn`].
pub fn find(service: &Service, instance: Option<&str>) -> Result<Option<ContextKey>, ClientError> {
    let instance = instance.map(str::to_owned);
    let description = Description { owner: calling_user(), service: service.clone(), instance };
    let text = exact_text(&description)?;
    match destination()?.search(|_| keyctl::find(c"user", &text)) {
        Ok(raw) => ContextKey::checked(raw, &description).map(Some),
        Err(Errno::ENOKEY) => Ok(None),
        Err(errno) => Err(refused(errno)),
    }
}

/// The keyring for shared contexts: the user keyring if the session keyring leads to it, else the session keyring. A key
/// in a keyring that the session does not reach would not be possessed, so that the caller could not read its own
/// context.
///
/// In a session that belongs to another uid it is the user keyring, which the process keyring is made to lead to: all
/// processes of a user share one context there, whatever their sessions, and nobody else has it (rule S20). For root it
/// is always so, because processes that su(1) or a daemon turns into others keep root's session keyring. A process of
/// root's that acts for a user by its effective uid has only root's keyrings, so it is the process keyring there.
///
/// A process without a session keyring is given the user's default one (user-session-keyring(7)), which leads to the
/// user keyring. Looking at the session keyring first, as here, makes the kernel do that; otherwise it would create a new
/// anonymous one, and the key would end with the process.
///
/// # Errors
/// [`ClientError::Session`] if the session keyring has ended; [`ClientError::Request`], the kernel's.
pub fn destination() -> Result<Destination, ClientError> {
    if rings::is_root_acting_for_another() {
        return Ok(Destination::Process);
    }
    match rings::session() {
        Session::Dead(errno) => Err(ClientError::Session(OsError(errno))),
        Session::Own if geteuid().is_root() => Ok(Destination::User),
        Session::Anothers(_) | Session::Closed => Ok(Destination::User),
        Session::Own => match rings::session_leads_to_user() {
            Ok(true) => Ok(Destination::User),
            Ok(false) => Ok(Destination::Session),
            Err(errno) => Err(refused(errno)),
        },
    }
}

#[cfg(test)]
#[cfg(feature = "upcall")]
mod tests;
