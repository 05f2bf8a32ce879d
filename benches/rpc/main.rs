//! What protection costs a program that lists a large directory: `make bench-rpc`, docs/benchmarks.md.
//!
//! One program, one connection, one NFS-Ganesha; a directory of 10 000 names is listed by the code of the example `nfs_ls`, with
//! every protection in turn. Each is compared with the first, whose calls are signed and no more; the rest of a listing's time than the
//! program's own is the server's.
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

const NAMES: usize = 10_000;
const ROUNDS: usize = 60;
const PROTECTIONS: [&str; 3] = ["header", "integrity", "privacy"];

fn main() {
    support::scratch::reap_stale();
    support::machine::require_all();
    print_machine();
    let realm = Realm::start();
    let ganesha = Ganesha::start(&realm, Until::TestEnds);
    let site = Site::new(&realm);
    site.ticket(&realm);
    let mut program = ContextProgram::calling(&site, ganesha.target(), &PROTECTIONS);
    assert_eq!(program.obey("0 mkdir /export/many"), "made");
    assert_eq!(program.obey(&format!("0 make /export/many {NAMES}")), "made");
    let (mut times, mut works): ([Vec<f64>; 3], [Vec<f64>; 3]) = Default::default();
    for round in 0..=ROUNDS {
        for turn in 0..PROTECTIONS.len() {
            let which = (round + turn) % PROTECTIONS.len();
            let answer = program.obey(&format!("{which} list /export/many"));
            let words: Vec<&str> = answer.split(' ').collect();
            assert_eq!(words[0], NAMES.to_string(), "{answer}");
            // The first round warms up.
            if round > 0 {
                let milliseconds = |word: &str| word.parse::<f64>().unwrap() / 1e6;
                times[which].push(milliseconds(words[4]));
                works[which].push(milliseconds(words[6]));
            }
        }
    }
    println!(
        "\n| protection | NFS calls it | p50, ms | median of paired ratios | p50 of the program's processor time, ms |"
    );
    println!("|---|---|---|---|---|");
    for (which, name) in PROTECTIONS.iter().enumerate() {
        let ratios: Vec<f64> = times[which].iter().zip(&times[0]).map(|(this, first)| this / first).collect();
        let nfs = ["krb5", "krb5i", "krb5p"][which];
        let (time, work, ratio) = (median(&times[which]), median(&works[which]), median(&ratios));
        println!("| {name} | {nfs} | {time:.2} | {ratio:.2} | {work:.2} |");
    }
}
