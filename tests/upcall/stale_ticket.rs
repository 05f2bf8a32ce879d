//! A service that has got new keys while users have tickets for the old one: a new ticket is fetched and the server
//! asked once more, and the cache is changed by a ticket that the server has accepted only.

use crate::support::acceptor::Acceptor;
use crate::support::ganesha::Ganesha;
use crate::support::process::Until;
use crate::support::realm::Realm;
use crate::support::rpc::call_null_with;
use crate::support::server::{Server, Target};
use crate::support::shared::Shared;
use crate::support::site::Site;
use lgss::event::Cause;
use nix::errno::Errno;

crate::trials![
    a_ticket_for_an_old_key_is_replaced_and_the_server_asked_once_more,
    a_ticket_for_an_old_key_is_replaced_whatever_keeps_the_cache,
    a_server_that_rejects_without_a_reason_is_asked_once_more,
    a_refusal_with_the_new_ticket_too_is_the_end_and_leaves_the_cache_alone,
    other_refusals_are_not_followed_by_a_second_attempt,
    a_new_ticket_that_cannot_be_had_leaves_the_servers_refusal,
    roots_read_only_copy_of_a_cache_does_not_prevent_the_second_attempt,
    every_stage_of_both_attempts_is_in_the_line_and_their_times_add_up,
];

/// A realm whose user has a ticket for the service in the cache, and then the service gets a new key.
struct Scene {
    realm: Realm,
    site: Site,
}

impl Scene {
    fn new() -> Self {
        let realm = Realm::start();
        let site = Site::new(&realm);
        site.ticket(&realm);
        Self { realm, site }.with_service_ticket("")
    }

    fn with_service_ticket(self, fields: &str) -> Self {
        let nobody = Target::nfs(&self.realm.service(), crate::support::realm::free_port());
        let request = match fields {
            "" => self.site.request(&nobody),
            fields => self.site.request_with(&nobody, fields),
        };
        assert_eq!(self.site.ask_with(request).errno(), Errno::ECONNREFUSED);
        self.site.log.wait_for_count(1);
        self
    }

    fn cache(&self) -> String {
        format!("FILE:{}", self.site.default_cache().display())
    }

    /// Version numbers of the keys that the service's tickets are encrypted in.
    fn versions(&self, cache: &str) -> Vec<String> {
        // `kvno` asks a KDC only for tickets that are not there.
        let listed = self.realm.listed(self.site.uid(), cache, &["-e"]);
        assert!(listed.contains("krbtgt/"), "the ticket-granting ticket is gone: {listed}");
        let mut kvno = crate::support::process::command_as(self.site.uid(), "kvno");
        kvno.args(["-c", cache, "--cached-only"]).arg(self.realm.service().replace('@', "/"));
        let said = crate::support::process::succeed(kvno.envs(self.realm.environment()), "");
        let count = listed.matches(&self.realm.service().replace('@', "/")).count();
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
    let realm = Realm::start();
    let site = Site::new(&realm);
    let kcm = crate::support::kcm::Kcm::start(&site);
    std::fs::copy(site.path("krb5.conf"), realm.path("krb5.conf")).unwrap();
    let name = format!("KCM:{}", site.uid());
    realm.ticket(site.uid(), &name);
    let field = format!("cache={name}");
    let scene = Scene { realm, site }.with_service_ticket(&field);
    scene.realm.rekey();
    let acceptor = Acceptor::start(&scene.realm);
    for connections in [2, 3] {
        let request = scene.site.request_with(acceptor.target(), &field);
        assert_eq!(scene.site.ask_with(request).context().window.count(), 32);
        assert_eq!(acceptor.connections(), connections, "log: {:#?}", scene.site.log.lines());
    }
    drop(kcm);
}

fn a_server_that_rejects_without_a_reason_is_asked_once_more(_: &Shared) {
    let scene = Scene::new();
    scene.realm.rekey();
    let ganesha = Ganesha::start(&scene.realm, Until::TestEnds);
    call_null_with(&scene.site.ask(ganesha.target()).context(), ganesha.target());
    assert_eq!(scene.versions(&scene.cache()), ["3"]);
    scene.site.log.wait_for_words(&["established", "ticket was replaced"]);
}

fn a_refusal_with_the_new_ticket_too_is_the_end_and_leaves_the_cache_alone(_: &Shared) {
    let scene = Scene::new();
    let acceptor = {
        scene.realm.rekey();
        Acceptor::start(&scene.realm)
    };
    // The acceptor reads its keytab at every token: now both its keys and the ticket's are old.
    let keytab = std::fs::read(scene.realm.keytab()).unwrap();
    scene.realm.rekey();
    std::fs::write(scene.realm.keytab(), keytab).unwrap();
    let before = std::fs::read(scene.site.default_cache()).unwrap();
    let outcome = scene.site.ask(acceptor.target());
    assert_eq!(acceptor.connections(), 2);
    scene.site.assert_failed(&outcome, Cause::ServerRefused, acceptor.target());
    scene.site.log.wait_for_words(&["the same with a new ticket", "EACCES"]);
    assert_eq!(std::fs::read(scene.site.default_cache()).unwrap(), before);
}

fn other_refusals_are_not_followed_by_a_second_attempt(_: &Shared) {
    const GSS_S_FAILURE: u32 = 13 << 16;
    let scene = Scene::new();
    let before = std::fs::read(scene.site.default_cache()).unwrap();
    let refusing = Server::answering(|call| {
        let reply = crate::support::rpc::InitReply::continuing(call, b"");
        Some(
            crate::support::rpc::InitReply { gss_major: GSS_S_FAILURE, handle: Vec::new(), ..reply }.encode(),
        )
    });
    let denying = Server::answering(|call| Some(crate::support::rpc::denied(call, 13)));
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
    use crate::support::probe::Step;
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
    drop(scene.site.ask(acceptor.target()).context());
    let line = scene.site.log.wait_for_words(&["established"]);
    let stages = line.rsplit_once('[').unwrap().1.split_once(']').unwrap().0;
    let stages: Vec<(&str, f64)> = stages
        .split(", ")
        .map(|stage| stage.split_once(' ').map(|(name, ms)| (name, ms.parse().unwrap())).unwrap())
        .collect();
    let names: Vec<_> = stages.iter().map(|(name, _)| *name).collect();
    let attempt = ["kdc", "connect", "negotiate"];
    assert_eq!(names, [&["authorise", "launch", "credentials"][..], &attempt, &attempt].concat());
    // From the requester's release on, so without the decision.
    let sum: f64 = stages[1..].iter().map(|(_, ms)| ms).sum();
    let total = line.split_once("established in ").unwrap().1.split_once(" ms").unwrap().0;
    let total: f64 = total.parse().unwrap();
    assert!((sum - total).abs() <= 2.0, "{sum} of {total} ms: {line}");
}
