//! The task that the stages of a negotiation share.

use std::time::Instant;

use super::early_names::EarlyNames;
use super::watch::Watch;
use crate::negotiate::messages::Request;

/// A request with its deadline and clock.
#[derive(Clone, Copy)]
pub(super) struct WorkerTask<'a> {
    /// The monitor's request.
    pub(super) request: &'a Request,
    /// When KDCs and name services must have answered.
    pub(super) deadline: Instant,
    /// Host names that were found before the sandbox was entered.
    pub(super) names: &'a EarlyNames,
    /// The worker's clock, and the way to report.
    pub(super) watch: &'a Watch,
}
