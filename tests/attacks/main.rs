//! Attacks of an ordinary user on the installed upcall, each from the host's namespaces and from a user namespace that the
//! attacker has made. A case succeeds if its attack fails: it gains nothing, and an honest request afterwards is served.
//!
//! Needs root, as tests/upcall, whose parts it uses. The table of docs/security-results.md is that of these cases.
#![deny(dead_code)]
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::exit,
    reason = "tests"
)]

mod attack;
mod busy;
mod by_hand;
mod caches;
mod dying;
mod environment;
mod growth;
mod holding;
mod names;
mod peers;
mod places;
#[path = "../probe/plan.rs"]
#[allow(dead_code, reason = "tests/upcall has the rest")]
mod plan;
mod probing;
mod races;
mod requests;
mod rings;
#[path = "../upcall/support/mod.rs"]
#[allow(dead_code, reason = "tests/upcall has the rest")]
mod support;
mod table;
mod workers;

use attack::Attack;
use libtest_mimic::{Arguments, Trial};
use std::sync::Arc;
use support::chosen::Chosen;
use support::process::command_as;
use support::shared::Shared;
use support::{janitor, machine};

/// Cases mostly wait.
const THREADS: usize = 6;

fn main() {
    janitor::main(run_attacks);
}

/// Those that may be made at the same time.
fn attacks_on_few() -> Vec<Attack> {
    [
        requests::attacks(),
        caches::attacks(),
        environment::attacks(),
        by_hand::attacks(),
        workers::attacks(),
        races::attacks(),
        places::attacks(),
        probing::attacks(),
        rings::attacks(),
        dying::attacks(),
        names::attacks(),
        peers::attacks(),
        growth::attacks(),
        holding::attacks(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn run_attacks() -> ! {
    let mut chosen = Chosen::read();
    chosen.arguments.test_threads.get_or_insert(THREADS);
    if !chosen.arguments.list {
        machine::require_all();
        require_user_namespaces();
    }
    let shared = Arc::new(Shared::default());
    let mut arguments = chosen.arguments.clone();
    let run = |arguments: &Arguments, mut trials: Vec<Trial>| {
        trials.retain(|trial| chosen.has(trial));
        libtest_mimic::run(arguments, trials)
    };
    let mut few = cases(&shared, attacks_on_few());
    few.push(table());
    let together = run(&arguments, few);
    arguments.test_threads = Some(1);
    let alone = run(&arguments, cases(&shared, holding::attacks_on_all()));
    drop(shared);
    together.exit_if_failed();
    alone.exit()
}

/// # Panics
/// If an ordinary user cannot make a user namespace.
fn require_user_namespaces() {
    let unprivileged =
        command_as(65534, "unshare").args(["--user", "--map-root-user", "true"]).status().unwrap();
    assert!(unprivileged.success(), "these attacks need user namespaces that ordinary users may make");
}

fn table() -> Trial {
    Trial::test("the_table_in_the_documents_is_that_of_these_attacks", || {
        table::check(
            &[attacks_on_few(), holding::attacks_on_all()].into_iter().flatten().collect::<Vec<_>>(),
        );
        Ok(())
    })
}

fn cases(shared: &Arc<Shared>, attacks: Vec<Attack>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for attack in attacks.into_iter().map(Arc::new) {
        for &world in attack.worlds {
            let (shared, attack) = (Arc::clone(shared), Arc::clone(&attack));
            let name = format!("{} {}", attack.rule, attack.name);
            let case = Trial::test(name, move || {
                attack.run(&shared, world);
                Ok(())
            });
            trials.push(case.with_kind(world.word()));
        }
    }
    trials
}
