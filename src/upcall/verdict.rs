//! What the front leaves the monitor, in memory that they share.

use super::authorise::{Acting, Genuine};
use super::loan::Loan;
use super::order::Order;
use super::places::Places;
use crate::event::Failure;
use crate::key::KeySerial;

/// The answer to the requester, which the monitor finds in memory when the front has ended.
#[derive(Debug)]
pub(super) enum Verdict {
    /// The key has been instantiated and is the monitor's to finish.
    Served(Served),
    /// The key of a request for the node, still under construction.
    Undecided(Undecided),
    /// The key has been rejected; only the log remains to be written.
    Refused(Failure),
}

/// What was found and opened.
#[derive(Debug)]
pub(super) struct Served {
    /// What to do.
    pub(super) order: &'static Order,
    /// In whose name the requester asks.
    pub(super) acting: Acting,
    /// How long it took, in microseconds since the front started.
    pub(super) micros: u32,
    /// Where the negotiation takes place.
    pub(super) places: Places,
    /// A keyring to take the key out of before it fails.
    pub(super) foreign_ring: Option<KeySerial>,
    /// The requester's keyrings, if the launcher shall look into them.
    pub(super) loan: Option<Loan>,
}

/// A request that may be served, whose key is not instantiated.
#[derive(Debug)]
pub(super) struct Undecided {
    /// The permission to do so.
    pub(super) genuine: Genuine,
    /// Whose key it is.
    pub(super) owner: u32,
    /// The rest.
    pub(super) served: Served,
}
