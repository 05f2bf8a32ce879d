//! One upcall to be served: what for, for whom, and by which settings. Made by the monitor, read by all that serves it.

use super::invocation::Invocation;
use super::order::Order;
use super::verdict::Served;
use crate::config::Config;
use crate::identity::requester::Wait;

/// A request that the front has admitted.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    /// The words of the upcall.
    pub(super) invocation: &'a Invocation,
    /// What the front has found and opened.
    pub(super) served: &'a Served,
    /// Who waits for the answer, or has waited.
    pub(super) waits: Wait,
    /// The settings; from the negotiation on those that hold for the requester.
    pub(super) config: &'a Config,
}

impl<'a> Job<'a> {
    /// What to do.
    pub(super) fn order(&self) -> &'a Order {
        self.served.order
    }
}
