//! Tickets that are renewed as long as a process lives, by a process in the background.
//!
//! Invariant: the background process holds no descriptor, terminal or directory of who started it, and ends with the process
//! that it watches, with the tickets, or with the keyring that they are in.

mod schedule;
mod telling;

use std::os::fd::AsFd;
use std::time::Duration;

use daemonize::{Daemonize, Outcome};
use nix::errno::Errno;
use nix::unistd::Pid;

use super::arguments::KinitArguments;
use super::failure::KinitFailure;
use super::obtain;
use super::place::{Primary, TicketPlace};
use crate::gss::krb5::Library;
use crate::gss::listing::Granting;
use crate::gss::principal::Krb5Principal;
use crate::gss::private_cache::PrivateCache;
use crate::gss::renewal::OldTicket;
use crate::gss::status::Krb5Error;
use crate::sys::exec::close_all_but;
use crate::sys::process::{self, Process};
use crate::text::escaped;
use crate::time::{self, Span};
use schedule::{LaterTicket, Next};
use telling::{Teller, Weight};

/// How long nobody looks at the clock and the cache: sleep of the machine counts, and others may change the tickets.
const LOOK: Duration = Duration::from_secs(60);
/// A reader may meet a cache that is just being replaced.
const TRIES: u32 = 3;

/// The process that the tickets are for.
#[derive(Debug)]
pub(super) struct Watched(Process);

impl Watched {
    /// A process by its number, else this one.
    ///
    /// # Errors
    /// The kernel's, if there is no such process.
    pub(super) fn open(pid: Option<i32>) -> Result<Self, KinitFailure> {
        let pid = pid.map_or_else(Pid::this, Pid::from_raw);
        Process::open(pid).map(Self).map_err(|errno| KinitFailure::Watched { pid: pid.as_raw(), errno })
    }
}

/// Starts the process in the background, which keeps the tickets in this cache, `KEYRING:anchor:collection:cache`.
///
/// # Errors
/// There is no room for another process.
pub(super) fn start(arguments: &KinitArguments, cache: &str, watched: Watched) -> Result<(), KinitFailure> {
    let teller = Teller::of_our_terminal();
    match Daemonize::new().umask(0o077).execute() {
        Outcome::Parent(Ok(parent)) if parent.first_child_exit_code == 0 => Ok(()),
        Outcome::Parent(Ok(_)) => Err(KinitFailure::Background("it ended at once".to_owned())),
        Outcome::Parent(Err(error)) => Err(KinitFailure::Background(error.to_string())),
        Outcome::Child(started) => {
            if let Err(error) = started {
                teller.tell(Weight::Warning, &format!("tickets are not renewed: {error}"));
                process::end(1);
            }
            close_all_but(watched.0.as_fd());
            TicketKeeper { arguments, cache, watched, teller, told: Told::default() }.keep();
            // Not exit(): the streams and the library are those of the process that goes on.
            process::end(0)
        }
    }
}

/// What has been told.
#[derive(Debug, Default)]
struct Told {
    /// The end of the tickets that were warned of.
    end: Option<u32>,
    /// Why the last attempt failed.
    failure: Option<String>,
}

struct TicketKeeper<'a> {
    arguments: &'a KinitArguments,
    cache: &'a str,
    watched: Watched,
    teller: Teller,
    told: Told,
}

impl TicketKeeper<'_> {
    fn keep(mut self) {
        let mut last = None;
        while let Some(pause) = self.round(&mut last) {
            if self.watched.0.wait_for_end(pause.min(LOOK)) {
                return;
            }
        }
    }

    /// Looks at the tickets, and replaces them if it is time. Returns how long to wait; `None` when all is over.
    fn round(&mut self, last: &mut Option<Granting>) -> Option<Duration> {
        let now = time::now();
        // Anew each time: krb5.conf may have changed.
        let found = Library::open().and_then(|library| Ok((self.look(&library)?, library)));
        let (library, client, ticket) = match found {
            Ok(((client, ticket), library)) => (library, client, ticket),
            Err(error) => return self.without_tickets(last.as_ref(), &error, now),
        };
        *last = Some(ticket);
        let by_keytab = if self.arguments.by_keytab() { LaterTicket::ByKeytab } else { LaterTicket::None };
        let later = LaterTicket::of(&ticket, by_keytab);
        let pause = match schedule::next(&ticket, later, now) {
            Next::Over => return self.over(&client.to_string()),
            Next::Wait(seconds) => seconds,
            Next::Replace => match self.replace(&library, &client, &ticket, later) {
                Ok(()) => return Some(Duration::ZERO),
                Err(error) => {
                    self.failed(&error);
                    schedule::pause(&ticket, now)
                }
            },
        };
        let warning = schedule::warning_time(&ticket);
        if now >= warning {
            self.warn(&client, &ticket, now);
        }
        let until_warning = warning.checked_sub(now).filter(|&seconds| seconds > 0);
        Some(Duration::from_secs(until_warning.map_or(pause, |seconds| pause.min(seconds)).max(1)))
    }

    /// The client and the ticket-granting ticket.
    fn look(&self, library: &Library) -> Result<(Krb5Principal, Granting), Krb5Error> {
        let look = || {
            let cache = TicketPlace::Cache(self.cache.to_owned()).open(library)?;
            let client = cache.principal()?;
            match cache.last_granting(&client)? {
                Some((ticket, _)) => Ok((client, ticket)),
                None => Err(Krb5Error::of_kernel(Errno::ENOKEY)),
            }
        };
        (1..TRIES).fold(look(), |found, _| found.or_else(|_| look()))
    }

    /// The kernel has ended the tickets, or somebody has destroyed them. A keytab gets new ones in the first case.
    fn without_tickets(&mut self, last: Option<&Granting>, error: &Krb5Error, now: u64) -> Option<Duration> {
        let last = last?;
        if now < u64::from(last.end) {
            let said = format!("the tickets in {} are gone: {}", self.cache, escaped(&error.message));
            self.teller.tell(Weight::Usual, &said);
            return None;
        }
        if !self.arguments.by_keytab() {
            return self.over(self.cache);
        }
        let replaced = Library::open().map_err(KinitFailure::Configuration).and_then(|library| {
            let new = obtain::by_keytab(self.arguments, &library)?;
            self.store(&library, &new)
        });
        match replaced {
            Ok(()) => Some(Duration::ZERO),
            Err(error) => {
                self.failed(&error);
                Some(Duration::from_secs(schedule::pause(last, now)))
            }
        }
    }

    fn replace(
        &mut self,
        library: &Library,
        client: &Krb5Principal,
        old: &Granting,
        later: LaterTicket,
    ) -> Result<(), KinitFailure> {
        let place = TicketPlace::Cache(self.cache.to_owned());
        let renewed = || place.open(library).and_then(|cache| cache.renewed_alone(OldTicket::Renew, None));
        let new = match later {
            LaterTicket::Renewed => match renewed().map_err(KinitFailure::Renewal) {
                Err(_) if self.arguments.by_keytab() => obtain::by_keytab(self.arguments, library)?,
                renewed => renewed?,
            },
            _ => obtain::by_keytab(self.arguments, library)?,
        };
        let granted =
            new.open().and_then(|cache| cache.last_granting(client)).map_err(KinitFailure::Renewal)?;
        match granted {
            Some((granted, _)) if granted.end > old.end => {
                self.store(library, &new)?;
                let left = Span(u64::from(granted.end).saturating_sub(time::now()));
                self.teller.tell(Weight::Usual, &format!("renewed the tickets of {client} for {left}"));
                self.told = Told::default();
                Ok(())
            }
            _ => Err(KinitFailure::NoLonger),
        }
    }

    fn store(&self, library: &Library, new: &PrivateCache) -> Result<(), KinitFailure> {
        TicketPlace::Cache(self.cache.to_owned()).store(library, new, Primary::Stays).map(drop)
    }

    /// The first of several like failures is told.
    fn failed(&mut self, failure: &KinitFailure) {
        let said = failure.to_string();
        if self.told.failure.as_ref() != Some(&said) {
            self.teller.tell(Weight::Usual, &said);
            self.told.failure = Some(said);
        }
    }

    fn warn(&mut self, client: &Krb5Principal, ticket: &Granting, now: u64) {
        if self.told.end == Some(ticket.end) {
            return;
        }
        self.told.end = Some(ticket.end);
        let left = Span(u64::from(ticket.end).saturating_sub(now));
        let why = self.told.failure.as_deref().unwrap_or("they cannot be renewed for longer");
        let said = format!(
            "the tickets of {client} end in {left}, at {}: {why}; get new ones: lgss_kinit {client}",
            time::date(ticket.end)
        );
        self.teller.tell(Weight::Warning, &said);
    }

    fn over(&self, whose: &str) -> Option<Duration> {
        self.teller
            .tell(Weight::Warning, &format!("the tickets of {whose} have ended; get new ones: lgss_kinit"));
        None
    }
}
