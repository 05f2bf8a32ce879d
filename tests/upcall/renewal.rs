//! Renewal of ticket-granting tickets before use (`renew` in lgss.toml); a context ends with its ticket.

use crate::support::acceptor::Acceptor;
use crate::support::kcm::{Kcm, OUR_KCM};
use crate::support::outcome::Outcome;
use crate::support::ports::free_port;
use crate::support::probe::{Finding, Probe, Step, as_user};
use crate::support::process::{command_as, succeed};
use crate::support::realm::Realm;
use crate::support::server::Target;
use crate::support::shared::Shared;
use crate::support::site::{Rule, Settings, Site};
use crate::support::wait::{stretched, wait_for};
use lgss::private_to_lgss::event::Cause;
use nix::errno::Errno;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

crate::trials![
    less_than_half_of_its_life_before_its_end_a_ticket_is_renewed_in_its_file,
    a_ticket_is_renewed_in_place_whatever_keeps_the_cache,
    simultaneous_requests_leave_a_good_cache,
    a_worker_killed_at_any_system_call_of_a_renewal_leaves_a_ticket,
    roots_read_only_copy_of_a_cache_is_not_renewed_but_its_context_is,
    a_ticket_of_another_service_is_replaced_when_that_is_asked_for,
    a_context_ends_with_its_ticket_and_a_request_after_that_fails_with_ekeyexpired,
    a_ticket_renewed_shortly_before_its_end_serves_after_it,
];

/// The user's agent leaves it to the upcall.
pub(crate) const RENEWING: &str =
    "[backoff]\nafter = 1000\n[kerberos]\nrenew = true\n[agent]\nrenew = false\n";
/// Of a ticket's ten hours, four are left.
pub(crate) const AGE: &str = "6h";
pub(crate) const RENEWABLE: &[&str] = &["-l", "4h", "-r", "7d"];

/// A user who has had a ticket for some time.
pub(crate) struct Scene {
    pub(crate) realm: Realm,
    pub(crate) site: Site,
    pub(crate) acceptor: Acceptor,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self::of(AGE, RENEWABLE, RENEWING)
    }

    pub(crate) fn of(age: &str, options: &[&str], extra: &str) -> Self {
        Self::with(age, options, &Settings { extra, ..Settings::default() })
    }

    pub(crate) fn with(age: &str, options: &[&str], settings: &Settings<'_>) -> Self {
        let mut realm = Realm::start();
        let site = Site::with(&realm, settings);
        realm.aged_ticket(age, site.uid(), &default_cache(&site), options);
        let acceptor = Acceptor::start(&realm);
        Self { realm, site, acceptor }
    }

    pub(crate) fn listed(&self) -> String {
        self.realm.listed(self.site.uid(), &default_cache(&self.site), &["-C", "-f"])
    }

    /// The user gets a service ticket with MIT's tools.
    pub(crate) fn get_service_ticket(&self) {
        let mut kvno = command_as(self.site.uid(), "kvno");
        kvno.args(["-c", &default_cache(&self.site)]).arg(service(&self.realm));
        succeed(kvno.envs(self.realm.environment()), "");
    }

    /// How many hours a new context lasts.
    #[track_caller]
    pub(crate) fn hours(&self) -> f64 {
        hours(self.site.ask(self.acceptor.target()))
    }
}

fn default_cache(site: &Site) -> String {
    format!("FILE:{}", site.default_cache().display())
}

/// Another process would have seen the same cache at the moment of the kill.
fn a_worker_killed_at_any_system_call_of_a_renewal_leaves_a_ticket(_: &Shared) {
    let scene = Scene::new();
    scene.get_service_ticket();
    let cache = std::fs::read(scene.site.default_cache()).unwrap();
    let settings = Settings { extra: RENEWING, rule: Rule::UpcallUnderKiller, ..Settings::default() };
    let (next, last) = (AtomicU32::new(1), AtomicU32::new(u32::MAX));
    let (renewed, unchanged) = (AtomicU32::new(0), AtomicU32::new(0));
    let work = || {
        let site = Site::with(&scene.realm, &settings);
        std::fs::write(site.default_cache(), &cache).unwrap();
        chown(site.default_cache(), Some(site.uid()), Some(site.uid())).unwrap();
        std::fs::set_permissions(site.default_cache(), PermissionsExt::from_mode(0o600)).unwrap();
        loop {
            let call = next.fetch_add(1, Ordering::SeqCst);
            if call >= last.load(Ordering::SeqCst) {
                return site.wait_until_idle();
            }
            // Not made anew: in /tmp root could not do that with a user's file (fs.protected_regular).
            let file = std::fs::File::options().write(true).truncate(true).open(site.default_cache());
            file.unwrap().write_all(&cache).unwrap();
            let instance = format!("kill-worker-{call}");
            let owner = site.uid().to_string();
            site.ask_with(site.request_as(&owner, scene.acceptor.target(), &format!(":{instance}")));
            if !site.was_killed(&instance) {
                last.fetch_min(call, Ordering::SeqCst);
            }
            let listed = scene.realm.listed(site.uid(), &default_cache(&site), &[]);
            assert!(listed.contains(" krbtgt/"), "killed at call {call}: {listed}");
            let now = std::fs::read(site.default_cache()).unwrap();
            let count = if now == cache { &unchanged } else { &renewed };
            count.fetch_add(1, Ordering::SeqCst);
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
    let counts = [unchanged.into_inner(), renewed.into_inner()];
    assert!(counts.iter().all(|&count| count > 10), "before and after: {counts:?}");
}

/// The service's principal, without its realm.
fn service(realm: &Realm) -> String {
    realm.service().replace('@', "/")
}

/// How many hours the context lasts from now.
#[track_caller]
fn hours(outcome: Outcome) -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    (f64::from(outcome.context().endtime) - now) / 3600.0
}

#[track_caller]
fn assert_renewed(hours: f64) {
    assert!((9.9..=10.0).contains(&hours), "{hours} h");
}

fn less_than_half_of_its_life_before_its_end_a_ticket_is_renewed_in_its_file(_: &Shared) {
    let scene = Scene::new();
    let others = ["host/other", "krbtgt/OTHER.TEST"];
    scene.realm.administrate(&others.map(|other| format!("addprinc -randkey {other}")));
    let mut kvno = command_as(scene.site.uid(), "kvno");
    kvno.args(["-c", &default_cache(&scene.site)]).args(others);
    succeed(kvno.envs(scene.realm.environment()), "");
    scene.get_service_ticket();
    let before = scene.listed();
    assert_renewed(scene.hours());
    scene.site.log.wait_for_words(&["established", "renewed for "]);
    let after = scene.listed();
    let line = |listed: &str, name: &str| -> String {
        let mut lines = listed.lines().filter(|line| line.contains(name)).map(str::to_owned);
        let found = (lines.next().unwrap_or_default(), lines.count());
        assert!(!found.0.is_empty() && found.1 == 0, "one {name}: {listed}");
        found.0
    };
    let granting = format!(" krbtgt/{}", scene.realm.name());
    for replaced in [&granting, &service(&scene.realm)] {
        assert_ne!(line(&before, replaced), line(&after, replaced));
    }
    let [stays, goes] = others;
    assert_eq!(line(&before, stays), line(&after, stays));
    assert!(before.contains(goes) && !after.contains(goes), "{after}");
    let marks = |listed: &str| listed.lines().filter(|line| line.contains("config:")).count();
    assert_eq!(marks(&before), marks(&after));
    assert!(marks(&before) > 0, "{before}");
    // Now nothing is due for renewal, and the new ticket is found.
    scene.expect_left_alone_after(2);
}

impl Scene {
    /// Another context, the log's `count`th, is as good, and changes nothing.
    #[track_caller]
    fn expect_left_alone_after(&self, count: usize) {
        let before = std::fs::read(self.site.default_cache()).unwrap();
        assert_renewed(self.hours());
        assert_eq!(std::fs::read(self.site.default_cache()).unwrap(), before);
        let lines = self.site.log.wait_for_count(count);
        assert!(!lines[count - 1].contains("renewed"), "{lines:#?}");
    }
}

fn a_ticket_is_renewed_in_place_whatever_keeps_the_cache(_: &Shared) {
    for cache in ["KEYRING:session:mine", "KEYRING:user:mine", "DIR:", "KCM:", OUR_KCM] {
        expect_renewed_in(cache);
    }
}

/// A second context finds the new tickets, and the cache has one ticket for the ticket-granting service, as before.
#[track_caller]
fn expect_renewed_in(cache: &str) {
    let mut realm = Realm::start();
    let site = Site::with(&realm, &Settings { extra: RENEWING, ..Settings::default() });
    let kcm = match cache {
        "KCM:" => Some(Kcm::start(&site)),
        OUR_KCM => Some(Kcm::start_agent(&site)),
        _ => None,
    };
    let cache = match cache {
        "DIR:" => format!("DIR:{}", site.path("user").display()),
        OUR_KCM => "KCM:".to_owned(),
        other => other.to_owned(),
    };
    let acceptor = Acceptor::start(&realm);
    let conf = site.path("krb5.conf");
    let mut steps = as_user(site.uid());
    steps.extend([realm.kinit_heedless(&conf, &cache, RENEWABLE), Step::Pause]);
    let run = |script: String| Step::Run {
        words: ["sh", "-c", &format!("export KRB5_CONFIG={}; {script}", conf.display())]
            .map(str::to_owned)
            .to_vec(),
        input: String::new(),
    };
    steps.push(run(format!("kvno -c {cache} {}", service(&realm))));
    for instance in ["", ":second"] {
        let mut request = site.request_as(&site.uid().to_string(), acceptor.target(), instance);
        request.callout.as_mut().unwrap().extend(format!(";cache={cache}").bytes());
        steps.extend([Step::Request(request), Step::Settle { within_ms: 30_000 }]);
    }
    steps.push(run(format!("test $(klist -c {cache} | grep -c ' krbtgt/') = 1")));
    realm.shift_clock(&format!("-{AGE}"));
    let mut requester = Probe::start(&steps);
    requester.until_pause();
    realm.shift_clock("+0s");
    requester.go_on();
    let findings = requester.rest();
    let [Finding::Done, Finding::Done, contexts @ .., Finding::Done] = findings.as_slice() else {
        panic!("{cache}: {findings:?}; log: {:#?}", site.log.lines())
    };
    for pair in contexts.chunks(2) {
        assert_renewed(hours(Outcome::of(pair)));
    }
    let lines = site.log.wait_for_count(2);
    assert!(lines[0].contains("(renewed for ") && !lines[0].contains("not stored"), "{cache}: {lines:#?}");
    assert!(!lines[1].contains("renewed"), "{cache}: {lines:#?}");
    assert_eq!(contexts.len(), 4, "{findings:?}");
    site.wait_until_idle();
    drop(kcm);
}

impl Scene {
    /// The user gets the ticket, and the server is down.
    #[track_caller]
    pub(crate) fn ask_for_another_service(&self) {
        let host = self.realm.host();
        self.realm.administrate(&[format!("addprinc -randkey host/{host}")]);
        let nobody = Target::nfs(&format!("host@{host}"), free_port());
        self.site.serve(&format!("lgss:{}:{}", self.site.uid(), nobody.service));
        assert_eq!(self.site.ask(&nobody).errno(), Errno::ECONNREFUSED);
        assert_eq!(self.listed().matches(&service(&self.realm)).count(), 1);
    }
}

fn simultaneous_requests_leave_a_good_cache(_: &Shared) {
    let scene = Scene::new();
    let site = &scene.site;
    let request =
        |n: usize| site.request_as(&site.uid().to_string(), scene.acceptor.target(), &format!(":{n}"));
    let mut steps = as_user(site.uid());
    steps.extend([
        Step::RequestEach { requests: (0..4).map(request).collect(), within_ms: 30_000 },
        Step::SettleEach,
    ]);
    let findings = Probe::start(&steps).rest();
    let [.., Finding::Each(requested), Finding::Each(settled)] = findings.as_slice() else {
        panic!("{findings:?}")
    };
    assert_eq!((requested.len(), settled.len()), (4, 4));
    for pair in requested.iter().zip(settled) {
        assert_renewed(hours(Outcome::of_any_wait(&[pair.0.clone(), pair.1.clone()])));
    }
    site.wait_until_idle();
    let lines = site.log.wait_for_count(4);
    assert!(lines.iter().any(|line| line.contains("(renewed for ")), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("not ")), "{lines:#?}");
    let listed = scene.listed();
    assert!((1..=4).contains(&listed.matches(" krbtgt/").count()), "{listed}");
    scene.expect_left_alone_after(5);
}

fn roots_read_only_copy_of_a_cache_is_not_renewed_but_its_context_is(_: &Shared) {
    let scene = Scene::new();
    let cache = scene.site.path("root.cc");
    std::fs::copy(scene.site.default_cache(), &cache).unwrap();
    chown(&cache, Some(0), Some(0)).unwrap();
    std::fs::set_permissions(&cache, PermissionsExt::from_mode(0o600)).unwrap();
    let before = std::fs::read(&cache).unwrap();
    let mut request = scene.site.request_as("0", scene.acceptor.target(), &format!(":{}", scene.site.uid()));
    request.callout.as_mut().unwrap().extend(format!(";cache=FILE:{}", cache.display()).bytes());
    assert_renewed(hours(scene.site.ask_after(vec![Step::JoinSession], request)));
    assert_eq!(std::fs::read(&cache).unwrap(), before);
    scene.site.log.wait_for_words(&[
        "established",
        "uid 0 ",
        "(renewed for ",
        "but not stored in the cache: ",
    ]);
}

fn a_ticket_of_another_service_is_replaced_when_that_is_asked_for(_: &Shared) {
    let scene = Scene::new();
    scene.get_service_ticket();
    scene.ask_for_another_service();
    assert_renewed(scene.hours());
    let lines = scene.site.log.wait_for_count(2);
    assert!(!lines[1].contains("renewed"), "{lines:#?}");
    assert_eq!(scene.listed().matches(&service(&scene.realm)).count(), 1, "{}", scene.listed());
    scene.expect_left_alone_after(3);
}

fn a_context_ends_with_its_ticket_and_a_request_after_that_fails_with_ekeyexpired(_: &Shared) {
    let scene = Scene::of("35980s", &["-l", "20s", "-r", "7d"], Settings::default().extra);
    let start = Instant::now();
    let mut steps = as_user(scene.site.uid());
    steps.extend([
        Step::Request(scene.site.request(scene.acceptor.target())),
        Step::Settle { within_ms: 9000 },
    ]);
    steps.push(Step::Expiry);
    let findings = Probe::start(&steps).rest();
    let [.., Finding::ExpiresIn { seconds: Some(left) }] = findings.as_slice() else {
        panic!("{findings:?}")
    };
    assert!(*left < 20, "the key outlives the ticket: {left} s");
    let end = Outcome::of(&findings[2..4]).context().endtime;
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!(u64::from(end) <= now() + 20, "the context outlives the ticket");
    wait_for("the ticket to expire", Duration::from_secs(25), || (now() > u64::from(end)).then_some(()));
    assert!(start.elapsed() < stretched(Duration::from_secs(25)));
    let outcome = scene.site.ask(scene.acceptor.target());
    assert_eq!(outcome.errno(), Errno::EKEYEXPIRED);
    scene.site.assert_failed(&outcome, Cause::TicketExpired, scene.acceptor.target());
}

fn a_ticket_renewed_shortly_before_its_end_serves_after_it(_: &Shared) {
    let scene = Scene::of("35980s", &["-l", "20s", "-r", "7d"], RENEWING);
    let end = Instant::now() + Duration::from_secs(20);
    assert_renewed(scene.hours());
    wait_for("the first ticket's end", Duration::from_secs(25), || (Instant::now() > end).then_some(()));
    assert_renewed(scene.hours());
}
