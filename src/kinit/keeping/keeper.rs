//! Keeps tickets: looks at them, and replaces them at half of their life.
//!
//! Run in the background by `background`. Invariant: what is in the cache is looked at once more before it is replaced.

use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::Pid;

use super::schedule::{self, LaterTicket, NextStep, TicketSource};
use super::telling::{Teller, Urgency};
use crate::gss::krb5::Library;
use crate::gss::listing::Granting;
use crate::gss::placing::FREED_WITHIN;
use crate::gss::private_cache::PrivateCache;
use crate::gss::renewal::OldTicket;
use crate::gss::status::{Krb5Error, Krb5Reason};
use crate::kinit::arguments::KinitArguments;
use crate::kinit::collection_ring;
use crate::kinit::failure::KinitFailure;
use crate::kinit::obtain;
use crate::kinit::place::{Primary, TicketPlace};
use crate::sys::process::Process;
use crate::text::shell_word;
use crate::time::{self, Span};

/// How long nobody looks at the clock and the cache: sleep of the machine counts, and others may change the tickets.
const LOOK: Duration = Duration::from_secs(60);
/// Shortest pause, so that nothing can make a loop of this.
const LEAST: Duration = Duration::from_secs(1);
/// A cache that is being replaced where the quota has no room for two is empty for so long.
const REPLACED_WITHIN: Duration = FREED_WITHIN.saturating_add(LEAST);

/// So many seconds after its end, at least, the kernel knows that a keyring has expired (`kernel.keys.gc_delay`). The machine may
/// have slept longer.
const KNOWN_TO_HAVE_EXPIRED: u64 = 240;

/// The process that the tickets are for.
#[derive(Debug)]
pub(crate) struct Watched(pub(super) Process);

impl Watched {
    /// A process by its number, else this one.
    ///
    /// # Errors
    /// The kernel's, if there is no such process.
    pub(crate) fn open(pid: Option<i32>) -> Result<Self, KinitFailure> {
        let pid = pid.map_or_else(Pid::this, Pid::from_raw);
        Process::open(pid).map(Self).map_err(|errno| KinitFailure::Watched { pid: pid.as_raw(), errno })
    }

    /// Waits at most so long. Returns whether it has ended.
    fn has_ended_within(&self, limit: Duration) -> bool {
        self.0.wait_for_end(limit)
    }
}

/// Tickets that are to be renewed, as they are stored.
pub(crate) struct KeptTickets<'a> {
    pub(crate) arguments: &'a KinitArguments,
    /// Their cache, `KEYRING:anchor:collection:cache`.
    pub(crate) cache: &'a str,
    /// Whose they are.
    pub(crate) client: String,
    /// The ticket-granting ticket.
    pub(crate) ticket: Granting,
}

/// What has been told.
#[derive(Debug, Default)]
struct Told {
    /// The end of the tickets that were warned of.
    end: Option<u32>,
    /// Why the last attempt failed.
    failure: Option<String>,
}

/// What became of the attempt to replace a ticket.
enum Replaced {
    /// By us, or meanwhile by somebody else.
    Done,
    /// Nobody wants it any more.
    Unwanted,
}

/// What is in the cache.
enum CacheLook {
    Ticket(Granting),
    /// Those of another client.
    Others,
    /// Nothing, now or for ever.
    Nothing,
}

pub(super) struct TicketKeeper<'a> {
    tickets: KeptTickets<'a>,
    watched: Watched,
    teller: Teller,
    told: Told,
    /// There was nothing at the last look.
    was_gone: bool,
    /// How many attempts have failed in a row.
    failures: u32,
}

impl<'a> TicketKeeper<'a> {
    pub(super) fn new(tickets: KeptTickets<'a>, watched: Watched, teller: Teller) -> Self {
        Self { tickets, watched, teller, told: Told::default(), was_gone: false, failures: 0 }
    }
    pub(super) fn keep(mut self) {
        while let Some(pause) = self.round() {
            if self.watched.has_ended_within(pause.clamp(LEAST, LOOK)) {
                return;
            }
        }
    }

    /// Looks at the tickets, and replaces them if it is time. Returns how long to wait; `None` when all is over.
    fn round(&mut self) -> Option<Duration> {
        // Anew each time: krb5.conf may have changed.
        let library = match Library::open().map_err(KinitFailure::Configuration) {
            Ok(library) => library,
            Err(failure) => return Some(self.failed(&failure)),
        };
        let found = self.look(&library);
        let now = time::now();
        let ticket = match found {
            Ok(CacheLook::Ticket(ticket)) => ticket,
            Ok(CacheLook::Others) => return self.gone("somebody else's tickets are in their place"),
            Ok(CacheLook::Nothing) => return self.without_tickets(&library, now),
            Err(error) => return Some(self.failed(&KinitFailure::Renewal(error))),
        };
        (self.was_gone, self.tickets.ticket) = (false, ticket);
        let later = LaterTicket::of(&ticket, now, self.source());
        let pause = match schedule::next(&ticket, later, now) {
            NextStep::Over => return self.over(),
            NextStep::Wait(seconds) => Duration::from_secs(seconds),
            NextStep::Replace => match self.replace(&library, later) {
                Ok(Replaced::Done) => return Some(LEAST),
                Ok(Replaced::Unwanted) => return Some(Duration::ZERO),
                Err(failure) => self.failed(&failure),
            },
        };
        let warning = schedule::warning_time(&ticket);
        if now >= warning {
            self.warn(now);
            return Some(pause);
        }
        Some(pause.min(Duration::from_secs(warning - now)))
    }

    fn source(&self) -> TicketSource {
        if self.tickets.arguments.by_keytab() { TicketSource::Keytab } else { TicketSource::Person }
    }

    fn place(&self) -> TicketPlace {
        TicketPlace::Cache(self.tickets.cache.to_owned())
    }

    /// # Errors
    /// Something that need not be so the next time, such as no memory.
    fn look(&self, library: &Library) -> Result<CacheLook, Krb5Error> {
        match self.place().open(library).and_then(|cache| cache.client_and_granting()) {
            Ok((client, _)) if client.to_string() != self.tickets.client => Ok(CacheLook::Others),
            Ok((_, Some((ticket, _)))) => Ok(CacheLook::Ticket(ticket)),
            Ok((_, None)) => Ok(CacheLook::Nothing),
            Err(error) if is_gone(&error) => Ok(CacheLook::Nothing),
            Err(error) => Err(error),
        }
    }

    /// The kernel has ended the tickets, or somebody has destroyed them. A keytab gets new ones in the first case.
    fn without_tickets(&mut self, library: &Library, now: u64) -> Option<Duration> {
        if self.was_gone {
            return self.gone("somebody has removed them");
        }
        let end = u64::from(self.tickets.ticket.end);
        if !collection_ring::has_expired(self.tickets.cache)
            && now < end.saturating_add(KNOWN_TO_HAVE_EXPIRED)
        {
            self.was_gone = true;
            return Some(REPLACED_WITHIN);
        }
        if self.source() == TicketSource::Person {
            return self.over();
        }
        let stored = obtain::by_keytab(self.tickets.arguments, library).and_then(|new| {
            // The session may have ended meanwhile.
            if self.watched.has_ended_within(Duration::ZERO) { Ok(()) } else { self.store(library, &new) }
        });
        Some(match stored {
            Ok(()) => LEAST,
            Err(failure) => self.failed(&failure),
        })
    }

    fn replace(&mut self, library: &Library, later: LaterTicket) -> Result<Replaced, KinitFailure> {
        let renewed =
            || self.place().open(library).and_then(|cache| cache.renewed_alone(OldTicket::Renew, None));
        let by_keytab = || obtain::by_keytab(self.tickets.arguments, library);
        let new = match later {
            LaterTicket::Renewed => match renewed().map_err(KinitFailure::Renewal) {
                Err(_) if self.source() == TicketSource::Keytab => by_keytab()?,
                renewed => renewed?,
            },
            LaterTicket::ByKeytab => by_keytab()?,
            LaterTicket::Nowhere => return Ok(Replaced::Unwanted),
        };
        // Asking a KDC may have taken long.
        match self.look(library).map_err(KinitFailure::Renewal)? {
            CacheLook::Ticket(there) if there == self.tickets.ticket => {}
            CacheLook::Ticket(_) => return Ok(Replaced::Done),
            CacheLook::Others | CacheLook::Nothing => return Ok(Replaced::Unwanted),
        }
        if self.watched.has_ended_within(Duration::ZERO) {
            return Ok(Replaced::Unwanted);
        }
        self.store(library, &new).map(|()| Replaced::Done)
    }

    /// Stores tickets that last longer than those before.
    fn store(&mut self, library: &Library, new: &PrivateCache) -> Result<(), KinitFailure> {
        let granted =
            new.open().and_then(|cache| cache.client_and_granting()).map_err(KinitFailure::Renewal)?;
        let (client, Some((granted, _))) = granted else { return Err(KinitFailure::NothingToRenew) };
        if client.to_string() != self.tickets.client {
            return Err(KinitFailure::NothingToRenew);
        }
        if granted.end <= self.tickets.ticket.end {
            return Err(KinitFailure::NoLonger);
        }
        self.place().store(library, new, Primary::Stays)?;
        (self.told, self.failures) = (Told::default(), 0);
        let left = Span(u64::from(granted.end).saturating_sub(time::now()));
        let said = format!("renewed the tickets of {client} in {} for {left}", self.tickets.cache);
        self.teller.tell(Urgency::Usual, &said);
        Ok(())
    }

    /// Tells the first of several like failures. Returns how long to wait.
    fn failed(&mut self, failure: &KinitFailure) -> Duration {
        let said = failure.to_string();
        if self.told.failure.as_ref() != Some(&said) {
            let remedy = failure.remedy().map_or_else(String::new, |remedy| format!("; {remedy}"));
            self.teller.tell(Urgency::Usual, &format!("{}: {said}{remedy}", self.tickets.cache));
            self.told.failure = Some(said);
        }
        self.failures = self.failures.saturating_add(1);
        Duration::from_secs(schedule::pause(&self.tickets.ticket, self.failures, time::now()))
    }

    fn warn(&mut self, now: u64) {
        let end = self.tickets.ticket.end;
        if self.told.end == Some(end) {
            return;
        }
        self.told.end = Some(end);
        let left = Span(u64::from(end).saturating_sub(now));
        let why = self.told.failure.as_deref().unwrap_or("they cannot be renewed for longer");
        let (client, again) = (&self.tickets.client, self.again());
        let said = format!("the tickets of {client} end in {left}, at {}: {why}; {again}", time::date(end));
        self.teller.tell(Urgency::Warning, &said);
    }

    fn over(&self) -> Option<Duration> {
        let said = format!("the tickets of {} have ended; {}", self.tickets.client, self.again());
        self.teller.tell(Urgency::Warning, &said);
        None
    }

    fn gone(&self, why: &str) -> Option<Duration> {
        let KeptTickets { client, cache, .. } = &self.tickets;
        self.teller.tell(Urgency::Usual, &format!("the tickets of {client} in {cache} are gone: {why}"));
        None
    }

    /// The command that gets new ones.
    fn again(&self) -> String {
        let [cache, client] =
            [self.tickets.cache, &self.tickets.client].map(|word| shell_word(Path::new(word)));
        format!("get new ones: lgss_kinit -c {cache} {client}")
    }
}

/// Whether the error says that there is no cache, or no way to it.
fn is_gone(error: &Krb5Error) -> bool {
    let ended = [Errno::ENOKEY, Errno::EKEYEXPIRED, Errno::EKEYREVOKED].map(|errno| errno as i32);
    error.reason() == Krb5Reason::NoCache || ended.contains(&error.code)
}
