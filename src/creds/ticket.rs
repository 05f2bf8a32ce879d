//! Gets a user's ticket for a service by one named cache.
//!
//! Called by the worker in two stages: [`ClientAccount::open`] reads the cache, [`ClientAccount::ticket`] may ask a
//! KDC. Invariant: only the named cache is used, and tickets that the KDC grants are stored in it.

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

/// An error within this time means that nothing listens; a later one, that nobody answers.
const PROMPT_ERROR: Duration = Duration::from_secs(1);

/// A usable cache and its client.
#[derive(Debug)]
pub struct ClientAccount {
    library: Library,
    cache: Cache,
    name: CacheNames,
    client: Krb5Principal,
    /// When the ticket-granting ticket becomes valid.
    start: Option<u32>,
    /// Whether that is postdated and not validated by the KDC.
    postdated: bool,
}

impl ClientAccount {
    /// The client's principal.
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

    /// The account of a cache that is already known to be usable.
    ///
    /// # Errors
    /// The library's, if the cache cannot be read to its end.
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

    /// The library that opened it.
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// The names of the cache.
    pub(super) fn name(&self) -> &CacheNames {
        &self.name
    }

    /// The cache.
    pub(super) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// The ticket for the service, from the cache or the KDC, with a session key of an allowed type. With the default
    /// setting krb5.conf alone decides, if that leads to an allowed type. Else only allowed types are requested, and
    /// later offered to the server.
    ///
    /// # Errors
    /// [`Failure`] of the stage `Kdc`, or `Credentials` if the cache turns out to have no usable ticket.
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
            Err(error) if matches!(error.reason(), Krb5Reason::Enctype | Krb5Reason::SessionKey) => {
                let of_ticket = self.is_of_ticket(&error);
                Err(Failure { of_ticket, ..self.none_allowed(allowed, server, error.message) })
            }
            Err(error) => Err(failed(error)),
            Ok(ticket) if allowed_type(&ticket, allowed) => Ok(ticket),
            Ok(ticket) => Err(self.enctype_failure(allowed, server, &offer(&ticket))),
        }
    }

    /// A new ticket for one that the service cannot decrypt. It always comes from the KDC, and is stored only by
    /// [`ClientAccount::replace`].
    ///
    /// # Errors
    /// As [`ClientAccount::ticket`].
    pub fn another_ticket(&self, old: &Ticket) -> Result<Ticket, Failure> {
        let begun = Instant::now();
        self.cache
            .another_ticket(old)
            .map_err(|error| self.kdc_failure(&error, &old.server(), begun.elapsed()))
    }

    /// Replaces `old` by `new` in the cache, and returns what came of it.
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

    /// The failure for a service that has no key of an allowed type. A request without limits shows the type that it
    /// has.
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

    pub(super) fn kdc_failure(&self, error: &Krb5Error, server: &str, elapsed: Duration) -> Failure {
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
            // The KDC's answer contains the time of its clock.
            let known = self.library.explain_skew("KDC", None, self.start);
            message.extend(known.into_iter().flat_map(|known| [": ".to_owned(), known]));
        }
        if self.postdated {
            message.push_str(", the ticket is postdated: to be validated with kinit -v");
        }
        // The request carries a ticket of the KDC's own. If the key of that ticket has gone, the error says only
        // where processing stopped.
        if error.reason() == Krb5Reason::StaleKey || error.message.contains("PROCESS_TGS") {
            message.push_str(": the KDC cannot read the ticket, perhaps of an old key (kinit)");
            return self.failure(Cause::TicketRejected, server, &message);
        }
        let of_ticket = self.is_of_ticket(error);
        Failure { of_ticket, ..self.failure(cause_of(error, elapsed), server, &message) }
    }

    /// Whether the error is due to this cache's ticket, so that another of the realm may serve.
    fn is_of_ticket(&self, error: &Krb5Error) -> bool {
        match error.reason() {
            Krb5Reason::ClockSkew => self.library.skew_is_of_cache(),
            Krb5Reason::SessionKey => true,
            _ => false,
        }
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
    Enctype::try_from(ticket.enctype()).is_ok_and(|enctype| allowed.allows(enctype))
}

/// The type of a ticket's session key, in words.
fn offer(ticket: &Ticket) -> String {
    let number = ticket.enctype();
    let name = Enctype::try_from(number).map_or_else(|_| format!("of type {number}"), |e| e.to_string());
    format!("its session key is {name}")
}

impl std::fmt::Display for ClientAccount {
    /// Principal and cache, for the log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} in {}", quoted(&self.client.name().to_string()), self.name.shown())
    }
}

/// Whether this error comes from a KDC rather than from the library.
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

/// MIT's KDC reports a locked service as unknown, and gives the true reason in its text.
fn is_of_a_closed_service(said: &str) -> bool {
    ["SERVER LOCKED OUT", "SERVER EXPIRED"].contains(&said)
}

/// The cause of a failed conversation with a KDC that took `elapsed`.
pub(super) fn cause_of(error: &Krb5Error, elapsed: Duration) -> Cause {
    match error.reason() {
        Krb5Reason::ClockSkew => Cause::ClockSkew,
        Krb5Reason::TicketExpired => Cause::TicketExpired,
        Krb5Reason::NoCache => Cause::NoTicket,
        Krb5Reason::UnknownService => Cause::UnknownService,
        Krb5Reason::Enctype | Krb5Reason::SessionKey => Cause::EncryptionType,
        Krb5Reason::KdcUnreachable | Krb5Reason::KdcUnresolved => {
            match (elapsed < PROMPT_ERROR, trace::nobody_was_found()) {
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

/// The library's message; if no KDC could be reached, with the KDCs that were tried.
pub(super) fn tried(error: &Krb5Error, message: String) -> String {
    let kdcs = match error.reason() {
        Krb5Reason::KdcUnreachable | Krb5Reason::KdcUnresolved => trace::unreachable(),
        _ => String::new(),
    };
    if kdcs.is_empty() { message } else { format!("{message}: {kdcs}") }
}

/// The principal of the service as named, in the realm that krb5.conf's `[domain_realm]` gives.
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

/// The failure of a library that cannot be initialized, for which krb5.conf is to blame.
pub(crate) fn unusable(error: Krb5Error) -> Failure {
    Failure::new(Stage::Credentials, Cause::BadKrb5Conf, error)
}

/// The service under its host's canonical name, if files or DNS have one that differs. May ask a name service.
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
    /// The name for people, quoted if need be.
    pub fn shown(&self) -> Cow<'_, str> {
        quoted(&self.display)
    }

    /// The failure if it does not answer in time.
    pub fn silent(&self) -> Failure {
        silent(&self.display)
    }

    pub(super) fn failure(&self, cause: Cause, detail: &str) -> Failure {
        failure(&self.display, cause, detail)
    }

    /// The library's message with the name that people know in place of the library's.
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
