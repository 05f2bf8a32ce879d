//! A user's credentials for one target: the best that the user has, or the next best if a KDC refuses those.

mod attempts;

use std::time::Instant;

use attempts::CandidateRefusal;

use super::required_principal::RequiredPrincipal;
use super::sandbox;
use super::task::WorkerTask;
use super::watch::{kdc_silent, with_silent_party};
use crate::config::Canonicalize;
use crate::creds::client_keytab::KeytabAccount;
use crate::creds::ranking::TicketReach;
use crate::creds::renewal::{self, Renewal};
use crate::creds::source_list::SourceEntry;
use crate::creds::survey::{Candidate, Ranking, Survey, listed};
use crate::creds::ticket::{CacheNames, ClientAccount, canonical, service_principal, silent, unusable};
use crate::ctx::request::Service;
use crate::event::{Cause, Failure, Stage};
use crate::gss::krb5::Library;
use crate::gss::principal::Krb5Principal;
use crate::gss::ticket::Ticket;
use crate::gss::trace;
use crate::negotiate::messages::{
    self, CONSIDERED_LIMIT, Considered, HostNames, Paused, Request, TRIED_LIMIT,
};
use crate::sys::answer::{NoAnswer, within};
use crate::text::{self, quoted};
use crate::time::now;

/// Longest text about one candidate, in bytes.
const WORD_LIMIT: usize = 300;

/// The credentials chosen for a user.
pub(super) enum UserAccount {
    /// From a cache.
    Cache(ClientAccount),
    /// From a keytab.
    Keytab(KeytabAccount),
}

impl UserAccount {
    pub(super) fn account(&self) -> &ClientAccount {
        match self {
            Self::Cache(account) => account,
            Self::Keytab(keytab) => keytab.account(),
        }
    }
}

/// A ticket for the service, and the result of a renewal before it.
pub(super) struct ServiceTicket {
    pub(super) ticket: Ticket,
    pub(super) renewal: Option<Renewal>,
}

/// Chooses credentials and gets the ticket. The service is looked up only if there is a ticket that could serve for it.
pub(super) fn choose(
    sources: Vec<SourceEntry>,
    service: impl FnOnce() -> Result<Service, Failure>,
    task: WorkerTask<'_>,
) -> Result<(UserAccount, ServiceTicket, Service), Failure> {
    let WorkerTask { request, deadline, watch, .. } = task;
    let library = Library::open().map_err(unusable)?;
    let limit = deadline.saturating_duration_since(Instant::now());
    let mut survey = Survey::of(&library, sources, limit, |display| {
        trace::note(format_args!("reads {display}"));
        watch.enter(deadline, silent(display));
    });
    let credentials = survey.fingerprints(TRIED_LIMIT);
    let known = request
        .paused
        .as_ref()
        .filter(|paused| credentials.iter().all(|it| paused.tried.expose().contains(it)));
    watch.keep_tried(credentials);
    if let Some(Paused { detail, .. }) = known {
        return Err(Failure::new(Stage::Admit, Cause::Paused, detail));
    }
    let keytab = survey.client_keytab.take();
    let required = RequiredPrincipal::of(&library, request.principal.as_deref())?;
    if !survey.has_live(now()) && keytab.is_none() {
        let ranking = required.of_ranking(survey.rank(None, now()));
        watch.consider(considered(None, &ranking, &[]));
        return Err(required.explain(ranking.failure()));
    }
    // Cache daemons cannot be asked any more, since local sockets may be forbidden from here on.
    if request.names == HostNames::FilesAndDns {
        survey.copy_from_daemons(&library);
    }
    sandbox::confine_names(request.names)?;
    let service = named(service()?, task);
    watch.enter_kdc("the user", &service, deadline);
    let server = service_principal(&library, &service)?;
    let ranking = required.of_ranking(survey.rank(Some(&server.name()), now()));
    let target = TicketTarget { library: &library, service: &service, server: &server, task };
    let (account, got) = match keytab {
        // A KDC refuses postdated tickets that it has not validated.
        Some(name) if ranking.usable.iter().all(|usable| usable.worth.reach == TicketReach::Postdated) => {
            let considered = considered(None, &ranking, &[]);
            watch.consider(considered.clone());
            let (account, got) = by_keytab(target, name)?;
            required.admit(&account.account().client().name())?;
            let chosen = Some(cut(account.account().to_string()));
            watch.consider(Considered { chosen, ..considered });
            (account, got)
        }
        _ => best(target, &ranking).map_err(|failure| required.explain(failure))?,
    };
    Ok((account, got, service))
}

/// The service with its host name canonicalized if the settings say so.
fn named(service: Service, task: WorkerTask<'_>) -> Service {
    let WorkerTask { request, deadline, watch, .. } = task;
    match canonicalize(request) {
        Canonicalize::No | Canonicalize::Fallback => service,
        Canonicalize::Yes => {
            watch.enter(deadline, unanswered(&service));
            canonical(&service).unwrap_or(service)
        }
    }
}

fn canonicalize(request: &Request) -> Canonicalize {
    match request.target {
        messages::Target::Rpc { canonicalize, .. } => canonicalize,
        // The network identifier has already led to its name.
        messages::Target::Lustre { .. } => Canonicalize::No,
    }
}

fn unanswered(service: &Service) -> Failure {
    let silent = format!("canonical name of {}: the name service does not answer", service.host());
    Failure::new(Stage::Resolve, Cause::NameServiceSilent, silent)
}

/// The service that a ticket is asked for.
#[derive(Clone, Copy)]
struct TicketTarget<'a> {
    library: &'a Library,
    service: &'a Service,
    server: &'a Krb5Principal,
    task: WorkerTask<'a>,
}

impl TicketTarget<'_> {
    /// The ticket; tries the service's canonical name too if the settings say so.
    fn ticket(&self, account: &ClientAccount) -> Result<ServiceTicket, Failure> {
        self.ticket_as_named(account).or_else(|failure| match self.canonical(&failure) {
            Some((service, server)) => {
                let WorkerTask { deadline, watch, .. } = self.task;
                watch.enter_kdc(&account.to_string(), &service, deadline);
                let canonical = TicketTarget { service: &service, server: &server, ..*self };
                canonical.ticket_as_named(account).map_err(|second| {
                    let detail = format_args!("{}; {}", failure.detail, second.detail);
                    let of_ticket = second.of_ticket;
                    Failure { of_ticket, ..Failure::new(second.stage, second.cause, detail) }
                })
            }
            None => Err(failure),
        })
    }

    /// The other name to ask for after this failure.
    fn canonical(&self, failure: &Failure) -> Option<(Service, Krb5Principal)> {
        let WorkerTask { request, deadline, watch, .. } = self.task;
        if failure.cause != Cause::UnknownService || canonicalize(request) != Canonicalize::Fallback {
            return None;
        }
        watch.enter(deadline, unanswered(self.service));
        let service = canonical(self.service)?;
        let server = service_principal(self.library, &service).ok()?;
        Some((service, server))
    }

    /// The ticket, after a renewal if the request allows one and it is due.
    fn ticket_as_named(&self, account: &ClientAccount) -> Result<ServiceTicket, Failure> {
        let Request { enctypes, limits, renew, .. } = self.task.request;
        let (ticket, renewal) = if *renew {
            renewal::ticket(account, self.service, self.server, enctypes, limits.kdc)?
        } else {
            (account.ticket(self.server, enctypes)?, None)
        };
        Ok(ServiceTicket { ticket, renewal })
    }
}

/// The first candidate in the ranking that leads to a ticket.
fn best(target: TicketTarget<'_>, ranking: &Ranking) -> Result<(UserAccount, ServiceTicket), Failure> {
    let WorkerTask { request, deadline, watch, .. } = target.task;
    let mut refusals: Vec<CandidateRefusal<'_>> = Vec::new();
    while let Some(candidate) = attempts::next(&ranking.usable, &refusals) {
        // The watch reports this if a KDC stays silent to the end.
        watch.consider(considered(Some(candidate), ranking, &refusals));
        let got = account_of(target, candidate, ranking).and_then(|account| {
            watch.enter_kdc(&account.to_string(), target.service, deadline);
            let mut later = attempts::open(&ranking.usable, &refusals);
            if later.any(|other| may_serve_without(other, candidate)) {
                let ahead = ask_ahead(target, &account, candidate);
                // Not final if the canonical name is still to be tried.
                ahead.or_else(|failure| match canonicalize(request) {
                    Canonicalize::Fallback if failure.cause == Cause::UnknownService => Ok(()),
                    _ => Err(failure),
                })?;
            }
            let got = target.ticket(&account)?;
            Ok((UserAccount::Cache(account), got))
        });
        match got {
            Ok(chosen) => return Ok(chosen),
            Err(failure) => refusals.push(CandidateRefusal { candidate, failure }),
        }
    }
    watch.consider(considered(None, ranking, &refusals));
    let mut failures = refusals.into_iter().map(|refusal| refusal.failure);
    let Some(first) = failures.next() else { return Err(ranking.failure()) };
    let others: Vec<String> = failures.map(|failure| failure.detail).collect();
    let detail = listed(first.detail, others.iter().map(String::as_str));
    Err(Failure { detail, ..first })
}

/// Whether another candidate may serve where the KDC of this one is silent.
fn may_serve_without(other: &Candidate, candidate: &Candidate) -> bool {
    !std::ptr::eq(other, candidate) && (other.ready || other.client.realm != candidate.client.realm)
}

/// Opens the cache, with a fresh library context if several caches have been read. A context keeps the clock difference of
/// the first cache that it reads, so one that has read several may have the wrong one.
fn account_of(
    target: TicketTarget<'_>,
    candidate: &Candidate,
    ranking: &Ranking,
) -> Result<ClientAccount, Failure> {
    if ranking.usable.len() + ranking.objections.len() <= 1 {
        return ClientAccount::open(target.library, candidate.name.clone());
    }
    let fresh = Library::open_by(target.library.configuration())
        .map_err(|error| Failure::new(Stage::Credentials, Cause::Setup, error))?;
    ClientAccount::open(&fresh, candidate.name.clone())
}

/// Asks for the ticket, which then is in the cache. Takes half of the time left, so that there is some for candidates that do
/// not need this KDC.
fn ask_ahead(
    target: TicketTarget<'_>,
    account: &ClientAccount,
    candidate: &Candidate,
) -> Result<(), Failure> {
    let WorkerTask { request, deadline, .. } = target.task;
    let (name, service, enctypes) =
        (candidate.name.clone(), target.service.clone(), request.enctypes.clone());
    let configuration = target.library.configuration();
    let ask = move || {
        let library = Library::open_by(configuration).map_err(unusable)?;
        let server = service_principal(&library, &service)?;
        ClientAccount::open(&library, name)?.ticket(&server, &enctypes).map(drop)
    };
    let patience = deadline.saturating_duration_since(Instant::now()) / 2;
    match within(patience, ask) {
        Ok(asked) => asked,
        // The caller asks in the usual way then.
        Err(NoAnswer::NotAsked(_)) => Ok(()),
        Err(NoAnswer::Late) => Err(with_silent_party(kdc_silent(&account.to_string(), target.service))),
    }
}

fn by_keytab(target: TicketTarget<'_>, name: CacheNames) -> Result<(UserAccount, ServiceTicket), Failure> {
    let WorkerTask { deadline, watch, .. } = target.task;
    watch.enter_kdc(&name.display, target.service, deadline);
    let account = KeytabAccount::of(target.library, name)?;
    let got = target.ticket(account.account())?;
    Ok((UserAccount::Keytab(account), got))
}

/// The choice of credentials, for the log.
fn considered(
    chosen: Option<&Candidate>,
    ranking: &Ranking,
    refusals: &[CandidateRefusal<'_>],
) -> Considered {
    let worth = |candidate: &Candidate| candidate.worth.in_words(now());
    let shown = |candidate: &Candidate| quoted(&candidate.client.to_string()).into_owned();
    let is_chosen =
        |other: &Candidate| chosen.is_some_and(|chosen| chosen.name.display == other.name.display);
    let better = ranking.usable.iter().position(is_chosen).unwrap_or(ranking.usable.len());
    let others = ranking.usable.iter().enumerate().filter(|(_, other)| !is_chosen(other));
    let others = others.map(|(place, other)| {
        let refusal = refusals.iter().find(|refusal| refusal.candidate.name.display == other.name.display);
        match refusal {
            // Most details name the cache themselves.
            Some(CandidateRefusal { failure, .. }) if failure.detail.contains(&*other.name.shown()) => {
                failure.detail.clone()
            }
            Some(CandidateRefusal { failure, .. }) => format!("{}: {}", other.name.shown(), failure.detail),
            None => {
                let untried = if place < better && !refusals.is_empty() { ", not tried" } else { "" };
                format!("{}: {}, {}{untried}", other.name.shown(), shown(other), worth(other))
            }
        }
    });
    let (own, foreign): (Vec<_>, Vec<_>) = ranking.objections.iter().partition(|o| o.cause.is_some());
    let mut others: Vec<String> = others.chain(own.into_iter().map(|o| o.text.clone())).map(cut).collect();
    // Other people's caches are reported only beside something else, unless notable.
    let told = !others.is_empty();
    others.extend(foreign.into_iter().filter(|o| told || o.notable).map(|o| cut(o.text.clone())));
    let more = others.len().saturating_sub(CONSIDERED_LIMIT);
    others.truncate(CONSIDERED_LIMIT);
    let refused = |cache: &str| {
        let refusal = refusals.iter().find(|refusal| refusal.candidate.name.display == cache);
        refusal.map(|refusal| refusal.failure.detail.as_str())
    };
    let wanted = ranking.wanted.as_ref().filter(|_| chosen.is_some());
    Considered {
        chosen: chosen
            .map(|chosen| cut(format!("{} in {}, {}", shown(chosen), chosen.name.shown(), worth(chosen)))),
        wanted: wanted.and_then(|wanted| wanted.instead(chosen, refused)).map(cut),
        others,
        more: u32::try_from(more).unwrap_or(u32::MAX),
    }
}

fn cut(word: String) -> String {
    text::cut(&word, WORD_LIMIT).into_owned()
}

#[cfg(test)]
mod tests;
