//! Many requesters at the same time: each is served or told to come back, and nothing stays behind (rule S8).
//!
//! These tests take the whole machine, so they run after all others and one by one.

use crate::support::outcome::Outcome;
use crate::support::probe::{Finding, Probe, Step, as_user};
use crate::support::process::Process;
use crate::support::rpc::call_null_with;
use crate::support::scratch::Scratch;
use crate::support::server::{Server, Target};
use crate::support::shared::Shared;
use crate::support::site::{Settings, Site};
use crate::support::wait::wait_for;
use nix::errno::Errno;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

crate::trials![
    three_hundred_requesters_of_thirty_users_are_all_served,
    beyond_the_limits_requests_fail_with_eagain_and_the_others_are_served,
    with_50_000_keys_of_others_on_the_system_a_requester_is_served,
];

const USERS: usize = 30;
const EACH: usize = 10;
/// For all of them, on two processors that do other things too.
const WITHIN: Duration = Duration::from_secs(60);

/// `_uid.<uid>` and `_uid_ses.<uid>`, which the kernel makes of every requester and keeps.
const USER_KEYRINGS: u32 = 2;

/// A site with more users, each with a ticket.
struct Crowd {
    site: Site,
    users: Vec<Scratch>,
}

impl Crowd {
    fn new(shared: &Shared, limits: &str) -> Self {
        let [deadline, kdc, connect, round] = ["60s"; 4];
        let settings = Settings {
            deadline,
            kdc,
            connect,
            round,
            negative_cache: "60s",
            extra: limits,
            ..Default::default()
        };
        let site = Site::with(shared.realm(), &settings);
        let users: Vec<_> = (0..USERS).map(|_| Scratch::new()).collect();
        for uid in users.iter().map(Scratch::uid) {
            site.serve(&format!("lgss:{uid}:*"));
            shared.realm().ticket(uid, &format!("FILE:/tmp/krb5cc_{uid}"));
        }
        Self { site, users }
    }

    /// All users at once, each with its requests at once; `meanwhile` runs when all have been released.
    fn ask(&self, target: &Target, meanwhile: impl FnOnce()) -> Vec<Vec<Outcome>> {
        let mut requesters: Vec<_> =
            self.users.iter().map(|user| self.requester(user.uid(), target)).collect();
        for requester in &mut requesters {
            requester.until_pause();
        }
        requesters.iter_mut().for_each(Probe::go_on);
        let requested: Vec<_> = requesters.iter_mut().map(Probe::until_pause).collect();
        meanwhile();
        requesters.iter_mut().for_each(Probe::go_on);
        let settled = requesters.iter_mut().map(Probe::rest);
        requested
            .into_iter()
            .zip(settled)
            .map(|(requested, settled)| outcomes(&requested, &settled))
            .collect()
    }

    /// A process of that user, ready to make its requests, each for a key and a context of its own.
    fn requester(&self, uid: u32, target: &Target) -> Probe {
        let request = |instance| {
            let description = format!("lgss:{uid}:{}:{instance}", target.service).into_bytes();
            crate::plan::Request { description, ..self.site.request(target) }
        };
        let requests = (0..EACH).map(request).collect();
        let within_ms = WITHIN.as_millis().try_into().unwrap();
        let mut steps = as_user(uid);
        steps.extend([Step::Pause, Step::RequestEach { requests, within_ms }, Step::Pause, Step::SettleEach]);
        Probe::start(&steps)
    }

    /// No process, no slot, no record of an owner, no key.
    #[track_caller]
    fn assert_nothing_left(&self) {
        self.site.wait_until_idle();
        let run = self.site.path("run");
        let names = |directory| -> Vec<_> {
            fs::read_dir(run.join(directory)).unwrap().flatten().map(|entry| entry.file_name()).collect()
        };
        assert_eq!((names("owners").len(), names("slots")), (0, vec!["users".into()]));
        for user in &self.users {
            wait_for("the keys of a user to be collected", Duration::from_secs(10), || {
                (keys_of(user.uid()) <= USER_KEYRINGS).then_some(())
            });
        }
    }
}

fn outcomes(requested: &[Finding], settled: &[Finding]) -> Vec<Outcome> {
    let ([.., Finding::Each(requested)], [.., Finding::Each(settled)]) = (requested, settled) else {
        panic!("{requested:?} {settled:?}")
    };
    let each = requested.iter().cloned().zip(settled.iter().cloned());
    each.map(|(requested, settled)| Outcome::of_any_wait(&[requested, settled])).collect()
}

/// From `uid: usage keys/instantiated …` (proc(5)).
fn keys_of(uid: u32) -> u32 {
    let text = fs::read_to_string("/proc/key-users").unwrap();
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(&format!("{uid}:")));
    line.and_then(|line| line.split_whitespace().nth(1)?.split('/').next()?.parse().ok()).unwrap_or(0)
}

/// Reading /proc/keys costs the front time for each key of the whole system. These are root's, since those the front may
/// also look at, and they end with their session.
fn with_50_000_keys_of_others_on_the_system_a_requester_is_served(shared: &Shared) {
    const COUNT: u32 = 50_000;
    let before = keys_of(0);
    let mut others = Probe::start(&[Step::JoinSession, Step::AddKeys { count: COUNT }, Step::Pause]);
    others.until_pause();
    assert!(keys_of(0) >= COUNT, "the keys are not there");
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    for instance in [":1", ":2", ":3"] {
        let request = site.request_as(&site.uid().to_string(), shared.nfs(), instance);
        call_null_with(&site.ask_with(request).context(), shared.nfs());
    }
    drop(others);
    wait_for("the keys to be collected", Duration::from_secs(30), || {
        (keys_of(0) < before + COUNT / 100).then_some(())
    });
}

/// How many have a context and how many were to come back; nobody else may be there.
fn count(outcomes: Vec<Outcome>) -> (usize, usize) {
    let total = outcomes.len();
    let away = outcomes.into_iter().filter(|outcome| match outcome {
        Outcome::Established(_) => false,
        other => {
            assert_eq!(other.errno(), Errno::EAGAIN, "{other:?}");
            true
        }
    });
    let away = away.count();
    (total - away, away)
}

fn three_hundred_requesters_of_thirty_users_are_all_served(shared: &Shared) {
    let crowd = Crowd::new(shared, "");
    let outcomes = crowd.ask(shared.nfs(), || ());
    // One of each user's.
    for mut of_user in outcomes {
        call_null_with(&of_user.pop().unwrap().context(), shared.nfs());
        assert_eq!(count(of_user), (EACH - 1, 0));
    }
    crowd.assert_nothing_left();
}

fn beyond_the_limits_requests_fail_with_eagain_and_the_others_are_served(shared: &Shared) {
    const A_USER: usize = 4;
    const ALL: usize = 60;
    let limits = format!("[limits]\nper_owner = {A_USER}\nusers = {ALL}\n[backoff]\nafter = 1000\n");
    let crowd = Crowd::new(shared, &limits);
    // The server answers when all others have been turned away.
    let gate = Arc::new(Mutex::new(()));
    let (closed, passed) = (gate.lock().unwrap(), Arc::clone(&gate));
    let server = Server::between(shared.nfs().address(), move |_| drop(passed.lock()));
    let turned_away = || {
        let monitor = crowd.site.path("lgss_keyring");
        wait_for("the others to be turned away", WITHIN, || {
            let alive = Process::all().into_iter().filter(|process| process.exe == monitor);
            (server.connections() == ALL && alive.count() == ALL).then_some(())
        });
        drop(closed);
    };
    let counts: Vec<_> =
        crowd.ask(&shared.nfs().behind(&server), turned_away).into_iter().map(count).collect();
    assert!(counts.iter().all(|(served, _)| *served <= A_USER), "{counts:?}");
    assert_eq!(counts.iter().map(|(served, _)| served).sum::<usize>(), ALL, "{counts:?}");
    assert_eq!(server.connections(), ALL, "nothing is begun for those who are turned away");
    crowd.site.wait_until_idle();
    // All slots are free again.
    let request = crowd.site.request(shared.nfs());
    crowd.site.ticket(shared.realm());
    drop(crowd.site.ask_with(request).context());
}
