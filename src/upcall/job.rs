//! One upcall to be served: the request, its requester and the settings. Made by the monitor, read by everything that
//! serves it.

use super::invocation::Invocation;
use super::order::Order;
use super::verdict::Served;
use crate::config::Config;
use crate::identity::requester::Wait;

/// A request that the front has admitted.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    /// The arguments of the upcall.
    pub(super) invocation: &'a Invocation,
    /// What the front has found and opened.
    pub(super) served: &'a Served,
    /// Who waits, or has waited, for the answer.
    pub(super) waits: Wait,
    /// The settings; from the negotiation on, those that apply to the requester.
    pub(super) config: &'a Config,
}

impl<'a> Job<'a> {
    /// The request.
    pub(super) fn order(&self) -> &'a Order {
        self.served.order
    }
}
