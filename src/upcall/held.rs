//! The key of an upcall before and after its instantiation. A key for the machine is held: it is instantiated only once
//! there are credentials, and rejected if there are none, since a mount whose key fails later never returns.
//!
//! While it is held, the requester waits for the front, and the front for the monitor, which has inherited the
//! authority. A clock ([`super::clock`]) answers the key if that takes too long, whatever the monitor is waiting for.
//! The kernel takes the first answer. Invariant: a held key is answered, and its front ended, whichever of these
//! processes dies.

use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::authorise::{Acting, Genuine};
use super::clock::Clock;
use super::final_payload::fail;
use super::outcome::Outcome;
use super::verdict::Undecided;
use crate::config::{CEILING, Config, Timeouts};
use crate::event::{Cause, Failure, Stage};
use crate::identity::requester::Wait;
use crate::key::authority::{self, PreparedKey};
use crate::key::{Authority, Consumer, KeySerial, LiveKey};
use crate::sys::process::WaitingParent;

/// Longest wait of a requester that does not mount. It may be a thread that serves others, and unlike a mount it does
/// not hang if the key fails later.
pub(super) const OTHERS_WAIT: Duration = Duration::from_secs(1);
/// For a mount, the delay of the clock after the monitor's own deadline.
const CLOCK_GRACE: Duration = Duration::from_secs(1);

/// A key that is still to be finished.
pub(super) enum KeyToAnswer {
    /// Under construction; the requester waits.
    Held(HeldKey),
    /// Instantiated; the requester has been released.
    Live(LiveKey),
}

/// A key under construction whose front waits for the monitor.
pub(super) struct HeldKey {
    authority: Authority,
    genuine: &'static Genuine,
    waits: Wait,
    front: Option<WaitingParent>,
    /// When the requester's wait began.
    since: Instant,
    state: HeldState,
    /// The key's timeout once it is instantiated.
    timeout: Duration,
    /// The key's owner and permissions, set while we still had the right to.
    prepared: Result<PreparedKey, Errno>,
}

/// Who has answered a held key.
#[derive(Debug)]
enum HeldState {
    /// Nobody, as far as is known; a clock may be about to, if one could be started.
    Waiting(Option<Clock>),
    /// A clock.
    ByClock,
    /// This process, or a clock; the front has been told to end.
    Concluded,
}

impl HeldState {
    /// Stops the clock. Afterwards it is known whether a clock has answered.
    fn stop_clock(&mut self) {
        if let Self::Waiting(clock) = self
            && clock.take().is_some_and(Clock::stop)
        {
            *self = Self::ByClock;
        }
    }
}

impl KeyToAnswer {
    /// A key that the front has left undecided. Its clock starts at once, so that not even reading the settings can
    /// make the requester wait longer.
    pub(super) fn held(
        authority: Authority,
        undecided: &'static Undecided,
        waits: Wait,
        front: Option<WaitingParent>,
    ) -> Self {
        let &Undecided { ref genuine, owner, ref served } = undecided;
        let waited = Duration::from_micros(served.micros.into());
        let now = Instant::now();
        let since = now.checked_sub(waited).unwrap_or(now);
        let prepared = authority.prepare_for_kernel(owner);
        let (state, timeout) = (HeldState::Waiting(None), CEILING);
        let mut held = HeldKey { authority, genuine, waits, front, since, state, timeout, prepared };
        held.set_clock(limit_of(waits, &Timeouts::default()));
        Self::Held(held)
    }

    /// The key.
    pub(super) fn key(&self) -> KeySerial {
        match self {
            Self::Held(held) => held.authority.key(),
            Self::Live(live) => live.key(),
        }
    }

    /// Whether the key is still to be answered.
    pub(super) fn under_construction(&self) -> bool {
        matches!(self, Self::Held(_))
    }

    /// Whether a mount is waiting for the key.
    pub(super) fn holds_a_mount(&self) -> bool {
        matches!(self, Self::Held(held) if held.waits == Wait::Mount)
    }

    /// Sets the key's timeout, and for a mount the time limit of the settings. Returns the end of that limit if the key
    /// is held for a mount.
    pub(super) fn limit(&mut self, timeout: Duration, config: &Config) -> Option<Instant> {
        match self {
            Self::Live(live) => {
                live.shorten(timeout);
                None
            }
            Self::Held(held) => {
                held.timeout = timeout;
                (held.waits == Wait::Mount).then(|| {
                    held.set_clock(limit_of(held.waits, &config.timeouts));
                    held.since + config.timeouts.mount.0
                })
            }
        }
    }

    /// Instantiates a held key, now that there are credentials, and releases its requester.
    ///
    /// # Errors
    /// [`Failure`] if that is impossible or too late.
    pub(super) fn admit(&mut self) -> Result<(), Failure> {
        if let Self::Held(held) = self {
            *self = Self::Live(held.admit()?);
        }
        Ok(())
    }

    /// The instantiated key; instantiates a held one, as [`KeyToAnswer::admit`] does.
    ///
    /// # Errors
    /// [`Failure`] if that is impossible or too late, with the key, which is to be failed.
    pub(super) fn into_live(self) -> Result<LiveKey, Box<(Failure, Self)>> {
        match self {
            Self::Live(live) => Ok(live),
            Self::Held(mut held) => held.admit().map_err(|failure| Box::new((failure, Self::Held(held)))),
        }
    }

    /// Fails the key. A held one is rejected, so that its requester gets the error at once.
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

impl HeldKey {
    /// Sets the clock to `limit` after the wait began. The previous clock runs until the new one does. If no process
    /// can be started, the front's last resort remains.
    fn set_clock(&mut self, limit: Duration) {
        let left = limit.saturating_sub(self.since.elapsed());
        let Some(next) = Clock::start(left, || self.answer_overdue()) else { return };
        self.state.stop_clock();
        match &mut self.state {
            HeldState::Waiting(clock) => *clock = Some(next),
            HeldState::ByClock | HeldState::Concluded => {
                next.stop();
            }
        }
    }

    /// The clock's act: answers the key. Returns whether the kernel took the answer.
    fn answer_overdue(&self) -> bool {
        let answered = match self.waits {
            Wait::Mount => self.authority.inherited().reject(Cause::Deadline.errno()).is_ok(),
            Wait::Other => self.instantiate_now().map(LiveKey::hand_over).is_ok(),
        };
        self.release();
        answered
    }

    /// Instantiates the key, with its timeout.
    fn admit(&mut self) -> Result<LiveKey, Failure> {
        self.instantiate().inspect(|live| live.shorten(self.timeout))
    }

    fn instantiate(&mut self) -> Result<LiveKey, Failure> {
        self.state.stop_clock();
        let outcome = match self.state {
            HeldState::Waiting(_) => self.instantiate_now().map_err(Some),
            HeldState::ByClock | HeldState::Concluded => Err(None),
        };
        let outcome = match outcome {
            Ok(live) => Ok(live),
            Err(Some(errno)) if self.reject_now(Cause::Setup.errno()) => {
                let detail = format_args!("the key cannot be instantiated: {errno}");
                Err(Failure::new(Stage::Publish, Cause::Setup, detail))
            }
            Err(_) => self.of_the_clock().ok_or_else(overdue),
        };
        self.conclude();
        outcome
    }

    /// Rejects the key, unless it has been answered. Returns it instead if the clock has instantiated it.
    fn reject(&mut self, errno: Errno) -> Option<LiveKey> {
        self.state.stop_clock();
        let live = match self.state {
            HeldState::Waiting(_) if self.reject_now(errno) => None,
            HeldState::Waiting(_) | HeldState::ByClock => self.of_the_clock(),
            HeldState::Concluded => return None,
        };
        self.conclude();
        live
    }

    /// The key, if the clock's answer was to instantiate it.
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

    /// What follows this process's own answer, or the clock's.
    fn conclude(&mut self) {
        self.release();
        authority::give_up_used();
        self.state = HeldState::Concluded;
    }

    /// Ends the front, so that the kernel reads the answer.
    fn release(&self) {
        if let Some(front) = &self.front {
            front.end();
        }
    }
}

impl Drop for HeldKey {
    fn drop(&mut self) {
        if let Some(live) = self.reject(Cause::Setup.errno()) {
            live.fail();
        }
    }
}

/// The clock's time.
fn limit_of(waits: Wait, timeouts: &Timeouts) -> Duration {
    match waits {
        Wait::Mount => timeouts.mount.0 + CLOCK_GRACE,
        Wait::Other => OTHERS_WAIT,
    }
}

fn overdue() -> Failure {
    Failure::new(
        Stage::Authorise,
        Cause::Deadline,
        "the requester has been turned away: no credentials in time",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: Duration = Duration::from_secs(3600);

    /// A clock that has acted with this result, or that will not act before it is stopped.
    fn clock(acted: Option<bool>) -> Clock {
        let limit = acted.map_or(NEVER, |_| Duration::ZERO);
        let clock = Clock::start(limit, || acted == Some(true)).unwrap();
        if acted.is_some() {
            clock.wait_until_it_has_acted();
        }
        clock
    }

    #[test]
    fn only_a_clock_that_has_answered_makes_a_key_late_and_it_stays_so() {
        for (acted, late) in [(None, false), (Some(false), false), (Some(true), true)] {
            let mut state = HeldState::Waiting(Some(clock(acted)));
            for _ in 0..2 {
                state.stop_clock();
                match (&state, late) {
                    (HeldState::Waiting(None), false) | (HeldState::ByClock, true) => {}
                    other => panic!("{acted:?}: {other:?}"),
                }
            }
        }
        for mut state in [HeldState::Waiting(None), HeldState::Concluded] {
            let before = format!("{state:?}");
            state.stop_clock();
            assert_eq!(format!("{state:?}"), before);
        }
    }

    #[test]
    fn a_mount_waits_as_long_as_the_settings_say_and_others_for_a_second() {
        let timeouts = Timeouts { mount: crate::config::Seconds::of(7), ..Timeouts::default() };
        assert_eq!(limit_of(Wait::Mount, &timeouts), Duration::from_secs(8));
        assert_eq!(limit_of(Wait::Other, &timeouts), OTHERS_WAIT);
    }
}
