//! A user's ticket for a service, out of one named cache: is there anything usable, and if so the ticket itself.
//!
//! Called by the worker in two stages: [`Account::find`] reads the cache, [`Account::ticket`] may ask DNS and a KDC.
//! Invariant: no cache but the named one is looked at, and what the KDC grants is stored in that cache.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::ctx::request::Service;
use crate::event::{Cause, Failure, Stage};
use crate::gss::krb5::{Library, Principal};
use crate::gss::status::{Krb5Error, Reason};
use crate::gss::ticket::{Cache, Holdings, Ticket};

/// An error that comes sooner means that nobody is there, rather than that nobody answers.
const PROMPT: Duration = Duration::from_secs(1);

/// The two names of a cache or keytab.
#[derive(Debug, Clone)]
pub struct CacheNames {
    /// What libkrb5 is to open, such as `FILE:/proc/self/fd/4`.
    pub library: String,
    /// What a person knows it by, such as `FILE:/tmp/krb5cc_1000`.
    pub display: String,
}

/// A cache that holds something usable.
#[derive(Debug)]
pub struct Account {
    library: Library,
    cache: Cache,
    name: CacheNames,
    client: Principal,
}

impl Account {
    /// Opens the cache and looks for a ticket that has not expired.
    ///
    /// # Errors
    /// [`Failure`] with `Setup`, `NoTicket`, `TicketExpired` or `BadCache`.
    pub fn find(name: CacheNames) -> Result<Self, Failure> {
        let library = Library::open().map_err(|e| Failure::new(Stage::Credentials, Cause::Setup, e))?;
        let (cache, client, holdings) = read(&library, &name).map_err(|error| {
            let cause = if error.reason() == Reason::NoCache { Cause::NoTicket } else { Cause::BadCache };
            name.failure(cause, &name.in_words(&error.message))
        })?;
        judge(holdings, now()).map_err(|(cause, detail)| name.failure(cause, &detail))?;
        Ok(Self { library, cache, name, client })
    }

    /// A cache that was found usable otherwise.
    pub(super) fn of(library: &Library, cache: Cache, name: CacheNames, client: Principal) -> Self {
        Self { library: library.clone(), cache, name, client }
    }

    /// The cache.
    pub(super) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// The ticket for the service, from the cache or the KDC.
    ///
    /// # Errors
    /// [`Failure`] of the stage `Kdc`, or `Credentials` where the cache turns out to have nothing usable.
    pub fn ticket(&self, service: &Service) -> Result<Ticket, Failure> {
        let begun = Instant::now();
        let server = self
            .library
            .service_principal(service.name(), service.host())
            .map_err(|error| self.kdc_failure(&error, &service.to_string(), begun.elapsed()))?;
        self.cache
            .service_ticket(&self.client, &server)
            .map_err(|error| self.kdc_failure(&error, &server.to_string(), begun.elapsed()))
    }

    fn kdc_failure(&self, error: &Krb5Error, server: &str, elapsed: Duration) -> Failure {
        let (stage, cause) = place(error, elapsed);
        let (server, message) = (server.trim_end_matches('@'), self.name.in_words(&error.message));
        Failure::new(stage, cause, format_args!("ticket of {self} for {server}: {message}"))
    }
}

impl std::fmt::Display for Account {
    /// Principal and cache, for the log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} in {}", self.client, self.name.display)
    }
}

/// Where a conversation with a KDC has failed, and why.
pub(super) fn place(error: &Krb5Error, elapsed: Duration) -> (Stage, Cause) {
    match error.reason() {
        Reason::ClockSkew => (Stage::Kdc, Cause::ClockSkew),
        Reason::TicketExpired => (Stage::Credentials, Cause::TicketExpired),
        Reason::NoCache => (Stage::Credentials, Cause::NoTicket),
        Reason::UnknownService => (Stage::Kdc, Cause::UnknownService),
        Reason::KdcUnreachable if elapsed < PROMPT => (Stage::Kdc, Cause::KdcDown),
        Reason::KdcUnreachable => (Stage::Kdc, Cause::KdcSilent),
        Reason::UnknownClient | Reason::WrongKey | Reason::ProtocolError | Reason::Other => {
            (Stage::Kdc, Cause::KdcRefused)
        }
    }
}

fn read(library: &Library, name: &CacheNames) -> Result<(Cache, Principal, Holdings), Krb5Error> {
    let cache = Cache::resolve(library, &name.library)?;
    let client = cache.principal()?;
    let holdings = cache.holdings()?;
    Ok((cache, client, holdings))
}

/// Whether anything in the cache can be used at `now`, seconds since the epoch.
fn judge(holdings: Holdings, now: u64) -> Result<(), (Cause, String)> {
    // A ticket of some service may be the one wanted; whether it is, libkrb5 finds out better than we.
    let Some(last) = holdings.ticket_granting.max(holdings.service) else {
        return Err((Cause::NoTicket, "no ticket".to_owned()));
    };
    match now.checked_sub(u64::from(last)) {
        None => Ok(()),
        Some(seconds) => Err((Cause::TicketExpired, format!("ticket expired {} ago", rounded(seconds)))),
    }
}

/// Seconds since the epoch.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A span of time in the largest unit that keeps two or more of it.
pub(super) fn rounded(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86400),
    }
}

impl CacheNames {
    /// The failure of a cache that does not answer in time: a KCM daemon or a file system that hangs.
    pub fn silent(&self) -> Failure {
        self.failure(Cause::BadCache, "the cache does not answer")
    }

    fn failure(&self, cause: Cause, detail: &str) -> Failure {
        Failure::new(
            Stage::Credentials,
            cause,
            format_args!("{}: {detail}", self.display.trim_end_matches(':')),
        )
    }

    /// The library's message with the name that means something outside this process.
    pub(super) fn in_words(&self, message: &str) -> String {
        let residual =
            |name: &str| name.split_once(':').map_or_else(|| name.to_owned(), |(_, rest)| rest.to_owned());
        let message = message.replace(&self.library, &self.display);
        match residual(&self.library).as_str() {
            "" => message,
            inner => message.replace(inner, &residual(&self.display)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expired_cache_says_since_when_and_a_service_ticket_alone_will_do() {
        let expired = Holdings { ticket_granting: Some(1000), service: Some(900) };
        let (cause, detail) = judge(expired, 1000 + 3 * 3600).unwrap_err();
        assert_eq!((cause, detail.as_str()), (Cause::TicketExpired, "ticket expired 3 h ago"));
        assert!(judge(Holdings { ticket_granting: Some(1000), service: Some(2000) }, 1500).is_ok());
        assert_eq!(judge(Holdings::default(), 5).unwrap_err().0, Cause::NoTicket);
    }

    #[test]
    fn the_librarys_messages_name_the_users_file() {
        let name =
            CacheNames { library: "FILE:/proc/self/fd/4".into(), display: "FILE:/tmp/krb5cc_1000".into() };
        assert_eq!(name.in_words("file '/proc/self/fd/4' bad"), "file '/tmp/krb5cc_1000' bad");
        assert_eq!(name.in_words("FILE:/proc/self/fd/4: bad"), "FILE:/tmp/krb5cc_1000: bad");
        let kcm = CacheNames { library: "KCM:".into(), display: "KCM:".into() };
        assert_eq!(kcm.in_words("KCM: no"), "KCM: no");
    }

    #[test]
    fn a_cache_that_is_not_there_is_no_ticket_and_a_file_that_is_no_cache_is_bad() {
        let name = |path: &str| CacheNames { library: format!("FILE:{path}"), display: "FILE:shown".into() };
        let missing = Account::find(name("/nonexistent/lgss-test")).unwrap_err();
        assert_eq!(missing.cause, Cause::NoTicket, "{missing}");
        assert!(!missing.detail.contains("nonexistent"), "{missing}");
        assert_eq!(Account::find(name("/proc/self/status")).unwrap_err().cause, Cause::BadCache);
    }
}
