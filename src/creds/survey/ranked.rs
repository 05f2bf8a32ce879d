//! The usable caches in order, and why the others are not usable.

use super::cache::{Candidate, Objection};
use super::first_wish::FirstWish;
use crate::event::{Cause, Failure, Stage};

/// Longest detail of a failure that lists others, in bytes.
const DETAIL_LIMIT: usize = 440;

/// The usable caches, the best first, and the objection to each other place.
#[derive(Debug)]
pub(crate) struct Ranking {
    /// Usable caches in order.
    pub usable: Vec<Candidate>,
    /// Objections, in the order in which the places were looked at.
    pub objections: Vec<Objection>,
    /// The strongest wish, if there is one.
    pub wanted: Option<FirstWish>,
}

impl Ranking {
    /// Why nothing is usable: the first objection that is more than absence, then the objections to the user's other
    /// places.
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

/// A text and, as far as there is room, the others after it.
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
