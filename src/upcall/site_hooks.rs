//! What the monitor asks the site's hooks before it starts a worker: host names for Lustre, and a user's credentials.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use super::cache_hook;
use super::cgroup::OwnerCgroup;
use super::findings::Findings;
use super::host_hook::HookedNames;
use super::job::Job;
use super::start;
use super::times::{Times, WorkerTime};
use crate::event::Failure;
use crate::hook::HookOutput;
use crate::negotiate::messages::{Credentials, Request};

/// A request that hooks have been asked for.
pub(super) struct HookedRequest {
    /// The message for the worker.
    pub(super) request: Request,
    /// The time for name service and KDC: what hooks have left of it.
    pub(super) limit: Duration,
    /// What the site's hook has for the user.
    pub(super) fetched: Option<HookOutput>,
}

/// Asks the hooks that the settings name. Half of the time for name service and KDC is the worker's.
///
/// # Errors
/// [`Failure`] of the stage `Resolve` if the hook for host names fails.
pub(super) fn ask(
    job: &Job<'_>,
    credentials: Credentials,
    times: &Times,
    findings: &mut Findings,
    cgroup: Option<&OwnerCgroup<'_>>,
) -> Result<HookedRequest, Failure> {
    let (order, config) = (job.order(), job.config);
    let (now, limit) = (Instant::now(), times.kdc(config.timeouts.kdc.0));
    let names = HookedNames::of(order, config, now + limit / 2)?;
    let fetched = match credentials {
        Credentials::Users => cache_hook::fetch(job, now + limit / 2, findings, cgroup),
        Credentials::Machines { .. } | Credentials::SharedKeys { .. } => None,
    };
    let limit = times.kdc(limit.saturating_sub(now.elapsed()));
    let time = WorkerTime { kdc: limit, total: times.total() };
    let request = order.request(config, credentials, start::names_in(job.served), time);
    Ok(HookedRequest { request: names.told_in(request), limit, fetched })
}
