//! The contexts of this process, by the [`Security`](super::Security) and the uid that they were looked up for.
//!
//! A forked child starts with none. Everything happens below one lock, which is held for some microseconds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::client_context::{ClientContext, Weakly};
use super::error::LookupError;
use super::flush::{Flush, Manner};
use super::negotiation::{ContextWish, Negotiation, NegotiationOutcome};
use super::pending::{Lookup, Pending};
use crate::ctx::Service;
use crate::sys::per_process::PerProcess;
use crate::time::now;

/// A failure that no key remembers is told again for so long, lest a program that tries again at once floods the machine with
/// upcalls.
const REPEATED_FAILURE: Duration = Duration::from_secs(1);
/// Refreshes are at least so many seconds apart.
const BETWEEN_REFRESHES: u64 = 10;

static REGISTRY: PerProcess<Mutex<ContextRegistry>> = PerProcess::new(Mutex::default);

#[derive(Default)]
struct ContextRegistry {
    slots: HashMap<SlotName, ContextSlot>,
    /// All that were made and are still used by somebody, also after their slot has gone.
    given: Vec<GivenContext>,
}

struct GivenContext {
    name: SlotName,
    context: Weakly,
}

/// For which value and for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SlotName {
    pub(super) security: u64,
    pub(super) owner: u32,
}

/// What there is for one of them.
struct ContextSlot {
    service: Service,
    current: Option<ClientContext>,
    /// When a lookup starts the next one before it is needed; seconds since the epoch.
    refresh_at: u64,
    negotiation: Option<Arc<Negotiation>>,
    failure: Option<KeptFailure>,
}

struct KeptFailure {
    outcome: NegotiationOutcome,
    since: Instant,
}

/// What a lookup wants.
#[derive(Debug, Clone, Copy)]
pub(super) enum Want<'a> {
    /// A context that may be used.
    Usable,
    /// One that is newer than the present one.
    Newer,
    /// Another one than this, which is of no use any more.
    OtherThan(&'a ClientContext),
}

fn registry() -> MutexGuard<'static, ContextRegistry> {
    REGISTRY.here().lock().unwrap_or_else(PoisonError::into_inner)
}

/// The context of this name, or the negotiation for it, which is started if need be.
///
/// # Errors
/// A failure that is remembered, and those of [`Negotiation::start`].
pub(super) fn look_up(name: SlotName, wish: &ContextWish<'_>, want: Want<'_>) -> Result<Lookup, LookupError> {
    let mut registry = registry();
    let ContextRegistry { slots, given } = &mut *registry;
    let slot = slots.entry(name).or_insert_with(|| ContextSlot::new(wish.request.service.clone()));
    slot.settle(name, given);
    slot.drop_if_useless(want);
    match &slot.current {
        Some(context) if !matches!(want, Want::Newer) => {
            let context = context.clone();
            if slot.refresh_at <= now() && slot.negotiation.is_none() {
                // The present one is good for some time yet: a failure is met when it is not.
                let _ = slot.negotiate(name, wish);
            }
            Ok(Lookup::Ready(context))
        }
        _ => slot.await_next(name, wish).map(Lookup::Pending),
    }
}

/// The context of this name, if there is one that may be used.
pub(super) fn present(name: SlotName) -> Option<ClientContext> {
    let mut registry = registry();
    let ContextRegistry { slots, given } = &mut *registry;
    let slot = slots.get_mut(&name)?;
    slot.settle(name, given);
    slot.drop_if_useless(Want::Usable);
    slot.current.clone()
}

/// Lets lookups give this context.
#[cfg(test)]
pub(super) fn adopt(name: SlotName, context: &ClientContext) {
    let mut registry = registry();
    let ContextRegistry { slots, given } = &mut *registry;
    let slot = slots.entry(name).or_insert_with(|| ContextSlot::new(context.service().clone()));
    slot.refresh_at = u64::MAX;
    slot.current = Some(context.clone());
    given.push(GivenContext { name, context: context.weakly() });
}

/// Takes the result of a negotiation that has ended.
fn settle(name: SlotName) {
    let mut registry = registry();
    let ContextRegistry { slots, given } = &mut *registry;
    if let Some(slot) = slots.get_mut(&name) {
        slot.settle(name, given);
    }
}

/// Flushes; of one [`Security`](super::Security) or of all. Forced, it reaches what was flushed gracefully before, too.
pub(super) fn flush(security: Option<u64>, which: &Flush, manner: Manner) -> usize {
    let mut registry = registry();
    let ContextRegistry { slots, given } = &mut *registry;
    let takes = |name: &SlotName, service: &Service| {
        security.is_none_or(|id| id == name.security) && which.takes(name.owner, service)
    };
    let mut flushed = 0;
    slots.retain(|name, slot| {
        let taken = takes(name, &slot.service);
        if taken {
            slot.settle(*name, given);
            flushed += slot.end(manner);
        }
        !taken
    });
    let used = given.iter().filter_map(|given| Some((given.name, given.context.used()?)));
    used.filter(|(name, context)| takes(name, context.service()))
        .for_each(|(_, context)| manner.apply(&context));
    flushed
}

/// Forgets what has ended.
pub(super) fn gc() -> usize {
    let mut forgotten = 0;
    let mut registry = registry();
    let ContextRegistry { slots, given } = &mut *registry;
    slots.retain(|name, slot| {
        slot.settle(*name, given);
        let had = slot.current.is_some();
        slot.drop_if_useless(Want::Usable);
        forgotten += usize::from(had && slot.current.is_none());
        slot.failure.take_if(|failure| !failure.is_remembered());
        slot.current.is_some() || slot.negotiation.is_some() || slot.failure.is_some()
    });
    forgotten
}

impl ContextSlot {
    fn new(service: Service) -> Self {
        Self { service, current: None, refresh_at: 0, negotiation: None, failure: None }
    }

    fn settle(&mut self, name: SlotName, given: &mut Vec<GivenContext>) {
        let Some(outcome) = self.negotiation.as_ref().and_then(|negotiation| negotiation.outcome()) else {
            return;
        };
        self.negotiation = None;
        match &outcome.result {
            Ok(context) => {
                given.retain(|given| given.context.is_used());
                given.push(GivenContext { name, context: context.weakly() });
                self.refresh_at = refresh_time(context.endtime());
                self.current = Some(context.clone());
                self.failure = None;
            }
            Err(_) => self.failure = Some(KeptFailure { outcome, since: Instant::now() }),
        }
    }

    /// A context that cannot be used, or is known to be of no use, is given up.
    fn drop_if_useless(&mut self, want: Want<'_>) {
        self.current.take_if(|context| match want {
            Want::OtherThan(useless) if context.is(useless) => true,
            _ => context.validate().is_err(),
        });
    }

    fn await_next(&mut self, name: SlotName, wish: &ContextWish<'_>) -> Result<Pending, LookupError> {
        if let Some(negotiation) = &self.negotiation {
            return Ok(Pending::new(Arc::clone(negotiation)));
        }
        self.failure.take_if(|failure| !failure.is_remembered());
        match &self.failure {
            Some(KeptFailure { outcome: NegotiationOutcome { result: Err(error), .. }, .. }) => {
                Err(error.clone())
            }
            _ => self.negotiate(name, wish).map(Pending::new),
        }
    }

    fn negotiate(&mut self, name: SlotName, wish: &ContextWish<'_>) -> Result<Arc<Negotiation>, LookupError> {
        self.refresh_at = now() + BETWEEN_REFRESHES;
        let negotiation = Negotiation::start(wish.order(name.owner), move || settle(name))?;
        self.negotiation = Some(Arc::clone(&negotiation));
        Ok(negotiation)
    }

    /// Ends what lookups would give, and returns the number of contexts.
    fn end(&mut self, manner: Manner) -> usize {
        if let (Some(negotiation), Manner::Forced) = (&self.negotiation, manner) {
            negotiation.spoil();
        }
        usize::from(self.current.take().is_some())
    }
}

/// After four fifths of what is left: a key ends when nine tenths of its context's time are over, at the latest a minute
/// before (docs/formats.md).
fn refresh_time(endtime: u32) -> u64 {
    let (now, end) = (now(), u64::from(endtime));
    now + (end.saturating_sub(now) / 5 * 4).max(BETWEEN_REFRESHES)
}

impl KeptFailure {
    /// Whether it is told again: as long as its key is there, which is the upcall's decision, and a moment in any case.
    fn is_remembered(&self) -> bool {
        let by_its_key = self.outcome.remembered.as_ref().is_some_and(|remembered| remembered.is_there());
        by_its_key || self.since.elapsed() < REPEATED_FAILURE
    }
}
