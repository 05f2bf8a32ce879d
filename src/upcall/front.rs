//! The process that the kernel waits for. Until it exits, the requester is blocked and no signal reaches it.
//!
//! Goes straight from argv to the verdict, without network, name service, configuration or log, and reads no files but
//! /proc's and the [`Note`] on machine credentials. For those the monitor may decide, see [`super::held`]; then the
//! front waits for it.

use std::time::Instant;

use nix::errno::Errno;

use super::authorise::{Acting, Genuine, authorise};
use super::claim::Claim;
use super::confinement::confine_waiting_front;
use super::destination;
use super::invocation::{Invocation, Unusable};
use super::loan::{Loan, lend_keyrings, may_need_keyrings};
use super::monitor;
use super::order::Order;
use super::places::Places;
use super::ready::Note;
use super::refusal::refused;
use super::shared::{FrontStep, Shared};
use super::verdict::{Served, Undecided, Verdict};
use super::witness::{Witness, foreign_ring};
use crate::config::{CEILING, MOUNT_CEILING};
use crate::ctx::lustre::LustreMechanism;
use crate::ctx::payload::user;
use crate::event::{Cause, Failure, Stage};
use crate::key::authority::{NotInstantiated, key_under_construction};
use crate::key::{Authority, Consumer, KeySerial};

/// The last resort, should even the monitor be gone: the default action of SIGALRM ends the front.
const LAST_RESORT_SECONDS: u32 = 8;
/// The same while the monitor decides; longer than any mount is kept waiting.
const UNDECIDED_LAST_RESORT_SECONDS: u32 = 65;
/// How much longer, at least: the clock has its own second, and then answers the key.
const ROOM_FOR_THE_CLOCK: u64 = 2;
const _: () = assert!(
    MOUNT_CEILING.as_secs() + ROOM_FOR_THE_CLOCK < UNDECIDED_LAST_RESORT_SECONDS as u64,
    "the last resort comes after the clock"
);

/// Answers the key and hands it over to the monitor. Returns the exit status.
pub(super) fn serve(invocation: Invocation) -> i32 {
    let started = Instant::now();
    let Ok(authority) = Authority::assume(invocation.key) else {
        return 1;
    };
    // The watchdog comes first: everything after it, which looks at the requester, could block.
    match monitor::start(invocation, &authority) {
        Ok(shared) => {
            nix::unistd::alarm::set(LAST_RESORT_SECONDS);
            let _ = shared.verdict.set(answer(shared, authority, started));
            if let Some(Verdict::Undecided(_)) = shared.verdict.get() {
                leave_to_monitor(shared);
            }
        }
        Err(errno) => drop(authority.reject(errno)),
    }
    0
}

/// Waits for the monitor, which answers the key and then kills this process. Until the monitor has ended, nothing here
/// may touch memory.
fn leave_to_monitor(shared: &Shared) {
    shared.handover.pass_on();
    let _ = shared.authority().reject(Cause::Setup.errno());
}

/// Rejects the key of an upcall whose arguments make no sense: the key that they name, or else the one that the kernel
/// has named our session keyring after.
pub(super) fn refuse_unusable(unusable: &Unusable) -> i32 {
    let assume = |key: Option<KeySerial>| key.and_then(|key| Authority::assume(key).ok());
    if let Some(authority) = assume(unusable.key).or_else(|| assume(key_under_construction())) {
        let key = authority.key();
        // The request-key rule is at fault, not the request.
        let _ = authority.reject(Cause::Setup.errno());
        monitor::log_unusable(unusable, key);
    }
    1
}

fn answer(shared: &'static Shared, authority: Authority, started: Instant) -> Verdict {
    let admitted = admit(shared, &authority);
    shared.enter(FrontStep::Answer);
    match admitted {
        Ok(admitted) if admitted.genuine.acting == Acting::Machine && !admitted.is_ready => {
            leave_undecided(admitted, authority, started)
        }
        Ok(admitted) => instantiate(shared, admitted, authority, started),
        Err(failure) => reject(failure, authority),
    }
}

/// A request that may be served, with what the front has opened of its requester.
struct Admitted {
    order: &'static Order,
    genuine: Genuine,
    owner: u32,
    /// Machine credentials are asked for, and available.
    is_ready: bool,
    places: Places,
    foreign_ring: Option<KeySerial>,
    loan: Option<Loan>,
}

fn admit(shared: &'static Shared, authority: &Authority) -> Result<Admitted, Failure> {
    let (invocation, order) = (&shared.invocation, shared.read_order());
    let kernel =
        authority.describe().map_err(|e| refused(format_args!("S3: the key cannot be described: {e}")))?;
    let claim = Claim::of(invocation, order, &kernel)?;
    // Early, so that it is done when we are. If the request turns out not to be a user's own, nobody reads the
    // keyrings.
    let loan = may_need_keyrings(claim.order).then(|| lend_keyrings(invocation).ok()).flatten();
    let witness = Witness::of(authority, &claim, &kernel, || shared.enter(FrontStep::Requester))?;
    let _ = shared.waits.set(witness.waits());
    let genuine = authorise(&claim, &witness)?;
    if genuine.consumer == Consumer::Program {
        destination::check(claim.uid, genuine.acting)?;
    }
    let places = Places::of(&claim, &witness, genuine.acting)?;
    let is_ready = is_ready(invocation, claim.order, &places);
    let loan = match genuine.acting {
        Acting::ForItself => loan,
        // The launcher will not search them, and whoever shares the monitor's memory must have no more rights than it.
        Acting::ForAnother | Acting::Machine => {
            loan.inspect(|loan| loan.end());
            None
        }
    };
    let foreign_ring = foreign_ring(&claim, &witness);
    let owner = owner(&claim);
    Ok(Admitted { order: claim.order, genuine, owner, is_ready, places, foreign_ring, loan })
}

/// Never in a container, where it depends on more than a note says.
fn is_ready(invocation: &Invocation, order: &Order, places: &Places) -> bool {
    // Notes are about tickets.
    let callout = order.machine_callout().filter(|callout| callout.mechanism == LustreMechanism::Krb5);
    let callout = callout.filter(|_| places.container.is_none());
    callout.is_some_and(|callout| Note::of(invocation, callout).holds())
}

/// The uid that the key is to belong to. For Lustre in a setuid program this is the real user, whose context it is. A
/// key for the machine stays with the user in whose process Lustre happens to run.
fn owner(claim: &Claim<'_>) -> u32 {
    match claim.order {
        Order::Lustre(callout) if !callout.roles.any() => callout.uid,
        Order::Lustre(_) | Order::Program { .. } => claim.uid,
    }
}

/// For a key that the monitor is to answer. From here on this process, whose memory the monitor has, only waits.
fn leave_undecided(admitted: Admitted, authority: Authority, started: Instant) -> Verdict {
    nix::unistd::alarm::set(UNDECIDED_LAST_RESORT_SECONDS);
    let Admitted { order, genuine, owner, places, foreign_ring, loan, .. } = admitted;
    let (acting, micros) = (genuine.acting, micros_since(started));
    let served = Served { order, acting, micros, places, foreign_ring, loan };
    // Last, since not even the time may be asked for after it: where the vDSO does not know it, that is a system call.
    match confine_waiting_front(authority.key()) {
        Ok(()) => Verdict::Undecided(Undecided { genuine, owner, served }),
        Err(failure) => reject(failure, authority),
    }
}

fn instantiate(shared: &Shared, admitted: Admitted, authority: Authority, started: Instant) -> Verdict {
    let Admitted { order, genuine, owner, places, foreign_ring, loan, .. } = admitted;
    loan.inspect(|lending| lending.expect(&shared.starved));
    if let Err(errno) = authority.set_timeout(CEILING) {
        return reject(setup(errno), authority);
    }
    let instantiated = match genuine.consumer {
        Consumer::Program => {
            if owner == 0 {
                authority.leave_to_root();
            }
            authority.instantiate(&genuine, user::in_progress().as_slice())
        }
        Consumer::Kernel => authority.instantiate_for_kernel(&genuine, owner),
    };
    match instantiated {
        Ok(live) => {
            live.hand_over();
            loan.inspect(|lending| lending.complete());
            let micros = micros_since(started);
            Verdict::Served(Served { order, acting: genuine.acting, micros, places, foreign_ring, loan })
        }
        Err(NotInstantiated { authority, errno: Errno::EDQUOT }) => {
            reject(Failure::new(Stage::Publish, Cause::Quota, "the key owner's quota is used up"), authority)
        }
        Err(NotInstantiated { authority, errno }) => reject(setup(errno), authority),
    }
}

fn micros_since(started: Instant) -> u32 {
    u32::try_from(started.elapsed().as_micros()).unwrap_or(u32::MAX)
}

fn setup(errno: Errno) -> Failure {
    Failure::new(Stage::Publish, Cause::Setup, format_args!("the key cannot be instantiated: {errno}"))
}

fn reject(failure: Failure, authority: Authority) -> Verdict {
    let _ = authority.reject(failure.cause.errno());
    Verdict::Refused(failure)
}
