//! A process that lends keyrings: it links the requester's keyrings to one of ours, by the requester's right to them, while
//! the front goes on (rule S21).
//!
//! The kernel has one lock for all links between keyrings, and any user can hold it for half a second at a time. A process
//! that waits for it cannot be killed, and keeps the keyring that is to get the link locked. So the front must not wait, and
//! its keyring must not be locked. Instead another process, which can be left behind, links the keyrings to its own keyring;
//! the requester's right is needed only when that call begins. Once the key has been answered, it links them to the front's
//! keyring.
//!
//! The process has all of root's rights, in memory that the monitor has, too. So a monitor that is to listen to strangers ends it
//! before that; what the kernel still holds makes no further step then.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::{Pid, getpid, getppid};

use super::bare;
use super::heir::{pause, spawn_sharing};
use super::keyctl::{PROCESS_KEYRING, RawSerial};
use super::process::{Process, is_runnable};

/// How long the front waits for a call that has begun. Usually it takes a microsecond.
const CALL_LIMIT: Duration = Duration::from_millis(10);
/// The same while the process waits for a processor, perhaps before it has entered the kernel. Short, since whoever spins for
/// the lock looks alike.
const BUSY_CALL_LIMIT: Duration = Duration::from_millis(100);
/// How long it waits for a call that has not begun because the process waits for a processor.
const BUSY_LIMIT: Duration = Duration::from_secs(1);
/// Pause between two looks: of the front during a call, and of all others.
const FRONTS_LOOK: Duration = Duration::from_micros(50);
const LENDING_LOOK: Duration = Duration::from_micros(250);
/// How long the process waits until the front has answered the key, which is before it passes anything on. A front takes longer
/// only if it cannot be killed.
const WANTED_LIMIT: Duration = Duration::from_secs(30);
/// How long a process that has done its work may take to end.
const ENDING_LIMIT: Duration = Duration::from_millis(20);
/// Longest pause between two looks of the lending process.
const LENDING_LONGEST_LOOK: Duration = Duration::from_millis(4);
/// How often the front yields the processor before it pauses.
const YIELDS: u32 = 16;

/// Steps of the process.
const STARTING: u32 = 0;
const TAKING: u32 = 1;
const WAITING: u32 = 2;
const ENDED: u32 = 3;

/// Why the front stopped waiting.
const STARVED: u32 = 1;
const UNANSWERED: u32 = 2;

/// Keyrings that are being lent, in memory that front, monitor and the process share.
#[derive(Debug)]
pub(crate) struct Lending<const N: usize> {
    rings: [RawSerial; N],
    to: RawSerial,
    maker: Pid,
    step: AtomicU32,
    /// Why the front stopped waiting, or 0.
    given_up: AtomicU32,
    /// The process's id, once it has begun.
    process: AtomicI32,
    /// Its descriptor, set by the front.
    opened: OnceLock<Process>,
    wanted: AtomicBool,
    /// How long the process waits until they are wanted.
    wanted_limit: Duration,
    /// The keyrings are not wanted any more.
    abandoned: AtomicBool,
    /// One bit for each keyring that is linked.
    lent: AtomicU32,
}

/// The result for one keyring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lent {
    /// It is linked, or the kernel refused.
    Answered,
    /// It did not come in time.
    Late(Late),
}

/// Why keyrings did not come in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Late {
    /// The lending process had no processor.
    Starved,
    /// The kernel did not answer because somebody held its keyring lock.
    Held,
    /// The kernel did not answer within milliseconds, for either reason.
    Unanswered,
}

impl std::fmt::Display for Late {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Starved => "passed over: not lent in time, since this machine is too busy",
            Self::Held => "passed over: the kernel's keyring lock was held",
            Self::Unanswered => {
                "passed over: not lent in time, since the kernel's keyring lock was held or this machine is too busy"
            }
        })
    }
}

impl<const N: usize> Lending<N> {
    /// Begins to lend those of `rings` that are not 0 to the keyring `to`.
    ///
    /// # Errors
    /// EAGAIN, ENOMEM; EMFILE, ENFILE if the process cannot be ended later.
    pub(crate) fn begin(rings: [RawSerial; N], to: RawSerial) -> Result<&'static Self, Errno> {
        Self::begin_within(WANTED_LIMIT, rings, to)
    }

    fn begin_within(
        wanted_limit: Duration,
        rings: [RawSerial; N],
        to: RawSerial,
    ) -> Result<&'static Self, Errno> {
        let lending = Box::leak(Box::new(Self {
            rings,
            to,
            maker: getpid(),
            step: AtomicU32::new(STARTING),
            given_up: AtomicU32::new(0),
            process: AtomicI32::new(0),
            opened: OnceLock::new(),
            wanted: AtomicBool::new(false),
            wanted_limit,
            abandoned: AtomicBool::new(false),
            lent: AtomicU32::new(0),
        }));
        // SAFETY: `lend` changes atomics, pauses, and makes system calls that set no errno (bare.rs).
        let process = unsafe { spawn_sharing(Self::lend, lending) }?;
        let _ = lending.opened.set(Process::of_child(process)?);
        Ok(lending)
    }

    /// Called by the front before it answers the key, with which its right to the keyrings ends. Waits, within limits, until
    /// the process has taken the keyrings; a call that has begun is enough, since it has checked the right. Sets `starved`
    /// meanwhile: the wait has its own limit, and the heir that watches must not take the front for blocked.
    pub(crate) fn expect(&self, starved: &AtomicBool) {
        let start = Instant::now();
        let (mut called, mut yields) = (None, 0);
        starved.store(true, Ordering::Release);
        loop {
            match self.step.load(Ordering::Acquire) {
                // Gives our processor to the process. Not more often, since hundreds that yield would keep each other busy.
                STARTING if yields < YIELDS => {
                    yields += 1;
                    std::thread::yield_now();
                }
                STARTING if start.elapsed() < BUSY_LIMIT => pause(LENDING_LOOK),
                TAKING => match called.get_or_insert_with(Instant::now).elapsed() {
                    took if took < CALL_LIMIT => pause(FRONTS_LOOK),
                    took if took < BUSY_CALL_LIMIT && self.is_runnable() => pause(LENDING_LOOK),
                    _ if self.step.load(Ordering::Acquire) == TAKING => {
                        break self.given_up.store(UNANSWERED, Ordering::Release);
                    }
                    // It has taken them since the last look.
                    _ => {}
                },
                STARTING => break self.given_up.store(STARVED, Ordering::Release),
                _ => break,
            }
        }
        starved.store(false, Ordering::Release);
    }

    fn is_runnable(&self) -> bool {
        is_runnable(Pid::from_raw(self.process.load(Ordering::Relaxed)))
    }

    /// Tells the process that the key has been answered and the keyrings are wanted.
    pub(crate) fn complete(&self) {
        self.wanted.store(true, Ordering::Release);
    }

    /// Says that nobody uses the keyrings any more. What is linked after this is unlinked again, so that the keyring that has
    /// got them can be emptied for good.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::SeqCst);
    }

    /// Kills the process if it has not ended; one that has done its work may still let go of its keyring. What another has
    /// linked stays, in its own keyring until it has been reaped.
    pub(crate) fn end(&self) {
        let Some(process) = self.opened.get() else { return };
        if self.step.load(Ordering::Acquire) == ENDED {
            process.wait_for_end(ENDING_LIMIT);
        }
        // Whether it has ended is not asked: a step is no proof of it.
        let _ = process.kill();
    }

    /// The result for each keyring, after at most `limit` more for the process.
    pub(crate) fn outcome(&self, limit: Duration) -> [Lent; N] {
        let start = Instant::now();
        while self.step.load(Ordering::Acquire) != ENDED && start.elapsed() < limit {
            pause(LENDING_LOOK);
        }
        let late = self.late();
        let lent = self.lent.load(Ordering::Acquire);
        let mut bit = 1;
        self.rings.map(|ring| {
            let is_lent = lent & bit != 0;
            bit <<= 1;
            late.filter(|_| ring != 0 && !is_lent).map_or(Lent::Answered, Lent::Late)
        })
    }

    fn late(&self) -> Option<Late> {
        let process = self.process.load(Ordering::Acquire);
        match (self.step.load(Ordering::Acquire), self.given_up.load(Ordering::Acquire)) {
            (ENDED, 0) => None,
            (STARTING, _) | (ENDED, STARVED) => Some(Late::Starved),
            (ENDED, _) => Some(Late::Unanswered),
            _ if is_runnable(Pid::from_raw(process)) => Some(Late::Starved),
            _ => Some(Late::Held),
        }
    }

    /// The process's work.
    fn lend(&'static self) -> i32 {
        const CREATE: RawSerial = 1;
        self.process.store(getpid().as_raw(), Ordering::Release);
        self.step.store(TAKING, Ordering::Release);
        let own = bare::keyctl(libc::KEYCTL_GET_KEYRING_ID, PROCESS_KEYRING, CREATE);
        let own = RawSerial::try_from(own).ok().filter(|own| *own > 0).unwrap_or(0);
        let taken = self.link(u32::MAX, own);
        self.step.store(WAITING, Ordering::Release);
        let (start, mut look) = (Instant::now(), LENDING_LOOK);
        while !self.wanted.load(Ordering::Acquire) && getppid() == self.maker {
            if start.elapsed() > self.wanted_limit {
                self.given_up.store(STARVED, Ordering::Release);
                break;
            }
            pause(look);
            look = look.saturating_mul(2).min(LENDING_LONGEST_LOOK);
        }
        if self.wanted.load(Ordering::Acquire) {
            let lent = self.link(taken, self.to);
            self.lent.store(lent, Ordering::Release);
            // Whoever abandons them empties the keyring after that: one of the two sees what the other has done.
            if self.abandoned.load(Ordering::SeqCst) {
                self.unlink_lent();
            }
        }
        self.step.store(ENDED, Ordering::Release);
        // Until this process has been reaped, which may take its reaper seconds, its keyring would keep what is linked to it,
        // and its owner be charged for that.
        if own > 0 {
            bare::keyctl(libc::KEYCTL_CLEAR, own, 0);
        }
        0
    }

    fn unlink_lent(&self) {
        for &ring in self.rings.iter().filter(|ring| **ring > 0) {
            bare::keyctl(libc::KEYCTL_UNLINK, ring, self.to);
        }
    }

    /// Links the keyrings whose bits are set in `which`. Returns the bits of those now linked.
    fn link(&self, which: u32, to: RawSerial) -> u32 {
        let (mut linked, mut bit) = (0, 1);
        for &ring in &self.rings {
            if ring > 0 && to > 0 && which & bit != 0 && bare::keyctl(libc::KEYCTL_LINK, ring, to) == 0 {
                linked |= bit;
            }
            bit <<= 1;
        }
        linked
    }
}

#[cfg(test)]
mod tests;
