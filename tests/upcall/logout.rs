//! Users who have logged out: the session that got the ticket has ended, and one of their processes asks, as from
//! cron(8).

use crate::support::kcm::Kcm;
use crate::support::persistent::PersistentRing;
use crate::support::probe::{Request, Step, as_user, probe};
use crate::support::rpc::call_null_with;
use crate::support::shared::Shared;
use crate::support::site::Site;
use crate::support::writers::Writer;
use lgss::private_to_lgss::event::Cause;

crate::trials![
    caches_that_outlive_the_session_serve_a_later_process_that_has_none,
    caches_that_outlive_the_session_serve_the_next_session,
    a_session_cache_ends_with_its_session_and_the_log_says_kinit,
];

/// Special id of the process keyring, which a process has whatever its session is.
const PROCESS_RING: i32 = -2;

/// A session that gets a ticket into each of these caches and ends.
fn session_before(site: &Site, caches: &[String]) {
    let mut steps = as_user(site.uid());
    steps.extend(caches.iter().map(|cache| Writer::Mit.gets_ticket(site, cache)));
    let findings = probe(&steps);
    assert_eq!(findings.len(), steps.len());
    // The kernel removes a session keyring shortly after its last process has ended.
}

/// Caches in files, in keyrings that belong to no session, and at the daemon, which tells users apart by uid.
fn lasting_caches(site: &Site) -> Vec<String> {
    let uid = site.uid();
    let directory = site.path("user");
    vec![
        site.cache("mine"),
        format!("DIR:{}/collection", directory.display()),
        "KEYRING:user:mine".to_owned(),
        format!("KEYRING:persistent:{uid}"),
        format!("KCM:{uid}"),
    ]
}

/// A request with an instance for each cache, so that each is a new one.
fn request(shared: &Shared, site: &Site, number: usize, cache: &str) -> Request {
    let mut request = site.request_as(&site.uid().to_string(), shared.nfs(), &format!(":{number}"));
    request.callout.as_mut().unwrap().extend(format!(";cache={cache}").bytes());
    request
}

fn caches_that_outlive_the_session_serve_a_later_process_that_has_none(shared: &Shared) {
    let site = Site::new(shared.realm());
    let (_removed, _kcm) = (PersistentRing(site.uid()), Kcm::start(&site));
    let caches = lasting_caches(&site);
    session_before(&site, &caches);
    let become_user = Step::Ids { uid: [site.uid(); 3], gid: [site.uid(); 3] };
    // Started by a daemon without a session keyring, and by one whose session keyring is closed to the user.
    let starts = [vec![become_user.clone()], vec![Step::JoinSession, become_user]];
    for (number, (start, cache)) in
        starts.iter().flat_map(|start| caches.iter().map(move |cache| (start, cache))).enumerate()
    {
        let request = Request { ring: PROCESS_RING, ..request(shared, &site, number, cache) };
        call_null_with(&site.ask_after(start.clone(), request).context(), shared.nfs());
    }
}

fn caches_that_outlive_the_session_serve_the_next_session(shared: &Shared) {
    let site = Site::new(shared.realm());
    let (_removed, _kcm) = (PersistentRing(site.uid()), Kcm::start(&site));
    let caches = lasting_caches(&site);
    session_before(&site, &caches);
    for (number, cache) in caches.iter().enumerate() {
        call_null_with(&site.ask_with(request(shared, &site, number, cache)).context(), shared.nfs());
    }
}

fn a_session_cache_ends_with_its_session_and_the_log_says_kinit(shared: &Shared) {
    let site = Site::new(shared.realm());
    let cache = "KEYRING:session:mine";
    session_before(&site, &[cache.to_owned()]);
    let outcome = site.ask_with(request(shared, &site, 0, cache));
    site.assert_failed(&outcome, Cause::NoTicket, shared.nfs());
    site.log.wait_for_words(&[cache, "ENOKEY"]);
    // In a session that has the cache, it serves.
    let mut steps = as_user(site.uid());
    steps.push(Writer::Mit.gets_ticket(&site, cache));
    call_null_with(&site.ask_after(steps, request(shared, &site, 1, cache)).context(), shared.nfs());
}
