//! Whether the ticket holds as long as somebody will need it, and one that does.
//!
//! Used by `kinit`. Invariant: nobody is asked for anything on an input that is no terminal.

use std::io::IsTerminal;

use super::arguments::KinitArguments;
use super::client;
use super::failure::KinitFailure;
use super::obtain;
use super::place::TicketPlace;
use super::quota;
use super::remarks::remark;
use crate::gss::krb5::Library;
use crate::gss::listing::Granting;
use crate::gss::principal::Krb5Principal;
use crate::gss::private_cache::PrivateCache;
use crate::gss::renewal::OldTicket;
use crate::gss::ticket::Cache;
use crate::time::{self, Span};

/// What holds longest.
pub(super) struct Longest {
    /// Whose it is.
    pub client: Krb5Principal,
    /// For how long it holds.
    pub left: Span,
    /// Tickets to be stored; none if those that are there hold longer.
    pub new: Option<PrivateCache>,
    /// Why they do not hold long enough.
    pub short: Option<KinitFailure>,
}

/// A ticket that there is, or that could be got.
struct HeldTicket {
    client: Krb5Principal,
    ticket: Granting,
    new: Option<PrivateCache>,
}

/// Keeps, renews or gets a ticket that holds for `seconds` from now. The first that does is taken, else the one that holds longest.
///
/// # Errors
/// There is no ticket at all, and none could be got.
pub(super) fn longest(
    arguments: &KinitArguments,
    library: &Library,
    place: &TicketPlace,
    seconds: i32,
) -> Result<Longest, KinitFailure> {
    let until = time::now() + u64::from(seconds.unsigned_abs());
    let holds =
        |held: &Option<HeldTicket>| held.as_ref().is_some_and(|held| u64::from(held.ticket.end) >= until);
    let client = client::choose(arguments, library, place)?;
    let mut best = there_is(library, place, &client);
    let mut obstacle = None;
    if !holds(&best) {
        let renewed = renewed(library, place, best.as_ref());
        take_better(&mut best, renewed, &mut obstacle);
    }
    if !holds(&best) && (arguments.by_keytab() || std::io::stdin().is_terminal()) {
        if let Some(short) = quota::foreseen(quota::OF_A_CACHE) {
            remark(&mut std::io::stderr(), short);
        }
        take_better(&mut best, obtain::new(arguments, library, place).map(with), &mut obstacle);
    }
    let is_enough = holds(&best);
    match best {
        Some(best) => {
            let short = (!is_enough).then(|| short(&best, obstacle, seconds));
            let left = Span(u64::from(best.ticket.end).saturating_sub(time::now()));
            Ok(Longest { client: best.client, left, new: best.new, short })
        }
        None => Err(obstacle.unwrap_or(KinitFailure::NothingToHold)),
    }
}

fn take_better(
    best: &mut Option<HeldTicket>,
    other: Result<Option<HeldTicket>, KinitFailure>,
    obstacle: &mut Option<KinitFailure>,
) {
    match other {
        Ok(Some(other)) if best.as_ref().is_none_or(|best| best.ticket.end < other.ticket.end) => {
            *best = Some(other);
        }
        Ok(_) => {}
        Err(error) => *obstacle = Some(error),
    }
}

fn short(best: &HeldTicket, obstacle: Option<KinitFailure>, wanted: i32) -> KinitFailure {
    let now = time::now();
    KinitFailure::Short {
        client: best.client.to_string(),
        left: Span(u64::from(best.ticket.end).saturating_sub(now)),
        wanted: Span(wanted.unsigned_abs().into()),
        renewable: best.ticket.renew_until.map(|until| Span(u64::from(until).saturating_sub(now))),
        obstacle: obstacle.map(Box::new),
    }
}

/// The client's ticket, if it has not ended.
fn there_is(library: &Library, place: &TicketPlace, client: &Krb5Principal) -> Option<HeldTicket> {
    let cache = place.cache_of(library, client).ok().flatten()?;
    held(&cache).filter(|held| u64::from(held.ticket.end) > time::now())
}

fn held(cache: &Cache) -> Option<HeldTicket> {
    let (client, granting) = cache.client_and_granting().ok()?;
    granting.map(|(ticket, _)| HeldTicket { client, ticket, new: None })
}

fn with(new: PrivateCache) -> Option<HeldTicket> {
    let found = new.open().ok().and_then(|cache| held(&cache))?;
    Some(HeldTicket { new: Some(new), ..found })
}

/// The ticket that is there, renewed.
fn renewed(
    library: &Library,
    place: &TicketPlace,
    old: Option<&HeldTicket>,
) -> Result<Option<HeldTicket>, KinitFailure> {
    let Some(old) = old.filter(|old| old.ticket.can_be_renewed()) else { return Ok(None) };
    let renewed = place
        .cache_of(library, &old.client)
        .and_then(|cache| cache.map(|cache| cache.renewed_alone(OldTicket::Renew, None)).transpose());
    renewed.map(|new| new.and_then(with)).map_err(KinitFailure::Renewal)
}
