//! A service that has got a new key while users have tickets for the old one: the worker gets a new ticket and asks the
//! server once more. Only a ticket that the server has accepted changes the cache.

use crate::support::acceptor::Acceptor;
use crate::support::ganesha::Ganesha;
use crate::support::kcm::{Kcm, OUR_KCM};
use crate::support::outcome::Outcome;
use crate::support::ports::free_port;
use crate::support::probe::{Finding, Probe, Step, as_user};
use crate::support::process::{Until, command_as, succeed};
use crate::support::realm::Realm;
use crate::support::rpc::{InitReply, call_null_with, denied};
use crate::support::server::{Server, Target};
use crate::support::shared::Shared;
use crate::support::site::Site;
use lgss::private_to_lgss::event::Cause;
use nix::errno::Errno;
use std::time::Duration;

crate::trials![
    a_ticket_for_an_old_key_is_replaced_and_the_server_asked_once_more,
    a_ticket_for_an_old_key_is_replaced_whatever_keeps_the_cache,
    a_server_that_rejects_without_a_reason_is_asked_once_more,
    a_server_that_tells_its_minor_status_only_is_asked_once_more,
    a_server_that_fails_without_a_reason_is_asked_once_more,
    a_refusal_with_the_new_ticket_too_is_the_end_and_leaves_the_cache_alone,
    a_ticket_that_has_just_come_from_the_kdc_is_not_fetched_again,
    other_refusals_are_not_followed_by_a_second_attempt,
    a_new_ticket_that_cannot_be_had_leaves_the_servers_refusal,
    roots_read_only_copy_of_a_cache_does_not_prevent_the_second_attempt,
    every_stage_of_both_attempts_is_in_the_line_and_their_times_add_up,
];

/// Delay of a server: longer than all that a busy machine adds between stages, and well below the limit of a round.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// A realm whose user has a service ticket in the cache; after that, the service gets a new key.
struct Scene {
    realm: Realm,
    site: Site,
}

impl Scene {
    fn new() -> Self {
        let realm = Realm::start();
        let site = Site::new(&realm);
        site.ticket(&realm);
        // The user gets the ticket, and the server is down.
        let nobody = Target::nfs(&realm.service(), free_port());
        assert_eq!(site.ask(&nobody).errno(), Errno::ECONNREFUSED);
        site.log.wait_for_count(1);
        Self { realm, site }
    }

    fn cache(&self) -> String {
        format!("FILE:{}", self.site.default_cache().display())
    }

    /// Version numbers of the keys in which the service's tickets are encrypted.
    fn versions(&self, cache: &str) -> Vec<String> {
        let listed = self.realm.listed(self.site.uid(), cache, &["-e"]);
        assert!(listed.contains("krbtgt/"), "the ticket-granting ticket is gone: {listed}");
        let mut kvno = command_as(self.site.uid(), "kvno");
        kvno.args(["-c", cache, "--cached-only"]).arg(principal(&self.realm));
        let said = succeed(kvno.envs(self.realm.environment()), "");
        let count = listed.matches(&principal(&self.realm)).count();
        assert_eq!(count, 1, "one ticket of the service: {listed}");
        said.lines().filter_map(|line| Some(line.split_once("kvno = ")?.1.to_owned())).collect()
    }
}

fn a_ticket_for_an_old_key_is_replaced_and_the_server_asked_once_more(_: &Shared) {
    let scene = Scene::new();
    assert_eq!(scene.versions(&scene.cache()), ["2"]);
    scene.realm.rekey();
    let acceptor = Acceptor::start(&scene.realm);
    assert_eq!(scene.site.ask(acceptor.target()).context().window.count(), 32);
    assert_eq!(acceptor.connections(), 2);
    assert_eq!(scene.versions(&scene.cache()), ["3"]);
    scene.site.log.wait_for_words(&["established", "ticket was replaced"]);
    // From now on the first attempt succeeds.
    drop(scene.site.ask(acceptor.target()).context());
    assert_eq!(acceptor.connections(), 3);
    let lines = scene.site.log.wait_for_count(3);
    assert!(!lines[2].contains("replaced"), "{lines:#?}");
}

fn a_ticket_for_an_old_key_is_replaced_whatever_keeps_the_cache(_: &Shared) {
    for cache in ["KEYRING:session:mine", "KEYRING:user:mine", "DIR:", OUR_KCM] {
        expect_replaced_in(cache, "its ticket was replaced");
    }
    // SSSD's daemon does not remove single tickets; of the two it returns the new one.
    expect_replaced_in("KCM:", "a new ticket was stored");
}

/// A second context needs no second attempt: the cache returns the new ticket first.
#[track_caller]
fn expect_replaced_in(cache: &str, told: &str) {
    let realm = Realm::start();
    let site = Site::new(&realm);
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
    let kvno = ["env", &format!("KRB5_CONFIG={}", conf.display()), "kvno", "-c", &cache, &principal(&realm)];
    let mut steps = as_user(site.uid());
    steps.push(realm.kinit(&conf, &cache));
    steps.push(Step::Run { words: kvno.map(str::to_owned).to_vec(), input: String::new() });
    steps.push(Step::Pause);
    for instance in ["", ":second"] {
        let mut request = site.request_as(&site.uid().to_string(), acceptor.target(), instance);
        request.callout.as_mut().unwrap().extend(format!(";cache={cache}").bytes());
        steps.extend([Step::Request(request), Step::Settle { within_ms: 30_000 }]);
    }
    let mut requester = Probe::start(&steps);
    requester.until_pause();
    realm.rekey();
    requester.go_on();
    let findings = requester.rest();
    let Some((Finding::Done, findings)) = findings.split_first() else { panic!("{findings:?}") };
    for pair in findings.chunks(2) {
        assert_eq!(Outcome::of(pair).context().window.count(), 32, "{cache}");
    }
    assert_eq!((findings.len(), acceptor.connections()), (4, 3), "{cache}: {:#?}", site.log.lines());
    site.log.wait_for_words(&["established", told]);
    site.wait_until_idle();
    drop(kcm);
}

/// The service's principal, without its realm.
fn principal(realm: &Realm) -> String {
    realm.service().replace('@', "/")
}

fn a_server_that_rejects_without_a_reason_is_asked_once_more(_: &Shared) {
    let scene = Scene::new();
    scene.realm.rekey();
    let ganesha = Ganesha::start(&scene.realm, Until::TestEnds);
    call_null_with(&scene.site.ask(ganesha.target()).context(), ganesha.target());
    assert_eq!(scene.versions(&scene.cache()), ["3"]);
    scene.site.log.wait_for_words(&["established", "ticket was replaced"]);
}

fn a_server_that_tells_its_minor_status_only_is_asked_once_more(_: &Shared) {
    let scene = Scene::new();
    scene.realm.rekey();
    let acceptor = Acceptor::start(&scene.realm);
    let relay = Server::between(acceptor.target().address(), |reply| {
        let mut parsed = InitReply::parse(reply);
        if parsed.gss_major != 0 {
            parsed.token.clear();
        }
        *reply = parsed.encode();
    });
    assert_eq!(scene.site.ask(&acceptor.target().behind(&relay)).context().window.count(), 32);
    assert_eq!(relay.connections(), 2);
    assert_eq!(scene.versions(&scene.cache()), ["3"]);
}

/// A real Lustre server answers like this: GSS_S_FAILURE, minor status 0, no token.
fn a_server_that_fails_without_a_reason_is_asked_once_more(_: &Shared) {
    let scene = Scene::new();
    scene.realm.rekey();
    let acceptor = Acceptor::start(&scene.realm);
    let relay = Server::between(acceptor.target().address(), |reply| {
        let mut parsed = InitReply::parse(reply);
        if parsed.gss_major != 0 {
            (parsed.gss_major, parsed.gss_minor) = (13 << 16, 0);
            parsed.token.clear();
        }
        *reply = parsed.encode();
    });
    assert_eq!(scene.site.ask(&acceptor.target().behind(&relay)).context().window.count(), 32);
    assert_eq!(relay.connections(), 2);
    assert_eq!(scene.versions(&scene.cache()), ["3"]);
}

fn a_refusal_with_the_new_ticket_too_is_the_end_and_leaves_the_cache_alone(_: &Shared) {
    let scene = Scene::new();
    // The acceptor's key is newer than the ticket's and older than the KDC's.
    scene.realm.rekey();
    let acceptor = with_an_old_keytab(&scene.realm);
    let before = std::fs::read(scene.site.default_cache()).unwrap();
    let outcome = scene.site.ask(acceptor.target());
    assert_eq!(acceptor.connections(), 2);
    scene.site.assert_failed(&outcome, Cause::ServerRefused, acceptor.target());
    scene.site.log.wait_for_words(&["the same with a new ticket", "EACCES"]);
    assert_eq!(std::fs::read(scene.site.default_cache()).unwrap(), before);
}

/// A server of the service with a key that the KDC has replaced.
fn with_an_old_keytab(realm: &Realm) -> Acceptor {
    let keytab = std::fs::read(realm.keytab()).unwrap();
    realm.rekey();
    std::fs::write(realm.keytab(), keytab).unwrap();
    Acceptor::start(realm)
}

fn a_ticket_that_has_just_come_from_the_kdc_is_not_fetched_again(_: &Shared) {
    let realm = Realm::start();
    let site = Site::new(&realm);
    site.ticket(&realm);
    let acceptor = with_an_old_keytab(&realm);
    let outcome = site.ask(acceptor.target());
    assert_eq!(acceptor.connections(), 1);
    site.assert_failed(&outcome, Cause::ServerRefused, acceptor.target());
}

fn other_refusals_are_not_followed_by_a_second_attempt(_: &Shared) {
    const GSS_S_FAILURE: u32 = 13 << 16;
    let scene = Scene::new();
    let before = std::fs::read(scene.site.default_cache()).unwrap();
    let refusing = Server::answering(|call| {
        let reply = InitReply::continuing(call, b"");
        Some(InitReply { gss_major: GSS_S_FAILURE, gss_minor: 5, handle: Vec::new(), ..reply }.encode())
    });
    let denying = Server::answering(|call| Some(denied(call, 13)));
    for server in [&refusing, &denying] {
        let target = Target::nfs(&scene.realm.service(), server.port());
        assert_eq!(scene.site.ask(&target).errno(), Errno::EACCES);
        assert_eq!(server.connections(), 1);
    }
    assert_eq!(std::fs::read(scene.site.default_cache()).unwrap(), before);
}

fn a_new_ticket_that_cannot_be_had_leaves_the_servers_refusal(_: &Shared) {
    let mut scene = Scene::new();
    scene.realm.rekey();
    let acceptor = Acceptor::start(&scene.realm);
    scene.realm.stop();
    let before = std::fs::read(scene.site.default_cache()).unwrap();
    let outcome = scene.site.ask(acceptor.target());
    scene.site.assert_failed(&outcome, Cause::ServerRefused, acceptor.target());
    scene.site.log.wait_for_words(&["and no new ticket: ", "EACCES"]);
    assert_eq!(std::fs::read(scene.site.default_cache()).unwrap(), before);
}

fn roots_read_only_copy_of_a_cache_does_not_prevent_the_second_attempt(_: &Shared) {
    use std::os::unix::fs::chown;
    let scene = Scene::new();
    let cache = scene.site.path("root.cc");
    std::fs::copy(scene.site.default_cache(), &cache).unwrap();
    chown(&cache, Some(0), Some(0)).unwrap();
    std::fs::set_permissions(&cache, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let before = std::fs::read(&cache).unwrap();
    scene.realm.rekey();
    let acceptor = Acceptor::start(&scene.realm);
    let mut request = scene.site.request_as("0", acceptor.target(), "");
    request.callout.as_mut().unwrap().extend(format!(";cache=FILE:{}", cache.display()).bytes());
    let outcome = scene.site.ask_after(vec![Step::JoinSession], request);
    assert_eq!(outcome.context().window.count(), 32);
    assert_eq!(acceptor.connections(), 2);
    assert_eq!(std::fs::read(&cache).unwrap(), before);
    scene.site.log.wait_for_words(&["established", "uid 0 ", "not replaced in the cache: "]);
}

fn every_stage_of_both_attempts_is_in_the_line_and_their_times_add_up(_: &Shared) {
    let scene = Scene::new();
    scene.realm.rekey();
    let acceptor = Acceptor::start(&scene.realm);
    let slow = Server::between(acceptor.target().address(), |_| std::thread::sleep(ANSWER_TIME));
    drop(scene.site.ask(&acceptor.target().behind(&slow)).context());
    let line = scene.site.log.wait_for_words(&["established"]);
    let stages = line.rsplit_once('[').unwrap().1.split_once(']').unwrap().0;
    let stages: Vec<(&str, f64)> = stages
        .split(", ")
        .map(|stage| stage.split_once(' ').map(|(name, ms)| (name, ms.parse().unwrap())).unwrap())
        .collect();
    let names: Vec<_> = stages.iter().map(|(name, _)| *name).collect();
    let attempt = ["kdc", "resolve", "connect", "negotiate"];
    assert_eq!(names, [&["authorise", "launch", "credentials"][..], &attempt, &attempt].concat());
    // The total starts with the requester's release, so it does not include the decision.
    let sum: f64 = stages[1..].iter().map(|(_, ms)| ms).sum();
    let total = line.split_once("established in ").unwrap().1.split_once(" ms").unwrap().0;
    let total: f64 = total.parse().unwrap();
    // The total includes the writing of the key, and no answer of the server that no stage has.
    let answer = 1e3 * ANSWER_TIME.as_secs_f64();
    assert!((-1.0..answer).contains(&(total - sum)), "{sum} of {total} ms: {line}");
    for (name, ms) in &stages {
        assert!(*name != "negotiate" || *ms >= answer, "each attempt has its own time: {line}");
    }
}
