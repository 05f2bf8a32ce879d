//! The front's decision, which it leaves to the monitor in the memory that they share.

use super::authorise::{Acting, Genuine};
use super::loan::Loan;
use super::order::Order;
use super::places::Places;
use crate::event::Failure;
use crate::key::KeySerial;

/// The front's decision; the monitor reads it once the front has ended or waits for it.
#[derive(Debug)]
pub(super) enum Verdict {
    /// The key has been instantiated; the monitor must finish it.
    Served(Served),
    /// A request for machine credentials; its key is still under construction.
    Undecided(Undecided),
    /// The key has been rejected; only the log line is left to write.
    Refused(Failure),
}

/// An admitted request: what the front has found and opened.
#[derive(Debug)]
pub(super) struct Served {
    /// The request.
    pub(super) order: &'static Order,
    /// In whose name the requester asks.
    pub(super) acting: Acting,
    /// Time since the front started, in microseconds.
    pub(super) micros: u32,
    /// Where the negotiation takes place.
    pub(super) places: Places,
    /// A keyring that the key is unlinked from before it fails.
    pub(super) foreign_ring: Option<KeySerial>,
    /// The requester's keyrings, if the launcher is to search them.
    pub(super) loan: Option<Loan>,
}

/// An admitted request whose key is not instantiated.
#[derive(Debug)]
pub(super) struct Undecided {
    /// Permission to instantiate the key.
    pub(super) genuine: Genuine,
    /// Uid that the key is to belong to.
    pub(super) owner: u32,
    /// What the front has found and opened.
    pub(super) served: Served,
}
