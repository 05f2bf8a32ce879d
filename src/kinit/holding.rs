//! Whether the ticket holds as long as somebody will need it, and one that does.

use std::io::IsTerminal;

use super::arguments::KinitArguments;
use super::failure::KinitFailure;
use super::obtain;
use super::place::TicketPlace;
use crate::gss::krb5::Library;
use crate::gss::listing::Granting;
use crate::gss::principal::Krb5Principal;
use crate::gss::private_cache::PrivateCache;
use crate::gss::renewal::OldTicket;
use crate::gss::ticket::Cache;
use crate::time::{self, Span};

/// What holds longest.
pub(super) struct Longest {
    /// Tickets to be stored; none if those that are there hold longer.
    pub new: Option<PrivateCache>,
    /// Why they do not hold long enough.
    pub short: Option<KinitFailure>,
}

/// A ticket that could be got, its times and its client.
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
    let holds = |candidate: &HeldTicket| u64::from(candidate.ticket.end) >= until;
    let mut best = of_the_cache(arguments, library, place);
    let mut obstacle = None;
    for way in [renewed, asked_for] {
        if best.as_ref().is_some_and(holds) {
            break;
        }
        match way(arguments, library, place, best.as_ref()) {
            Ok(Some(other)) if best.as_ref().is_none_or(|best| best.ticket.end < other.ticket.end) => {
                best = Some(other);
            }
            Ok(_) => {}
            Err(error) => obstacle = Some(error),
        }
    }
    match (best, obstacle) {
        (Some(best), _) if holds(&best) => Ok(Longest { new: best.new, short: None }),
        (Some(best), obstacle) => {
            let short = short(&best, obstacle, seconds);
            Ok(Longest { new: best.new, short: Some(short) })
        }
        (None, obstacle) => Err(obstacle.unwrap_or(KinitFailure::NothingToHold)),
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

fn of_the_cache(arguments: &KinitArguments, library: &Library, place: &TicketPlace) -> Option<HeldTicket> {
    let cache = obtain::old_cache(arguments, library, place).ok()?;
    held(&cache).filter(|found| u64::from(found.ticket.end) > time::now())
}

fn held(cache: &Cache) -> Option<HeldTicket> {
    let client = cache.principal().ok()?;
    let (ticket, _) = cache.last_granting(&client).ok().flatten()?;
    Some(HeldTicket { client, ticket, new: None })
}

fn with(new: PrivateCache) -> Option<HeldTicket> {
    let found = new.open().ok().and_then(|cache| held(&cache))?;
    Some(HeldTicket { new: Some(new), ..found })
}

type Way = Result<Option<HeldTicket>, KinitFailure>;

/// The ticket that is there, renewed.
fn renewed(
    arguments: &KinitArguments,
    library: &Library,
    place: &TicketPlace,
    old: Option<&HeldTicket>,
) -> Way {
    let Some(old) = old else { return Ok(None) };
    if old.ticket.renew_until.is_none_or(|until| until <= old.ticket.end) {
        return Ok(None);
    }
    let cache = obtain::old_cache(arguments, library, place);
    let renewed = cache.and_then(|cache| cache.renewed_alone(OldTicket::Renew, None));
    renewed.map(with).map_err(KinitFailure::Renewal)
}

/// A new one, if that takes nobody's input for an answer to a question.
fn asked_for(
    arguments: &KinitArguments,
    library: &Library,
    place: &TicketPlace,
    _: Option<&HeldTicket>,
) -> Way {
    let can_ask = arguments.by_keytab() || std::io::stdin().is_terminal();
    if can_ask { obtain::new(arguments, library, place).map(with) } else { Ok(None) }
}
