//! Which of a user's caches is used, what the log says about the others, and what a failure says.

use crate::support::acceptor::{Acceptor, with_clock};
use crate::support::cache_file::{CacheFile, Credential, plant};
use crate::support::ports::free_port;
use crate::support::process::{command_as, succeed};
use crate::support::realm::{PASSWORD, Realm};
use crate::support::rpc::call_null_with;
use crate::support::shared::Shared;
use crate::support::site::{Settings, Site};
use lgss::private_to_lgss::event::Cause;
use std::fs;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::PathBuf;

crate::trials![
    the_longest_life_serves_and_the_log_tells_the_others_in_their_order,
    of_equal_ends_the_renewable_one_serves,
    the_services_realm_comes_before_a_longer_life_in_another,
    a_services_ticket_is_worth_its_own_life,
    a_ticket_that_its_kdc_cannot_read_is_passed_over_for_the_next_of_the_same_client,
    a_bad_cache_does_not_hide_a_good_one_of_the_same_client,
    a_services_ticket_serves_after_refusals_of_its_client,
    a_ticket_that_its_kdc_calls_expired_is_passed_over_for_the_next,
    tickets_of_a_client_that_is_refused_twice_are_passed_over_for_anothers,
    if_all_are_refused_the_failure_tells_the_first_and_the_others,
    a_realm_whose_kdc_is_down_is_passed_over_for_another,
    a_realm_whose_kdc_is_silent_is_passed_over_for_another_in_time,
    of_one_realm_whose_kdc_is_silent_the_log_says_which_ticket_was_tried,
    a_services_ticket_serves_where_the_kdc_of_a_better_one_is_down_or_silent,
    a_client_that_its_kdc_refuses_is_passed_over_for_another,
    of_many_others_the_first_are_told_and_the_rest_is_counted,
    with_nothing_else_to_choose_from_the_log_has_one_line,
    of_other_peoples_caches_only_the_number_is_told,
];

/// A file that the search finds.
fn path(site: &Site, name: &str) -> PathBuf {
    format!("{}_{name}", site.default_cache().display()).into()
}

fn place(site: &Site, name: &str) -> String {
    format!("FILE:{}", path(site, name).display())
}

/// The user's request is served; returns the log's words on the choice.
#[track_caller]
fn serve(shared: &Shared, site: &Site) -> (String, Vec<String>) {
    call_null_with(&site.ask(shared.nfs()).context(), shared.nfs());
    site.wait_until_idle();
    site.log.wait_for_choice()
}

fn absent(site: &Site) -> String {
    format!("FILE:{}: there is no such cache", site.default_cache().display())
}

fn the_longest_life_serves_and_the_log_tells_the_others_in_their_order(shared: &Shared) {
    let site = Site::new(shared.realm());
    for (name, life) in [("a", "3h"), ("b", "9h"), ("c", "6h")] {
        shared.realm().ticket_with(site.uid(), &place(&site, name), &["-l", life]);
    }
    let alice = format!("alice@{}", shared.realm().name());
    let (chosen, others) = serve(shared, &site);
    assert!(chosen.starts_with(&format!("{alice} in {}, ", place(&site, "b"))), "{chosen}");
    let expected = ["c", "a"].map(|name| format!("{}: {alice}, ", place(&site, name)));
    assert!(others[0].starts_with(&expected[0]) && others[0].ends_with(" h left"), "{others:?}");
    assert!(others[1].starts_with(&expected[1]) && others[1].ends_with(" left"), "{others:?}");
    assert_eq!(others[2], absent(&site));
}

fn of_equal_ends_the_renewable_one_serves(shared: &Shared) {
    let site = Site::new(shared.realm());
    shared.realm().ticket_with(site.uid(), &site.cache("mine"), &["-l", "5h", "-r", "7d"]);
    let renewable = CacheFile::read(&site.path("user").join("mine"));
    for (name, file) in [("1", false), ("2", true), ("3", false)].map(|(name, is)| {
        (name, if is { renewable.clone() } else { renewable.clone().with(|ticket| ticket.make_final()) })
    }) {
        file.write(&path(&site, name), site.uid());
    }
    let (chosen, others) = serve(shared, &site);
    assert!(chosen.contains(&place(&site, "2")) && chosen.ends_with(" left, renewable"), "{chosen}");
    assert_eq!(others.iter().filter(|other| other.ends_with(" left")).count(), 2, "{others:?}");
}

fn the_services_realm_comes_before_a_longer_life_in_another(shared: &Shared) {
    let home = Realm::start();
    home.is_trusted_by(shared.realm());
    let site = Site::new(&home);
    fs::write(site.path("krb5.conf"), home.krb5_conf_with(shared.realm())).unwrap();
    home.ticket_with(site.uid(), &place(&site, "home"), &["-l", "20h"]);
    shared.realm().ticket_with(site.uid(), &place(&site, "services"), &["-l", "3h"]);
    let (chosen, others) = serve(shared, &site);
    assert!(chosen.contains(&place(&site, "services")), "{chosen}");
    let other = format!("{}: alice@{}, ", place(&site, "home"), home.name());
    assert!(others[0].starts_with(&other), "{others:?}");
    assert!(others[0].ends_with(" left, of another realm than the service's"), "{others:?}");
}

/// A cache with a service ticket that a client got.
fn with_service_ticket(shared: &Shared, site: &Site, name: &str, life: &str) -> CacheFile {
    shared.realm().ticket_with(site.uid(), &site.cache(name), &["-l", life]);
    let service = shared.realm().service().replace('@', "/");
    let mut kvno = command_as(site.uid(), "kvno");
    kvno.envs(shared.realm().environment()).args(["-c", &site.cache(name), &service]);
    succeed(&mut kvno, "");
    CacheFile::read(&site.path("user").join(name))
}

fn a_services_ticket_is_worth_its_own_life(shared: &Shared) {
    for (life, chosen) in [("9h", "ready"), ("3h", "granting")] {
        let site = Site::new(shared.realm());
        let ready = with_service_ticket(shared, &site, "mine", life).only("nfs/");
        ready.write(&path(&site, "ready"), site.uid());
        shared.realm().ticket_with(site.uid(), &place(&site, "granting"), &["-l", "6h"]);
        let (told, others) = serve(shared, &site);
        assert!(told.contains(&place(&site, chosen)), "{told}, not {others:?}");
    }
}

/// Plants a good ticket, and a changed one that seems to live longer.
fn plant_better_but_changed(shared: &Shared, site: &Site, change: impl Fn(&mut CacheFile)) {
    shared.realm().ticket_with(site.uid(), &place(site, "good"), &["-l", "3h"]);
    shared.realm().ticket_with(site.uid(), &site.cache("mine"), &["-l", "9h"]);
    let mut changed = CacheFile::read(&site.path("user").join("mine"));
    change(&mut changed);
    changed.write(&path(site, "changed"), site.uid());
}

fn spoil(file: &mut CacheFile) {
    file.credentials.retain(|ticket| ticket.server.starts_with("krbtgt/"));
    file.credentials.iter_mut().for_each(Credential::spoil);
}

/// This happens after the realm's key has changed.
fn a_ticket_that_its_kdc_cannot_read_is_passed_over_for_the_next_of_the_same_client(shared: &Shared) {
    let site = Site::new(shared.realm());
    plant_better_but_changed(shared, &site, spoil);
    let (chosen, others) = serve(shared, &site);
    assert!(chosen.contains(&place(&site, "good")), "{chosen}");
    assert!(others[0].contains(&place(&site, "changed")) && !others[0].ends_with(" left"), "{others:?}");
}

/// A cache that records another clock difference than there is, one whose session key nobody supports, and two that the KDC
/// cannot read.
fn a_bad_cache_does_not_hide_a_good_one_of_the_same_client(shared: &Shared) {
    let as_it_is = CacheFile::bytes;
    let ahead = |file: &CacheFile| file.bytes_ahead(3600);
    for (change, bytes, copies) in [
        ((|_| ()) as fn(&mut CacheFile), &ahead as &dyn Fn(&CacheFile) -> Vec<u8>, 2),
        (weaken, &as_it_is, 1),
        (spoil, &as_it_is, 2),
    ] {
        let site = Site::new(shared.realm());
        plant_better_but_changed(shared, &site, change);
        let bad = bytes(&CacheFile::read(&path(&site, "changed")));
        fs::remove_file(path(&site, "changed")).unwrap();
        for number in 0..copies {
            plant(&path(&site, &format!("bad{number}")), &bad, site.uid());
        }
        let (chosen, others) = serve(shared, &site);
        assert!(chosen.contains(&place(&site, "good")), "{chosen}");
        for (number, other) in others.iter().enumerate().take(copies) {
            assert!(other.contains(&place(&site, "bad")) && !other.contains(" left"), "{number}: {others:?}");
        }
    }
}

fn a_services_ticket_serves_after_refusals_of_its_client(shared: &Shared) {
    let site = Site::new(shared.realm());
    let ready = with_service_ticket(shared, &site, "mine", "3h").only("nfs/");
    plant_better_but_changed(shared, &site, spoil);
    fs::remove_file(path(&site, "good")).unwrap();
    let bad = fs::read(path(&site, "changed")).unwrap();
    for number in 0..5 {
        plant(&path(&site, &format!("changed{number}")), &bad, site.uid());
    }
    ready.write(&path(&site, "ready"), site.uid());
    let (chosen, _) = serve(shared, &site);
    assert!(chosen.contains(&place(&site, "ready")), "{chosen}");
}

/// Single DES, which no library supports any more.
fn weaken(file: &mut CacheFile) {
    file.credentials.iter_mut().for_each(|ticket| ticket.set_session_enctype(1));
}

fn a_ticket_that_its_kdc_calls_expired_is_passed_over_for_the_next(_: &Shared) {
    let mut realm = Realm::start();
    let site = Site::new(&realm);
    realm.shift_clock("-20m");
    let mut kinit = with_clock("-20m", "kinit");
    kinit.envs(realm.environment()).args(["-c", &site.cache("old"), "-l", "5m", "alice"]);
    succeed(&mut kinit, &format!("{PASSWORD}\n"));
    realm.shift_clock("+0s");
    let old = CacheFile::read(&site.path("user").join("old")).with(|ticket| ticket.prolong(60_000));
    old.write(&path(&site, "old"), site.uid());
    realm.ticket_with(site.uid(), &place(&site, "good"), &["-l", "3h"]);
    let acceptor = Acceptor::start(&realm);
    drop(site.ask(acceptor.target()).context());
    let (chosen, others) = site.log.wait_for_choice();
    assert!(chosen.contains(&place(&site, "good")), "{chosen}");
    assert!(others[0].contains(&place(&site, "old")) && others[0].contains("expired"), "{others:?}");
}

/// Plants a ticket of this principal.
fn plant_of(realm: &Realm, site: &Site, principal: &str, (name, life): (&str, &str)) {
    let mut kinit = command_as(site.uid(), "kinit");
    kinit.envs(realm.environment()).args(["-c", &place(site, name), "-l", life, principal]);
    succeed(&mut kinit, &format!("{PASSWORD}\n"));
}

fn tickets_of_a_client_that_is_refused_twice_are_passed_over_for_anothers(shared: &Shared) {
    let site = Site::new(shared.realm());
    let bob = format!("bob{}", site.uid());
    shared.realm().administrate(&[format!("addprinc -pw \"{PASSWORD}\" {bob}")]);
    plant_of(shared.realm(), &site, &bob, ("bob", "1h"));
    plant_better_but_changed(shared, &site, spoil);
    fs::remove_file(path(&site, "good")).unwrap();
    let changed = fs::read(path(&site, "changed")).unwrap();
    for number in 0..6 {
        plant(&path(&site, &format!("changed{number}")), &changed, site.uid());
    }
    let (chosen, others) = serve(shared, &site);
    assert!(chosen.starts_with(&format!("{bob}@")), "{chosen}");
    // As many as a line has room for.
    assert!(others.iter().filter(|other| other.ends_with(" left, not tried")).count() >= 2, "{others:?}");
    assert!(!others[2..].iter().any(|other| other.contains("Decrypt")), "{others:?}");
}

/// This client has not proved its identity to the KDC, and the service requires that.
fn a_client_that_its_kdc_refuses_is_passed_over_for_another(_: &Shared) {
    let realm = Realm::start();
    let site = Site::new(&realm);
    let service = realm.service().replace('@', "/");
    realm.administrate(&[
        format!("addprinc -pw \"{PASSWORD}\" bob"),
        "modprinc +requires_preauth alice".to_owned(),
        format!("modprinc +requires_preauth {service}"),
    ]);
    plant_of(&realm, &site, "bob", ("bob", "9h"));
    plant_of(&realm, &site, "alice", ("alice", "3h"));
    let acceptor = Acceptor::start(&realm);
    drop(site.ask(acceptor.target()).context());
    let (chosen, others) = site.log.wait_for_choice();
    assert!(chosen.starts_with("alice@"), "{chosen}");
    assert!(others[0].contains("ticket of bob@") && !others[0].ends_with(" left"), "{others:?}");
}

fn if_all_are_refused_the_failure_tells_the_first_and_the_others(shared: &Shared) {
    let site = Site::new(shared.realm());
    plant_better_but_changed(shared, &site, spoil);
    let mut good = CacheFile::read(&path(&site, "good"));
    spoil(&mut good);
    good.write(&path(&site, "good"), site.uid());
    let outcome = site.ask(shared.nfs());
    site.assert_failed(&outcome, Cause::TicketRejected, shared.nfs());
    let line = site.log.wait_for_words(&["kdc: ", "EACCES"]);
    let at = |name| line.find(&place(&site, name)).unwrap_or_else(|| panic!("{line}"));
    assert!(at("changed") < at("good"), "{line}");
    let (chosen, others) = site.log.wait_for_choice();
    assert_eq!(chosen, "");
    assert!(others[0].contains(&place(&site, "changed")) && others[1].contains(&place(&site, "good")));
}

/// Users of two other realms, both trusted by the service's realm; the KDC of the better one fails.
#[track_caller]
fn expect_other_realm(shared: &Shared, loss: impl FnOnce(&mut Realm), settings: &Settings<'_>) {
    let (mut lost, other) = (Realm::start(), Realm::start());
    let site = Site::with(&lost, settings);
    let conf = other.krb5_conf_with(shared.realm()) + &lost.krb5_conf();
    fs::write(site.path("krb5.conf"), conf).unwrap();
    for realm in [&lost, &other] {
        realm.is_trusted_by(shared.realm());
    }
    lost.ticket_with(site.uid(), &place(&site, "lost"), &["-l", "9h"]);
    other.ticket_with(site.uid(), &place(&site, "other"), &["-l", "3h"]);
    loss(&mut lost);
    let (chosen, others) = serve(shared, &site);
    assert!(chosen.contains(&place(&site, "other")), "{chosen}");
    assert!(others[0].contains(&place(&site, "lost")) && !others[0].contains(" left"), "{others:?}");
}

fn a_realm_whose_kdc_is_down_is_passed_over_for_another(shared: &Shared) {
    expect_other_realm(shared, Realm::stop, &Settings::default());
}

fn a_realm_whose_kdc_is_silent_is_passed_over_for_another_in_time(shared: &Shared) {
    let settings = Settings { kdc: "4s", ..Settings::default() };
    expect_other_realm(shared, |realm| realm.silence(), &settings);
}

fn a_services_ticket_serves_where_the_kdc_of_a_better_one_is_down_or_silent(shared: &Shared) {
    for silent in [false, true] {
        let site = Site::with(shared.realm(), &Settings { kdc: "4s", ..Settings::default() });
        let ready = with_service_ticket(shared, &site, "mine", "3h").only("nfs/");
        ready.write(&path(&site, "ready"), site.uid());
        shared.realm().ticket_with(site.uid(), &place(&site, "granting"), &["-l", "9h"]);
        let port = free_port();
        let at = (Ipv4Addr::LOCALHOST, port);
        let _ears = silent.then(|| (TcpListener::bind(at).unwrap(), UdpSocket::bind(at).unwrap()));
        fs::write(site.path("krb5.conf"), shared.realm().krb5_conf_by(port)).unwrap();
        let (chosen, others) = serve(shared, &site);
        assert!(chosen.contains(&place(&site, "ready")), "{chosen}");
        assert!(others[0].contains(&place(&site, "granting")), "{others:?}");
    }
}

fn of_one_realm_whose_kdc_is_silent_the_log_says_which_ticket_was_tried(shared: &Shared) {
    let realm = Realm::start();
    let site = Site::with(&realm, &Settings { kdc: "6s", ..Settings::default() });
    for (name, life) in [("a", "3h"), ("b", "9h")] {
        realm.ticket_with(site.uid(), &place(&site, name), &["-l", life]);
    }
    realm.silence();
    let target = shared.nfs().called(&realm.service());
    let outcome = site.ask(&target);
    site.assert_failed(&outcome, Cause::KdcSilent, &target);
    let (chosen, others) = site.log.wait_for_choice();
    assert!(chosen.contains(&place(&site, "b")), "{chosen}");
    assert!(others[0].contains(&place(&site, "a")), "{others:?}");
}

fn of_many_others_the_first_are_told_and_the_rest_is_counted(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    for number in 0..40 {
        plant(&path(&site, &format!("empty{number}")), b"", site.uid());
    }
    let (_, others) = serve(shared, &site);
    let told = others.iter().filter(|other| other.contains("_empty")).count();
    // Other users' files in /tmp may be counted too.
    let more: usize = others.last().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    assert!(told > 3 && [40, 41].contains(&(told + more)), "{others:?}");
    site.log.lines().iter().for_each(|line| assert!(line.len() < 1024, "{line}"));
}

fn with_nothing_else_to_choose_from_the_log_has_one_line(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    for count in 1..=2 {
        let instance = format!(":{count}");
        let request = site.request_as(&site.uid().to_string(), shared.nfs(), &instance);
        drop(site.ask_with(request).context());
        site.log.wait_for_established(count);
        site.wait_until_idle();
    }
    // The lines of the first request come before those of the second.
    assert_eq!(site.log.lines().len(), 2, "{:#?}", site.log.lines());
}

fn of_other_peoples_caches_only_the_number_is_told(shared: &Shared) {
    let site = Site::new(shared.realm());
    plant(&path(&site, "secret_name"), b"", site.machine_uid());
    let outcome = site.ask(shared.nfs());
    site.assert_failed(&outcome, Cause::NoTicket, shared.nfs());
    let (_, others) = site.log.wait_for_choice();
    assert!(others.iter().any(|other| other.ends_with(" more of other users")), "{others:?}");
    assert!(!site.log.lines().iter().any(|line| line.contains("secret_name")));
}
