//! Renews a user's ticket-granting ticket before use (lgss.toml(5), `renew`), in its cache.
//!
//! Called by the worker in the stage `Kdc`. Invariant: a ticket that cannot be renewed or stored is used as it is, so
//! that renewal never makes a request fail.

use std::fmt;
use std::time::{Duration, Instant};

use super::ticket::{CacheNames, ClientAccount, service_principal, unusable};
use crate::config::Enctypes;
use crate::ctx::request::Service;
use crate::event::Failure;
use crate::gss::krb5::Library;
use crate::gss::listing::Granting;
use crate::gss::principal::Krb5Principal;
use crate::gss::private_cache::PrivateCache;
use crate::gss::renewal::renew;
use crate::gss::status::Krb5Error;
use crate::gss::ticket::Ticket;
use crate::sys::answer::{NoAnswer, within};
use crate::time::{Span, now};

/// Longest wait for a KDC's renewal. The old tickets still serve, so a longer wait is not worth it.
const RENEWAL_LIMIT: Duration = Duration::from_secs(5);

/// The outcome of a renewal that was due, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// The ticket-granting ticket was renewed.
    Done {
        /// How long the new one lasts.
        left: Span,
        /// Why it was not stored in the cache, if it was not.
        unstored: Option<String>,
    },
    /// It was not renewed, and why.
    Failed(String),
}

impl fmt::Display for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done { left, unstored: None } => write!(f, "renewed for {left}"),
            Self::Done { left, unstored: Some(why) } => {
                write!(f, "renewed for {left}, but not stored in the cache: {why}")
            }
            Self::Failed(why) => write!(f, "not renewed: {why}"),
        }
    }
}

/// The ticket for the service as by [`ClientAccount::ticket`], after renewing the ticket-granting ticket if that is
/// due. A service ticket from before the renewal ends too soon and is replaced as well. The additional requests to a
/// KDC get half of `limit` at most.
///
/// # Errors
/// As [`ClientAccount::ticket`].
pub(crate) fn ticket(
    account: &ClientAccount,
    service: &Service,
    server: &Krb5Principal,
    allowed: &Enctypes,
    limit: Duration,
) -> Result<(Ticket, Option<Renewal>), Failure> {
    let asked = TicketRequest {
        account,
        service,
        server,
        allowed,
        until: Instant::now() + (limit / 2).min(RENEWAL_LIMIT),
    };
    match account.cache().last_granting(account.client()) {
        Ok(Some((life, granting))) if is_due(&life, now()) => asked.after_renewal(&life, &granting),
        Ok(Some((life, granting))) => asked.without_renewal(&life, granting).map(|ticket| (ticket, None)),
        // The cache has only the service's ticket, or an error that is left to libkrb5.
        Ok(None) | Err(_) => asked.as_ever().map(|ticket| (ticket, None)),
    }
}

/// The ticket that is wanted, and the account that wants it.
struct TicketRequest<'a> {
    account: &'a ClientAccount,
    service: &'a Service,
    server: &'a Krb5Principal,
    allowed: &'a Enctypes,
    /// When to stop waiting for a KDC where the old tickets serve.
    until: Instant,
}

impl TicketRequest<'_> {
    fn as_ever(&self) -> Result<Ticket, Failure> {
        self.account.ticket(self.server, self.allowed)
    }

    fn after_renewal(
        &self,
        life: &Granting,
        granting: &Ticket,
    ) -> Result<(Ticket, Option<Renewal>), Failure> {
        let new = match Successor::by_renewal(self, granting, life) {
            Ok(new) => new,
            Err(why) => return self.as_ever().map(|ticket| (ticket, Some(Renewal::Failed(why)))),
        };
        let stored = new.store_in_place_of(self.account, life, granting);
        let (ticket, stored) = match new.ticket(self) {
            Ok(ticket) => (ticket, stored.and_then(|()| new.hand_over(self.account))),
            // The cache may have a ticket.
            Err(_) => (self.as_ever()?, stored),
        };
        Ok((ticket, Some(Renewal::Done { left: new.left(), unstored: stored.err() })))
    }

    fn without_renewal(&self, life: &Granting, granting: Ticket) -> Result<Ticket, Failure> {
        let ticket = self.as_ever()?;
        if !ticket.cached() || !is_outlived(ticket.start()..ticket.end(), life) {
            return Ok(ticket);
        }
        let newer = Successor::of(self.account, granting).and_then(|same| {
            let newer = same.ticket(self)?;
            // If it cannot be stored, the next request fetches it again.
            let _ = same.hand_over(self.account);
            Ok(newer)
        });
        Ok(newer.unwrap_or(ticket))
    }
}

/// Runs a task that may wait for a KDC in another thread, because libkrb5 has no time limit. The task must open its
/// own context of the library; it shares caches in memory with this thread.
fn in_time<T: Send + 'static>(
    until: Instant,
    task: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    within(until.saturating_duration_since(Instant::now()), task).map_err(|error| match error {
        NoAnswer::Late => "the KDC does not answer".to_owned(),
        NoAnswer::NotAsked(_) => error.to_string(),
    })
}

/// Whether a ticket-granting ticket is due for renewal at `now`, in seconds since the epoch: it is valid, more than
/// half of its life is over, and a renewed one can end later.
fn is_due(ticket: &Granting, now: u64) -> bool {
    ticket.can_be_renewed() && !ticket.invalid && now < u64::from(ticket.end) && now > ticket.half_life()
}

/// Whether a service's ticket is older than the present ticket-granting ticket and ends before it. A ticket from the
/// same second counts as older; for a service whose tickets are always short this costs one request.
fn is_outlived(ticket: std::ops::Range<u32>, granting: &Granting) -> bool {
    ticket.start <= granting.start && ticket.end < granting.end
}

/// A ticket-granting ticket and the tickets got by it, in memory.
struct Successor {
    cache: PrivateCache,
    account: ClientAccount,
    life: Granting,
    granting: Ticket,
}

impl Successor {
    /// Asks a KDC to renew the ticket-granting ticket.
    fn by_renewal(asked: &TicketRequest<'_>, granting: &Ticket, life: &Granting) -> Result<Self, String> {
        let account = asked.account;
        let failed = |error: Krb5Error| account.name().in_words(&error.message);
        let old = granting.alone_in_memory().map_err(failed)?;
        let granted = account.cache().without_tickets().map_err(failed)?;
        let (from, to) = (old.text(), granted.text());
        in_time(asked.until, move || renew(&from, &to))?.map_err(failed)?;
        let new = Self::in_memory(account, granted)?;
        if new.life.end <= life.end {
            return Err("the KDC gives no longer life".to_owned());
        }
        Ok(new)
    }

    /// With the present ticket-granting ticket.
    fn of(account: &ClientAccount, granting: Ticket) -> Result<Self, String> {
        let failed = |error: Krb5Error| account.name().in_words(&error.message);
        let cache = account.cache().without_tickets().map_err(failed)?;
        cache.open().and_then(|open| open.add(&granting)).map_err(failed)?;
        Self::in_memory(account, cache)
    }

    fn in_memory(account: &ClientAccount, cache: PrivateCache) -> Result<Self, String> {
        let read = || -> Result<_, Krb5Error> {
            let open = cache.open()?;
            let client = open.principal()?;
            let last = open.last_granting(&client)?;
            let account = ClientAccount::of(account.library(), open, account.name().clone(), client)?;
            Ok((account, last))
        };
        let (account, last) = read().map_err(|error| account.name().in_words(&error.message))?;
        let (life, granting) = last.ok_or("the KDC gives no ticket-granting ticket")?;
        Ok(Self { cache, account, life, granting })
    }

    /// Gets the ticket for the service from a KDC.
    fn ticket(&self, asked: &TicketRequest<'_>) -> Result<Ticket, String> {
        let names = CacheNames { library: self.cache.text(), display: asked.account.name().display.clone() };
        let (service, allowed) = (asked.service.clone(), asked.allowed.clone());
        let fetch = move || {
            let library = Library::open().map_err(unusable)?;
            let server = service_principal(&library, &service)?;
            ClientAccount::open(&library, names)?.ticket(&server, &allowed).map(drop)
        };
        in_time(asked.until, fetch)?.map_err(|failure| failure.detail)?;
        // Now it is in the cache in memory.
        self.account.ticket(asked.server, asked.allowed).map_err(|failure| failure.detail)
    }

    fn left(&self) -> Span {
        Span(u64::from(self.life.end).saturating_sub(now()))
    }

    /// Replaces `old` by the new ticket-granting ticket, unless another process has stored a longer one meanwhile.
    fn store_in_place_of(
        &self,
        account: &ClientAccount,
        life: &Granting,
        old: &Ticket,
    ) -> Result<(), String> {
        let cache = account.cache();
        let store = || -> Result<Result<(), String>, Krb5Error> {
            if cache.principal()?.name() != account.client().name() {
                return Ok(Err("it has become somebody else's".to_owned()));
            }
            let there = cache.last_granting(account.client())?;
            if there.is_some_and(|(there, _)| there.end > life.end) {
                return Ok(Ok(()));
            }
            cache.supersede(old, &self.granting)?;
            cache.forget_other_realms(&account.client().name().realm).map(Ok)
        };
        store().unwrap_or_else(|error| Err(account.name().in_words(&error.message)))
    }

    /// Stores the tickets got by the ticket-granting ticket in the cache.
    fn hand_over(&self, account: &ClientAccount) -> Result<(), String> {
        let realm = account.client().name().realm;
        let handed = self.cache.open().and_then(|got| account.cache().take_over(&got, &realm));
        handed.map_err(|error| account.name().in_words(&error.message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(start: u32, end: u32, renew_until: Option<u32>) -> Granting {
        Granting { start, end, enctype: 18, invalid: false, renew_until }
    }

    #[test]
    fn a_ticket_is_due_when_more_than_half_of_its_life_is_over() {
        let renewable = ticket(1000, 2000, Some(9000));
        for (now, due) in [(0, false), (1000, false), (1500, false), (1501, true), (1999, true)] {
            assert_eq!(is_due(&renewable, now), due, "at {now}");
        }
    }

    #[test]
    fn expired_invalid_and_unrenewable_tickets_are_never_due() {
        let renewable = ticket(1000, 2000, Some(9000));
        assert!(!is_due(&renewable, 2000) && !is_due(&renewable, u64::MAX));
        assert!(!is_due(&Granting { invalid: true, ..renewable }, 1800));
        assert!(!is_due(&ticket(1000, 2000, None), 1800));
        assert!(!is_due(&ticket(1000, 2000, Some(2000)), 1800));
        assert!(!is_due(&ticket(1000, 2000, Some(0)), 1800));
        assert!(!is_due(&ticket(2000, 1000, Some(9000)), 2500));
    }

    #[test]
    fn the_last_second_of_the_epoch_overflows_nothing() {
        let last = u32::MAX;
        assert!(!is_due(&ticket(last - 10, last, Some(last)), u64::from(last) - 1));
        assert!(is_due(&ticket(0, last - 1, Some(last)), u64::from(last) - 2));
    }

    #[test]
    fn a_services_ticket_from_before_the_renewal_is_outlived_and_one_of_a_short_lived_service_is_not() {
        let renewed = ticket(1500, 2500, Some(9000));
        assert!(is_outlived(1100..2000, &renewed));
        assert!(!is_outlived(1600..1700, &renewed));
        assert!(is_outlived(1500..2000, &renewed));
        assert!(!is_outlived(1501..2000, &renewed));
        assert!(!is_outlived(1100..2500, &renewed));
    }

    #[test]
    fn the_log_tells_what_came_of_it() {
        let done = |unstored| Renewal::Done { left: Span(36_000), unstored };
        assert_eq!(done(None).to_string(), "renewed for 10 h");
        let unstored = done(Some("read-only".to_owned()));
        assert_eq!(unstored.to_string(), "renewed for 10 h, but not stored in the cache: read-only");
        assert_eq!(Renewal::Failed("no".to_owned()).to_string(), "not renewed: no");
    }
}
