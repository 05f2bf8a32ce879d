//! `lgss_kcm` gives each connection to its user's own agent, and no connection is lost while agents come and go. Stubs stand in
//! for agents.

use crate::support::local_kcm::{LocalKcm, open_descriptors};
use crate::support::process::{command_as, run, succeed};
use crate::support::shared::Shared;
use crate::support::site::{install, install_content};
use crate::support::wait::wait_for;
use nix::sys::signal::{Signal, kill};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

crate::trials![
    every_user_has_an_agent_of_its_own_that_runs_as_it,
    an_agent_that_leaves_loses_no_connection,
    an_agent_that_is_killed_is_replaced,
    an_acceptor_that_is_killed_is_replaced_and_agents_stay,
    a_signal_restarts_the_program_and_agents_stay,
    signals_that_come_during_a_restart_do_not_end_it,
    after_a_restart_agents_can_leave,
    when_it_is_ended_its_agents_end,
    a_user_namespace_changes_nothing,
    the_socket_is_nobody_elses,
    a_group_that_somebody_has_for_a_while_is_not_the_agents,
    without_a_program_that_can_start_there_is_no_restart,
    fewer_descriptors_than_the_doors_take_are_told_at_the_start,
    what_no_agent_could_be_started_with_is_told_at_the_start,
    words_that_make_no_sense_are_refused,
];

const NO_CAPABILITIES: &str = "0000000000000000";

fn every_user_has_an_agent_of_its_own_that_runs_as_it(_: &Shared) {
    let kcm = LocalKcm::start("answers", &[]);
    let users = [0, kcm.user(), kcm.other_user()];
    let agents = users.map(|uid| (uid, kcm.ask(uid)));
    for (uid, agent) in &agents {
        // Nobody's agent is root's process.
        let user = if *uid == 0 { kcm.own_user() } else { *uid };
        let (user, group) = ([user.to_string().as_str(); 4].join(","), kcm.own_user().to_string());
        assert_eq!((agent.field("for"), agent.field("peer")), (uid.to_string().as_str(), agent.field("for")));
        assert_eq!((agent.field("Uid"), agent.field("Groups")), (user.as_str(), ""));
        assert_eq!(agent.field("Gid"), [group.as_str(); 4].join(","));
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(agent.field(set), NO_CAPABILITIES, "{set} of {uid}");
        }
        assert_eq!(agent.field("NoNewPrivs"), "1");
        let again = kcm.ask(*uid);
        assert_eq!((again.pid(), again.field("received")), (agent.pid(), "2"));
    }
    let pids: BTreeSet<_> = agents.iter().map(|(_, agent)| agent.pid()).collect();
    assert_eq!(pids.len(), users.len());
}

/// It says so whenever there is nothing at its door, which is between most connections here.
fn an_agent_that_leaves_loses_no_connection(_: &Shared) {
    let kcm = LocalKcm::start("leaves", &[]);
    kcm.let_leave();
    kcm.ask(kcm.user());
    kcm.wait_for_agents(0);
    let before = [kcm.daemon.pid(), kcm.acceptor()].map(open_descriptors);
    let (rounds, each) = (10, 15);
    let asked = [(kcm.user(), each), (kcm.user(), each), (kcm.other_user(), each)];
    let round = || {
        // No agent is there, so that each of the two users gets a new one, however slow the machine is.
        kcm.wait_for_agents(0);
        std::thread::scope(|scope| {
            let clients = asked.map(|(uid, count)| {
                let kcm = &kcm;
                scope.spawn(move || kcm.lines(uid, "ask", count))
            });
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<String>>()
        })
    };
    let lines: Vec<String> = (0..rounds).flat_map(|_| round()).collect();
    assert_eq!(
        (lines.len(), lines.iter().filter(|line| !line.starts_with("for=")).count()),
        (450, 0),
        "{lines:?}"
    );
    let new = lines.iter().filter(|line| line.contains("received=1 ")).count();
    assert!(new >= 2 * rounds, "{new}");
    kcm.wait_for_agents(0);
    assert_eq!([kcm.daemon.pid(), kcm.acceptor()].map(open_descriptors), before);
}

fn an_agent_that_is_killed_is_replaced(_: &Shared) {
    let kcm = LocalKcm::start("answers", &[]);
    let (first, others) = (kcm.ask(kcm.user()), kcm.ask(kcm.other_user()));
    kill(first.pid(), Signal::SIGKILL).unwrap();
    // Since it had just been started, the next has to wait.
    let second = wait_for("another agent", Duration::from_secs(20), || {
        let line = kcm.lines(kcm.user(), "ask", 1).remove(0);
        (line != "closed").then_some(line)
    });
    assert!(second.contains("received=1 ") && !second.contains(&format!("Pid={} ", first.pid())), "{second}");
    assert_eq!(kcm.ask(kcm.other_user()).pid(), others.pid());
    kcm.log.wait_for_words(&[&format!("uid {}", kcm.user()), "was ended by SIGKILL"]);
}

fn an_acceptor_that_is_killed_is_replaced_and_agents_stay(_: &Shared) {
    let kcm = LocalKcm::start("answers", &[]);
    let before = [kcm.user(), kcm.other_user()].map(|uid| kcm.ask(uid).pid());
    let acceptor = kcm.acceptor();
    kill(acceptor, Signal::SIGKILL).unwrap();
    wait_for("another acceptor", Duration::from_secs(10), || (kcm.acceptor() != acceptor).then_some(()));
    assert_eq!([kcm.user(), kcm.other_user()].map(|uid| kcm.ask(uid).pid()), before);
}

fn a_signal_restarts_the_program_and_agents_stay(_: &Shared) {
    let kcm = LocalKcm::start("answers", &[]);
    let users = [0, kcm.user(), kcm.other_user()];
    let before = users.map(|uid| kcm.ask(uid).pid());
    let descriptors = open_descriptors(kcm.daemon.pid());
    // More often than a process can have rules for files.
    for _ in 0..20 {
        let acceptor = kcm.acceptor();
        kcm.daemon.signal(Signal::SIGHUP);
        wait_for("another acceptor", Duration::from_secs(10), || (kcm.acceptor() != acceptor).then_some(()));
    }
    assert_eq!(users.map(|uid| kcm.ask(uid).pid()), before);
    assert_eq!(open_descriptors(kcm.daemon.pid()), descriptors);
}

/// Some come while the program is executed.
fn signals_that_come_during_a_restart_do_not_end_it(_: &Shared) {
    let mut kcm = LocalKcm::start("answers", &[]);
    let agent = kcm.ask(kcm.user()).pid();
    for _ in 0..5 {
        let acceptor = kcm.acceptor();
        wait_for("another acceptor", Duration::from_secs(20), || {
            (0..5).for_each(|_| kcm.daemon.signal(Signal::SIGHUP));
            assert_eq!(kcm.daemon.ended(), None);
            (kcm.acceptor() != acceptor).then_some(())
        });
    }
    assert_eq!(kcm.ask(kcm.user()).pid(), agent);
    assert_eq!(kcm.daemon.ended(), None);
}

fn after_a_restart_agents_can_leave(_: &Shared) {
    let kcm = LocalKcm::start("leaves", &[]);
    let agent = kcm.ask(kcm.user()).pid();
    let acceptor = kcm.acceptor();
    kcm.daemon.signal(Signal::SIGHUP);
    wait_for("another acceptor", Duration::from_secs(10), || (kcm.acceptor() != acceptor).then_some(()));
    assert_eq!(kcm.ask(kcm.user()).pid(), agent);
    kcm.let_leave();
    kcm.wait_for_agents(0);
    assert_ne!(kcm.ask(kcm.user()).pid(), agent);
}

fn when_it_is_ended_its_agents_end(_: &Shared) {
    let mut kcm = LocalKcm::start("answers", &[]);
    kcm.ask(kcm.user());
    kcm.ask(0);
    kcm.daemon.signal(Signal::SIGTERM);
    let status = wait_for("its end", Duration::from_secs(10), || kcm.daemon.ended());
    assert!(status.success(), "{status}");
    kcm.wait_for_agents(0);
}

/// A process that is root in a namespace of its own, and reaches the socket by another name.
fn a_user_namespace_changes_nothing(_: &Shared) {
    let kcm = LocalKcm::start("answers", &[]);
    let agent = kcm.ask(kcm.user()).pid();
    let script = "mount -t tmpfs lgss-test /mnt && mkdir /mnt/run && mount --bind \"$1\" /mnt/run && \
        [ $(id -u) = 0 ] && exec \"$1\"/client client /mnt/run/socket ask 1";
    let mut unshare = command_as(kcm.user(), "unshare");
    unshare.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]).arg(kcm.path(""));
    let said = succeed(&mut unshare, "");
    assert!(
        said.contains(&format!("for={} ", kcm.user())) && said.contains(&format!("Pid={agent} ")),
        "{said}"
    );
}

fn the_socket_is_nobody_elses(_: &Shared) {
    let kcm = LocalKcm::start("answers", &[]);
    let agent = kcm.ask(kcm.user()).pid();
    let mut second = crate::support::process::command(kcm.path("lgss_kcm"));
    second.arg("--socket").arg(kcm.socket()).arg("--agent").arg(kcm.path("lgss_agent"));
    let said = run(second.args(["--user", &kcm.own_user().to_string()]), "").unwrap_err();
    assert!(said.contains("a program listens there"), "{said}");
    assert_eq!(kcm.ask(kcm.user()).pid(), agent);
    // And nobody else can be the server.
    let mut third = command_as(kcm.user(), kcm.path("lgss_kcm"));
    third.arg("--socket").arg(kcm.path("user-socket")).args(["--user", &kcm.user().to_string()]);
    let said = run(&mut third, "").unwrap_err();
    assert!(said.contains("start it as root") && !kcm.path("user-socket").exists(), "{said}");
}

/// As from a program that is set-group-id.
fn a_group_that_somebody_has_for_a_while_is_not_the_agents(_: &Shared) {
    let kcm = LocalKcm::start("answers", &[]);
    let mut client = crate::support::process::command("setpriv");
    client.args([format!("--reuid={}", kcm.user()), "--regid=0".to_owned(), "--clear-groups".to_owned()]);
    client.arg(kcm.path("client")).arg("client").arg(kcm.socket()).args(["ask", "1"]);
    let said = succeed(&mut client, "");
    let own = kcm.own_user().to_string();
    assert!(said.contains(&format!(" Gid={} ", [own.as_str(); 4].join(","))), "{said}");
}

/// A restart that could not succeed would lose every agent's door.
fn without_a_program_that_can_start_there_is_no_restart(_: &Shared) {
    let kcm = LocalKcm::start("answers", &[]);
    let agent = kcm.ask(kcm.user()).pid();
    let aside = |program: &str| {
        fs::rename(kcm.path(program), kcm.path("aside")).unwrap();
    };
    let back = |program: &str| fs::rename(kcm.path("aside"), kcm.path(program)).unwrap();
    let mode =
        |name: &str, mode| fs::set_permissions(kcm.path(name), fs::Permissions::from_mode(mode)).unwrap();
    let refused = |words: &[&str]| {
        let said = || kcm.log.lines().iter().filter(|line| line.contains("not restarted")).count();
        let before = said();
        kcm.daemon.signal(Signal::SIGHUP);
        wait_for("the refusal", Duration::from_secs(20), || (said() > before).then_some(()));
        kcm.log.wait_for_words(words);
        assert_eq!(kcm.ask(kcm.user()).pid(), agent);
    };
    aside("lgss_agent");
    refused(&["not restarted: agent:", "lgss_agent"]);
    back("lgss_agent");
    mode("lgss_agent", 0o644);
    refused(&["not restarted: agent:", "lgss_agent is not executable"]);
    mode("lgss_agent", 0o711);
    mode("lgss_kcm", 0o600);
    refused(&["not restarted:", "lgss_kcm cannot be executed"]);
    mode("lgss_kcm", 0o755);
    aside("lgss_kcm");
    // As while it is being copied.
    install_content("half", &kcm.path("lgss_kcm"), 0o755);
    refused(&["not restarted:", "lgss_kcm cannot be executed"]);
    install("/bin/false", &kcm.path("lgss_kcm"), 0o755);
    refused(&["not restarted: the program did not do as it should when it was tried: status 1"]);
    fs::remove_file(kcm.path("lgss_kcm")).unwrap();
    refused(&["not restarted:", "lgss_kcm: ", "No such file"]);
    back("lgss_kcm");
    let acceptor = kcm.acceptor();
    kcm.daemon.signal(Signal::SIGHUP);
    wait_for("another acceptor", Duration::from_secs(10), || (kcm.acceptor() != acceptor).then_some(()));
    kcm.log.wait_for_words(&["restarted; agents that go on: 1"]);
    assert_eq!(kcm.ask(kcm.user()).pid(), agent);
    let ended = |line: &String| line.contains("acceptor") && line.contains("was ended by");
    assert_eq!(kcm.log.lines().into_iter().find(ended), None);
}

fn fewer_descriptors_than_the_doors_take_are_told_at_the_start(_: &Shared) {
    let kcm = LocalKcm::start("answers", &[]);
    let mut words = kcm.words();
    words[2] = kcm.path("another").display().to_string();
    let mut limited = crate::support::process::command("prlimit");
    limited.args(["--nofile=1200:1200", "setpriv", "--bounding-set", "-sys_resource"]).args(&words);
    let said = run(limited.args(["--agents", "100"]), "").unwrap_err();
    assert!(said.contains("100 agents take 1456 descriptors, and the limit is 1200"), "{said}");
}

fn what_no_agent_could_be_started_with_is_told_at_the_start(_: &Shared) {
    let kcm = LocalKcm::start("answers", &[]);
    install_content("settings", &kcm.path("private"), 0o600);
    let with = |place: usize, value: &str| {
        let mut words = kcm.words();
        words[2] = kcm.path("another").display().to_string();
        words[place] = value.to_owned();
        run(crate::support::process::command(&words[0]).args(&words[1..]), "").unwrap_err()
    };
    let way = kcm.path("way").display().to_string();
    let said = with(4, &way);
    assert!(said.contains("way is not executable"), "{said}");
    for (settings, why) in
        [("relative", "EINVAL"), ("/nowhere", "ENOENT"), (kcm.path("private").to_str().unwrap(), "EACCES")]
    {
        let said = with(6, settings);
        assert!(said.contains("its settings") && said.contains(why), "{said}");
    }
    let said = with(8, "0");
    assert!(said.contains("uid 0; it must be") && !said.contains("useradd"), "{said}");
}

fn words_that_make_no_sense_are_refused(_: &Shared) {
    let with = |words: &[&str]| {
        run(crate::support::process::command(env!("CARGO_BIN_EXE_lgss_kcm")).args(words), "")
    };
    let said = with(&["--agents", "0"]).unwrap_err();
    assert!(said.contains("status: 2") && said.contains("--agents: 0 is no number"), "{said}");
    let said = with(&["--user", "lgss-test-nobody"]).unwrap_err();
    assert!(said.contains("status: 1") && said.contains("does not exist; make it"), "{said}");
    assert!(with(&["--help"]).unwrap().contains("--agents-per-owner N"));
    assert_eq!(with(&["--version"]).unwrap(), concat!("lgss_kcm ", env!("CARGO_PKG_VERSION"), "\n"));
}
