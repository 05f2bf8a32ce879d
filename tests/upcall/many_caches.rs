//! A user with very many caches in /tmp.

use crate::support::many_caches::ManyCaches;
use crate::support::rpc::call_null_with;
use crate::support::shared::Shared;
use crate::support::site::Site;

crate::trials![of_two_hundred_caches_the_named_one_serves];

/// Expired ones, other people's, good ones.
const CACHES: [usize; 3] = [150, 30, 20];

fn of_two_hundred_caches_the_named_one_serves(shared: &Shared) {
    let site = Site::new(shared.realm());
    let caches = ManyCaches::plant(&site, shared.realm(), CACHES);
    let longest = &caches.live[0];
    let outcome = site.ask_with(site.request_with(shared.nfs(), &format!("cache={longest}")));
    call_null_with(&outcome.context(), shared.nfs());
    site.log.wait_for_words(&["established", longest]);
}
