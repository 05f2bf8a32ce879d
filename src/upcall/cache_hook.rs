//! A user's credentials from the site's hook, such as one that asks a site's own cache server.
//!
//! The monitor runs it as the user (rule S14) and passes on the bytes without a look to `fetched_cache.rs`. Invariant: they are in
//! memory only, and zeroed.
#![forbid(unsafe_code)]

use std::time::Instant;

use super::cgroup::OwnerCgroup;
use super::findings::Findings;
use super::job::Job;
use super::start;
use crate::hook::{self, CacheInput, HookCall, HookFailure, HookOutput, RunsAs};
use crate::identity::system_user::SystemUser;
use crate::negotiate::messages::HostNames;
use crate::sys::fork;
use nix::unistd::{Gid, Uid};

/// What the hook has for the user, if there is a hook. A failure is for the log.
pub(super) fn fetch(
    job: &Job<'_>,
    by: Instant,
    findings: &mut Findings,
    cgroup: Option<&OwnerCgroup<'_>>,
) -> Option<HookOutput> {
    let name = job.config.caches.hook.0.as_ref().filter(|_| is_wanted(job))?;
    let (order, (uid, gid)) = (job.order(), job.order().owner(job.invocation));
    let input = CacheInput {
        purpose: "credentials",
        uid,
        service: order.program().map(|callout| callout.service.to_string()),
        target: order.lustre().map(|callout| callout.target.clone()),
    };
    let fork = || {
        let within = cgroup.and_then(|cgroup| cgroup.start_in(fork::fork_confined_in));
        within.map_or_else(fork::fork_confined, Ok)
    };
    let runs_as = RunsAs::Requester(SystemUser { uid: Uid::from_raw(uid), gid: Gid::from_raw(gid) });
    let call = HookCall { name, input: &input, runs_as, by, fork: &fork };
    let output = hook::run(&call, &job.config.hooks);
    let told = |failure: HookFailure| format!("hook {name}: {}", failure.without_complaint());
    output.map_err(|failure| findings.hook_failed = Some(told(failure))).ok()
}

/// The hook is the host's: it is for its users, not for those of containers and other networks, and not if the request names a
/// cache.
fn is_wanted(job: &Job<'_>) -> bool {
    let names_a_cache = job.order().program().is_some_and(|callout| callout.cache.is_some());
    let (uid, _) = job.order().owner(job.invocation);
    let is_at_home = job.served.places.container.is_none()
        && job.config.within().is_none()
        && start::names_in(job.served) == HostNames::AsTheHost;
    uid != 0 && is_at_home && !names_a_cache
}
