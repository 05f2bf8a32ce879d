//! `lgss_agent` renews ticket-granting tickets at half of their lives, and what happens meanwhile wins.

use crate::support::kcm::Kcm;
use crate::support::process::Process;
use crate::support::realm::Realm;
use crate::support::shared::Shared;
use crate::support::site::{Settings, Site};
use crate::support::wait::wait_for;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

crate::trials![
    over_several_lifetimes_there_is_one_valid_ticket_and_services_tickets_stay,
    without_the_setting_nothing_is_renewed_and_nobody_could_do_it,
    a_kdc_that_was_away_is_asked_again_and_told_of_once,
    a_kinit_during_a_renewal_wins,
    a_cache_that_was_destroyed_during_a_renewal_stays_destroyed,
    a_ticket_that_ended_during_a_renewal_is_not_revived,
    several_caches_are_renewed_each_in_its_place,
    a_worker_has_no_right_but_its_users_and_the_starter_holds_nothing,
    by_a_clock_that_differs_from_the_kdcs_tickets_are_renewed_too,
];

/// A realm, and the site of a user who has an agent.
pub(crate) struct Renewing {
    pub(crate) realm: Realm,
    pub(crate) site: Site,
    pub(crate) kcm: Kcm,
}

impl Renewing {
    pub(crate) fn new(settings: &Settings<'_>) -> Self {
        let realm = Realm::start();
        let site = Site::with(&realm, settings);
        let kcm = Kcm::start_agent(&site);
        Self { realm, site, kcm }
    }

    /// What a program prints that succeeds.
    #[track_caller]
    pub(crate) fn done(&self, line: &str) -> String {
        self.attempt(line).unwrap_or_else(|said| panic!("{line}: {said}; {:#?}", self.site.log.lines()))
    }

    pub(crate) fn attempt(&self, line: &str) -> Result<String, String> {
        let words = ["env", "LC_ALL=C", "KRB5CCNAME=KCM:"].into_iter().chain(line.split_whitespace());
        self.kcm.run(&self.site, &words.map(str::to_owned).collect::<Vec<_>>())
    }

    fn service(&self) -> String {
        self.realm.service().replace('@', "/")
    }

    /// When the ticket-granting tickets of a cache end, as klist(1) has it.
    #[track_caller]
    pub(crate) fn ends(&self, cache: &str) -> Vec<String> {
        let listed = self.attempt(&format!("klist -c {cache}")).unwrap_or_default();
        let granting = listed.lines().filter(|line| line.contains("krbtgt/"));
        granting.map(|line| line.split_whitespace().skip(2).take(2).collect::<Vec<_>>().join(" ")).collect()
    }

    /// Waits until the only ticket-granting ticket of the default cache ends at another time.
    #[track_caller]
    fn wait_until_later(&self, than: &[String]) -> Vec<String> {
        assert_eq!(than.len(), 1, "{than:?}");
        wait_for("a renewal", Duration::from_secs(30), || {
            let ends = self.ends("KCM:");
            assert_eq!(ends.len(), 1, "{ends:?}");
            Some(ends).filter(|ends| ends != than)
        })
    }

    /// Waits for the worker, which is then stopped.
    #[track_caller]
    fn stopped_worker(&self) -> Pid {
        let worker = self.site.wait_for_process("lgss_negotiate").pid;
        kill(worker, Signal::SIGSTOP).unwrap();
        worker
    }

    /// Processes whose parent is the agent.
    pub(crate) fn children(&self) -> Vec<Pid> {
        let agent = self.kcm.pid();
        let all = Process::all().into_iter().map(|process| process.pid);
        all.filter(|pid| parent(*pid) == Some(agent)).collect()
    }

    pub(crate) fn lines_with(&self, word: &str) -> Vec<String> {
        self.site.log.lines().into_iter().filter(|line| line.contains(word)).collect()
    }
}

fn parent(pid: Pid) -> Option<Pid> {
    status_field(pid, "PPid:")?.parse().ok().map(Pid::from_raw)
}

fn status_field(pid: Pid, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
}

const NOT_WANTED: &str = "replaced, removed or has ended";

fn over_several_lifetimes_there_is_one_valid_ticket_and_services_tickets_stay(_: &Shared) {
    let renewing = Renewing::new(&Settings::default());
    let begun = Instant::now();
    renewing.done("kinit -l 20s -r 10m alice");
    renewing.done(&format!("kvno {}", renewing.service()));
    let mut ends = renewing.ends("KCM:");
    for _ in 0..3 {
        ends = renewing.wait_until_later(&ends);
        renewing.done("klist -s");
        let listed = renewing.done("klist");
        assert!(listed.contains(&renewing.service()), "{listed}");
    }
    assert!(begun.elapsed() > Duration::from_secs(20), "{:?}", begun.elapsed());
    // What has ended is got again by the renewed ticket.
    renewing.done(&format!("kvno {}", renewing.service()));
    renewing.site.log.wait_for_words(&["lgss_agent[", ": renewed the tickets of alice@", " until "]);
    assert_eq!(renewing.lines_with("not renewed"), Vec::<String>::new());
}

fn without_the_setting_nothing_is_renewed_and_nobody_could_do_it(_: &Shared) {
    let settings = Settings { extra: "[agent]\nrenew = false\n", ..Settings::default() };
    let renewing = Renewing::new(&settings);
    renewing.done("kinit -l 4s -r 10m alice");
    assert_eq!(renewing.children(), []);
    wait_for("the end of the ticket", Duration::from_secs(15), || renewing.attempt("klist -s").err());
    assert_eq!(renewing.lines_with("renewed"), Vec::<String>::new());
    assert_eq!(renewing.ends("KCM:").len(), 1);
}

fn a_kdc_that_was_away_is_asked_again_and_told_of_once(_: &Shared) {
    let mut renewing = Renewing::new(&Settings::default());
    renewing.done("kinit -l 24s -r 10m alice");
    let ends = renewing.ends("KCM:");
    renewing.realm.stop();
    wait_for("a failed renewal", Duration::from_secs(25), || {
        (!renewing.lines_with("are not renewed yet: kdc: ").is_empty()).then_some(())
    });
    renewing.done("klist -s");
    // Asked again at least once, and not told of that.
    let asked = || renewing.site.log.lines().len();
    let told = asked();
    renewing.site.wait_until_idle();
    renewing.site.wait_for_process("lgss_negotiate");
    renewing.site.wait_until_idle();
    assert_eq!(asked(), told, "{:#?}", renewing.site.log.lines());
    renewing.realm.shift_clock("+0s");
    renewing.wait_until_later(&ends);
    let failures = renewing.lines_with("are not renewed yet");
    let kinds: BTreeSet<&String> = failures.iter().collect();
    assert_eq!(kinds.len(), failures.len(), "{failures:#?}");
}

fn a_kinit_during_a_renewal_wins(_: &Shared) {
    let renewing = Renewing::new(&Settings::default());
    renewing.done("kinit -l 30s -r 10m alice");
    renewing.realm.silence();
    let worker = wait_for_due_worker(&renewing);
    renewing.realm.wake();
    renewing.done("kinit -l 2h alice");
    let ends = renewing.ends("KCM:");
    kill(worker, Signal::SIGCONT).unwrap();
    renewing.site.log.wait_for_words(&[NOT_WANTED]);
    assert_eq!(renewing.ends("KCM:"), ends);
    assert_eq!(renewing.lines_with("renewed the tickets"), Vec::<String>::new());
}

fn a_cache_that_was_destroyed_during_a_renewal_stays_destroyed(_: &Shared) {
    let renewing = Renewing::new(&Settings::default());
    renewing.done("kinit -l 30s -r 10m alice");
    renewing.realm.silence();
    let worker = wait_for_due_worker(&renewing);
    renewing.done("kdestroy");
    renewing.realm.wake();
    kill(worker, Signal::SIGCONT).unwrap();
    renewing.site.log.wait_for_words(&[NOT_WANTED]);
    let refused = renewing.attempt("klist").unwrap_err();
    assert!(refused.contains("not found"), "{refused}");
}

fn a_ticket_that_ended_during_a_renewal_is_not_revived(_: &Shared) {
    let renewing = Renewing::new(&Settings::default());
    renewing.done("kinit -l 20s -r 10m alice");
    let ends = renewing.ends("KCM:");
    renewing.realm.silence();
    let worker = wait_for_due_worker(&renewing);
    wait_for("the end of the ticket", Duration::from_secs(30), || renewing.attempt("klist -s").err());
    renewing.realm.wake();
    kill(worker, Signal::SIGCONT).unwrap();
    renewing.site.log.wait_for_words(&[NOT_WANTED]);
    assert_eq!(renewing.ends("KCM:"), ends);
}

/// The worker of a ticket of so many seconds, once it is stopped while the KDC is silent.
#[track_caller]
fn wait_for_due_worker(renewing: &Renewing) -> Pid {
    wait_for("the half of the ticket's life", Duration::from_secs(25), || {
        let directory = renewing.site.path("");
        (!Process::running_from(&directory).is_empty()).then_some(())
    });
    renewing.stopped_worker()
}

fn several_caches_are_renewed_each_in_its_place(_: &Shared) {
    let renewing = Renewing::new(&Settings::default());
    let caches: Vec<String> = (0..6).map(|number| format!("KCM:cache{number}")).collect();
    let get = |cache: &String| renewing.done(&format!("kinit -c {cache} -l 12s -r 10m alice"));
    caches.iter().for_each(|cache| drop(get(cache)));
    // One that cannot be renewed is left alone.
    renewing.done("kinit -c KCM:other -l 10m alice");
    let other = renewing.ends("KCM:other");
    let mut before: Vec<_> = caches.iter().map(|cache| renewing.ends(cache)).collect();
    for (cache, before) in caches.iter().zip(&mut before) {
        wait_for("a renewal of each", Duration::from_secs(25), || {
            Some(renewing.ends(cache)).filter(|ends| ends.len() == 1 && ends != before)
        });
    }
    assert_eq!(renewing.ends("KCM:other"), other);
}

fn a_worker_has_no_right_but_its_users_and_the_starter_holds_nothing(_: &Shared) {
    let renewing = Renewing::new(&Settings::default());
    renewing.done("kinit -l 12s -r 10m alice");
    let children = renewing.children();
    let [starter] = children.as_slice() else { panic!("{children:?}") };
    let opened: BTreeSet<String> = fs::read_dir(format!("/proc/{starter}/fd"))
        .unwrap()
        .map(|entry| fs::read_link(entry.unwrap().path()).unwrap().display().to_string())
        .filter(|name| !name.starts_with("/dev/null") && !name.ends_with("kcm.log"))
        .collect();
    assert!(opened.len() == 1 && opened.iter().all(|name| name.starts_with("socket:")), "{opened:?}");
    renewing.realm.silence();
    let worker = renewing.site.wait_for_process("lgss_negotiate").pid;
    let filters = |process| status_field(process, "Seccomp_filters:")?.parse::<u32>().ok();
    let inherited = filters(*starter).unwrap();
    assert!(inherited > 0);
    wait_for("the worker's own filters", Duration::from_secs(10), || {
        filters(worker).filter(|count| *count >= inherited + 3)
    });
    let uid = renewing.site.uid().to_string();
    let ids = [uid.as_str(); 4].join("\t");
    let none = "0".repeat(16);
    for process in [*starter, worker] {
        let field = |name| status_field(process, name).unwrap();
        assert_eq!((field("Uid:"), field("NoNewPrivs:")), (ids.clone(), "1".to_owned()));
        assert_eq!((field("CapEff:"), field("CapPrm:")), (none.clone(), none.clone()));
        assert_eq!(field("Seccomp:"), "2");
    }
    assert_eq!(parent(worker), Some(*starter));
    // Whoever ends the agent ends both, also if they cannot see it.
    kill(worker, Signal::SIGSTOP).unwrap();
    kill(*starter, Signal::SIGSTOP).unwrap();
    kill(renewing.kcm.pid(), Signal::SIGKILL).unwrap();
    wait_for("the end of starter and worker", Duration::from_secs(10), || {
        let lives = |pid: Pid| status_field(pid, "State:").is_some_and(|state| !state.starts_with('Z'));
        (!lives(*starter) && !lives(worker)).then_some(())
    });
}

/// MIT's client notes the difference in the cache, and the agent passes it on to the worker.
fn by_a_clock_that_differs_from_the_kdcs_tickets_are_renewed_too(_: &Shared) {
    let mut renewing = Renewing::new(&Settings::default());
    renewing.realm.shift_clock("+20m");
    // The end that is asked for is by our clock, here 12 s after the KDC's present.
    renewing.done("kinit -l 1212s -r 30m alice");
    let ends = renewing.ends("KCM:");
    renewing.wait_until_later(&ends);
    assert_eq!(renewing.lines_with("not renewed"), Vec::<String>::new());
}
