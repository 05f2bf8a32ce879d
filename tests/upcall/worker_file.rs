//! The file in the worker's place: only a program that root put there is started, and it gains no rights by it.

use crate::support::probe::{Probe, Step, as_user};
use crate::support::server::Server;
use crate::support::shared::Shared;
use crate::support::site::{Site, install_content};
use lgss::private_to_lgss::event::Cause;
use nix::errno::Errno;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

crate::trials![
    a_worker_that_may_not_be_executed_is_a_fault_of_the_installation,
    a_file_that_is_no_program_in_the_workers_place_is_a_fault_of_the_installation,
    a_directory_or_a_fifo_in_the_workers_place_is_a_fault_of_the_installation,
    a_link_in_the_workers_place_counts_as_what_it_leads_to,
    a_setuid_worker_gets_no_rights_by_it,
];

/// The request fails with EIO, and one line of the log names the program and the remedy.
#[track_caller]
fn expect_setup_failure(site: &Site, shared: &Shared, word: &str) {
    assert_eq!(site.ask(shared.nfs()).errno(), Errno::EIO, "log {:#?}", site.log.lines());
    site.log.wait_for_words(&["launch", word, "EIO", &site.remedy(Cause::Setup)]);
    site.wait_until_idle();
}

fn ready(shared: &Shared) -> Site {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    site
}

fn a_worker_that_may_not_be_executed_is_a_fault_of_the_installation(shared: &Shared) {
    let site = ready(shared);
    let worker = site.path("lgss_negotiate");
    // This includes modes for root alone: the worker never runs as root.
    for mode in [0o644, 0o600, 0o700] {
        fs::set_permissions(&worker, fs::Permissions::from_mode(mode)).unwrap();
        expect_setup_failure(&site, shared, "EACCES");
    }
    fs::set_permissions(&worker, fs::Permissions::from_mode(0o711)).unwrap();
    drop(site.ask(shared.nfs()).context());
}

fn a_file_that_is_no_program_in_the_workers_place_is_a_fault_of_the_installation(shared: &Shared) {
    let site = ready(shared);
    // A script would need a path for its interpreter, and there is no shell on this way (rule S14).
    for (content, word) in [("#!/bin/sh\nexit 0\n", "ENOENT"), ("", "ENOEXEC"), ("\x7fELF, not", "ENOEXEC")] {
        install_content(content, &site.path("lgss_negotiate"), 0o711);
        expect_setup_failure(&site, shared, word);
    }
}

fn a_directory_or_a_fifo_in_the_workers_place_is_a_fault_of_the_installation(shared: &Shared) {
    let site = ready(shared);
    let worker = site.path("lgss_negotiate");
    fs::remove_file(&worker).unwrap();
    fs::create_dir(&worker).unwrap();
    expect_setup_failure(&site, shared, "lgss_negotiate is not a regular file");
    fs::remove_dir(&worker).unwrap();
    mkfifo(&worker, Mode::from_bits_truncate(0o700)).unwrap();
    expect_setup_failure(&site, shared, "lgss_negotiate is not a regular file");
}

fn a_link_in_the_workers_place_counts_as_what_it_leads_to(shared: &Shared) {
    let site = ready(shared);
    let worker = site.path("lgss_negotiate");
    let theirs = site.path("user").join("program");
    fs::rename(&worker, site.path("moved")).unwrap();
    fs::copy(site.path("moved"), &theirs).unwrap();
    symlink(&theirs, &worker).unwrap();
    expect_setup_failure(&site, shared, "is not owned by root or is writable by others");
    fs::remove_file(&worker).unwrap();
    symlink(site.path("moved"), &worker).unwrap();
    drop(site.ask(shared.nfs()).context());
}

fn a_setuid_worker_gets_no_rights_by_it(shared: &Shared) {
    let site = ready(shared);
    fs::set_permissions(site.path("lgss_negotiate"), fs::Permissions::from_mode(0o6711)).unwrap();
    let server = Server::silent();
    let mut steps = as_user(site.uid());
    steps.extend([Step::Request(site.request(&shared.nfs().behind(&server))), Step::Pause]);
    let mut requester = Probe::start(&steps);
    requester.until_pause();
    let worker = site.wait_for_process("lgss_negotiate");
    let status = fs::read_to_string(format!("/proc/{}/status", worker.pid)).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a field of the status");
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let user = vec![site.uid().to_string(); 4];
    assert_eq!((field("Uid:"), field("Gid:")), (user.clone(), user));
    assert_eq!((field("CapEff:"), field("CapPrm:")), (vec!["0".repeat(16)], vec!["0".repeat(16)]));
}
