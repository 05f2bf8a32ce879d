//! The memory that front and monitor share: what the front leaves there, the monitor takes up when the front has ended.
//!
//! Invariant: the front may be killed at any instruction. So the monitor only looks at what is complete, by
//! [`OnceLock::get`] and atomics, and waits for nothing that the front has begun.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use super::invocation::Invocation;
use super::order::{Garbled, Order};
use super::verdict::Verdict;
use crate::event::{Cause, Failure, Stage};
use crate::identity::requester::Wait;
use crate::key::{Authority, LiveKey};
use crate::sys::heir::Handover;

/// What front and monitor have in common, in memory that they share.
pub(super) struct Shared {
    /// The words of the upcall.
    pub(super) invocation: Invocation,
    /// The front's first act: what the words say.
    order: OnceLock<Result<Order, Garbled>>,
    /// The front's last act; the monitor looks at it when the front has ended.
    pub(super) verdict: OnceLock<Verdict>,
    /// For a front that has set the verdict, which is that we decide.
    pub(super) handover: Handover,
    /// The front waits for a process of ours, by a bound of its own.
    pub(super) starved: AtomicBool,
    /// Who waits for the answer, once the front has seen it.
    pub(super) waits: OnceLock<Wait>,
    authority: Authority,
    phase: AtomicU8,
}

/// What the front is doing, and what it is that holds it up if that takes too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// Looking at keys: the kernel's lock of them.
    Keys,
    /// Looking at the requester, which may be in exec.
    Requester,
    /// Answering the key: the kernel's locks of keys, again.
    Answer,
}

impl Shared {
    /// Of these words, whose key the authority is over.
    pub(super) fn new(invocation: Invocation, authority: &Authority) -> Self {
        Self {
            invocation,
            order: OnceLock::new(),
            verdict: OnceLock::new(),
            handover: Handover::default(),
            starved: AtomicBool::new(false),
            waits: OnceLock::new(),
            authority: authority.inherited(),
            phase: AtomicU8::new(Phase::Keys as u8),
        }
    }

    /// The front reads the words, once. The monitor is there by then: whatever they do to us, it answers the key.
    pub(super) fn read_order(&self) -> &Result<Order, Garbled> {
        self.order.get_or_init(|| Order::read(&self.invocation))
    }

    /// For the monitor: what the front has read, if it has come so far. Not to be read a second time: a front that was
    /// killed while it read would let us wait for ever.
    pub(super) fn order(&self) -> Option<&Result<Order, Garbled>> {
        self.order.get()
    }

    /// The front goes on to this.
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Why a front that was killed has come to nothing.
    pub(super) fn overdue(&self) -> Failure {
        let detail = if self.phase.load(Ordering::Relaxed) == Phase::Requester as u8 {
            "S6: the requester could not be looked at in time (it may be in exec)"
        } else {
            "S21: the kernel did not let go of its keys in time; another user or the load of the machine holds it up"
        };
        Failure::new(Stage::Authorise, Cause::Deadline, detail)
    }

    /// The authority that front and monitor have until one of them answers the key.
    pub(super) fn authority(&self) -> Authority {
        self.authority.inherited()
    }

    /// Who waits for the answer.
    pub(super) fn waits(&self) -> Wait {
        self.waits.get().copied().unwrap_or(Wait::Other)
    }

    /// The key, as the front has instantiated it.
    pub(super) fn live_key(&self) -> LiveKey {
        LiveKey::taken_over(self.invocation.key, self.invocation.consumer)
    }
}
