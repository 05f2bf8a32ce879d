//! Honest and hostile requests for a long time: afterwards there is no more of anything than at the start. And floods of
//! requests, which keep nobody else from being served.
//!
//! Needs root, as tests/upcall, whose parts it uses. LGSS_SOAK_SECONDS says for how long; `make soak` sets it.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::exit,
    reason = "tests"
)]
// A test missing in the list does not build.
#![deny(dead_code)]

mod flood;
mod floods;
mod hanging_kdc;
#[path = "../probe/plan.rs"]
#[allow(dead_code, reason = "tests/upcall has the rest")]
mod plan;
mod requesters;
#[path = "../upcall/support/mod.rs"]
#[allow(dead_code, reason = "tests/upcall has the rest")]
mod support;
mod traces;

use libtest_mimic::{Arguments, Trial};
use requesters::Requesters;
use std::time::Duration;
use support::shared::Shared;
use support::{janitor, machine};
use traces::Traces;

/// Without the variable.
const SECONDS: u64 = 20;
/// The time is divided into so many rounds; what is left is looked at after each.
const ROUNDS: u32 = 10;
/// Rounds until everything that is made once is there.
const WARM: usize = 2;

fn main() {
    janitor::main(|| {
        let mut arguments = Arguments::from_args();
        // They would disturb each other's counts.
        arguments.test_threads = Some(1);
        if !arguments.list {
            machine::require_all();
        }
        let trials: [(_, fn()); 6] = [
            ("nothing_grows", nothing_grows),
            ("a_flood_of_one_user_hinders_nobody", floods::of_one_user),
            ("a_flood_of_fifty_subordinate_uids_hinders_nobody", floods::of_subordinates),
            ("requests_of_one_user_that_hang_hinder_nobody_else", floods::of_requests_that_hang),
            ("a_kdc_that_hangs_for_one_principal_hinders_no_other", floods::of_a_kdc_that_hangs),
            ("a_fork_bomb_of_requesters_hinders_nobody_else", floods::of_a_fork_bomb),
        ];
        let trial = |(name, run): (&str, fn())| {
            Trial::test(name, move || {
                run();
                Ok(())
            })
        };
        libtest_mimic::run(&arguments, trials.map(trial).into()).exit()
    });
}

fn nothing_grows() {
    let seconds = std::env::var("LGSS_SOAK_SECONDS").map_or(SECONDS, |text| text.parse().expect("seconds"));
    let shared = Shared::default();
    let requesters = Requesters::new(&shared);
    let round = Duration::from_secs(seconds) / ROUNDS;
    let (mut all, mut requests) = (Vec::<(Traces, usize)>::new(), 0);
    for number in 1..=ROUNDS {
        requests += requesters.ask_for(round);
        let traces = Traces::of(&requesters);
        println!("soak: round {number}, {requests} requests so far; left: {traces}");
        all.push((traces, requests));
    }
    assert!(requests >= 50, "hardly anything was asked");
    let [(first, before), (last, after)] = [all[WARM], all[all.len() - 1]];
    last.expect_no_more_than(first, after - before);
}
