//! Which of a user's caches is tried next, after refusals of others.
//!
//! Pure. Called by the choice of credentials (users.rs). Invariant: a cache that has a ticket for the service is tried
//! whatever became of the others, since it needs no KDC.

use crate::creds::ranking::TicketReach;
use crate::creds::survey::Candidate;
use crate::event::{Cause, Failure};

/// Most credentials with which KDCs are asked. Those with a ticket for the service do not count.
const CANDIDATE_ATTEMPTS: usize = 4;
/// This many refusals speak against all tickets of a client. A single one may be due to the ticket.
const CLIENT_ATTEMPTS: usize = 2;

/// A candidate that failed at a KDC or at its own cache.
pub(super) struct CandidateRefusal<'a> {
    pub(super) candidate: &'a Candidate,
    pub(super) failure: Failure,
}

/// The candidate to try next: the best that may serve, but those of a client with unreadable tickets after all others.
pub(super) fn next<'a>(usable: &'a [Candidate], refusals: &[CandidateRefusal<'_>]) -> Option<&'a Candidate> {
    let asked = refusals.iter().filter(|refusal| !refusal.candidate.ready).count();
    let within_limit = |candidate: &&Candidate| candidate.ready || asked < CANDIDATE_ATTEMPTS;
    let mut promising = open(usable, refusals).filter(within_limit);
    let mut rest = open(usable, refusals).filter(within_limit);
    promising.find(|candidate| !is_doubtful(candidate, refusals)).or_else(|| rest.next())
}

/// The candidates that have not been tried and would not fail like those refused.
pub(super) fn open<'a>(
    usable: &'a [Candidate],
    refusals: &[CandidateRefusal<'_>],
) -> impl Iterator<Item = &'a Candidate> {
    usable.iter().filter(|candidate| {
        let tried = refusals.iter().any(|refusal| std::ptr::eq(refusal.candidate, *candidate));
        !tried && !is_hopeless(candidate, refusals)
    })
}

/// Whether a candidate would fail like those refused. A failure of a realm holds for all its candidates, and one of a
/// client for all its tickets; neither holds for a candidate that has a ticket for the service.
fn is_hopeless(candidate: &Candidate, refusals: &[CandidateRefusal<'_>]) -> bool {
    let of_client = |cause: Cause| {
        matches!(
            cause,
            Cause::KdcRefused
                | Cause::UnknownClient
                | Cause::ClientRevoked
                | Cause::ClientExpired
                | Cause::KdcPolicy
        )
    };
    !candidate.ready
        && (refusals.iter().any(|refusal| is_of_realm(refusal, candidate))
            || count(candidate, refusals, of_client) >= CLIENT_ATTEMPTS)
}

/// Whether the KDC could not read several tickets of the same client. The realm's key may have changed since all of them.
fn is_doubtful(candidate: &Candidate, refusals: &[CandidateRefusal<'_>]) -> bool {
    let unreadable = |cause| cause == Cause::TicketRejected;
    !candidate.ready && count(candidate, refusals, unreadable) >= CLIENT_ATTEMPTS
}

fn count(candidate: &Candidate, refusals: &[CandidateRefusal<'_>], of: impl Fn(Cause) -> bool) -> usize {
    let same = refusals.iter().filter(|refusal| refusal.candidate.client == candidate.client);
    same.filter(|refusal| of(refusal.failure.cause)).count()
}

/// Whether the refusal speaks against all tickets of its realm, and the candidate is one.
fn is_of_realm(refusal: &CandidateRefusal<'_>, candidate: &Candidate) -> bool {
    let of_all = matches!(
        refusal.failure.cause,
        Cause::KdcDown
            | Cause::KdcSilent
            | Cause::KdcUnresolved
            | Cause::NameServiceSilent
            | Cause::UnknownRealm
            | Cause::ServiceClosed
            | Cause::UnknownService
            | Cause::UnknownHost
            | Cause::ClockSkew
            | Cause::EncryptionType
    );
    // The refused ticket begins later; the clock is not to blame.
    let begins_later = refusal.failure.cause == Cause::ClockSkew
        && refusal.candidate.worth.reach <= TicketReach::Later
        && candidate.worth.reach > TicketReach::Later;
    let of_ticket = refusal.failure.of_ticket || begins_later;
    of_all && !of_ticket && refusal.candidate.client.realm == candidate.client.realm
}

#[cfg(test)]
mod tests;
