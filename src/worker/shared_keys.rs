//! A context by a shared key (mechanism sk), from the keys that the monitor has found: the newest, and if the server
//! refuses that, the one before it.

use std::fmt::Display;
use std::fs::File;
use std::io::Read;
use std::time::Instant;

use zeroize::Zeroizing;

use super::channels::{Afterwards, RelayedChannel, WatchedChannel};
use super::outcome::SharedKeyOutcome;
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

/// How often an exchange is begun, in all, with numbers that turn out useless by chance, which is rare.
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
    roles: Roles,
    myself: u64,
    task: WorkerTask<'_>,
) -> Result<SharedKeyOutcome, Failure> {
    let Target::Lustre { name: target, .. } = &task.request.target else {
        return Err(Failure::new(Stage::Credentials, Cause::Setup, "only Lustre has shared keys"));
    };
    let parties = Parties { roles, myself: Nid::from_raw(myself), target };
    let keys = sources.iter().filter_map(|source| match source {
        SourceEntry::SharedKey { name, prime } => Some((name, *prime)),
        _ => None,
    });
    // All are read before the sandbox is closed by the first exchange.
    let keys: Vec<_> = keys.map(|(name, test)| (name, test, read(name))).collect();
    let mut refusals: Vec<Refusal<'_>> = Vec::new();
    let mut tested = None;
    for (candidate, (name, test, key)) in keys.into_iter().enumerate() {
        let handed_over = HandedOver { candidate, name, key: key?, test };
        match with_key(handed_over, &mut tested, &refusals, parties, task) {
            Ok(keys) => {
                let remark = refusals.pop().map(|Refusal { name, error }| format!("{name}: {error}"));
                return Ok(SharedKeyOutcome { candidate, keys, remark });
            }
            Err(NoKeys::Refused(error)) => refusals.push(Refusal { name: &name.display, error }),
            Err(NoKeys::Failed(failure)) => return Err(with_refusals(failure, &refusals)),
        }
    }
    let Refusal { name, error } = refusals.pop().ok_or_else(|| {
        Failure::new(Stage::Credentials, Cause::Setup, "no shared key has been handed over")
    })?;
    let failure = Failure { cause: Cause::SharedKeyRefused, ..error.failure(&peer(parties, name)) };
    Err(with_refusals(failure, &refusals))
}

/// A key that the server does not accept.
struct Refusal<'a> {
    name: &'a str,
    error: DriveError,
}

/// Why a key has led to no context.
enum NoKeys {
    /// The server does not accept it. Nothing else in a token can be objected to.
    Refused(DriveError),
    /// Another key would not help.
    Failed(Failure),
}

impl From<Failure> for NoKeys {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

fn peer(parties: Parties<'_>, name: &str) -> String {
    format!("{} with {name}", parties.target)
}

/// Adds the refusals of keys that were tried before.
fn with_refusals(failure: Failure, refusals: &[Refusal<'_>]) -> Failure {
    refusals.iter().fold(failure, |failure, Refusal { name, error }| {
        failure.with_remark(&format!("before that, with {name}: {error}"))
    })
}

/// A shared key from the monitor.
struct HandedOver<'a> {
    candidate: usize,
    name: &'a CacheNames,
    key: SharedKey,
    test: PrimeTest,
}

/// Establishes the context with one key; `tested` is the last prime that was used.
fn with_key(
    HandedOver { candidate, name, key, test }: HandedOver<'_>,
    tested: &mut Option<SafePrime>,
    refusals: &[Refusal<'_>],
    parties: Parties<'_>,
    task: WorkerTask<'_>,
) -> Result<SkKeys, NoKeys> {
    let WorkerTask { request, watch, .. } = task;
    let slow = format!("{}: the test of its prime of {} bits takes too long", name.display, key.prime_bits);
    let overdue = Failure::new(Stage::Credentials, Cause::BadSharedKey, slow);
    watch.enter(Instant::now() + request.limits.kdc, with_refusals(overdue, refusals));
    let bad = |why: &dyn Display| {
        Failure::new(Stage::Credentials, Cause::BadSharedKey, format_args!("{}: {why}", name.display))
    };
    let prime = key.prime().ok_or_else(|| bad(&"it has no prime"))?;
    let before = tested.take().filter(|before| before.as_bytes() == prime);
    let prime = match (before, test) {
        (Some(before), _) => before,
        (None, PrimeTest::Passed) => SafePrime::checked_before(prime).map_err(|error| bad(&error))?,
        (None, PrimeTest::Due) => {
            let safe = SafePrime::check(prime).map_err(|error| bad(&error))?;
            let told = watch.send_tested_prime(TestedPrime { candidate });
            told.map_err(|error| Failure::new(Stage::Credentials, Cause::WorkerFault, error))?;
            safe
        }
    };
    let prime = &*tested.insert(prime);
    let Parties { roles, myself, target } = parties;
    let parameters = SkParameters { key: &key, prime, target, roles, level: request.level, myself };
    let peer = peer(parties, &name.display);
    exchange(parameters, &peer, task).map_err(|error| match error {
        refused if refused.asks_for_another_secret() => NoKeys::Refused(refused),
        error => failure(&error, &peer).into(),
    })
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
    let afterwards = Afterwards::Nothing(request.sandbox);
    let mut channel = WatchedChannel { inner: RelayedChannel { watch }, limit, peer, watch, afterwards };
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

/// An error as a failure.
fn failure(error: &DriveError, peer: &str) -> Failure {
    let failure = error.failure(peer);
    let cause = match error {
        DriveError::Start(MechanismError { fault: MechanismFault::Key, .. }) => Cause::BadSharedKey,
        _ => failure.cause,
    };
    Failure { cause, ..failure }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(fault: MechanismFault) -> MechanismError {
        MechanismError { fault, gss_major: 0, text: "a text".to_owned() }
    }

    fn refused() -> DriveError {
        DriveError::Refused { major: 0xd_0000, minor: 0, fault: MechanismFault::Token, said: None }
    }

    #[test]
    fn only_a_refusal_speaks_against_the_key() {
        assert!(refused().asks_for_another_secret());
        for (error, cause) in [
            (DriveError::Start(error(MechanismFault::Key)), Cause::BadSharedKey),
            (DriveError::Token(error(MechanismFault::OtherSecret)), Cause::BadReply),
            (DriveError::Token(error(MechanismFault::BeginAgain)), Cause::BadReply),
            (DriveError::Channel(ChannelError::Unanswered), Cause::ServerSilent),
        ] {
            assert!(!error.asks_for_another_secret(), "{error}");
            let failure = failure(&error, "lustre-MDT0000 with lustre:lustre");
            assert_eq!(failure.cause, cause, "{failure}");
            assert!(failure.detail.starts_with("lustre-MDT0000 with lustre:lustre: "), "{failure}");
        }
    }

    #[test]
    fn an_exchange_is_begun_anew_after_bad_luck_and_silence_only() {
        assert!(begins_again(&DriveError::Token(error(MechanismFault::BeginAgain))));
        assert!(begins_again(&DriveError::Channel(ChannelError::Unanswered)));
        assert!(!begins_again(&DriveError::Token(error(MechanismFault::OtherSecret))));
        assert!(!begins_again(&DriveError::Channel(ChannelError::Silent)));
    }

    #[test]
    fn a_failure_tells_of_the_keys_that_were_refused_before() {
        let second = Failure::new(Stage::Negotiate, Cause::SharedKeyRefused, "second");
        let told = with_refusals(second, &[Refusal { name: "lustre:lustre", error: refused() }]);
        assert_eq!(told.detail, format!("second; before that, with lustre:lustre: {}", refused()));
    }
}
