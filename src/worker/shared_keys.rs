//! A context by a shared key (mechanism sk), from the keys that the monitor has found: the newest, and if the server
//! refuses that, the one before it.

use std::fmt::Display;
use std::fs::File;
use std::io::Read;

use zeroize::Zeroizing;

use super::channels::{RelayedChannel, WatchedChannel};
use super::outcome::SharedOutcome;
use super::task::WorkerTask;
use crate::creds::shared_key::{LENGTH, SharedKey};
use crate::creds::source::{CacheNames, PrimeTest};
use crate::creds::source_list::SourceEntry;
use crate::crypto::dh::SafePrime;
use crate::ctx::lustre::Roles;
use crate::event::{Cause, Failure, Stage};
use crate::negotiate::channel::ChannelError;
use crate::negotiate::drive::{DriveError, drive};
use crate::negotiate::mech::sk::{Sk, SkKeys, SkParameters};
use crate::negotiate::mech::{MechanismError, MechanismFault};
use crate::negotiate::messages::{Target, TestedPrime};
use crate::nid::Nid;

/// How often an exchange is begun, in all, with numbers that turn out useless by chance. One in 65,000 does.
const BEGINNINGS_LIMIT: usize = 4;

/// Who asks whom.
#[derive(Clone, Copy)]
struct Parties<'a> {
    roles: Roles,
    myself: Nid,
    target: &'a str,
}

/// Establishes the context with the first key that the server accepts.
pub(super) fn negotiate(
    sources: &[SourceEntry],
    (roles, myself): (Roles, u64),
    task: WorkerTask<'_>,
) -> Result<SharedOutcome, Failure> {
    let Target::Lustre { name: target, .. } = &task.request.target else {
        return Err(Failure::new(Stage::Credentials, Cause::Setup, "only Lustre has shared keys"));
    };
    let parties = Parties { roles, myself: Nid::from_raw(myself), target };
    let keys = sources.iter().filter_map(|source| match source {
        SourceEntry::SharedKey { name, prime } => Some((name, *prime)),
        _ => None,
    });
    let mut refusals: Vec<(String, Failure)> = Vec::new();
    for (candidate, (name, test)) in keys.enumerate() {
        match with_key(candidate, name, test, parties, task) {
            Ok(keys) => {
                let remark = refusals.pop().map(|(name, failure)| format!("{name}: {}", failure.detail));
                return Ok(SharedOutcome { candidate, keys, remark });
            }
            Err(failure) if failure.cause == Cause::SharedKeyRefused => {
                refusals.push((name.display.clone(), failure));
            }
            Err(failure) => return Err(with_refusals(failure, &refusals)),
        }
    }
    let (name, failure) = refusals.pop().ok_or_else(|| {
        Failure::new(Stage::Credentials, Cause::Setup, "no shared key has been handed over")
    })?;
    Err(with_refusals(failure.with_remark(&format!("with {name}")), &refusals))
}

/// Adds the refusals of keys that were tried before.
fn with_refusals(failure: Failure, refusals: &[(String, Failure)]) -> Failure {
    refusals.iter().fold(failure, |failure, (name, refused)| {
        failure.with_remark(&format!("before that, with {name}: {}", refused.detail))
    })
}

fn with_key(
    candidate: usize,
    name: &CacheNames,
    test: PrimeTest,
    parties: Parties<'_>,
    task: WorkerTask<'_>,
) -> Result<SkKeys, Failure> {
    let WorkerTask { request, watch, deadline } = task;
    let slow = format!("{}: the test of its prime takes too long", name.display);
    watch.enter(deadline, Failure::new(Stage::Credentials, Cause::BadSharedKey, slow));
    let key = read(name)?;
    let bad = |why: &dyn Display| {
        Failure::new(Stage::Credentials, Cause::BadSharedKey, format_args!("{}: {why}", name.display))
    };
    let prime = key.prime().ok_or_else(|| bad(&"it has no prime"))?;
    let prime = match test {
        PrimeTest::Passed => SafePrime::checked_before(prime).map_err(|error| bad(&error))?,
        PrimeTest::Due => {
            let safe = SafePrime::check(prime).map_err(|error| bad(&error))?;
            let tested = watch.send_tested_prime(TestedPrime { candidate });
            tested.map_err(|error| Failure::new(Stage::Credentials, Cause::WorkerFault, error))?;
            safe
        }
    };
    let Parties { roles, myself, target } = parties;
    let level = Some(request.level);
    let parameters = SkParameters { key: &key, prime: &prime, target, roles, level, myself };
    let peer = format!("{target} with {}", name.display);
    exchange(parameters, &peer, task).map_err(|error| failure(&error, &peer))
}

fn read(name: &CacheNames) -> Result<SharedKey, Failure> {
    let failed = |why: &dyn Display| {
        let detail = format_args!("{}: {why}", name.display);
        Failure::new(Stage::Credentials, Cause::BadSharedKey, detail)
    };
    let path = name.library.strip_prefix("FILE:").unwrap_or(&name.library);
    let mut form = Zeroizing::new(Vec::with_capacity(LENGTH + 1));
    let limit = u64::try_from(LENGTH + 1).unwrap_or(u64::MAX);
    let read = File::open(path).and_then(|file| file.take(limit).read_to_end(&mut form));
    read.map_err(|error| failed(&error))?;
    SharedKey::decode(&form).map_err(|error| failed(&error))
}

/// Begins again with new numbers where the old ones were useless or were not answered.
fn exchange(parameters: SkParameters<'_>, peer: &str, task: WorkerTask<'_>) -> Result<SkKeys, DriveError> {
    let WorkerTask { request, watch, .. } = task;
    let limit = request.limits.round;
    let mut channel = WatchedChannel { inner: RelayedChannel { watch }, limit, peer, watch };
    let mut left = BEGINNINGS_LIMIT;
    loop {
        left -= 1;
        channel.begin_round();
        let sk = Sk::new(parameters).map_err(DriveError::Start)?;
        match drive(sk, &mut channel) {
            Ok(negotiated) => return Ok(negotiated.keys),
            Err(error) if left > 0 && begins_again(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

fn begins_again(error: &DriveError) -> bool {
    matches!(error, DriveError::Channel(ChannelError::Unanswered)) || error.asks_to_begin_again()
}

/// An error as a failure. A refusal is due to the key, since there is nothing else in a token that a server could object to.
fn failure(error: &DriveError, peer: &str) -> Failure {
    let failure = error.failure(peer);
    let cause = if error.asks_for_another_secret() {
        Cause::SharedKeyRefused
    } else {
        match error {
            DriveError::Start(MechanismError { fault: MechanismFault::Key, .. }) => Cause::BadSharedKey,
            _ => failure.cause,
        }
    };
    Failure { cause, ..failure }
}
