//! Credentials that are missing or no good: the requester learns which, and the log says what to do.

use crate::support::shared::Shared;
use crate::support::site::Site;
use lgss::event::Cause;
use nix::errno::Errno;

crate::trials![without_a_ticket_the_key_says_enokey_and_the_log_says_kinit];

fn without_a_ticket_the_key_says_enokey_and_the_log_says_kinit(shared: &Shared) {
    let site = Site::new(shared.realm());
    let outcome = site.ask(shared.nfs());
    assert_eq!(outcome.errno(), Errno::ENOKEY);
    let words = [&format!("uid {}", site.uid()), &shared.nfs().service, "ENOKEY", Cause::NoTicket.remedy()];
    site.log.wait_for_words(&words);
    site.wait_until_idle();
}
