//! The pause of a user whose requests keep failing: what ends it, and what does not.

use crate::plan::{Request, Step};
use crate::support::command_line::{lines, session};
use crate::support::kcm::Kcm;
use crate::support::outcome::Outcome;
use crate::support::owner_record::{OwnerRecord, since_boot, wait_until_breakable};
use crate::support::probe::as_user;
use crate::support::process::{command, succeed};
use crate::support::realm::Realm;
use crate::support::server::Target;
use crate::support::shared::Shared;
use crate::support::site::{Settings, Site};
use crate::support::wait::wait_for;
use lgss::private_to_lgss::event::Reason;
use nix::errno::Errno;
use std::fs;
use std::os::unix::fs::chown;
use std::time::{Duration, SystemTime};

crate::trials![
    a_new_ticket_ends_the_pause_of_every_program,
    a_new_ticket_of_a_kcm_daemon_ends_the_pause,
    what_is_no_new_ticket_leaves_the_pause_and_asks_no_kdc,
    a_cache_that_has_not_failed_is_tried_in_a_pause,
    flush_ends_the_callers_pause,
    nobody_ends_the_pause_of_another,
    whoever_asks_anew_breaks_a_pause_once_a_second_also_while_a_kdc_is_silent,
];

const PAUSING: &str = "[backoff]\nafter = 1\nfirst = \"300s\"\nlongest = \"300s\"\n";

fn site(shared: &Shared) -> Site {
    Site::with(shared.realm(), &Settings { extra: PAUSING, ..Settings::default() })
}

/// A request that no other program has made.
fn request(site: &Site, shared: &Shared, instance: usize, fields: &str) -> Request {
    let mut request = site.request_as(&site.uid().to_string(), shared.nfs(), &format!(":{instance}"));
    request.callout.as_mut().unwrap().extend(fields.bytes());
    request
}

/// Fails often enough for a pause.
#[track_caller]
fn fail(site: &Site, shared: &Shared, fields: &str, errno: Errno) {
    for instance in 0..2 {
        assert_eq!(site.ask_with(request(site, shared, instance, fields)).errno(), errno);
        site.wait_until_idle();
    }
}

#[track_caller]
fn assert_paused(site: &Site, request: Request) -> Reason {
    let outcome = site.ask_with(request);
    let Outcome::Failed { errno: Errno::EAGAIN, reason: Some(reason) } = outcome else {
        panic!("no pause: {outcome:?}")
    };
    assert_eq!(reason.cause, "paused");
    assert!(reason.detail.contains(" requests failed in a row, the last: "), "{reason:?}");
    site.wait_until_idle();
    reason
}

fn a_new_ticket_ends_the_pause_of_every_program(shared: &Shared) {
    for before in ["nothing", "expired"] {
        let site = site(shared);
        let default = format!("FILE:{}", site.default_cache().display());
        let errno = match before {
            "expired" => {
                shared.realm().expired_ticket(site.uid(), &default);
                Errno::EKEYEXPIRED
            }
            _ => Errno::ENOKEY,
        };
        fail(&site, shared, "", errno);
        let reason = assert_paused(&site, request(&site, shared, 2, ""));
        assert!(reason.detail.contains(&format!("the last: {errno:?}: credentials: ")), "{reason:?}");
        site.ticket(shared.realm());
        drop(site.ask_with(request(&site, shared, 3, "")).context());
        site.wait_until_idle();
        drop(site.ask_with(request(&site, shared, 4, "")).context());
    }
}

/// Nobody can see from outside what the daemon keeps.
fn a_new_ticket_of_a_kcm_daemon_ends_the_pause(shared: &Shared) {
    let site = site(shared);
    let _kcm = Kcm::start(&site);
    fail(&site, shared, "", Errno::ENOKEY);
    assert_paused(&site, request(&site, shared, 2, ""));
    let mut steps = as_user(site.uid());
    steps.push(shared.realm().kinit(&site.path("krb5.conf"), "KCM:"));
    drop(site.ask_after(steps, request(&site, shared, 3, "")).context());
}

fn what_is_no_new_ticket_leaves_the_pause_and_asks_no_kdc(_: &Shared) {
    let realm = Realm::start();
    let site = Site::with(&realm, &Settings { extra: PAUSING, ..Settings::default() });
    site.ticket(&realm);
    let first = SystemTime::now() + Duration::from_secs(1);
    let target = Target::nfs(&format!("unknown@{}", realm.host()), 2049);
    let request =
        |instance: usize| site.request_as(&site.uid().to_string(), &target, &format!(":{instance}"));
    for instance in 0..2 {
        assert_eq!(site.ask_with(request(instance)).errno(), Errno::EACCES);
        site.wait_until_idle();
    }
    let asked = realm.kdc_requests();
    assert_paused(&site, request(2));
    // A new file with the same tickets.
    let copy = site.path("user").join("copy");
    fs::copy(site.default_cache(), &copy).unwrap();
    chown(&copy, Some(site.uid()), None).unwrap();
    succeed(command("mv").arg("-f").arg(&copy).arg(site.default_cache()), "");
    assert_paused(&site, request(3));
    assert_eq!(realm.kdc_requests(), asked);
    // With a new ticket the KDC refuses, and the next pause begins. A ticket from the same second has the same times
    // and counts as the same.
    wait_for("a later second", Duration::from_secs(5), || (SystemTime::now() > first).then_some(()));
    site.ticket(&realm);
    assert_eq!(site.ask_with(request(4)).errno(), Errno::EACCES);
    site.wait_until_idle();
    assert_paused(&site, request(5));
}

fn a_cache_that_has_not_failed_is_tried_in_a_pause(shared: &Shared) {
    let site = site(shared);
    let expired = site.cache("expired");
    shared.realm().expired_ticket(site.uid(), &expired);
    site.ticket(shared.realm());
    let fields = format!(";cache={expired}");
    fail(&site, shared, &fields, Errno::EKEYEXPIRED);
    assert_paused(&site, request(&site, shared, 2, &fields));
    drop(site.ask_with(request(&site, shared, 3, "")).context());
}

fn flush_ends_the_callers_pause(shared: &Shared) {
    let site = site(shared);
    fail(&site, shared, "", Errno::ENOKEY);
    assert_paused(&site, request(&site, shared, 2, ""));
    let dry = lines(&session(&site, "exec 2>&1; lgss flush --all --dry-run"));
    assert!(!dry.contains("pause"), "{dry}");
    let text = lines(&session(&site, "exec 2>&1; lgss flush --all"));
    assert!(text.contains("2 requests failed in a row, the last: ENOKEY: credentials: "), "{text}");
    assert!(text.contains("; the pause has been ended, "), "{text}");
    site.log.wait_for_words(&["lgss@localhost: admit: ", "the pause has been ended"]);
    site.wait_until_idle();
    // Further requests get the failure itself, and the row of failures goes on.
    assert_eq!(site.ask_with(request(&site, shared, 3, "")).errno(), Errno::ENOKEY);
    site.wait_until_idle();
    let reason = assert_paused(&site, request(&site, shared, 4, ""));
    assert!(reason.detail.contains("3 requests failed in a row"), "{reason:?}");
    // Without a pause nothing is reported.
    site.ticket(shared.realm());
    drop(site.ask_with(request(&site, shared, 5, "")).context());
    site.wait_until_idle();
    let text = lines(&session(&site, "exec 2>&1; lgss flush --all"));
    assert!(!text.contains("pause"), "{text}");
}

fn nobody_ends_the_pause_of_another(shared: &Shared) {
    let site = site(shared);
    let other = site.machine_uid();
    fail(&site, shared, "", Errno::ENOKEY);
    let record = || fs::read_to_string(site.path(&format!("run/owners/uid-{}", site.uid()))).unwrap();
    let before = record();
    let by = |ids: Step, owner: u32, instance: &str| {
        let mut request = site.request_as(&owner.to_string(), shared.nfs(), instance);
        request.callout.as_mut().unwrap().extend(b";anew=only");
        site.ask_after(vec![ids, Step::JoinSession], request)
    };
    let ids = |uid| Step::Ids { uid: [uid; 3], gid: [uid; 3] };
    // The user's own, which does not exist; another's, by its name; root's.
    let instance = format!(":{}", site.uid());
    for (uid, owner, errno) in
        [(other, other, Errno::EAGAIN), (other, site.uid(), Errno::EACCES), (0, 0, Errno::EAGAIN)]
    {
        assert_eq!(by(ids(uid), owner, &instance).errno(), errno, "{uid} {owner}");
        site.wait_until_idle();
        assert_eq!(record(), before);
    }
    assert_paused(&site, request(&site, shared, 2, ""));
}

/// The first attempt is still waiting when the others ask, so no failure has been recorded.
fn whoever_asks_anew_breaks_a_pause_once_a_second_also_while_a_kdc_is_silent(_: &Shared) {
    let realm = Realm::start();
    let site = Site::with(&realm, &Settings { extra: PAUSING, kdc: "6s", ..Settings::default() });
    site.ticket(&realm);
    let target = Target::nfs(&format!("unknown@{}", realm.host()), 2049);
    let request = |instance: usize, fields: &str| {
        let mut request = site.request_as(&site.uid().to_string(), &target, &format!(":{instance}"));
        request.callout.as_mut().unwrap().extend(fields.bytes());
        request
    };
    for instance in 0..2 {
        assert_eq!(site.ask_with(request(instance, "")).errno(), Errno::EACCES);
        site.wait_until_idle();
    }
    realm.silence();
    wait_until_breakable(&site);
    let begun = since_boot();
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let ask = |instance| {
            let request = request(instance, ";anew=1");
            let site = &site;
            scope.spawn(move || site.ask_with(request).errno())
        };
        let asked: Vec<_> = (2..8).map(ask).collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    site.wait_until_idle();
    let seconds = OwnerRecord::of(&site).broken.saturating_sub(begun).as_secs();
    let broken = outcomes.iter().filter(|errno| **errno != Errno::EAGAIN).count();
    assert!(broken < outcomes.len(), "none was paused: {outcomes:?}");
    assert!((1..=1 + seconds).contains(&(broken as u64)), "{outcomes:?} in {seconds} s");
}
