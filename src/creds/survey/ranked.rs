//! The usable caches in order, and in words why the others are not usable.

use super::cache::{Candidate, Objection};
use super::wanted::Wanted;
use crate::event::{Cause, Failure, Stage};

/// Longest detail of a failure that lists others, in bytes.
const DETAIL_LIMIT: usize = 440;

/// The usable ones, the best first, and the reason against each other one.
#[derive(Debug)]
pub(crate) struct Ranking {
    /// In their order.
    pub usable: Vec<Candidate>,
    /// Against others, in the order in which they were looked at.
    pub objections: Vec<Objection>,
    /// What comes first, if there is a wish.
    pub wanted: Option<Wanted>,
}

impl Ranking {
    /// Why nothing is usable: the first reason that is more than an absence, and what speaks against the user's others.
    pub(crate) fn failure(&self) -> Failure {
        let decisive = |objection: &&Objection| objection.cause.is_some_and(|cause| cause != Cause::NoTicket);
        let main = self
            .objections
            .iter()
            .find(decisive)
            .or_else(|| self.objections.iter().find(|objection| objection.cause.is_some()));
        let Some(Objection { text, cause, .. }) = main else {
            return Failure::new(Stage::Credentials, Cause::NoTicket, "there is no credential cache");
        };
        let own = self.objections.iter().filter(|other| other.cause.is_some());
        let others = own.map(|other| other.text.as_str()).filter(|other| other != text);
        let detail = listed(text.clone(), others);
        Failure::new(Stage::Credentials, cause.unwrap_or(Cause::NoTicket), detail)
    }
}

/// A text and, as far as there is room, others.
pub(crate) fn listed<'t>(first: String, others: impl Iterator<Item = &'t str>) -> String {
    let (mut text, mut more) = (first, 0);
    for other in others {
        if more == 0 && text.len() + other.len() <= DETAIL_LIMIT {
            text = format!("{text}; {other}");
        } else {
            more += 1;
        }
    }
    if more > 0 { format!("{text}; and {more} more") } else { text }
}
