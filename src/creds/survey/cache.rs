//! A cache that was read, a usable cache, and the objection to one that is not usable.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};

use crate::creds::choice::WishedBy;
use crate::creds::ranking::{NoUsableTicket, Worth};
use crate::creds::source::Standing;
use crate::creds::ticket::CacheNames;
use crate::event::Cause;
use crate::gss::listing::TicketInfo;
use crate::gss::principal::Name;
use crate::text::quoted;

/// A cache that was read.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) name: CacheNames,
    pub(super) client: Name,
    pub(super) tickets: Vec<TicketInfo>,
    pub(super) standing: Standing,
}

/// A usable cache.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    /// Where it is.
    pub name: CacheNames,
    /// Whose tickets it holds.
    pub client: Name,
    /// What they are worth.
    pub worth: Worth,
    /// Whether a ticket for the service itself is among them.
    pub ready: bool,
    /// Why it comes before better ones, if the user wants this very cache.
    #[cfg_attr(not(any(feature = "tools", test)), expect(dead_code, reason = "only `lgss caches` shows it"))]
    pub by: Option<WishedBy>,
}

/// Why a place cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Objection {
    /// The place.
    pub place: String,
    /// The place and the reason.
    pub text: String,
    /// The kind of reason; `None` if it says nothing about the requester.
    pub cause: Option<Cause>,
    /// Whether it is always reported.
    pub notable: bool,
    /// How the place was named.
    pub(super) standing: Standing,
}

impl Hash for Contents {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { name, client, tickets, standing } = self;
        (&name.display, client, standing).hash(state);
        // A ticket has the authentication time of the ticket by which it was got.
        let authenticated: BTreeSet<_> = tickets.iter().map(|ticket| ticket.authenticated).collect();
        authenticated.hash(state);
        let is_own = |ticket: &&TicketInfo| {
            ticket.grants() == Some(&client.realm) && ticket.server.realm == client.realm
        };
        for ticket in tickets.iter().filter(is_own) {
            (ticket.start, ticket.end, ticket.invalid).hash(state);
        }
    }
}

impl Contents {
    /// The objection to it.
    pub(super) fn worthless(&self, why: NoUsableTicket) -> Objection {
        Objection {
            place: self.name.display.clone(),
            text: format!("{}: {why}", self.name.shown().trim_end_matches(':')),
            cause: Some(match why {
                NoUsableTicket::Expired(_) => Cause::TicketExpired,
                NoUsableTicket::Empty => Cause::NoTicket,
                NoUsableTicket::GssProxys => Cause::BadCache,
            }),
            notable: false,
            standing: self.standing,
        }
    }
}

impl Candidate {
    /// The objection to a candidate that is not used, whatever its worth.
    pub(crate) fn passed_over(&self, why: impl std::fmt::Display) -> Objection {
        Objection {
            place: self.name.display.clone(),
            text: format!("{}: {why}", self.name.shown().trim_end_matches(':')),
            cause: Some(Cause::NoTicket),
            notable: false,
            standing: Standing::Found,
        }
    }
}

impl Objection {
    /// The reason alone.
    pub(crate) fn reason(&self) -> &str {
        let after =
            |place: &str| self.text.strip_prefix(place).map(|rest| rest.trim_start_matches([':', ' ']));
        let place = self.place.trim_end_matches(':');
        let rest = after(&quoted(place)).or_else(|| after(place));
        rest.filter(|rest| !rest.is_empty()).unwrap_or(&self.text)
    }
}
