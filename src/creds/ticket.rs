//! A user's ticket for a service, out of one named cache: is there anything usable, and if so the ticket itself.
//!
//! Called by the worker in two stages: [`Account::open`] reads the cache, [`Account::ticket`] may ask a KDC.
//! Invariant: no cache but the named one is looked at, and what the KDC grants is stored in that cache.

use std::borrow::Cow;
use std::time::{Duration, Instant};

pub use super::source::CacheNames;
use crate::config::Enctypes;
use crate::crypto::enctype::Enctype;
use crate::ctx::request::Service;
use crate::event::{Cause, Failure, Stage};
use crate::gss::krb5::Library;
use crate::gss::principal::Krb5Principal;
use crate::gss::status::{Krb5Error, Krb5Reason};
use crate::gss::ticket::{Cache, Ticket};
use crate::gss::trace;
use crate::sys::name_service;
use crate::text::quoted;

/// An error that comes sooner means that nobody is there, rather than that nobody answers.
const PROMPT: Duration = Duration::from_secs(1);

/// A cache that holds something usable.
#[derive(Debug)]
pub struct Account {
    library: Library,
    cache: Cache,
    name: CacheNames,
    client: Krb5Principal,
    /// When the ticket-granting ticket becomes valid.
    start: Option<u32>,
    /// It is postdated, and the KDC has not validated it.
    postdated: bool,
}

impl Account {
    /// Who it is.
    pub fn client(&self) -> &Krb5Principal {
        &self.client
    }

    /// Opens a cache that was found usable.
    ///
    /// # Errors
    /// [`Failure`] with `NoTicket` or `BadCache`, if it has changed since.
    pub fn open(library: &Library, name: CacheNames) -> Result<Self, Failure> {
        let opened = Cache::resolve(library, &name.library)
            .and_then(|cache| cache.principal().map(|client| (cache, client)))
            .and_then(|(cache, client)| Self::of(library, cache, name.clone(), client));
        opened.map_err(|error| {
            let cause = if error.reason() == Krb5Reason::NoCache { Cause::NoTicket } else { Cause::BadCache };
            name.failure(cause, &name.in_words(&error.message))
        })
    }

    /// A cache that was found usable otherwise.
    ///
    /// # Errors
    /// The library's, for a cache that cannot be read to its end.
    pub(super) fn of(
        library: &Library,
        cache: Cache,
        name: CacheNames,
        client: Krb5Principal,
    ) -> Result<Self, Krb5Error> {
        let (_, tickets) = cache.contents()?;
        let granting = tickets.iter().filter(|ticket| ticket.grants().is_some());
        let last = granting.max_by_key(|ticket| ticket.end);
        let (start, postdated) = (last.map(|ticket| ticket.start), last.is_some_and(|ticket| ticket.invalid));
        Ok(Self { library: library.clone(), cache, name, client, start, postdated })
    }

    /// What it was opened by.
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// What the cache is called.
    pub(super) fn name(&self) -> &CacheNames {
        &self.name
    }

    /// The cache.
    pub(super) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// The ticket for the service, from the cache or the KDC, with a session key of an allowed type. By the default
    /// setting everything is as krb5.conf says if that leads to an allowed type; otherwise allowed types only are asked
    /// for, and offered to the server that the ticket is used with.
    ///
    /// # Errors
    /// [`Failure`] of the stage `Kdc`, or `Credentials` where the cache turns out to have nothing usable.
    pub fn ticket(&self, server: &Krb5Principal, allowed: &Enctypes) -> Result<Ticket, Failure> {
        let begun = Instant::now();
        let failed = |error: Krb5Error| self.kdc_failure(&error, &server.to_string(), begun.elapsed());
        if *allowed == Enctypes::default() {
            let ticket = self.cache.service_ticket(&self.client, server).map_err(failed)?;
            if allowed_type(&ticket, allowed) {
                return Ok(ticket);
            }
        }
        self.ask_for(allowed, server)?;
        match self.cache.service_ticket(&self.client, server) {
            Err(error) if error.reason() == Krb5Reason::Enctype => {
                Err(self.none_allowed(allowed, server, error.message))
            }
            Err(error) => Err(failed(error)),
            Ok(ticket) if allowed_type(&ticket, allowed) => Ok(ticket),
            Ok(ticket) => Err(self.enctype_failure(allowed, server, &offer(&ticket))),
        }
    }

    /// Another ticket than this one, which the service cannot decrypt; always from the KDC, and stored by
    /// [`Account::replace`] only.
    ///
    /// # Errors
    /// As [`Account::ticket`].
    pub fn another_ticket(&self, old: &Ticket) -> Result<Ticket, Failure> {
        let begun = Instant::now();
        self.cache
            .another_ticket(old)
            .map_err(|error| self.kdc_failure(&error, &old.server(), begun.elapsed()))
    }

    /// Puts `new` in the place of `old` in the cache. Says what came of it.
    pub fn replace(&self, old: &Ticket, new: &Ticket) -> Replacement {
        match self.cache.replace(old, new) {
            Ok(Ok(())) => Replacement::Done,
            Ok(Err(error)) => Replacement::Added(self.name.in_words(&error.message)),
            Err(error) => Replacement::Impossible(self.name.in_words(&error.message)),
        }
    }

    fn ask_for(&self, allowed: &Enctypes, server: &Krb5Principal) -> Result<(), Failure> {
        let unusable = |error: Krb5Error| self.failure(Cause::Setup, &server.to_string(), &error.message);
        let possible = self.library.permitted(allowed.as_slice()).map_err(unusable)?;
        if possible.is_empty() {
            let why = "permitted_enctypes of krb5.conf has none of them";
            return Err(self.enctype_failure(allowed, server, why));
        }
        self.library.ask_for(Some(&possible)).map_err(unusable)
    }

    /// The failure of a service that has no key of an allowed type; what it has is found out by asking without limits.
    fn none_allowed(&self, allowed: &Enctypes, server: &Krb5Principal, message: String) -> Failure {
        let unlimited = self
            .library
            .ask_for(None)
            .and_then(|()| self.cache.unstored_ticket(&self.client, server))
            .map_or(message, |ticket| offer(&ticket));
        self.enctype_failure(allowed, server, &unlimited)
    }

    fn enctype_failure(&self, allowed: &Enctypes, server: &Krb5Principal, offered: &str) -> Failure {
        let detail = format!("{offered}; allowed by lgss.toml: {allowed}");
        self.failure(Cause::EncryptionType, &server.to_string(), &detail)
    }

    fn kdc_failure(&self, error: &Krb5Error, server: &str, elapsed: Duration) -> Failure {
        let mut message = tried(error, self.name.in_words(&error.message));
        let said = self.library.words_of_kdc().filter(|_| is_of_kdc(error));
        let closed = said.as_deref().is_some_and(is_of_a_closed_service);
        if let Some(said) = said.filter(|said| !message.contains(said)) {
            message.push_str(&format!("; the KDC says \"{said}\""));
        }
        if closed && error.reason() == Krb5Reason::UnknownService {
            return self.failure(Cause::ServiceClosed, server, &message);
        }
        if server.ends_with('@')
            && matches!(error.reason(), Krb5Reason::UnknownService | Krb5Reason::UnknownRealm)
        {
            message.push_str("; krb5.conf has no realm for this host in [domain_realm]");
        } else if error.reason() == Krb5Reason::UnknownService && error.message.contains("krbtgt/") {
            message.push_str(
                "; the KDC knows no way to that realm: it does not trust it, or [domain_realm] of krb5.conf is wrong",
            );
        }
        if matches!(error.reason(), Krb5Reason::ClockSkew | Krb5Reason::TicketExpired) {
            // The KDC says what its clock shows in the same answer.
            let known = self.library.explain_skew("KDC", None, self.start);
            message.extend(known.into_iter().flat_map(|known| [": ".to_owned(), known]));
        }
        if self.postdated {
            message.push_str(", the ticket is postdated: to be validated with kinit -v");
        }
        // To ask for a ticket it is shown one of its own. If the key of that has gone, it says no more than where it
        // stopped.
        if error.reason() == Krb5Reason::StaleKey || error.message.contains("PROCESS_TGS") {
            message.push_str(": the KDC cannot read the ticket, perhaps of an old key (kinit)");
            return self.failure(Cause::TicketRejected, server, &message);
        }
        self.failure(cause_of(error, elapsed), server, &message)
    }

    fn failure(&self, cause: Cause, server: &str, detail: &str) -> Failure {
        let stage = match cause {
            Cause::TicketExpired | Cause::NoTicket => Stage::Credentials,
            _ => Stage::Kdc,
        };
        let server = server.trim_end_matches('@');
        Failure::new(stage, cause, format_args!("ticket of {self} for {server}: {detail}"))
    }
}

/// What became of a ticket that the service cannot decrypt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replacement {
    /// The cache has the new one in its place.
    Done,
    /// The cache has the new one, and the old one could not be removed.
    Added(String),
    /// The cache could not be changed.
    Impossible(String),
}

impl std::fmt::Display for Replacement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the service's key has changed: ")?;
        match self {
            Self::Done => f.write_str("its ticket was replaced"),
            Self::Added(why) => write!(f, "a new ticket was stored, the old one not removed: {why}"),
            Self::Impossible(why) => write!(f, "its ticket was not replaced in the cache: {why}"),
        }
    }
}

fn allowed_type(ticket: &Ticket, allowed: &Enctypes) -> bool {
    Enctype::try_from(ticket.enctype()).is_ok_and(|enctype| allowed.allow(enctype))
}

/// What a ticket has, in words.
fn offer(ticket: &Ticket) -> String {
    let number = ticket.enctype();
    let name = Enctype::try_from(number).map_or_else(|_| format!("of type {number}"), |e| e.to_string());
    format!("its session key is {name}")
}

impl std::fmt::Display for Account {
    /// Principal and cache, for the log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} in {}", quoted(&self.client.name().to_string()), self.name.shown())
    }
}

/// Whether a KDC has given this error, rather than the library.
fn is_of_kdc(error: &Krb5Error) -> bool {
    use Krb5Reason::{ClientExpired, ClientRevoked, Policy, ProtocolError, ServiceClosed, TicketRejected};
    use Krb5Reason::{UnknownClient, UnknownService};
    matches!(
        error.reason(),
        ClientExpired
            | ClientRevoked
            | Policy
            | ProtocolError
            | ServiceClosed
            | TicketRejected
            | UnknownClient
            | UnknownService
    )
}

/// MIT's KDC calls a service unknown that is locked, and says so beside.
fn is_of_a_closed_service(said: &str) -> bool {
    ["SERVER LOCKED OUT", "SERVER EXPIRED"].contains(&said)
}

/// Why a conversation with a KDC has failed that took so long.
pub(super) fn cause_of(error: &Krb5Error, elapsed: Duration) -> Cause {
    match error.reason() {
        Krb5Reason::ClockSkew => Cause::ClockSkew,
        Krb5Reason::TicketExpired => Cause::TicketExpired,
        Krb5Reason::NoCache => Cause::NoTicket,
        Krb5Reason::UnknownService => Cause::UnknownService,
        Krb5Reason::Enctype => Cause::EncryptionType,
        Krb5Reason::KdcUnreachable | Krb5Reason::KdcUnresolved => {
            match (elapsed < PROMPT, trace::nobody_was_found()) {
                (true, true) => Cause::KdcUnresolved,
                (false, true) => Cause::NameServiceSilent,
                (true, false) => Cause::KdcDown,
                (false, false) => Cause::KdcSilent,
            }
        }
        Krb5Reason::UnknownRealm => Cause::UnknownRealm,
        Krb5Reason::UnknownClient => Cause::UnknownClient,
        Krb5Reason::ClientRevoked => Cause::ClientRevoked,
        Krb5Reason::ClientExpired => Cause::ClientExpired,
        Krb5Reason::ServiceClosed => Cause::ServiceClosed,
        Krb5Reason::Policy => Cause::KdcPolicy,
        Krb5Reason::TicketRejected | Krb5Reason::StaleKey => Cause::TicketRejected,
        Krb5Reason::BadAnswer => Cause::BadKdcAnswer,
        Krb5Reason::WrongKey | Krb5Reason::ProtocolError => Cause::KdcRefused,
        Krb5Reason::Other => Cause::LibraryFault,
    }
}

/// The library's message, with the KDCs that were tried where none could be reached.
pub(super) fn tried(error: &Krb5Error, message: String) -> String {
    let kdcs = match error.reason() {
        Krb5Reason::KdcUnreachable | Krb5Reason::KdcUnresolved => trace::unreachable(),
        _ => String::new(),
    };
    if kdcs.is_empty() { message } else { format!("{message}: {kdcs}") }
}

/// The principal of the service as it is named, in the realm of krb5.conf's `[domain_realm]`.
///
/// # Errors
/// [`Failure`] of the stage `Kdc`.
pub fn service_principal(library: &Library, service: &Service) -> Result<Krb5Principal, Failure> {
    let begun = Instant::now();
    library.service_principal(service.name(), service.host()).map_err(|error| {
        let cause = cause_of(&error, begun.elapsed());
        Failure::new(Stage::Kdc, cause, format_args!("principal of {service}: {}", error.message))
    })
}

/// The failure of a library that cannot be had, which krb5.conf is to blame for.
pub(crate) fn unusable(error: Krb5Error) -> Failure {
    Failure::new(Stage::Credentials, Cause::BadKrb5Conf, error)
}

/// The service by its host's canonical name, if files or DNS have another one for it. May ask a name service.
pub(crate) fn canonical(service: &Service) -> Option<Service> {
    let host = name_service::canonical_name(service.host()).ok()?;
    let host = host.strip_suffix('.').unwrap_or(&host).to_ascii_lowercase();
    let canonical: Service = format!("{}@{host}", service.name()).parse().ok()?;
    (!canonical.host().eq_ignore_ascii_case(service.host())).then_some(canonical)
}

/// The failure of a cache that does not answer in time: a KCM daemon or a file system that hangs.
pub(crate) fn silent(display: &str) -> Failure {
    failure(display, Cause::BadCache, "the cache does not answer")
}

fn failure(display: &str, cause: Cause, detail: &str) -> Failure {
    let shown = quoted(display);
    Failure::new(Stage::Credentials, cause, format_args!("{}: {detail}", shown.trim_end_matches(':')))
}

impl CacheNames {
    /// As it is shown to people.
    pub fn shown(&self) -> Cow<'_, str> {
        quoted(&self.display)
    }

    /// The failure of one that does not answer in time.
    pub fn silent(&self) -> Failure {
        silent(&self.display)
    }

    pub(super) fn failure(&self, cause: Cause, detail: &str) -> Failure {
        failure(&self.display, cause, detail)
    }

    /// The library's message with the name that means something outside this process.
    pub fn in_words(&self, message: &str) -> String {
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
mod tests;
