//! The shared keys for one request of Lustre's (mechanism sk): read from root's user keyring by the monitor, which is
//! root, and checked before anything else is done.
//!
//! What is wrong with a key fails the request before its key is instantiated, so that a mount returns at once. Several
//! keys may serve: the newest is tried first, and then the one before it. Invariant: a candidate can be used for the
//! target, but its prime may still have to be tested, which is the worker's job.

use std::fmt::Display;
use std::time::Instant;

use super::failures::{FailureMemory, Scope};
use super::job::Job;
use super::own_cache::FAILED;
use super::primes::PrimeMemory;
use crate::config::Config;
use crate::creds::shared_key::keyring::{self, FoundKey, LookupFailure};
use crate::creds::shared_key::{SharedKey, candidates, previous_of};
use crate::creds::source::PrimeTest;
use crate::creds::stamp::Stamp;
use crate::ctx::lustre::LustreCallout;
use crate::event::{Cause, Failure, Stage, one_line};
use crate::identity::requester::Wait;
use crate::negotiate::messages::TestedPrime;
use crate::secret::Secret;

/// A key that may serve.
#[derive(Debug)]
pub(super) struct SharedKeyCandidate {
    /// Its name in the keyring.
    pub(super) name: String,
    /// What it holds.
    pub(super) key: SharedKey,
    /// The same in Lustre's form, for the worker.
    pub(super) form: Secret,
    /// Whether others may read or change it in the keyring.
    is_open: bool,
    /// Whether its prime has to be tested.
    pub(super) test: PrimeTest,
}

/// One request's part in shared keys.
#[derive(Debug)]
pub(super) struct SharedKeyPart {
    /// At least one; the best comes first.
    candidates: Vec<SharedKeyCandidate>,
    /// What is wrong with keys that would have come before them, for the log.
    objections: Vec<String>,
    /// Of each candidate's prime.
    primes: Vec<Option<PrimeMemory>>,
    /// For the machine: failures with this server and these keys.
    memory: Option<FailureMemory>,
}

impl SharedKeyPart {
    /// Finds the keys, and waits if another request is testing the prime of the first one.
    ///
    /// # Errors
    /// `NoSharedKey`, `SharedKeyExpired`, `BadSharedKey`; or the failure of a like request a moment ago.
    pub(super) fn take(callout: &LustreCallout, job: &Job<'_>, deadline: Instant) -> Result<Self, Failure> {
        Self::of(find(callout, keyring::find)?, callout, job.config, job.waits, deadline)
    }

    /// The part of a request that has found these keys.
    fn of(
        FoundKeys { mut candidates, objections }: FoundKeys,
        callout: &LustreCallout,
        config: &Config,
        waits: Wait,
        deadline: Instant,
    ) -> Result<Self, Failure> {
        let memory = if callout.roles.any() { memory(&candidates, callout, config) } else { None };
        let memory_of = |candidate: &SharedKeyCandidate| {
            candidate.key.prime().and_then(|prime| PrimeMemory::of(config, prime))
        };
        let mut primes: Vec<_> = candidates.iter().map(memory_of).collect();
        let patience = patience(Instant::now(), deadline);
        for ((candidate, prime), until) in candidates.iter_mut().zip(&mut primes).zip(patience) {
            candidate.test = prime.as_mut().map_or(PrimeTest::Due, |prime| prime.test(until));
        }
        if let [_, rest @ ..] = primes.as_mut_slice() {
            rest.iter_mut().flatten().for_each(PrimeMemory::give_up_turn);
        }
        let part = Self { candidates, objections, primes, memory };
        // The request that we have waited for may have failed in the way that ours would.
        match part.memory.as_ref().and_then(FailureMemory::pause).filter(|_| waits != Wait::Mount) {
            Some(failure) => Err(failure),
            None => Ok(part),
        }
    }

    /// The keys, the best first.
    pub(super) fn candidates(&self) -> &[SharedKeyCandidate] {
        &self.candidates
    }

    /// The credential of a context by this candidate, in words, with what came of those before it.
    pub(super) fn credential(&self, candidate: &SharedKeyCandidate, remark: Option<&str>) -> String {
        let unsigned = "it has no cipher, so its contexts are signed with a key that is no secret";
        let weakness = candidate.key.signs_without_secret().then_some(unsigned);
        let open =
            "others than root may read or change it in the keyring; lgss_sk -l loads it for root alone";
        let open = candidate.is_open.then_some(open);
        let objections = self.objections.iter().map(String::as_str);
        let remarks: Vec<_> = objections.chain(remark).chain(weakness).chain(open).collect();
        let name = &candidate.name;
        if remarks.is_empty() { name.clone() } else { one_line(&format!("{name} ({})", remarks.join("; "))) }
    }

    /// A failure with what was wrong with keys that would have come before those that were tried.
    pub(super) fn with_objections(&self, failure: Failure) -> Failure {
        self.objections.iter().fold(failure, |failure, objection| failure.with_remark(objection))
    }

    /// Records the worker's word that a prime is safe.
    ///
    /// # Errors
    /// `WorkerFault` for a prime that needed no test.
    pub(super) fn prime_is_safe(&mut self, TestedPrime { candidate }: TestedPrime) -> Result<(), Failure> {
        let tested = self.candidates.get_mut(candidate).filter(|tested| tested.test == PrimeTest::Due);
        let tested = tested.ok_or_else(|| {
            let detail = "worker: a prime that it was not to test";
            Failure::new(Stage::Negotiate, Cause::WorkerFault, detail)
        })?;
        tested.test = PrimeTest::Passed;
        if let Some(Some(memory)) = self.primes.get_mut(candidate) {
            memory.passed();
        }
        Ok(())
    }

    /// Remembers a failure, so that the kernel's next requests need not fail in the same slow way.
    pub(super) fn failed(self, failure: &Failure) {
        self.memory.iter().for_each(|memory| memory.failed(failure));
    }

    /// Forgets earlier failures after a success.
    pub(super) fn succeeded(self) {
        self.memory.iter().for_each(FailureMemory::succeeded);
    }
}

impl Drop for SharedKeyPart {
    /// A child of ours may have inherited the lock's descriptor, so it would not be free with ours alone.
    fn drop(&mut self) {
        self.primes.iter_mut().flatten().for_each(PrimeMemory::give_up_turn);
    }
}

/// Deadlines for waiting for others' tests of the two primes. A running test began before ours could, and an abandoned one
/// passes to us at once, so giving up early gains nothing; the last eighth of the time is for the exchange. The second key's
/// test is not waited for.
fn patience(now: Instant, deadline: Instant) -> [Instant; 2] {
    [now + deadline.saturating_duration_since(now) * 7 / 8, now]
}

/// Other keys, or another server, have a memory of their own.
fn memory(
    candidates: &[SharedKeyCandidate],
    callout: &LustreCallout,
    config: &Config,
) -> Option<FailureMemory> {
    let names: Vec<_> = candidates.iter().map(|candidate| candidate.name.as_bytes()).collect();
    let keys: Vec<_> = candidates.iter().map(|candidate| candidate.form.expose()).collect();
    let stamp = Stamp::of_contents(&[names, keys].concat());
    let name = format!("{stamp}.{}.{:016x}{FAILED}", callout.server.number(), callout.peer.raw());
    FailureMemory::open(config, "machine", name, Scope::All)
}

/// The keys found, and what is wrong with others that would have come before them.
#[derive(Debug)]
struct FoundKeys {
    candidates: Vec<SharedKeyCandidate>,
    objections: Vec<String>,
}

/// Looks under each name in turn, and beside it for the key before the newest one, until there is one that serves.
fn find(
    callout: &LustreCallout,
    look: impl Fn(&str) -> Result<Option<FoundKey>, LookupFailure>,
) -> Result<FoundKeys, Failure> {
    let target = callout.target.as_str();
    let mut cause = Cause::NoSharedKey;
    let mut absent = Vec::new();
    let mut objections = Vec::new();
    'names: for name in candidates(target, callout.client.as_deref()) {
        let mut found: Vec<SharedKeyCandidate> = Vec::new();
        for (name, age) in [(name.clone(), KeyAge::Newest), (previous_of(&name), KeyAge::Former)] {
            match candidate(&name, callout, &look) {
                // Where there is no newest key, somebody has removed it.
                Ok(None) if age == KeyAge::Newest => break,
                Ok(None) => {}
                Ok(Some(former)) if age == KeyAge::Former && !former.may_stand_in_for(found.first()) => {
                    let what =
                        "it has no cipher or hash, so whoever refuses the newest key could be the server";
                    objections.push(format!("{name}: {what}"));
                }
                Ok(Some(candidate)) => found.push(candidate),
                Err(KeyObjection { cause: why, what, is_final }) => {
                    // The first name's cause counts: that is the key that was meant.
                    cause = if cause == Cause::NoSharedKey { why } else { cause };
                    objections.push(format!("{name}: {what}"));
                    // An objection to the predecessor does not affect the newest key.
                    if is_final && found.is_empty() {
                        break 'names;
                    }
                }
            }
        }
        if !found.is_empty() {
            return Ok(FoundKeys { candidates: found, objections });
        }
        absent.push(name);
    }
    let detail = if objections.is_empty() {
        format!("no shared key is loaded for {target}: looked for {}", absent.join(" and "))
    } else {
        format!("no usable shared key is loaded for {target}: {}", objections.join("; "))
    };
    Err(Failure::new(Stage::Credentials, cause, detail))
}

/// Which of the two keys of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyAge {
    Newest,
    Former,
}

impl SharedKeyCandidate {
    /// Whether this former key protects as the newest one does; where that cannot be used, whether it protects at all.
    fn may_stand_in_for(&self, newest: Option<&Self>) -> bool {
        match newest {
            Some(newest) => !self.key.is_weaker_than(&newest.key),
            None => !self.key.lacks_protection(),
        }
    }
}

/// What is wrong with a key.
struct KeyObjection {
    cause: Cause,
    what: String,
    /// Whether no other key may take its place: somebody has ended it, perhaps because it has leaked.
    is_final: bool,
}

/// The key of this name, if there is one.
fn candidate(
    name: &str,
    callout: &LustreCallout,
    look: impl Fn(&str) -> Result<Option<FoundKey>, LookupFailure>,
) -> Result<Option<SharedKeyCandidate>, KeyObjection> {
    let bad = |what: &dyn Display| KeyObjection {
        cause: Cause::BadSharedKey,
        what: what.to_string(),
        is_final: false,
    };
    let FoundKey { form, is_open } = match look(name) {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(None),
        Err(why @ LookupFailure::Expired) => {
            return Err(KeyObjection { cause: Cause::SharedKeyExpired, ..bad(&why) });
        }
        Err(why @ LookupFailure::Revoked) => return Err(KeyObjection { is_final: true, ..bad(&why) }),
        Err(why) => return Err(bad(&why)),
    };
    let key = SharedKey::decode(form.expose()).map_err(|error| bad(&error))?;
    key.serves(&callout.target).map_err(|unfit| bad(&unfit))?;
    key.protects(callout.level).map_err(|unfit| bad(&unfit))?;
    Ok(Some(SharedKeyCandidate { name: name.to_owned(), key, form, is_open, test: PrimeTest::Due }))
}

#[cfg(test)]
pub(super) mod tests;
