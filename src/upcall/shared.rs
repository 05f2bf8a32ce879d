//! The memory that front and monitor share. The front writes; the monitor reads once the front has ended or waits for it.
//!
//! Invariant: the front may be killed at any instruction. So the monitor reads only complete values, by
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

/// The state that front and monitor share.
pub(super) struct Shared {
    /// The arguments of the upcall.
    pub(super) invocation: Invocation,
    /// The front's first act: the request that the arguments make.
    order: OnceLock<Result<Order, Garbled>>,
    /// The front's last act.
    pub(super) verdict: OnceLock<Verdict>,
    /// Tells the monitor that the verdict, [`Verdict::Undecided`], is set and the front waits.
    pub(super) handover: Handover,
    /// The front waits for another process of this program, which has its own time limit.
    pub(super) starved: AtomicBool,
    /// Who waits for the answer; set once the front has seen the requester.
    pub(super) waits: OnceLock<Wait>,
    authority: Authority,
    step: AtomicU8,
}

/// The front's current step, which says what blocks it if it is overdue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum FrontStep {
    /// Looking at keys, which takes the kernel's lock of keys.
    Keys,
    /// Looking at the requester, which may be in exec(2).
    Requester,
    /// Answering the key, which takes the kernel's locks of keys again.
    Answer,
}

impl Shared {
    /// For an upcall with these arguments and the authority over its key.
    pub(super) fn new(invocation: Invocation, authority: &Authority) -> Self {
        Self {
            invocation,
            order: OnceLock::new(),
            verdict: OnceLock::new(),
            handover: Handover::new(),
            starved: AtomicBool::new(false),
            waits: OnceLock::new(),
            authority: authority.inherited(),
            step: AtomicU8::new(FrontStep::Keys as u8),
        }
    }

    /// For the front, once: reads the request. The monitor exists by then and answers the key whatever happens here.
    pub(super) fn read_order(&self) -> &Result<Order, Garbled> {
        self.order.get_or_init(|| Order::read(&self.invocation))
    }

    /// For the monitor: the request, if the front has read it. Never read here: after a front that was killed while it
    /// read, [`OnceLock::get_or_init`] would wait for ever.
    pub(super) fn order(&self) -> Option<&Result<Order, Garbled>> {
        self.order.get()
    }

    /// Records that the front goes on to this step.
    pub(super) fn enter(&self, step: FrontStep) {
        self.step.store(step as u8, Ordering::Relaxed);
    }

    /// The failure of a front that was killed because it was overdue.
    pub(super) fn overdue(&self) -> Failure {
        let detail = if self.step.load(Ordering::Relaxed) == FrontStep::Requester as u8 {
            "S6: the requester could not be looked at in time (it may be in exec)"
        } else {
            "S21: the kernel's key locks were not free in time: another user holds them, or the machine is overloaded"
        };
        Failure::new(Stage::Authorise, Cause::Deadline, detail)
    }

    /// The authority over the key, which front and monitor have until one of them answers it.
    pub(super) fn authority(&self) -> Authority {
        self.authority.inherited()
    }

    /// Who waits for the answer.
    pub(super) fn waits(&self) -> Wait {
        self.waits.get().copied().unwrap_or(Wait::Other)
    }

    /// The key, which the front has instantiated.
    pub(super) fn live_key(&self) -> LiveKey {
        LiveKey::taken_over(self.invocation.key, self.invocation.consumer)
    }
}
