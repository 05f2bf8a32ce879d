//! A user's credentials for one target: the best of all that the user has, and the next best where a KDC refuses it.

use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use super::watch::{Watch, kdc_silent};
use crate::creds::client_keytab::KeytabAccount;
use crate::creds::renewal::{self, Renewal};
use crate::creds::source::Role;
use crate::creds::survey::{Candidate, Ranking, Survey, listed};
use crate::creds::ticket::{Account, CacheNames, service_principal};
use crate::ctx::request::Service;
use crate::event::{Cause, Failure, Stage};
use crate::gss::clock::now;
use crate::gss::krb5::{Library, Principal};
use crate::gss::ticket::Ticket;
use crate::negotiate::messages::{Considered, OTHERS_LIMIT, Request};

/// Most credentials that KDCs are asked with.
const ATTEMPTS: usize = 4;
/// So many refusals of one client's tickets speak against all of them: of one, the ticket may be the reason.
const CLIENT_ATTEMPTS: usize = 2;
/// Longest word about one that was not chosen, in bytes.
const WORD_LIMIT: usize = 300;

/// A user's tickets for one service, chosen.
pub(super) enum UserAccount {
    /// Out of a cache.
    Cache(Account),
    /// By a keytab.
    Keytab(KeytabAccount),
}

impl UserAccount {
    pub(super) fn account(&self) -> &Account {
        match self {
            Self::Cache(account) => account,
            Self::Keytab(keytab) => keytab.account(),
        }
    }
}

/// A ticket for the service, and what came of a renewal before.
pub(super) struct Got {
    pub(super) ticket: Ticket,
    pub(super) renewal: Option<Renewal>,
}

/// What is asked for, when KDCs and name services must have answered, and what keeps the time.
type Purpose<'a> = (&'a Request, Instant, &'a Watch);

/// Chooses, and gets the ticket. The service is found only once there is a ticket that could be used for it.
pub(super) fn choose(
    sources: Vec<(Role, CacheNames)>,
    service: impl FnOnce() -> Result<Service, Failure>,
    purpose: Purpose<'_>,
) -> Result<(UserAccount, Got, Service), Failure> {
    let (_, deadline, watch) = purpose;
    let library = Library::open().map_err(|e| Failure::new(Stage::Credentials, Cause::Setup, e))?;
    let mut survey = Survey::of(&library, sources, |name| watch.enter(deadline, name.silent()));
    let keytab = survey.client_keytab.take();
    if !survey.has_live(now()) && keytab.is_none() {
        let ranking = survey.rank(None, now());
        watch.consider(considered(None, &ranking, &[]));
        return Err(ranking.failure());
    }
    let service = service()?;
    watch.enter_kdc("the user", &service, deadline);
    let server = service_principal(&library, &service)?;
    let ranking = survey.rank(Some(&server.name()), now());
    let target = Target { library: &library, service: &service, server: &server };
    let (account, got) = match keytab {
        Some(name) if ranking.usable.is_empty() => {
            let considered = considered(None, &ranking, &[]);
            watch.consider(considered.clone());
            let (account, got) = by_keytab(target, name, purpose)?;
            let chosen = Some(cut(account.account().to_string()));
            watch.consider(Considered { chosen, ..considered });
            (account, got)
        }
        _ => best(target, &ranking, purpose)?,
    };
    Ok((account, got, service))
}

/// What a ticket is asked for.
#[derive(Clone, Copy)]
struct Target<'a> {
    library: &'a Library,
    service: &'a Service,
    server: &'a Principal,
}

impl Target<'_> {
    /// The ticket, after a renewal if that is due and set.
    fn ticket(&self, account: &Account, request: &Request) -> Result<Got, Failure> {
        let Request { enctypes, limits, .. } = request;
        let (ticket, renewal) = if request.renew {
            renewal::ticket(account, (self.service, self.server), enctypes, limits.kdc)?
        } else {
            (account.ticket(self.server, enctypes)?, None)
        };
        Ok(Got { ticket, renewal })
    }
}

/// A candidate that a KDC, or its own cache, has refused.
struct Refusal<'a> {
    candidate: &'a Candidate,
    failure: Failure,
}

/// The first of the ranking that leads to a ticket.
fn best(
    target: Target<'_>,
    ranking: &Ranking,
    (request, deadline, watch): Purpose<'_>,
) -> Result<(UserAccount, Got), Failure> {
    let mut refusals: Vec<Refusal<'_>> = Vec::new();
    for (place, candidate) in ranking.usable.iter().enumerate() {
        if refusals.len() >= ATTEMPTS || is_hopeless(candidate, &refusals) {
            continue;
        }
        // Should a KDC be silent until the end.
        watch.consider(considered(Some(candidate), ranking, &refusals));
        let got = Account::open(target.library, candidate.name.clone()).and_then(|account| {
            watch.enter_kdc(&account.to_string(), target.service, deadline);
            let mut later = ranking.usable.iter().skip(place + 1);
            if later.any(|other| other.ready || other.client.realm != candidate.client.realm) {
                ask_ahead(target, &account, candidate, (request, deadline))?;
            }
            let got = target.ticket(&account, request)?;
            Ok((UserAccount::Cache(account), got))
        });
        match got {
            Ok(chosen) => return Ok(chosen),
            Err(failure) => refusals.push(Refusal { candidate, failure }),
        }
    }
    watch.consider(considered(None, ranking, &refusals));
    let mut failures = refusals.into_iter().map(|refusal| refusal.failure);
    let Some(first) = failures.next() else { return Err(ranking.failure()) };
    let others: Vec<String> = failures.map(|failure| failure.detail).collect();
    let detail = listed(first.detail, others.iter().map(String::as_str));
    Err(Failure { detail, ..first })
}

/// Asks for the ticket, which the cache then has, for as long as still leaves time for those that do not need this KDC. In a thread
/// of its own, which ends with the process: no call of the library's can be given up.
fn ask_ahead(
    target: Target<'_>,
    account: &Account,
    candidate: &Candidate,
    (request, deadline): (&Request, Instant),
) -> Result<(), Failure> {
    let (name, service, enctypes) =
        (candidate.name.clone(), target.service.clone(), request.enctypes.clone());
    let configuration = target.library.configuration();
    let (sender, receiver) = mpsc::channel();
    let ask = move || {
        let library =
            Library::open_by(configuration).map_err(|e| Failure::new(Stage::Credentials, Cause::Setup, e))?;
        let server = service_principal(&library, &service)?;
        Account::open(&library, name)?.ticket(&server, &enctypes).map(drop)
    };
    if thread::Builder::new().spawn(move || sender.send(ask())).is_err() {
        return Ok(());
    }
    let patience = deadline.saturating_duration_since(Instant::now()) / 2;
    let silent = || Err(kdc_silent(&account.to_string(), target.service));
    receiver.recv_timeout(patience).unwrap_or_else(|_| silent())
}

fn by_keytab(
    target: Target<'_>,
    name: CacheNames,
    (request, deadline, watch): Purpose<'_>,
) -> Result<(UserAccount, Got), Failure> {
    watch.enter_kdc(&name.display, target.service, deadline);
    let account = KeytabAccount::of(target.library, name)?;
    let ticket = account.account().ticket(target.server, &request.enctypes)?;
    Ok((UserAccount::Keytab(account), Got { ticket, renewal: None }))
}

/// Whether a candidate would fare no better than those that were refused: what is about a realm holds for all of it but
/// tickets for the service that need no KDC, and what is about a client for all its tickets.
fn is_hopeless(candidate: &Candidate, refusals: &[Refusal<'_>]) -> bool {
    let of_realm = |refusal: &Refusal<'_>| {
        let of_all = matches!(
            refusal.failure.cause,
            Cause::KdcDown
                | Cause::KdcSilent
                | Cause::UnknownService
                | Cause::UnknownHost
                | Cause::ClockSkew
                | Cause::EncryptionType
        );
        of_all && !candidate.ready && refusal.candidate.client.realm == candidate.client.realm
    };
    let of_client = |refusal: &&Refusal<'_>| {
        refusal.failure.cause == Cause::KdcRefused && refusal.candidate.client == candidate.client
    };
    refusals.iter().any(of_realm) || refusals.iter().filter(of_client).count() >= CLIENT_ATTEMPTS
}

/// For the log.
fn considered(chosen: Option<&Candidate>, ranking: &Ranking, refusals: &[Refusal<'_>]) -> Considered {
    let worth = |candidate: &Candidate| candidate.worth.in_words(now());
    let is_chosen =
        |other: &Candidate| chosen.is_some_and(|chosen| chosen.name.display == other.name.display);
    let better = ranking.usable.iter().position(is_chosen).unwrap_or(ranking.usable.len());
    let others = ranking.usable.iter().enumerate().filter(|(_, other)| !is_chosen(other));
    let others = others.map(|(place, other)| {
        let refusal = refusals.iter().find(|refusal| refusal.candidate.name.display == other.name.display);
        match refusal {
            Some(Refusal { failure, .. }) => format!("{}: {}", other.name.display, failure.detail),
            None => {
                let untried = if place < better && !refusals.is_empty() { ", not tried" } else { "" };
                format!("{}: {}, {}{untried}", other.name.display, other.client, worth(other))
            }
        }
    });
    let (own, foreign): (Vec<_>, Vec<_>) = ranking.objections.iter().partition(|o| o.cause.is_some());
    let mut others: Vec<String> = others.chain(own.into_iter().map(|o| o.text.clone())).map(cut).collect();
    // What others have is worth a word where there is something to be told, not on its own.
    if !others.is_empty() {
        others.extend(foreign.into_iter().map(|o| cut(o.text.clone())));
    }
    let more = others.len().saturating_sub(OTHERS_LIMIT);
    others.truncate(OTHERS_LIMIT);
    Considered {
        chosen: chosen
            .map(|chosen| cut(format!("{} in {}, {}", chosen.client, chosen.name.display, worth(chosen)))),
        others,
        more: u32::try_from(more).unwrap_or(u32::MAX),
    }
}

fn cut(mut word: String) -> String {
    if word.len() > WORD_LIMIT {
        let end = (0..=WORD_LIMIT).rev().find(|&at| word.is_char_boundary(at)).unwrap_or(0);
        word.truncate(end);
        word.push('…');
    }
    word
}
