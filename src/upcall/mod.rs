//! `lgss_keyring`: the program that the kernel starts to answer a request for a key.
//!
//! One static image is several processes. Of the three that every negotiation has, each has a file: [`front`] decides while the
//! requester is blocked, [`monitor`] watches the front and then the negotiation, [`launcher`] becomes the worker. None of them
//! links Kerberos or asks a name service. docs/architecture.md has the others. Invariant: every way out answers the key; after a plain exit the user
//! would get ENOKEY for a minute.
#![forbid(unsafe_code)]

mod assignment;
mod authorise;
mod backoff;
mod by_hand;
mod cache_hook;
mod cgroup;
mod check;
mod check_shared;
mod claim;
mod clock;
mod confinement;
mod container;
mod destination;
mod exchange;
mod failures;
mod fetched_cache;
mod final_payload;
mod findings;
mod front;
#[cfg(feature = "test-programs")]
pub mod fuzz;
mod gssnull;
mod held;
mod host_hook;
mod invocation;
mod job;
mod launcher;
mod lines;
mod loan;
mod log_budget;
mod lustre_parameters;
mod machine_part;
mod monitor;
mod negotiation;
mod order;
mod outcome;
mod own_cache;
mod places;
mod prepared;
mod primes;
mod ready;
mod refusal;
mod relay;
mod routing;
mod shared;
mod shared_keys;
mod site_hooks;
mod slots;
mod sources;
mod stale;
mod start;
mod sweep;
mod teller;
mod ticket_store;
mod times;
mod verdict;
mod wanted;
mod witness;
mod worker_exit;

use invocation::Invocation;

/// Runs the program with the arguments that request-key gave it. Returns the exit status: 1 if they make no sense, else
/// 0.
pub fn run(words: impl Iterator<Item = std::ffi::OsString>) -> i32 {
    let words: Vec<_> = words.collect();
    if let Some(question) = by_hand::question(&words) {
        return by_hand::answer(&question);
    }
    if let Some(task) = teller::task(&words) {
        return teller::tell(&task);
    }
    match Invocation::parse(words.into_iter()) {
        Ok(invocation) => front::serve(invocation),
        Err(unusable) => {
            by_hand::point_to_help();
            front::refuse_unusable(&unusable)
        }
    }
}
