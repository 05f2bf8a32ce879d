//! What a lookup of an established context costs a program: `make bench-contexts`, docs/benchmarks.md.
//!
//! The context is real, from an MIT KDC and NFS-Ganesha, by the upcall. A lookup checks that the context's key is still there,
//! which is a system call; its share is measured beside it.
#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::exit, dead_code, reason = "a bench")]

#[path = "../figures.rs"]
mod figures;
#[path = "../../tests/probe/plan.rs"]
mod plan;
#[path = "../../tests/upcall/support/mod.rs"]
mod support;

use figures::{median, print_machine};
use support::context_program::ContextProgram;
use support::ganesha::Ganesha;
use support::process::Until;
use support::realm::Realm;
use support::site::Site;

/// Passes, and lookups in each.
const PASSES: usize = 21;
const LOOKUPS: usize = 10_000;

fn main() {
    support::scratch::reap_stale();
    support::machine::require_all();
    print_machine();
    let realm = Realm::start();
    let ganesha = Ganesha::start(&realm, Until::TestEnds);
    println!("\n| contexts | threads | lookups | lookup p50, µs | check p50, µs |\n|---|---|---|---|---|");
    for keeping in ["own", "shared"] {
        let site = Site::new(&realm);
        site.ticket(&realm);
        let mut program = ContextProgram::start(&site, ganesha.target(), &[keeping]);
        program.context("lookup");
        for threads in [1, 2] {
            let timed = |program: &mut ContextProgram, what: &str| -> f64 {
                let line = format!("time {what} {threads} {LOOKUPS}");
                let passes: Vec<f64> =
                    (0..PASSES).map(|_| program.obey(&line).parse::<f64>().unwrap() / 1000.0).collect();
                median(&passes)
            };
            let lookup = timed(&mut program, "lookup");
            let check = timed(&mut program, "check");
            println!("| {keeping} | {threads} | {} | {lookup:.2} | {check:.3} |", PASSES * LOOKUPS);
        }
    }
}
