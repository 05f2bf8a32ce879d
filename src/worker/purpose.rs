//! A request with its time, for the stages of a negotiation.

use std::time::Instant;

use super::watch::Watch;
use crate::negotiate::messages::Request;

/// The request and its time.
#[derive(Clone, Copy)]
pub(super) struct Purpose<'a> {
    pub(super) request: &'a Request,
    /// When KDCs and name services must have answered.
    pub(super) deadline: Instant,
    pub(super) watch: &'a Watch,
}
