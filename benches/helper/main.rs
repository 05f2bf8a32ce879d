//! What it costs that an operator's `lgss list` goes through `lgss_helper`, beside root's own: `make bench-helper`, docs/benchmarks.md.
//!
//! One run, alternating order, the same programs and the same keys; medians and ratios. Each figure is the whole command, from its
//! start to its end.
#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::exit, dead_code, reason = "a bench")]

#[path = "../figures.rs"]
mod figures;
#[path = "../../tests/probe/plan.rs"]
mod plan;
#[path = "../../tests/upcall/support/mod.rs"]
mod support;

use std::process::{Command, Stdio};
use std::time::Instant;

use figures::{median, print_machine};
use support::operators::Operators;
use support::realm::Realm;
use support::site::Site;

const ROUNDS: usize = 200;
/// Of what starts a process for every user with keys, of whom tests leave hundreds.
const FEW: usize = 10;

fn main() {
    support::scratch::reap_stale();
    support::machine::require_all();
    print_machine();
    let realm = Realm::start();
    let site = Site::new(&realm);
    let operators = Operators::of(&site);
    let user = site.uid().to_string();
    println!(
        "\n| command | rounds | root p50, ms | operator p50, ms | median of paired ratios |\n|---|---|---|---|---|"
    );
    for (what, words, rounds) in [
        ("`lgss list`, no rights needed", vec!["list"], ROUNDS),
        ("`lgss list --user`", vec!["list", "--user", &user], ROUNDS),
        ("`lgss list --all`", vec!["list", "--all"], FEW),
    ] {
        compare((what, rounds), &words, &site, &operators);
    }
}

fn compare((what, rounds): (&str, usize), words: &[&str], site: &Site, operators: &Operators<'_>) {
    let (uid, group) = (operators.uid().to_string(), operators.group().to_string());
    let callers = [["0", "0"], [uid.as_str(), group.as_str()]];
    let mut times: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    for round in 0..=rounds {
        for which in [round % 2, (round + 1) % 2] {
            let [uid, group] = callers[which];
            let mut command = Command::new("setpriv");
            command.args(["--reuid", uid, "--regid", "65534", "--groups", group, "--"]);
            command
                .arg(site.path("lgss"))
                .args(words)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            let begun = Instant::now();
            assert!(command.status().unwrap().success(), "{what} as uid {uid}");
            // The first round warms up.
            if round > 0 {
                times[which].push(begun.elapsed().as_secs_f64() * 1000.0);
            }
        }
    }
    let ratios: Vec<f64> = times[1].iter().zip(&times[0]).map(|(operator, root)| operator / root).collect();
    println!(
        "| {what} | {rounds} | {:.2} | {:.2} | {:.2} |",
        median(&times[0]),
        median(&times[1]),
        median(&ratios)
    );
}
