//! The key of one upcall before and after its instantiation. One for the node is held: instantiated only when there are
//! credentials, and otherwise rejected with the reason, since a mount whose key fails afterwards never returns.
//!
//! Meanwhile the requester waits for the front, and the front for the monitor, which has inherited the authority. A clock, a
//! process of its own, answers the key if that takes too long. The kernel takes one answer, whoever gives it. Invariant:
//! a held key is answered and the front ended whatever becomes of any of these processes.

use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;

use super::authorise::{Acting, Genuine};
use super::front::Undecided;
use super::outcome::Outcome;
use super::telling::fail;
use crate::config::{CEILING, Config};
use crate::event::{Cause, Failure, Stage};
use crate::identity::requester::Wait;
use crate::key::authority::Prepared;
use crate::key::{Authority, Consumer, KeySerial, LiveKey};
use crate::sys::jail;
use crate::sys::process::{self, Forked, Process};

/// Whoever does not mount waits no longer: it serves others, or has not asked for anything that must not hang.
pub(super) const OTHERS_LIMIT: Duration = Duration::from_secs(1);
/// How much later than the monitor's own time the clock answers a mount.
const CLOCK_GRACE: Duration = Duration::from_secs(1);
/// How long a killed clock may take to end.
const CLOCK_END: Duration = Duration::from_secs(1);

/// A key that is still to be finished.
pub(super) enum Pending {
    /// Under construction, the requester waits.
    Held(Held),
    /// Instantiated, the requester has been released.
    Live(LiveKey),
}

/// A key under construction whose front waits for us.
pub(super) struct Held {
    authority: Authority,
    genuine: &'static Genuine,
    waits: Wait,
    front: Option<Process>,
    clock: Option<Process>,
    /// The key's own end once it is instantiated.
    timeout: Duration,
    /// While we have the right to: the key's permissions are as they shall be.
    prepared: Result<Prepared, Errno>,
    answered: bool,
}

impl Pending {
    /// A key that the front has left undecided.
    pub(super) fn held(authority: Authority, undecided: &'static Undecided, front: Option<Pid>) -> Self {
        let &Undecided { ref genuine, owner, waits, .. } = undecided;
        let front = front.and_then(|pid| Process::open(pid).ok());
        let (clock, timeout, answered) = (None, CEILING, false);
        let prepared = authority.prepare_for_kernel(owner);
        Self::Held(Held { authority, genuine, waits, front, clock, timeout, prepared, answered })
    }

    /// The key.
    pub(super) fn key(&self) -> KeySerial {
        match self {
            Self::Held(held) => held.authority.key(),
            Self::Live(live) => live.key(),
        }
    }

    /// Whether the kernel has no answer yet.
    pub(super) fn under_construction(&self) -> bool {
        matches!(self, Self::Held(_))
    }

    /// Who waits for the answer.
    pub(super) fn waits(&self) -> Option<Wait> {
        match self {
            Self::Held(held) => Some(held.waits),
            Self::Live(_) => None,
        }
    }

    /// Sets the end that the key has from its instantiation on, and starts the clock of a held one. How long a mount may be
    /// kept waiting from now on, if this is one.
    pub(super) fn limit(&mut self, timeout: Duration, config: &Config) -> Option<Duration> {
        match self {
            Self::Live(live) => {
                live.shorten(timeout);
                None
            }
            Self::Held(held) => {
                held.timeout = timeout;
                let mounts = config.timeouts.mount.0;
                let (limit, clock) = match held.waits {
                    Wait::Mount => (Some(mounts), mounts + CLOCK_GRACE),
                    Wait::Other => (None, OTHERS_LIMIT),
                };
                held.start_clock(clock);
                limit
            }
        }
    }

    /// There are credentials: a held key is instantiated, its requester released.
    ///
    /// # Errors
    /// [`Failure`] if that is not possible, or too late.
    pub(super) fn admit(&mut self) -> Result<(), Failure> {
        if let Self::Held(held) = self {
            let live = held.instantiate()?;
            live.shorten(held.timeout);
            *self = Self::Live(live);
        }
        Ok(())
    }

    /// Fails the key: a held one is rejected, so that its requester has the reason at once.
    pub(super) fn fail(
        self,
        failure: Failure,
        acting: Acting,
        config: &Config,
        deadline: Instant,
    ) -> Outcome {
        match self {
            Self::Live(live) => fail(live, failure, acting, config, deadline),
            Self::Held(mut held) => match held.reject(failure.cause.errno()) {
                Some(live) => fail(live, failure, acting, config, deadline),
                None => Outcome::Failed(failure),
            },
        }
    }
}

impl Held {
    /// Without a clock, if there can be no process, the front's last resort remains.
    fn start_clock(&mut self, limit: Duration) {
        self.clock = match process::fork() {
            Ok(Forked::Child) => self.keep_time(limit),
            Ok(Forked::Parent(pid)) => Process::open(pid).ok(),
            Err(_) => None,
        };
    }

    /// The clock's whole life. If the monitor dies, the front answers.
    fn keep_time(&self, limit: Duration) -> ! {
        let _ = jail::die_with_parent();
        thread::sleep(limit);
        let answered = match self.waits {
            Wait::Mount => self.authority.inherited().reject(Cause::Deadline.errno()).is_ok(),
            Wait::Other => self.instantiate_now().map(LiveKey::hand_over).is_ok(),
        };
        self.release();
        process::end(i32::from(!answered))
    }

    /// Stops the clock; whether it has answered.
    fn stop_clock(&mut self) -> bool {
        self.clock.take().is_some_and(|clock| {
            let _ = clock.kill();
            clock.wait_for_end(CLOCK_END) && matches!(clock.ended(), Some(WaitStatus::Exited(_, 0)))
        })
    }

    fn instantiate(&mut self) -> Result<LiveKey, Failure> {
        let late = self.stop_clock();
        let outcome = if late { Err(None) } else { self.instantiate_now().map_err(Some) };
        let outcome = match outcome {
            Ok(live) => Ok(live),
            Err(Some(errno)) if self.reject_now(Cause::Setup.errno()) => {
                let detail = format_args!("the key cannot be instantiated: {errno}");
                Err(Failure::new(Stage::Publish, Cause::Setup, detail))
            }
            Err(_) => self.of_the_clock().ok_or_else(overdue),
        };
        self.release();
        self.answered = true;
        outcome
    }

    /// The key, if the clock has instantiated it meanwhile.
    fn reject(&mut self, errno: Errno) -> Option<LiveKey> {
        let late = self.stop_clock();
        let live = if !late && self.reject_now(errno) { None } else { self.of_the_clock() };
        self.release();
        self.answered = true;
        live
    }

    /// What the clock has made of the key.
    fn of_the_clock(&self) -> Option<LiveKey> {
        let taken_over = || LiveKey::taken_over(self.authority.key(), Consumer::Kernel);
        (self.waits == Wait::Other).then(taken_over)
    }

    fn instantiate_now(&self) -> Result<LiveKey, Errno> {
        let authority = self.authority.inherited();
        authority.set_timeout(CEILING)?;
        authority.instantiate_prepared(self.genuine, self.prepared?).map_err(|refused| refused.errno)
    }

    fn reject_now(&self, errno: Errno) -> bool {
        self.authority.inherited().reject(errno).is_ok()
    }

    /// Ends the front, so that the kernel looks at the key.
    fn release(&self) {
        if let Some(front) = &self.front {
            let _ = front.kill();
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.answered {
            drop(self.reject(Cause::Setup.errno()));
        }
    }
}

fn overdue() -> Failure {
    Failure::new(
        Stage::Authorise,
        Cause::Deadline,
        "the requester has been turned away: no credentials in time",
    )
}
