//! `lgss::rpc` and the examples on a real NFS server: every protection, many threads, large directories, and a server that
//! has forgotten its contexts.

use crate::support::context_program::ContextProgram;
use crate::support::ganesha::Ganesha;
use crate::support::process::{Until, command_as};
use crate::support::realm::Realm;
use crate::support::server::Target;
use crate::support::shared::Shared;
use crate::support::site::{Site, install};
use std::path::Path;
use std::process::Output;
use std::thread::sleep;
use std::time::Duration;

crate::trials![
    the_smallest_call_is_accepted_with_every_protection,
    a_directory_is_listed_whole_with_every_protection,
    sixteen_threads_share_a_client,
    a_server_that_has_forgotten_its_contexts_gets_a_new_one,
    a_server_that_starts_again_in_the_middle_of_calls_fails_none_of_them,
    a_context_that_is_destroyed_is_gone_at_both_ends,
    without_a_ticket_the_examples_say_what_to_do,
];

const PROTECTIONS: [&str; 3] = ["header", "integrity", "privacy"];

/// Runs an example as the user, in a session of its own.
fn example(site: &Site, name: &str, arguments: &[&str]) -> Output {
    let built = Path::new(env!("CARGO_BIN_EXE_lgss-probe")).with_file_name("examples").join(name);
    assert!(
        built.exists(),
        "{} is missing: cargo build --features test-programs --examples",
        built.display()
    );
    let program = site.path(name);
    if !program.exists() {
        install(&built, &program, 0o755);
    }
    let mut command = command_as(site.uid(), "/usr/bin/keyctl");
    command.args(["session", "-"]).arg(program).args(arguments).output().unwrap()
}

#[track_caller]
fn says(output: &Output) -> &str {
    assert!(output.status.success(), "{output:?}");
    std::str::from_utf8(&output.stdout).unwrap()
}

fn place(target: &Target) -> String {
    target.address().to_string()
}

fn the_smallest_call_is_accepted_with_every_protection(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let (target, as_alice) = (shared.nfs(), format!("as alice@{}", shared.realm().name()));
    let program = target.channel().replace("rpc:", "");
    for protection in PROTECTIONS {
        let output = example(&site, "nfs_null", &[&target.service, &program, protection]);
        let said = says(&output);
        for part in [&as_alice, "window 32", "accepted, signed by the server, 0 bytes", "ended, here and"] {
            assert!(said.contains(part), "{part} is not in {said}");
        }
    }
}

fn a_directory_is_listed_whole_with_every_protection(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let target = shared.nfs();
    let mut maker = ContextProgram::calling(&site, target, &["integrity"]);
    let path = format!("/export/of-{}", site.uid());
    assert_eq!(maker.obey(&format!("0 mkdir {path}")), "made");
    assert_eq!(maker.obey(&format!("0 make {path} 2000")), "made");
    for protection in PROTECTIONS {
        let output = example(&site, "nfs_ls", &[&target.service, &place(target), &path, protection]);
        let mut names: Vec<&str> = says(&output).lines().collect();
        names.sort_unstable();
        let mut expected: Vec<String> = (0..2000).map(|number| format!("name {number}")).collect();
        expected.sort_unstable();
        assert_eq!(names, expected, "{protection}");
    }
    let missing = format!("{path}/nothing/here");
    let output = example(&site, "nfs_ls", &[&target.service, &place(target), &missing]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("no such directory"), "{output:?}");
}

fn sixteen_threads_share_a_client(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let mut program = ContextProgram::calling(&site, shared.nfs(), &PROTECTIONS);
    for client in 0..PROTECTIONS.len() {
        assert_eq!(program.obey(&format!("{client} threads 16 100")), "1600 done");
    }
}

fn a_server_that_has_forgotten_its_contexts_gets_a_new_one(_: &Shared) {
    let realm = Realm::start();
    let site = Site::new(&realm);
    site.ticket(&realm);
    let mut ganesha = Ganesha::start(&realm, Until::TestEnds);
    let mut program = ContextProgram::calling(&site, ganesha.target(), &["privacy"]);
    assert_eq!(program.obey("0 null"), "0 bytes");
    let key = program.obey("0 key");
    ganesha.restart(&realm);
    assert_eq!(program.obey("0 null"), "0 bytes");
    let another = program.obey("0 key");
    assert_ne!(key, another);
    assert_eq!(program.obey("0 threads 4 20"), "80 done");
    assert_eq!(program.obey("0 key"), another);
}

/// Threads lose their connection and their context at the same time, and wait for the server.
fn a_server_that_starts_again_in_the_middle_of_calls_fails_none_of_them(_: &Shared) {
    let realm = Realm::start();
    let site = Site::new(&realm);
    site.ticket(&realm);
    let mut ganesha = Ganesha::start(&realm, Until::TestEnds);
    let mut program = ContextProgram::calling(&site, ganesha.target(), &["privacy"]);
    assert_eq!(program.obey("0 null"), "0 bytes");
    let key = program.obey("0 key");
    program.order("0 threads 16 4000");
    sleep(Duration::from_millis(300));
    ganesha.restart(&realm);
    assert_eq!(program.next_line(), "64000 done");
    assert_ne!(program.obey("0 key"), key);
}

fn a_context_that_is_destroyed_is_gone_at_both_ends(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let mut program = ContextProgram::calling(&site, shared.nfs(), &["integrity"]);
    assert_eq!(program.obey("0 null"), "0 bytes");
    let key = program.obey("0 key");
    assert_eq!(program.obey("0 destroy"), "destroyed");
    assert_eq!(program.obey("0 null"), "0 bytes");
    assert_ne!(program.obey("0 key"), key);
}

fn without_a_ticket_the_examples_say_what_to_do(shared: &Shared) {
    let site = Site::new(shared.realm());
    let target = shared.nfs();
    let output = example(&site, "nfs_ls", &[&target.service, &place(target), "/export"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("kinit"), "{output:?}");
}
