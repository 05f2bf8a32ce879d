//! Clocks that differ by more than Kerberos tolerates: the log says which clock and by how much.

use crate::support::acceptor::Acceptor;
use crate::support::realm::Realm;
use crate::support::server::Target;
use crate::support::shared::Shared;
use crate::support::site::Site;
use lgss::private_to_lgss::event::Cause;

crate::trials![
    a_kdc_whose_clock_is_ahead_is_told_with_the_difference,
    a_kdc_whose_clock_is_behind_is_told_with_the_difference,
    a_kdc_in_whose_time_the_ticket_has_expired_is_told_with_the_difference,
    a_server_whose_clock_is_ahead_is_told_with_the_difference,
    a_server_whose_clock_is_behind_is_told_with_the_difference,
    a_ticket_got_by_a_wrong_clock_is_told_when_the_server_has_the_right_one,
    a_ticket_that_is_not_valid_yet_is_told_with_its_start,
];

/// After a failure with this cause, the one line in the log has all of `words`.
#[track_caller]
fn expect(site: &Site, target: &Target, cause: Cause, words: &[&str]) {
    let outcome = site.ask(target);
    site.assert_failed(&outcome, cause, target);
    site.log.wait_for_words(words);
}

fn kdc_shifted(shift: &str) -> (Realm, Site, Target) {
    let mut realm = Realm::start();
    let site = Site::new(&realm);
    site.ticket(&realm);
    realm.shift_clock(shift);
    let nobody = Target::nfs(&realm.service(), 1);
    (realm, site, nobody)
}

fn a_kdc_whose_clock_is_ahead_is_told_with_the_difference(_: &Shared) {
    let (_realm, site, target) = kdc_shifted("+438s");
    expect(&site, &target, Cause::ClockSkew, &["the KDC's clock is 7 min 1", "ahead of this machine's"]);
}

fn a_kdc_whose_clock_is_behind_is_told_with_the_difference(_: &Shared) {
    let (_realm, site, target) = kdc_shifted("-3h");
    expect(&site, &target, Cause::ClockSkew, &["the KDC's clock is ", "behind this machine's"]);
    let line = site.log.lines().concat();
    assert!(line.contains("is 3 h behind") || line.contains("is 2 h 59 min behind"), "{line}");
}

fn a_kdc_in_whose_time_the_ticket_has_expired_is_told_with_the_difference(_: &Shared) {
    let (_realm, site, target) = kdc_shifted("+724h");
    expect(&site, &target, Cause::TicketExpired, &["the KDC's clock is 30 d ", "ahead of this machine's"]);
}

fn a_server_whose_clock_is_ahead_is_told_with_the_difference(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let acceptor = Acceptor::start_with(shared.realm(), Some("+438s"));
    let words = ["the server's clock is 7 min 1", "ahead of this machine's"];
    expect(&site, acceptor.target(), Cause::ClockSkew, &words);
    assert_eq!(acceptor.connections(), 1, "no reason for a second attempt");
}

fn a_server_whose_clock_is_behind_is_told_with_the_difference(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let acceptor = Acceptor::start_with(shared.realm(), Some("-1d"));
    let words = ["the server's clock is ", "behind this machine's"];
    expect(&site, acceptor.target(), Cause::ClockSkew, &words);
    let line = site.log.lines().concat();
    assert!(line.contains("is 1 d behind") || line.contains("is 23 h 59 min behind"), "{line}");
}

/// libkrb5 corrects for a KDC's clock that differs (kdc_timesync), towards servers too.
fn a_ticket_got_by_a_wrong_clock_is_told_when_the_server_has_the_right_one(_: &Shared) {
    let mut realm = Realm::start();
    let site = Site::new(&realm);
    realm.shift_clock("+438s");
    site.ticket(&realm);
    let acceptor = Acceptor::start(&realm);
    let words = ["the server's clock agrees with this machine's", "the KDC's was 7 min 1", "ahead of"];
    expect(&site, acceptor.target(), Cause::ClockSkew, &words);
}

fn a_ticket_that_is_not_valid_yet_is_told_with_its_start(shared: &Shared) {
    let site = Site::new(shared.realm());
    let cache = format!("FILE:{}", site.default_cache().display());
    shared.realm().ticket_with(site.uid(), &cache, &["-s", "20min", "-l", "2h"]);
    let target = Target::nfs(&shared.realm().service(), 1);
    let words = ["the ticket starts in ", "the KDC's clock agrees with this machine's"];
    expect(&site, &target, Cause::ClockSkew, &words);
    let line = site.log.lines().concat();
    assert!(line.contains("starts in 20 min") || line.contains("starts in 19 min"), "{line}");
}
