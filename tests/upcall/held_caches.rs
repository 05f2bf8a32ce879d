//! Caches that another program of the user locks or leases: nobody waits for them.

use crate::support::held_file::hold;
use crate::support::realm::Realm;
use crate::support::rpc::call_null_with;
use crate::support::shared::Shared;
use crate::support::site::Site;
use crate::support::wait::stretched;
use lgss::private_to_lgss::event::Cause;
use std::fs;
use std::time::{Duration, Instant};

crate::trials![
    a_locked_or_leased_cache_is_passed_over_quickly_and_said,
    a_cache_that_others_only_read_serves,
    with_nothing_else_the_failure_says_what_holds_the_cache,
];

fn ticket(realm: &Realm, site: &Site, cache: &str, life: &str) {
    realm.ticket_with(site.uid(), cache, &["-l", life]);
}

fn a_locked_or_leased_cache_is_passed_over_quickly_and_said(shared: &Shared) {
    for (how, said) in
        [("write-lock", "is locked by another program"), ("write-lease", "is leased by another program")]
    {
        let site = Site::new(shared.realm());
        let good = format!("FILE:{}_good", site.default_cache().display());
        site.ticket(shared.realm());
        ticket(shared.realm(), &site, &good, "1h");
        let _holder = hold(&site, &site.default_cache(), how);
        let begun = Instant::now();
        call_null_with(&site.ask(shared.nfs()).context(), shared.nfs());
        // The library alone would wait for more than half a minute.
        assert!(begun.elapsed() < stretched(Duration::from_secs(8)), "{how}: {:?}", begun.elapsed());
        let (chosen, others) = site.log.wait_for_choice();
        assert!(chosen.contains(&format!(" in {good}, ")), "{how}: {chosen}");
        let told = format!("FILE:{} {said}", site.default_cache().display());
        assert!(others.contains(&told), "{how}: {others:?}");
        site.wait_until_idle();
    }
}

fn a_cache_that_others_only_read_serves(shared: &Shared) {
    for how in ["read-lock", "read-lease"] {
        let site = Site::new(shared.realm());
        site.ticket(shared.realm());
        let before = fs::read(site.default_cache()).unwrap();
        let _holder = hold(&site, &site.default_cache(), how);
        let begun = Instant::now();
        call_null_with(&site.ask(shared.nfs()).context(), shared.nfs());
        assert!(begun.elapsed() < stretched(Duration::from_secs(8)), "{how}: {:?}", begun.elapsed());
        let cache = format!(" in FILE:{}", site.default_cache().display());
        assert!(site.log.wait_for_established(1).contains(&cache), "{how}");
        site.wait_until_idle();
        assert_eq!(fs::read(site.default_cache()).unwrap(), before, "{how}: a reader was overtaken");
    }
}

fn with_nothing_else_the_failure_says_what_holds_the_cache(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let _holder = hold(&site, &site.default_cache(), "write-lock");
    let begun = Instant::now();
    let outcome = site.ask(shared.nfs());
    assert!(begun.elapsed() < stretched(Duration::from_secs(8)), "{:?}", begun.elapsed());
    site.assert_failed(&outcome, Cause::BadCache, shared.nfs());
    site.log.wait_for_words(&["is locked by another program"]);
}
