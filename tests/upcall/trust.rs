//! Two realms: users in one, servers in the other.

use crate::support::probe::as_user;
use crate::support::realm::Realm;
use crate::support::rpc::call_null_with;
use crate::support::shared::Shared;
use crate::support::site::Site;
use crate::support::writers::Writer;
use lgss::private_to_lgss::event::Cause;
use std::fs;

crate::trials![
    a_user_of_a_trusted_realm_gets_a_context_and_keeps_the_cross_realm_ticket,
    without_trust_it_is_the_kdc_that_says_no,
];

/// A site with users of `home` and servers of the shared realm.
fn site_between(home: &Realm, shared: &Shared) -> Site {
    let site = Site::new(home);
    fs::write(site.path("krb5.conf"), home.krb5_conf_with(shared.realm())).unwrap();
    site
}

fn a_user_of_a_trusted_realm_gets_a_context_and_keeps_the_cross_realm_ticket(shared: &Shared) {
    let home = Realm::start();
    home.is_trusted_by(shared.realm());
    for writer in Writer::BOTH {
        let site = site_between(&home, shared);
        let cache = site.cache("mine");
        let mut steps = as_user(site.uid());
        steps.push(writer.gets_ticket(&site, &cache));
        let request = site.request_with(shared.nfs(), &format!("cache={cache}"));
        call_null_with(&site.ask_after(steps, request).context(), shared.nfs());
        site.log.wait_for_words(&["established", &format!("alice@{}", home.name())]);
        let service = format!("{}@{}", shared.realm().service().replace('@', "/"), shared.realm().name());
        for principal in [home.cross_realm_principal(shared.realm()), service] {
            let listed = home.listed(site.uid(), &cache, &[]);
            assert!(listed.contains(&principal), "no {principal}: {listed}");
        }
    }
}

fn without_trust_it_is_the_kdc_that_says_no(shared: &Shared) {
    let home = Realm::start();
    let site = site_between(&home, shared);
    site.ticket(&home);
    let outcome = site.ask(shared.nfs());
    site.assert_failed(&outcome, Cause::UnknownService, shared.nfs());
}
