//! A setuid program of root, run by an ordinary user: no request while its ids differ (rule S2), and only the user's
//! access once it has given up its rights.

use crate::support::outcome::Outcome;
use crate::support::probe::{Probe, Request, Step};
use crate::support::process::{command, command_as, succeed};
use crate::support::rpc::call_null_with;
use crate::support::setuid::setuid_probe;
use crate::support::shared::Shared;
use crate::support::site::Site;
use nix::errno::Errno;
use std::path::PathBuf;
use std::process::Command;

crate::trials![
    a_setuid_program_is_refused_as_root_as_the_user_and_with_its_rights_put_aside,
    a_setuid_program_that_has_given_its_rights_up_is_served_as_the_user,
    a_setuid_program_gets_no_cache_of_root_by_its_callers_environment,
];

/// Outcome of the program's request after these steps; the user starts it with this command.
#[track_caller]
fn ask(mut starter: Command, program: &PathBuf, mut steps: Vec<Step>, request: Request) -> Outcome {
    let before = steps.len();
    steps.extend([Step::Request(request), Step::Settle { within_ms: 30_000 }]);
    starter.arg(program);
    let findings = Probe::start_with(starter, &steps).rest();
    assert!(findings.len() > before, "{findings:?}");
    Outcome::of(&findings[before..])
}

/// Real, effective and saved uid.
fn ids(uid: [u32; 3], gid: u32) -> Step {
    Step::Ids { uid, gid: [gid; 3] }
}

fn a_setuid_program_is_refused_as_root_as_the_user_and_with_its_rights_put_aside(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let program = setuid_probe(&site);
    let uid = site.uid();
    let roots = site.request_as("0", shared.nfs(), &format!(":{uid}"));
    let users = site.request(shared.nfs());
    let cases = [
        (vec![], roots.clone()),
        (vec![], users.clone()),
        (vec![Step::FsIds { uid, gid: uid }], users.clone()),
        // It could take back the saved uid.
        (vec![ids([uid, uid, 0], uid)], users),
    ];
    for (more, request) in cases {
        let steps = [vec![Step::JoinSession], more].concat();
        let shown = format!("{steps:?}");
        match ask(command_as(uid, "env"), &program, steps, request) {
            Outcome::Refused(Errno::EACCES) => {}
            other => panic!("not refused: {shown}: {other:?}, log {:#?}", site.log.lines()),
        }
    }
    site.log.wait_for_words(&["S2", "EACCES"]);
}

fn a_setuid_program_that_has_given_its_rights_up_is_served_as_the_user(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let program = setuid_probe(&site);
    let uid = site.uid();
    let steps = vec![ids([uid; 3], uid), Step::JoinSession];
    let outcome = ask(command_as(uid, "env"), &program, steps, site.request(shared.nfs()));
    call_null_with(&outcome.context(), shared.nfs());
    site.log.wait_for_words(&["established", &format!("uid {uid} ")]);
}

/// The caller names root's valid cache; the program gets no context from it, neither as root nor as the user.
fn a_setuid_program_gets_no_cache_of_root_by_its_callers_environment(shared: &Shared) {
    let site = Site::new(shared.realm());
    let roots = format!("FILE:{}", site.path("root-cache").display());
    shared.realm().ticket(0, &roots);
    let program = setuid_probe(&site);
    let uid = site.uid();
    let starter = || {
        let mut env = command_as(uid, "env");
        env.arg(format!("KRB5CCNAME={roots}"));
        env
    };
    let given_up = || vec![ids([uid; 3], uid), Step::JoinSession];
    let outcome = ask(starter(), &program, given_up(), site.request(shared.nfs()));
    assert_eq!(outcome.errno(), Errno::ENOKEY, "{:#?}", site.log.lines());
    let request = site.request_as("0", shared.nfs(), &format!(":{uid}"));
    assert_eq!(ask(starter(), &program, vec![Step::JoinSession], request).errno(), Errno::EACCES);
    // Named in the request itself, it is still not the user's.
    let named = site.request_with(shared.nfs(), &format!("cache={roots}"));
    assert_eq!(ask(starter(), &program, given_up(), named).errno(), Errno::ENOKEY);
    // The cache is valid for root.
    succeed(command("klist").args(["-s", "-c", &roots]), "");
    assert!(!site.log.lines().iter().any(|line| line.contains("established")), "{:#?}", site.log.lines());
}
