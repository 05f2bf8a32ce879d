//! Users of one site, honest and hostile, who ask at the same time.

use crate::plan::{Request, Step};
use crate::support::outcome::Outcome;
use crate::support::probe::{Probe, as_user};
use crate::support::rpc::call_null_with;
use crate::support::scratch::Scratch;
use crate::support::server::Target;
use crate::support::shared::Shared;
use crate::support::site::{Settings, Site};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const USERS: usize = 8;
/// A port where nobody listens, and which nobody is given by chance: tcpmux.
const CLOSED: u16 = 1;
/// Ways of asking.
const WAYS: usize = 8;

pub(crate) struct Requesters<'a> {
    shared: &'a Shared,
    pub(crate) site: Site,
    users: Vec<Scratch>,
    asked: AtomicUsize,
}

impl<'a> Requesters<'a> {
    pub(crate) fn new(shared: &'a Shared) -> Self {
        let [deadline, kdc, connect, round] = ["60s"; 4];
        // No process stays to report lines that were left out, and a failure does not hinder its user's next request.
        let extra = "per_owner = 100000\nusers = 100000\n[backoff]\nafter = 1000\n";
        let settings = Settings { deadline, kdc, connect, round, extra, ..Default::default() };
        let site = Site::with(shared.realm(), &settings);
        let users: Vec<_> = (0..USERS).map(|_| Scratch::new()).collect();
        for uid in users.iter().map(Scratch::uid) {
            site.serve(&format!("lgss:{uid}:*"));
        }
        Self { shared, site, users, asked: AtomicUsize::new(0) }
    }

    /// The users' uids.
    pub(crate) fn uids(&self) -> impl Iterator<Item = u32> {
        self.users.iter().map(Scratch::uid)
    }

    /// Has all of them ask for this time; returns how many requests were made.
    pub(crate) fn ask_for(&self, time: Duration) -> usize {
        let before = self.asked.load(Ordering::Relaxed);
        let start = Instant::now();
        std::thread::scope(|scope| {
            for uid in self.uids() {
                scope.spawn(move || {
                    self.shared.realm().ticket(uid, &format!("FILE:/tmp/krb5cc_{uid}"));
                    while start.elapsed() < time {
                        self.ask_once(uid);
                    }
                });
            }
        });
        self.asked.load(Ordering::Relaxed) - before
    }

    fn ask_once(&self, uid: u32) {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let nfs = self.shared.nfs();
        let honest = || self.request(uid, nfs, number);
        let refused = |request, errno| match self.site.ask_after(as_user(uid), request) {
            Outcome::Established(_) => panic!("it got a context"),
            other => assert_eq!(other.errno(), errno),
        };
        let with = |fields: &str| {
            let mut request = honest();
            request.callout.as_mut().unwrap().extend(format!(";{fields}").bytes());
            request
        };
        match number % WAYS {
            0..=2 => {
                call_null_with(&self.site.ask_after(as_user(uid), honest()).context(), nfs);
            }
            3 => refused(with("uid=0"), Errno::EINVAL),
            4 => refused(with("cache=FILE:/etc/shadow;principal=nobody@NOWHERE.TEST"), Errno::ENOKEY),
            5 => refused(self.request(uid, &nfs.at(CLOSED), number), Errno::ECONNREFUSED),
            6 => self.die_while_asking(uid, honest()),
            _ => {
                let victim = self.uids().find(|other| *other != uid).unwrap();
                let description = format!("lgss:{victim}:{}:x{number}", nfs.service).into_bytes();
                refused(Request { description, ..honest() }, Errno::EACCES);
            }
        }
    }

    fn request(&self, uid: u32, target: &Target, number: usize) -> Request {
        let description = format!("lgss:{uid}:{}:{number}", target.service).into_bytes();
        Request { description, ..self.site.request(target) }
    }

    /// Some are killed before they ask, some while they wait, some afterwards.
    fn die_while_asking(&self, uid: u32, request: Request) {
        let mut steps = as_user(uid);
        steps.extend([Step::Pause, Step::Request(request)]);
        let mut requester = Probe::start(&steps);
        requester.until_pause();
        requester.go_on();
        std::thread::yield_now();
        requester.signal(Signal::SIGKILL);
    }
}
