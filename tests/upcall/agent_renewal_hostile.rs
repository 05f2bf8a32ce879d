//! `lgss_agent` with workers that are hostile, broken or missing: it goes on serving, and no ticket changes.

use crate::agent_renewal::Renewing;
use crate::support::process::Process;
use crate::support::shared::Shared;
use crate::support::site::{Settings, install};
use crate::support::wait::wait_for;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

crate::trials![
    no_answer_of_a_hostile_worker_gets_into_a_cache,
    a_worker_that_never_ends_is_ended,
    a_worker_that_cannot_be_executed_is_told_of_and_tried_again,
    without_the_starter_the_agent_serves_on_and_says_what_is_missing,
];

fn with_worker_that_is_hostile() -> Renewing {
    let worker = env!("CARGO_BIN_EXE_lgss-hostile-worker");
    Renewing::new(&Settings { worker, kdc: "2s", ..Settings::default() })
}

fn workers(renewing: &Renewing) -> Vec<Pid> {
    let all = Process::running_from(&renewing.site.path(""));
    all.into_iter().map(|process| process.pid).collect()
}

/// The name of a cache is the name of an attack.
fn no_answer_of_a_hostile_worker_gets_into_a_cache(_: &Shared) {
    let renewing = with_worker_that_is_hostile();
    let attacks = [
        ("garbage", "the worker's answer is none"),
        ("nothing", "the worker has ended without an answer"),
        ("same", "the KDC gives no longer life"),
        ("half", "truncated"),
        ("client", "a ticket of another client"),
        ("service", "a ticket of another service"),
        ("doubled", "bytes too many"),
        ("forged", "kdc: as told"),
        ("endless", "the worker's answer is too long"),
    ];
    for (attack, _) in attacks {
        renewing.done(&format!("kinit -c KCM:{attack} -l 40s -r 10m alice"));
    }
    let before: Vec<_> = attacks.iter().map(|(attack, _)| renewing.ends(&format!("KCM:{attack}"))).collect();
    for (attack, word) in attacks {
        let name = format!("KCM:{attack}: ");
        let told = wait_for("what the agent says of a worker", Duration::from_secs(30), || {
            renewing.lines_with(&name).into_iter().find(|line| line.contains("not renewed yet"))
        });
        assert!(told.contains(word), "{told}");
    }
    assert_eq!(renewing.lines_with("forge").iter().filter(|line| line.starts_with("<38>")).count(), 0);
    for ((attack, _), before) in attacks.iter().zip(before) {
        assert_eq!(renewing.ends(&format!("KCM:{attack}")), before, "{attack}");
        assert!(!before.is_empty(), "{attack}");
    }
    assert_eq!(renewing.lines_with("renewed the tickets"), Vec::<String>::new());
}

fn a_worker_that_never_ends_is_ended(_: &Shared) {
    let renewing = with_worker_that_is_hostile();
    renewing.done("kinit -c KCM:silent -l 16s -r 10m alice");
    wait_for("a worker", Duration::from_secs(20), || (!workers(&renewing).is_empty()).then_some(()));
    let [first] = workers(&renewing)[..] else { panic!("{:?}", workers(&renewing)) };
    renewing.done("klist -s -c KCM:silent");
    wait_for("the worker's end", Duration::from_secs(15), || {
        (!workers(&renewing).contains(&first)).then_some(())
    });
    wait_for("what the agent says", Duration::from_secs(15), || {
        renewing.lines_with("the worker has").into_iter().find(|line| line.contains("not renewed yet"))
    });
    assert_eq!(renewing.ends("KCM:silent").len(), 1);
}

fn a_worker_that_cannot_be_executed_is_told_of_and_tried_again(_: &Shared) {
    let renewing = Renewing::new(&Settings::default());
    let worker = renewing.site.path("lgss_negotiate");
    fs::set_permissions(&worker, fs::Permissions::from_mode(0o600)).unwrap();
    renewing.done("kinit -l 20s -r 10m alice");
    let ends = renewing.ends("KCM:");
    wait_for("a failed start", Duration::from_secs(25), || {
        renewing.lines_with("cannot be executed: EACCES").into_iter().next()
    });
    renewing.done("klist -s");
    // A new file, as an update of the package brings one.
    install(env!("CARGO_BIN_EXE_lgss_negotiate"), &worker, 0o711);
    wait_for("a renewal", Duration::from_secs(20), || {
        Some(renewing.ends("KCM:")).filter(|now| now.len() == 1 && *now != ends)
    });
    assert_eq!(renewing.lines_with("cannot be executed").len(), 1);
}

fn without_the_starter_the_agent_serves_on_and_says_what_is_missing(_: &Shared) {
    let renewing = Renewing::new(&Settings::default());
    renewing.done("kinit -l 8s -r 10m alice");
    let children = renewing.children();
    let [starter] = children.as_slice() else { panic!("{children:?}") };
    kill(*starter, Signal::SIGKILL).unwrap();
    renewing.done("klist -s");
    renewing.site.log.wait_for_words(&["no ticket is renewed any more", "restart lgss_agent"]);
    renewing.done("kinit -l 8s -r 10m alice");
    wait_for("the end of the ticket", Duration::from_secs(20), || renewing.attempt("klist -s").err());
    assert_eq!(renewing.lines_with("no ticket is renewed any more").len(), 1);
    // The kernel has reaped it.
    assert_eq!(renewing.children(), []);
}
