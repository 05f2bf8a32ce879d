//! One negotiation: a thread that requests the key, possesses it until the context is read, and tells all who wait.
//!
//! The thread has the credentials and the keyrings of the one that looked up. It ends with the negotiation, which ends in
//! time because the key does.

use std::collections::HashMap;
use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::geteuid;

use super::client_context::{ClientContext, Weakly};
use super::error::{LookupError, MessageError};
use super::facts::{ContextPlace, Facts};
use super::held;
use super::message_keys::MessageKeys;
use crate::crypto::mic::Role;
use crate::ctx::client::{self, ClientError, ContextKey};
use crate::ctx::{Context, ContextRequest, KeySerial, OsError, PayloadError, Service};
use crate::sys::per_process::{PerProcess, generation};
use crate::sys::random::random_bytes;
use crate::sys::thread_uid::file_system_uid;
use crate::time::now;

/// For the thread: a request, a key's payload and its context.
const STACK: usize = 256 * 1024;
/// A key in progress ends long before, by its timeout.
const LONGEST: Duration = Duration::from_secs(3600);

/// What a [`Security`](super::Security) stands for.
#[derive(Debug, Clone, Copy)]
pub(super) struct ContextWish<'a> {
    pub(super) request: &'a ContextRequest,
    pub(super) keeping: Keeping,
}

impl ContextWish<'_> {
    /// What the calling thread wishes at this moment, by its environment, too.
    pub(super) fn order(&self, owner: u32) -> NegotiationOrder {
        let request = self.request.as_by_caller();
        NegotiationOrder { request, owner, keeping: self.keeping }
    }
}

/// What is negotiated, and for whom.
#[derive(Debug)]
pub(super) struct NegotiationOrder {
    request: ContextRequest,
    owner: u32,
    keeping: Keeping,
}

/// Who finds the context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeping {
    /// This process alone.
    Own,
    /// All processes of the user.
    Shared,
}

/// A negotiation that goes on or has ended.
#[derive(Debug)]
pub(super) struct Negotiation {
    outcome: Mutex<Option<NegotiationOutcome>>,
    ended: Condvar,
    /// Readable once it has ended.
    readable: PipeReader,
    generation: u64,
    is_unwanted: AtomicBool,
}

/// How it ended.
#[derive(Debug, Clone)]
pub(super) struct NegotiationOutcome {
    pub(super) result: Result<ClientContext, LookupError>,
    /// The key that remembers a failure.
    pub(super) remembered: Option<Arc<RememberedKey>>,
}

/// A key that remembers a failure; in a ring of this process's it goes away with this.
#[derive(Debug)]
pub(super) struct RememberedKey {
    key: ContextKey,
    ring: Option<KeySerial>,
    generation: u64,
}

impl RememberedKey {
    pub(super) fn is_there(&self) -> bool {
        self.key.is_there()
    }
}

impl Drop for RememberedKey {
    fn drop(&mut self) {
        if let Some(ring) = self.ring.filter(|_| self.generation == generation()) {
            held::release(self.key.serial(), ring);
        }
    }
}

impl Negotiation {
    /// Starts it.
    ///
    /// # Errors
    /// [`LookupError::Thread`], also without a descriptor; [`LookupError::Keeping`].
    pub(super) fn start(
        order: NegotiationOrder,
        when_ended: impl FnOnce() + Send + 'static,
    ) -> Result<Arc<Self>, LookupError> {
        let no_thread = |error: io::Error| LookupError::Thread(error.kind());
        let ring = match order.keeping {
            Keeping::Own => Some(held::ring()?),
            Keeping::Shared => None,
        };
        let (readable, signal) = io::pipe().map_err(no_thread)?;
        let negotiation = Arc::new(Self {
            outcome: Mutex::default(),
            ended: Condvar::new(),
            readable,
            generation: generation(),
            is_unwanted: AtomicBool::new(false),
        });
        let told = Arc::clone(&negotiation);
        let work = move || {
            held::without_signals();
            // Whatever happens, those who wait are told.
            let outcome = catch_unwind(AssertUnwindSafe(|| negotiate(&order, ring)));
            let broken = |_| NegotiationOutcome {
                result: Err(LookupError::Thread(io::ErrorKind::Other)),
                remembered: None,
            };
            told.end(outcome.unwrap_or_else(broken), signal);
            when_ended();
        };
        let thread = thread::Builder::new().name("lgss-lookup".to_owned()).stack_size(STACK);
        thread.spawn(work).map_err(no_thread)?;
        Ok(negotiation)
    }

    /// Those who wait get a context that has ended.
    pub(super) fn spoil(&self) {
        self.is_unwanted.store(true, Ordering::Relaxed);
    }

    fn end(&self, outcome: NegotiationOutcome, mut signal: PipeWriter) {
        if let Ok(context) = &outcome.result
            && self.is_unwanted.load(Ordering::Relaxed)
        {
            context.die();
        }
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        self.ended.notify_all();
        let _ = signal.write_all(&[1]);
    }

    pub(super) fn check(&self) -> Result<(), MessageError> {
        if self.generation == generation() { Ok(()) } else { Err(MessageError::Forked) }
    }

    /// How it has ended. In a forked child nobody negotiates, and the locks may be held by threads that are not there.
    pub(super) fn outcome(&self) -> Option<NegotiationOutcome> {
        if let Err(error) = self.check() {
            return Some(NegotiationOutcome { result: Err(LookupError::Ended(error)), remembered: None });
        }
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn result(&self) -> Option<Result<ClientContext, LookupError>> {
        self.outcome().map(|outcome| outcome.result)
    }

    /// The result, or [`LookupError::InProgress`] at the deadline; without one it waits for as long as it takes.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> Result<ClientContext, LookupError> {
        self.check().map_err(LookupError::Ended)?;
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(outcome) = &*outcome {
                return outcome.result.clone();
            }
            let left =
                deadline.map_or(LONGEST, |deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Err(LookupError::InProgress);
            }
            outcome = self.ended.wait_timeout(outcome, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.readable.as_fd()
    }
}

fn negotiate(order: &NegotiationOrder, ring: Option<KeySerial>) -> NegotiationOutcome {
    let key = order.is_still_by_its_owner().and_then(|()| match ring {
        Some(ring) => {
            let key = client::request_into_thread(&order.request)?;
            held::keep(key.serial(), ring)?;
            Ok(key)
        }
        None => Ok(client::request_shared(&order.request, None)?.key),
    });
    match key {
        Ok(key) => await_context(order, key, ring),
        Err(error) => NegotiationOutcome { result: Err(error), remembered: None },
    }
}

impl NegotiationOrder {
    /// The C library changes the uids of all threads at once, this one's among them.
    fn is_still_by_its_owner(&self) -> Result<(), LookupError> {
        let is = geteuid().as_raw() == self.owner && file_system_uid() == self.owner;
        if is { Ok(()) } else { Err(LookupError::WhichUser) }
    }
}

fn await_context(order: &NegotiationOrder, key: ContextKey, ring: Option<KeySerial>) -> NegotiationOutcome {
    let place = match ring {
        Some(ring) => ContextPlace::Own { key, ring },
        None => ContextPlace::Shared(key),
    };
    let result = key.established(LONGEST).map_err(LookupError::from);
    match result.and_then(|context| usable(order, context, place)) {
        Ok(context) => NegotiationOutcome { result: Ok(context), remembered: None },
        Err(error) => {
            let remembered = RememberedKey { key, ring, generation: generation() };
            NegotiationOutcome { result: Err(error), remembered: Some(Arc::new(remembered)) }
        }
    }
}

fn usable(
    order: &NegotiationOrder,
    context: Context,
    place: ContextPlace,
) -> Result<ClientContext, LookupError> {
    order.is_still_by_its_owner()?;
    let (ContextPlace::Own { key, .. } | ContextPlace::Shared(key)) = place else {
        return Err(LookupError::WhichUser);
    };
    if key.owner() != order.owner {
        return Err(LookupError::WhichUser);
    }
    if u64::from(context.endtime) <= now() {
        return Err(LookupError::Ended(MessageError::Expired(context.endtime)));
    }
    let made = |context: Context| {
        let first_token = match order.keeping {
            Keeping::Own => context.send_sequence,
            Keeping::Shared => random_start()?,
        };
        assemble(
            order.owner,
            &order.request.service,
            context,
            Seat { place, role: Role::Initiator, first_token },
        )
    };
    match order.keeping {
        Keeping::Own => made(context),
        Keeping::Shared => shared_here(key.serial(), || made(context)),
    }
}

/// The context in a shared key: the one that this process has already, so that its window knows what was received.
fn shared_here(
    serial: KeySerial,
    make: impl FnOnce() -> Result<ClientContext, LookupError>,
) -> Result<ClientContext, LookupError> {
    static KNOWN: PerProcess<Mutex<HashMap<KeySerial, Weakly>>> = PerProcess::new(Mutex::default);
    let mut known = KNOWN.here().lock().unwrap_or_else(PoisonError::into_inner);
    known.retain(|_, context| context.is_used());
    if let Some(context) = known.get(&serial).and_then(Weakly::used).filter(|context| context.check().is_ok())
    {
        return Ok(context);
    }
    let context = make()?;
    known.insert(serial, context.weakly());
    Ok(context)
}

/// Where and as which end a context is used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seat {
    pub(super) place: ContextPlace,
    pub(super) role: Role,
    pub(super) first_token: u64,
}

/// The context of these parts.
pub(super) fn assemble(
    owner: u32,
    service: &Service,
    context: Context,
    seat: Seat,
) -> Result<ClientContext, LookupError> {
    let enctype = context.base_key.enctype();
    let keys = MessageKeys::new(&context.base_key, context.key_origin, seat.role)
        .map_err(|_| ClientError::from(PayloadError::BadKey(enctype.number())))?;
    let facts = Facts {
        owner,
        service: service.clone(),
        enctype,
        handle: context.handle,
        window: context.window,
        endtime: context.endtime,
        initiator: context.initiator,
    };
    Ok(ClientContext::new(facts, keys, seat.place, seat.first_token))
}

/// Where this process's numbers of a shared context begin: far from those of others, whatever they are, so that none is used twice.
fn random_start() -> Result<u64, LookupError> {
    let drawn = random_bytes().map_err(|errno| LookupError::Keeping(OsError(errno)))?;
    Ok(u64::from_ne_bytes(drawn) >> 2)
}
