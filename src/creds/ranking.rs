//! What a user's credentials are worth for one target, and which are the best unless the user wants others
//! (choice.rs).
//!
//! The order: usable for the target's realm, then the longest remaining life, then renewable, then the newest. All
//! this follows from the contents of the caches; no KDC is asked.

use std::fmt;

use crate::gss::listing::TicketInfo;
use crate::gss::principal::Name;
use crate::time::{Span, date};

/// How close to the target tickets lead, the closest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TicketReach {
    /// Nowhere yet: they are postdated and not validated by the KDC.
    Postdated,
    /// Nowhere yet: they become valid later, or a clock is wrong.
    Later,
    /// There are tickets for other services only.
    OtherServices,
    /// To another realm, from which the target's may be reachable.
    OtherRealm,
    /// To the target's realm, or to the target itself.
    Target,
}

/// What makes credentials better than others; the fields are in the order of their weight. Times are in seconds since
/// the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Worth {
    /// How close they lead.
    pub reach: TicketReach,
    /// When they end.
    pub end: u32,
    /// Whether they can be renewed.
    pub renewable: bool,
    /// When their owner authenticated.
    pub authenticated: u32,
    /// When they begin to be valid.
    pub start: u32,
}

/// Why credentials are worth nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoUsableTicket {
    /// There is no ticket.
    Empty,
    /// The last ticket expired this many seconds ago.
    Expired(u64),
    /// All tickets belong to gssproxy, whose daemon alone can use them.
    GssProxys,
}

impl fmt::Display for NoUsableTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Empty => f.write_str("no ticket"),
            Self::Expired(seconds) => write!(f, "ticket expired {} ago", Span(seconds).rounded()),
            Self::GssProxys => f.write_str("only credentials of gssproxy, which its daemon alone can use"),
        }
    }
}

/// What tickets are worth at `now` for `service`, whose realm is empty if a KDC is to find it. Without a service
/// every realm counts as the target's.
///
/// # Errors
/// [`NoUsableTicket`].
pub(crate) fn worth(
    tickets: &[TicketInfo],
    service: Option<&Name>,
    now: u64,
) -> Result<Worth, NoUsableTicket> {
    let of_live = |ticket: &TicketInfo| Worth {
        reach: match is_valid(ticket, now) {
            true => reach(ticket, service),
            false if ticket.invalid => TicketReach::Postdated,
            false => TicketReach::Later,
        },
        end: ticket.end,
        renewable: ticket.renewable_until > ticket.end,
        authenticated: ticket.authenticated,
        start: ticket.start,
    };
    let live = tickets.iter().filter(|ticket| is_live(ticket, now) && !is_gssproxys(ticket));
    // A ticket for the service itself will be used if there is one, so its life counts.
    let best = match ready(tickets, service, now) {
        Some(ticket) => Some(of_live(ticket)),
        None => live.map(of_live).max(),
    };
    best.ok_or_else(|| worthless(tickets, now))
}

/// A valid ticket for the service itself, which needs no KDC.
pub(crate) fn ready<'t>(
    tickets: &'t [TicketInfo],
    service: Option<&Name>,
    now: u64,
) -> Option<&'t TicketInfo> {
    let service = service?;
    tickets
        .iter()
        .find(|ticket| is_live(ticket, now) && is_valid(ticket, now) && is_for(&ticket.server, service))
}

/// Whether a ticket has not expired. One that is not valid yet counts as live, since a clock may be wrong; the KDC
/// and the library know more about that.
fn is_live(ticket: &TicketInfo, now: u64) -> bool {
    now < u64::from(ticket.end)
}

fn is_valid(ticket: &TicketInfo, now: u64) -> bool {
    !ticket.invalid && u64::from(ticket.start) <= now.saturating_add(SKEW)
}

/// Accepted difference of clocks, in seconds (krb5.conf(5), clockskew).
pub(super) const SKEW: u64 = 300;

fn reach(ticket: &TicketInfo, service: Option<&Name>) -> TicketReach {
    match (ticket.grants(), service) {
        (_, Some(service)) if is_for(&ticket.server, service) => TicketReach::Target,
        (Some(_), None) => TicketReach::Target,
        (Some(_), Some(service)) if service.realm.is_empty() => TicketReach::Target,
        (Some(realm), Some(service)) if realm == service.realm => TicketReach::Target,
        (Some(_), Some(_)) => TicketReach::OtherRealm,
        (None, _) => TicketReach::OtherServices,
    }
}

/// Whether a ticket's server is the service, whose realm may be open.
fn is_for(server: &Name, service: &Name) -> bool {
    server.components == service.components && (service.realm.is_empty() || service.realm == server.realm)
}

/// Realm that marks the encrypted credentials that gssproxy leaves in a cache.
const GSSPROXY: &str = "X-GSSPROXY:";

fn is_gssproxys(ticket: &TicketInfo) -> bool {
    ticket.server.realm == GSSPROXY
}

fn worthless(tickets: &[TicketInfo], now: u64) -> NoUsableTicket {
    if !tickets.is_empty() && tickets.iter().all(is_gssproxys) {
        return NoUsableTicket::GssProxys;
    }
    match tickets.iter().map(|ticket| u64::from(ticket.end)).max() {
        Some(end) => NoUsableTicket::Expired(now.saturating_sub(end)),
        None => NoUsableTicket::Empty,
    }
}

impl Worth {
    /// The worth in words: `7 h left, renewable`.
    pub(crate) fn in_words(&self, now: u64) -> String {
        let left = Span(u64::from(self.end).saturating_sub(now)).rounded();
        let reach = match self.reach {
            TicketReach::Target => String::new(),
            TicketReach::OtherRealm => ", of another realm than the service's".to_owned(),
            TicketReach::OtherServices => ", tickets for other services only".to_owned(),
            TicketReach::Later | TicketReach::Postdated => format!(", {}", self.not_before()),
        };
        format!("{left} left{}{reach}", if self.renewable { ", renewable" } else { "" })
    }

    /// From when on credentials that are not valid yet can be used, in words.
    pub(crate) fn not_before(&self) -> String {
        let date = date(self.start);
        match self.reach {
            TicketReach::Postdated => {
                format!("not valid before {date}: the ticket is postdated: to be validated with kinit -v")
            }
            _ => format!("not valid before {date}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cmp::Reverse;

    const NOW: u64 = 1_000_000;

    fn name(text: &str) -> Name {
        let (components, realm) = text.split_once('@').unwrap();
        Name { realm: realm.to_owned(), components: components.split('/').map(str::to_owned).collect() }
    }

    fn ticket(server: &str, left: i32) -> TicketInfo {
        TicketInfo {
            server: name(server),
            authenticated: 999_000,
            start: 999_000,
            end: u32::try_from(1_000_000 + left).unwrap(),
            renewable_until: 0,
            invalid: false,
        }
    }

    fn order(caches: &[Vec<TicketInfo>], service: &str) -> Vec<usize> {
        let service = name(service);
        let mut ranked: Vec<(usize, Worth)> = caches
            .iter()
            .enumerate()
            .filter_map(|(at, tickets)| Some((at, worth(tickets, Some(&service), NOW).ok()?)))
            .collect();
        ranked.sort_by_key(|(_, worth)| Reverse(*worth));
        ranked.into_iter().map(|(at, _)| at).collect()
    }

    #[test]
    fn the_targets_realm_comes_before_life_and_life_before_all_else() {
        let caches = [
            vec![ticket("krbtgt/A@A", 9000)],
            vec![ticket("krbtgt/B@B", 100)],
            vec![ticket("krbtgt/B@B", 200)],
            vec![ticket("krbtgt/B@A", 150), ticket("krbtgt/A@A", 9000)],
            vec![ticket("nfs/h@B", 120)],
            vec![ticket("nfs/other@B", 9999)],
            vec![ticket("krbtgt/B@B", -1)],
        ];
        assert_eq!(order(&caches, "nfs/h@B"), [2, 3, 4, 1, 0, 5]);
        // A realm that a KDC is to find can be reached from any realm.
        assert_eq!(order(&caches, "nfs/h@"), [0, 3, 2, 4, 1, 5]);
    }

    #[test]
    fn of_equal_lives_the_renewable_one_wins_then_the_newest_then_the_first() {
        let renewable = TicketInfo { renewable_until: 2_000_000, ..ticket("krbtgt/A@A", 50) };
        let newer = TicketInfo { authenticated: 999_500, ..ticket("krbtgt/A@A", 50) };
        let plain = ticket("krbtgt/A@A", 50);
        let caches = [vec![plain.clone()], vec![plain], vec![newer], vec![renewable]];
        assert_eq!(order(&caches, "nfs/h@A"), [3, 2, 0, 1]);
    }

    #[test]
    fn what_becomes_valid_later_comes_after_all_that_is() {
        let later = TicketInfo { start: 1_001_000, ..ticket("krbtgt/A@A", 9000) };
        let postdated = TicketInfo { invalid: true, ..ticket("krbtgt/A@A", 9500) };
        let caches = [vec![later], vec![ticket("krbtgt/B@B", 10)], vec![postdated.clone()]];
        assert_eq!(order(&caches, "nfs/h@A"), [1, 0, 2]);
        let told = worth(&[postdated], None, NOW).unwrap().in_words(NOW);
        assert!(told.contains(", not valid before 1970-01-12 "), "{told}");
        assert!(told.ends_with("postdated: to be validated with kinit -v"), "{told}");
    }

    #[test]
    fn a_ready_ticket_for_the_service_tells_how_long_the_context_will_live() {
        let caches =
            [vec![ticket("krbtgt/A@A", 9000), ticket("nfs/h@A", 30)], vec![ticket("krbtgt/A@A", 5000)]];
        assert_eq!(order(&caches, "nfs/h@A"), [1, 0]);
        assert_eq!(order(&caches, "nfs/other@A"), [0, 1]);
    }

    #[test]
    fn what_is_worth_nothing_says_why() {
        let why = |tickets: &[TicketInfo]| worth(tickets, None, NOW).unwrap_err();
        assert_eq!(why(&[]), NoUsableTicket::Empty);
        assert_eq!(
            why(&[ticket("krbtgt/A@A", -60), ticket("krbtgt/A@A", -9000)]),
            NoUsableTicket::Expired(60)
        );
        assert_eq!(NoUsableTicket::Expired(3 * 3600).to_string(), "ticket expired 3 h ago");
        let gssproxys = ticket("Encrypted/Credentials/v1@X-GSSPROXY:", -999_000);
        assert_eq!(why(std::slice::from_ref(&gssproxys)), NoUsableTicket::GssProxys);
        assert_eq!(why(&[gssproxys, ticket("krbtgt/A@A", -60)]), NoUsableTicket::Expired(60));
    }
}
