//! The kernel's one lock for all links of keyrings, held by a user: who waits for it, and who does not (rule S21).

use super::outcome::Outcome;
use super::probe::{Finding, Probe, Request, Step, as_user};
use super::process::command;
use super::scratch::Scratch;
use super::shared::Shared;
use super::site::{RELEASED_WITHIN, Site};
use super::wait::stretched;
use std::time::Duration;

/// A user who holds the lock until this is dropped.
pub(crate) struct Holder {
    _probe: Probe,
    _user: Scratch,
}

impl Holder {
    pub(crate) fn with(processes: usize) -> Self {
        let user = Scratch::new();
        Self { _probe: hold_after(as_user(user.uid()), processes), _user: user }
    }
}

/// So many processes hold the lock, as whoever these steps make them, until this is dropped.
pub(crate) fn hold_after(mut steps: Vec<Step>, processes: usize) -> Probe {
    steps.extend([Step::HoldKeyringLock { processes }, Step::Pause]);
    let mut probe = Probe::start(&steps);
    probe.until_pause();
    probe
}

/// The kernel makes a uid's keyrings with its first request, and waits for the lock before it starts any upcall.
pub(crate) fn make_keyrings_of(site: &Site, shared: &Shared) {
    let request = site.request_as(&site.uid().to_string(), shared.nfs(), ":first");
    drop(site.ask_with(request).context());
}

/// Outcome of a request, and how long it blocked the requester, for [`released_soon`].
pub(crate) fn ask(site: &Site, request: Request, environment: Option<&str>) -> (Outcome, Duration) {
    let mut steps = as_user(site.uid());
    let before = steps.len();
    steps.extend([Step::Request(request), Step::Settle { within_ms: 60_000 }]);
    let mut program = command(env!("CARGO_BIN_EXE_lgss-probe"));
    program.envs(environment.map(|cache| ("KRB5CCNAME", cache)));
    let findings = Probe::start_with(program, &steps).rest();
    let Some(Finding::Requested { micros, .. }) = findings.get(before) else { panic!("{findings:?}") };
    (Outcome::of_any_wait(&findings[before..]), Duration::from_micros(*micros))
}

/// Of five requests the median of the times that they were blocked is short. Each of them waits for processors too; one
/// that waited for the lock would wait for each process of the holder's, for seconds.
#[track_caller]
pub(crate) fn released_soon(mut request: impl FnMut(usize) -> Duration) {
    let mut blocked: Vec<_> = (0..5).map(&mut request).collect();
    blocked.sort();
    let limit = stretched(RELEASED_WITHIN);
    assert!(blocked[2] < limit && blocked[4] < limit * 3, "blocked for {blocked:?}");
}
