//! A flood: one owner who asks for what it may not have, as often as it can, while others work (rule S8).

use crate::support::crowd::Crowd;
use crate::support::keys::wait_for_quota;
use crate::support::outcome::Outcome;
use crate::support::probe::{Finding, Probe, Request, Step, as_user};
use crate::support::process::Process;
use crate::support::scratch::Scratch;
use crate::support::server::Target;
use nix::errno::Errno;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Users who work.
pub(crate) const HONEST: usize = 20;
/// How long each of them rests between two requests.
const REST: Duration = Duration::from_millis(500);
/// Processes of the owner's at a time, and requests of each.
pub(crate) const AT_A_TIME: usize = 8;
const EACH: usize = 10;
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Who floods.
pub(crate) enum Flooders {
    User(Scratch),
    /// Subordinate uids of one owner, each in a user namespace that the owner makes.
    Subordinates {
        owner: Scratch,
        users: Vec<Scratch>,
    },
}

/// What a flood did to others and to the machine.
pub(crate) struct Flooded {
    pub(crate) quiet: Waits,
    pub(crate) flooded: Waits,
    pub(crate) requests: usize,
    /// Those that the kernel itself refused, for want of quota.
    pub(crate) over_quota: usize,
    pub(crate) took: Duration,
    /// Lines of the log that name a flooder's uid.
    pub(crate) lines: usize,
    pub(crate) ours: Most,
}

/// The most that was seen at one time of processes of ours, and of their memory in KiB, shared pages counted for each.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Most {
    pub(crate) processes: usize,
    pub(crate) memory: u64,
    /// Of the memory, the part of each if all have the same.
    pub(crate) of_each: u64,
}

/// Of requests that got contexts: how long the requester was blocked, and how long until it had its context.
#[derive(Default)]
pub(crate) struct Waits {
    pub(crate) blocked: Vec<Duration>,
    pub(crate) whole: Vec<Duration>,
}

/// The `percent`th percentile, in milliseconds.
pub(crate) fn percentile(waits: &[Duration], percent: usize) -> f64 {
    let mut sorted = waits.to_vec();
    sorted.sort_unstable();
    let last = sorted.len().checked_sub(1).expect("nobody was served twice");
    sorted[last * percent / 100].as_secs_f64() * 1e3
}

impl Flooders {
    pub(crate) fn uids(&self) -> Vec<u32> {
        match self {
            Self::User(user) => vec![user.uid()],
            Self::Subordinates { users, .. } => users.iter().map(Scratch::uid).collect(),
        }
    }

    /// Steps to become the `number`th of them, and its uid.
    fn become_one(&self, number: usize) -> (Vec<Step>, u32) {
        match self {
            Self::User(user) => (as_user(user.uid()), user.uid()),
            Self::Subordinates { owner, users } => {
                let uid = users[number % users.len()].uid();
                (vec![Step::SubordinateUser { owner: owner.uid(), uid }, Step::JoinSession], uid)
            }
        }
    }

    /// Makes this many forged requests, a multiple of [`EACH`], while the crowd works, after the crowd has worked for `quiet`
    /// without them.
    ///
    /// # Panics
    /// If one that works gets no context, or one that is forged gets a key.
    pub(crate) fn flood(&self, crowd: &Crowd, target: &Target, quiet: Duration, requests: usize) -> Flooded {
        assert!(requests > 0 && requests.is_multiple_of(EACH), "{requests} requests");
        for uid in self.uids() {
            crowd.site.serve(&format!("lgss:{uid}:*"));
        }
        let begun = Instant::now();
        let quiet = work(crowd, target, "quiet", |_| (), || begun.elapsed() > quiet);
        let (over, begun) = (AtomicBool::new(false), Instant::now());
        let (flooded, (over_quota, took), ours) = std::thread::scope(|scope| {
            let work =
                scope.spawn(|| work(crowd, target, "flooded", |_| (), || over.load(Ordering::Relaxed)));
            let seen = scope.spawn(|| most(crowd, &over));
            let over_quota = scope.spawn(|| self.ask(crowd, target, requests)).join();
            let took = begun.elapsed();
            over.store(true, Ordering::Relaxed);
            (work.join().unwrap(), (over_quota.unwrap(), took), seen.join().unwrap())
        });
        crowd.site.wait_until_idle();
        let uids: Vec<_> = self.uids().iter().map(|uid| format!(" uid {uid} ")).collect();
        let lines = crowd.site.log.lines();
        let lines = lines.iter().filter(|line| uids.iter().any(|uid| line.contains(uid))).count();
        Flooded { quiet, flooded, requests, over_quota, took, lines, ours }
    }

    /// Returns how many requests were over the quota.
    fn ask(&self, crowd: &Crowd, target: &Target, requests: usize) -> usize {
        let (next, over_quota) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let victim = crowd.users[0].uid();
        let work = || loop {
            let first = next.fetch_add(EACH, Ordering::Relaxed);
            if first >= requests {
                return;
            }
            let (mut steps, uid) = self.become_one(first / EACH);
            let before = steps.len();
            let (forged, errnos): (Vec<_>, Vec<_>) =
                (first..first + EACH).map(|number| forged(crowd, target, [uid, victim], number)).unzip();
            steps.extend(forged.into_iter().map(Step::Request));
            // Else the kernel would refuse most of them itself.
            wait_for_quota(uid);
            let findings = Probe::start(&steps).rest();
            assert_eq!(findings.len(), steps.len(), "{findings:?}");
            for (finding, expected) in findings[before..].iter().zip(errnos) {
                let Finding::Requested { serial: None, errno, .. } = finding else {
                    panic!("a forged request: {finding:?}")
                };
                let quota = Errno::from_raw(*errno) == Errno::EDQUOT;
                assert!(quota || Errno::from_raw(*errno) == expected, "{finding:?} instead of {expected}");
                over_quota.fetch_add(usize::from(quota), Ordering::Relaxed);
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..AT_A_TIME {
                scope.spawn(work);
            }
        });
        over_quota.into_inner()
    }
}

/// For another user, with a uid, or malformed; and the error that it must get.
fn forged(crowd: &Crowd, target: &Target, [uid, victim]: [u32; 2], number: usize) -> (Request, Errno) {
    let kind = number % 3;
    let named = if kind == 0 { victim } else { uid };
    let description = format!("lgss:{named}:{}:flood{number}", target.service).into_bytes();
    let mut request = Request { description, ..crowd.site.request(target) };
    let callout = request.callout.as_mut().unwrap();
    match kind {
        1 => callout.extend(b";uid=0"),
        2 => callout.extend(b"\xff;;="),
        _ => {}
    }
    (request, if kind == 0 { Errno::EACCES } else { Errno::EINVAL })
}

/// Everybody asks for one context after another until it is over, after `prepare` with its uid. Nobody's first one counts,
/// since all begin at once.
///
/// # Panics
/// If one gets no context.
pub(crate) fn work(
    crowd: &Crowd,
    target: &Target,
    phase: &str,
    prepare: impl Fn(u32) + Sync,
    is_over: impl Fn() -> bool + Sync,
) -> Waits {
    let (prepare, is_over) = (&prepare, &is_over);
    let of_user = |uid: u32| {
        let mut waits = Waits::default();
        for number in 0.. {
            if is_over() {
                break;
            }
            let description = format!("lgss:{uid}:{}:{phase}{number}", target.service).into_bytes();
            let request = Request { description, ..crowd.site.request(target) };
            prepare(uid);
            let (blocked, whole) = waited(uid, request);
            if number > 0 {
                waits.blocked.push(blocked);
                waits.whole.push(whole);
            }
            std::thread::sleep(REST);
        }
        waits
    };
    let mut all = Waits::default();
    std::thread::scope(|scope| {
        let uids = crowd.users.iter().take(HONEST).map(Scratch::uid);
        let threads: Vec<_> = uids.map(|uid| scope.spawn(move || of_user(uid))).collect();
        for thread in threads {
            let waits = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            all.blocked.extend(waits.blocked);
            all.whole.extend(waits.whole);
        }
    });
    all
}

fn waited(uid: u32, request: Request) -> (Duration, Duration) {
    let mut steps = as_user(uid);
    steps.extend([Step::Pause, Step::Request(request), Step::Settle { within_ms: 30_000 }]);
    let mut requester = Probe::start(&steps);
    requester.until_pause();
    let start = Instant::now();
    requester.go_on();
    let findings = requester.rest();
    let whole = start.elapsed();
    // The first is the end of the pause.
    let [Finding::Done, requested @ Finding::Requested { micros, .. }, settled] = &findings[..] else {
        panic!("{findings:?}")
    };
    drop(Outcome::of_any_wait(&[requested.clone(), settled.clone()]).context());
    (Duration::from_micros(*micros), whole)
}

/// Looks at the processes of ours until it is over.
pub(crate) fn most(crowd: &Crowd, over: &AtomicBool) -> Most {
    let mut most = Most::default();
    while !over.load(Ordering::Relaxed) {
        let alive = Process::running_from(&crowd.site.path(""));
        let memory: Vec<_> = alive.iter().filter_map(resident).collect();
        let (sum, number) = (memory.iter().sum::<u64>(), u64::try_from(memory.len()).unwrap());
        most.processes = most.processes.max(alive.len());
        most.memory = most.memory.max(sum);
        most.of_each = most.of_each.max(sum / number.max(1));
        std::thread::sleep(LOOK_EVERY);
    }
    most
}

/// In KiB; `None` if the process has ended.
fn resident(process: &Process) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid)).ok()?;
    let field = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    field.trim().strip_suffix(" kB")?.parse().ok()
}
