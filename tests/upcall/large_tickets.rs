//! Tickets as large as those of users in many groups, in each type of cache.

use crate::support::kcm::Kcm;
use crate::support::probe::{Step, as_user};
use crate::support::process::{command, succeed};
use crate::support::rpc::call_null_with;
use crate::support::server::Server;
use crate::support::shared::Shared;
use crate::support::site::Site;
use crate::support::writers::{Writer, run};
use lgss::private_to_lgss::event::Cause;
use nix::errno::Errno;
use std::io::Read;
use std::path::Path;

crate::trials![
    service_tickets_of_up_to_64_kib_serve,
    large_ticket_granting_tickets_serve_from_files_and_kcm,
    large_ticket_granting_tickets_in_keyrings_serve_within_the_users_quota,
    a_ticket_that_no_token_can_hold_is_told_at_once,
    a_server_that_takes_no_large_record_holds_nobody_up,
];

/// Bytes of authorization data; the last size is the largest that fits into a token of 64 KiB.
const SIZES: [usize; 4] = [8 * 1024, 20 * 1024, 60 * 1024, 64_500];
/// With so much, no token of 64 KiB can hold the ticket.
const TOO_LARGE: usize = 65_536;

/// A site with the program that gets large tickets.
fn site(shared: &Shared) -> Site {
    let site = Site::new(shared.realm());
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/large_ticket.c");
    let mut cc = command("cc");
    cc.args(["-Wall", "-Wextra", "-Werror", "-o"]).arg(site.path("large_ticket"));
    succeed(cc.arg(source).arg("-lkrb5"), "");
    site
}

fn service(shared: &Shared) -> String {
    shared.realm().service().replace('@', "/")
}

fn ticket_granting_service(shared: &Shared) -> String {
    format!("krbtgt/{}", shared.realm().name())
}

/// In a session of the user, fills a cache with a ticket for this principal with so much authorization data.
fn large_ticket(site: &Site, cache: &str, principal: &str, size: usize) -> Vec<Step> {
    let program = site.path("large_ticket").display().to_string();
    let words = [&program, cache, principal, &size.to_string()].map(str::to_owned).to_vec();
    let mut steps = as_user(site.uid());
    steps.extend([Writer::Mit.gets_ticket(site, cache), run(site, words)]);
    steps
}

#[track_caller]
fn expect_served(shared: &Shared, site: &Site, cache: &str, steps: Vec<Step>) {
    let outcome = site.ask_after(steps, site.request_with(shared.nfs(), &format!("cache={cache}")));
    call_null_with(&outcome.context(), shared.nfs());
    site.wait_until_idle();
}

fn service_tickets_of_up_to_64_kib_serve(shared: &Shared) {
    let site = site(shared);
    let cache = site.cache("mine");
    for size in SIZES {
        expect_served(shared, &site, &cache, large_ticket(&site, &cache, &service(shared), size));
    }
}

/// The KDC copies the data into the service ticket, which is then stored in its full size.
fn large_ticket_granting_tickets_serve_from_files_and_kcm(shared: &Shared) {
    let site = site(shared);
    let _kcm = Kcm::start(&site);
    for cache in [site.cache("mine"), format!("KCM:{}", site.uid())] {
        for size in SIZES {
            let steps = large_ticket(&site, &cache, &ticket_granting_service(shared), size);
            expect_served(shared, &site, &cache, steps);
        }
    }
}

/// Where the kernel has no `big_key`, all tickets in a user's keyrings count against a quota of 20,000 bytes. With the
/// second size there is no room for the new ticket beside the first, but there is for the context.
fn large_ticket_granting_tickets_in_keyrings_serve_within_the_users_quota(shared: &Shared) {
    for size in [6 * 1024, 12 * 1024] {
        let site = site(shared);
        let cache = "KEYRING:session:mine";
        let steps = large_ticket(&site, cache, &ticket_granting_service(shared), size);
        expect_served(shared, &site, cache, steps);
    }
}

fn a_ticket_that_no_token_can_hold_is_told_at_once(shared: &Shared) {
    let site = site(shared);
    let cache = site.cache("mine");
    for principal in [service(shared), ticket_granting_service(shared)] {
        for size in [TOO_LARGE, 4 * TOO_LARGE] {
            let steps = large_ticket(&site, &cache, &principal, size);
            let outcome = site.ask_after(steps, site.request_with(shared.nfs(), &format!("cache={cache}")));
            site.assert_failed(&outcome, Cause::TokenTooLarge, shared.nfs());
            site.log.wait_for_words(&["token for the server: length", "over the limit of 65536", "E2BIG"]);
        }
    }
}

/// The server closes the connection after the call's length, or in the middle of the call.
fn a_server_that_takes_no_large_record_holds_nobody_up(shared: &Shared) {
    for taken in [4, 9000] {
        let closing = Server::start(move |mut client| {
            let _ = client.read_exact(&mut vec![0; taken]);
        });
        let site = site(shared);
        let cache = site.cache("mine");
        let steps = large_ticket(&site, &cache, &service(shared), SIZES[2]);
        let target = shared.nfs().at(closing.port());
        let outcome = site.ask_after(steps, site.request_with(&target, &format!("cache={cache}")));
        // The kernel may or may not have taken the whole call before the connection is gone.
        assert!([Errno::EPROTO, Errno::ECONNREFUSED].contains(&outcome.errno()), "{:#?}", site.log.lines());
        site.log.wait_for_words(&["negotiate: ", "connection "]);
        site.wait_until_idle();
    }
}
