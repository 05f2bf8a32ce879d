//! KDCs that are down, silent, or say no.

use crate::support::realm::Realm;
use crate::support::shared::Shared;
use crate::support::site::{Settings, Site};
use lgss::event::Cause;
use nix::errno::Errno;
use std::time::{Duration, Instant};

crate::trials![
    an_unknown_service_is_refused_with_eacces,
    a_service_that_may_have_no_tickets_is_refused_with_eacces,
    a_kdc_that_is_down_is_told_at_once,
    a_silent_kdc_is_given_up_in_its_time,
    a_silent_kdc_is_given_up_at_the_deadline_of_the_upcall,
    with_a_service_ticket_in_the_cache_no_kdc_is_needed,
];

fn an_unknown_service_is_refused_with_eacces(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let unknown = shared.nfs().called(&format!("nosuch@{}", shared.realm().host()));
    let outcome = site.ask(&unknown);
    site.assert_failed(&outcome, Cause::UnknownService, &unknown);
}

fn a_service_that_may_have_no_tickets_is_refused_with_eacces(_: &Shared) {
    let realm = Realm::start();
    let site = Site::new(&realm);
    site.ticket(&realm);
    realm.administrate(&[format!("modprinc -allow_svr nfs/{}", realm.host())]);
    let nobody = crate::support::server::Target::nfs(&realm.service(), 1);
    assert_eq!(site.ask(&nobody).errno(), Errno::EACCES);
}

fn a_kdc_that_is_down_is_told_at_once(_: &Shared) {
    let mut realm = Realm::start();
    let site = Site::new(&realm);
    site.ticket(&realm);
    realm.stop();
    let target = crate::support::server::Target::nfs(&realm.service(), 1);
    let start = Instant::now();
    let outcome = site.ask(&target);
    // libkrb5 goes round its KDCs, TCP and UDP, several times.
    assert!(start.elapsed() < Duration::from_secs(9), "took {:?}", start.elapsed());
    site.assert_failed(&outcome, Cause::KdcDown, &target);
}

fn a_silent_kdc_is_given_up_in_its_time(_: &Shared) {
    let realm = Realm::start();
    let site = Site::with(&realm, &Settings { kdc: "2s", ..Default::default() });
    site.ticket(&realm);
    realm.silence();
    let target = crate::support::server::Target::nfs(&realm.service(), 1);
    let start = Instant::now();
    let outcome = site.ask(&target);
    assert!(start.elapsed() < Duration::from_secs(5), "took {:?}", start.elapsed());
    site.assert_failed(&outcome, Cause::KdcSilent, &target);
}

fn a_silent_kdc_is_given_up_at_the_deadline_of_the_upcall(_: &Shared) {
    let realm = Realm::start();
    let site = Site::with(&realm, &Settings { kdc: "100s", deadline: "2s", ..Default::default() });
    site.ticket(&realm);
    realm.silence();
    let target = crate::support::server::Target::nfs(&realm.service(), 1);
    let start = Instant::now();
    assert_eq!(site.ask(&target).errno(), Errno::ETIMEDOUT);
    assert!(start.elapsed() < Duration::from_secs(5), "took {:?}", start.elapsed());
    site.wait_until_idle();
}

fn with_a_service_ticket_in_the_cache_no_kdc_is_needed(_: &Shared) {
    use crate::support::{ganesha::Ganesha, process::Until, rpc::call_null_with};
    let mut realm = Realm::start();
    let ganesha = Ganesha::start(&realm, Until::TestEnds);
    let site = Site::new(&realm);
    site.ticket(&realm);
    drop(site.ask(ganesha.target()).context());
    realm.stop();
    call_null_with(&site.ask(ganesha.target()).context(), ganesha.target());
}
