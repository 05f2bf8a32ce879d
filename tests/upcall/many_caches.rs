//! A user with very many caches in /tmp.

use crate::support::many_caches::ManyCaches;
use crate::support::rpc::call_null_with;
use crate::support::shared::Shared;
use crate::support::site::Site;

crate::trials![of_two_hundred_caches_the_one_that_lives_longest_is_chosen];

/// How many have expired, belong to others, or are good.
const CACHES: [usize; 3] = [150, 30, 20];

fn of_two_hundred_caches_the_one_that_lives_longest_is_chosen(shared: &Shared) {
    let site = Site::new(shared.realm());
    let caches = ManyCaches::plant(&site, shared.realm(), CACHES);
    let outcome = site.ask_with(site.request(shared.nfs()));
    call_null_with(&outcome.context(), shared.nfs());
    site.log.wait_for_words(&["established", &caches.live[0]]);
    // The log names the others, better ones first, as far as its line reaches.
    let (chosen, next) = (format!("in {}, ", caches.live[0]), format!("not: {}: alice", caches.live[1]));
    site.log.wait_for_words(&["chosen: alice", &chosen, &next, "; and 1"]);
}
