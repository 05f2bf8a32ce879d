//! What users and their agents can do to `lgss_kcm`: hold up or reach nobody but themselves. Stubs stand in for agents.

use crate::support::followed_fork::Fork;
use crate::support::local_kcm::LocalKcm;
use crate::support::process::{command, succeed};
use crate::support::shared::Shared;
use crate::support::spying::expect_closed_to;
use crate::support::wait::{stretched, wait_for};
use nix::sys::signal::{Signal, kill};
use std::time::{Duration, Instant};

crate::trials![
    a_stuck_agent_holds_up_nobody_else,
    a_user_who_floods_is_slowed_down_and_others_are_served,
    agents_that_end_at_once_are_not_started_again_and_again,
    there_are_no_more_agents_than_allowed,
    a_range_of_subordinate_uids_has_its_share_of_agents,
    what_agents_leave_behind_counts_until_it_has_ended,
    a_child_that_is_stopped_before_it_is_an_agent_holds_up_nobody_else,
    an_agent_that_says_what_none_says_loses_its_door,
    descriptors_that_clients_send_hold_up_nobody,
    a_user_can_look_into_neither_the_server_nor_its_own_agent,
];

fn a_stuck_agent_holds_up_nobody_else(_: &Shared) {
    let kcm = LocalKcm::start("answers", &["--connections", "5000"]);
    kcm.set_way(kcm.user(), "deaf");
    kcm.ask(kcm.other_user());
    let lines = kcm.lines(kcm.user(), "crowd", 900);
    let count = |what: &str| lines.iter().filter(|line| *line == what).count();
    let (waiting, closed) = (count("waits"), count("closed"));
    // As many as wait at a door, about: the kernel counts bytes.
    assert!((8..=300).contains(&waiting) && waiting + closed == 900, "{waiting} {closed}");
    let begun = Instant::now();
    assert_eq!(kcm.ask(kcm.other_user()).field("received"), "2");
    assert!(begun.elapsed() < stretched(Duration::from_secs(2)), "{:?}", begun.elapsed());
    kcm.log.wait_for_words(&[&format!("uid {}", kcm.user()), "its agent does not take them"]);
}

fn a_user_who_floods_is_slowed_down_and_others_are_served(_: &Shared) {
    let kcm = LocalKcm::start("answers", &["--connections", "20"]);
    let begun = Instant::now();
    let lines = kcm.lines(kcm.user(), "ask", 2000);
    let answered = lines.iter().filter(|line| line.starts_with("for=")).count();
    // Two seconds' worth at once, and then what each second allows.
    let most = 40.0 + 20.0 * begun.elapsed().as_secs_f64();
    assert!(answered >= 40 && answered as f64 <= most + 1.0, "{answered} of {most}");
    assert_eq!(kcm.ask(kcm.other_user()).field("received"), "1");
    kcm.log.wait_for_words(&[&format!("uid {}", kcm.user()), "more than 20 in a second (--connections)"]);
}

fn agents_that_end_at_once_are_not_started_again_and_again(_: &Shared) {
    let kcm = LocalKcm::start("answers", &[]);
    kcm.set_way(kcm.user(), "dies");
    let begun = Instant::now();
    assert!(kcm.lines(kcm.user(), "ask", 200).iter().all(|line| line == "closed"));
    let took = begun.elapsed();
    assert_eq!(kcm.ask(kcm.other_user()).field("received"), "1");
    let told = format!("uid {}: agent ", kcm.user());
    kcm.log.wait_for_words(&[&told, "ended with status 3"]);
    // One, another after a second, another after two more.
    let started = kcm.log.lines().iter().filter(|line| line.contains("ended with status 3")).count();
    assert!(started <= 2 + usize::try_from(took.as_secs()).unwrap(), "{started} in {took:?}");
    kcm.set_way(kcm.user(), "answers");
    wait_for("an agent after the pause", Duration::from_secs(20), || {
        kcm.lines(kcm.user(), "ask", 1).remove(0).starts_with("for=").then_some(())
    });
}

fn there_are_no_more_agents_than_allowed(_: &Shared) {
    let kcm = LocalKcm::start("answers", &["--agents", "1"]);
    let agent = kcm.ask(kcm.user()).pid();
    let other = format!("uid {}", kcm.other_user());
    for _ in 0..3 {
        assert_eq!(kcm.lines(kcm.other_user(), "ask", 1), ["closed"]);
    }
    kcm.log.wait_for_words(&[&other, "there are 1 already (--agents)"]);
    kcm.ask(kcm.user());
    kill(agent, Signal::SIGKILL).unwrap();
    wait_for("the other's agent", Duration::from_secs(20), || {
        kcm.lines(kcm.other_user(), "ask", 1).remove(0).starts_with("for=").then_some(())
    });
    // That there was no agent is not taken for one that ended.
    let blamed = |line: &String| line.contains(&other) && line.contains("as soon as");
    assert_eq!(kcm.log.lines().into_iter().find(blamed), None);
}

fn a_range_of_subordinate_uids_has_its_share_of_agents(_: &Shared) {
    let kcm = LocalKcm::start_by("answers", |words| {
        // The site's two uids are one range here.
        let user: u32 = words.iter().skip_while(|word| *word != "--user").nth(1).unwrap().parse().unwrap();
        let script = "echo \"someone:$1:65536\" >\"$2\".subuid && mount --bind \"$2\".subuid /etc/subuid && shift && \
            exec \"$@\" --agents-per-owner 2";
        let mut unshare = command("unshare");
        unshare.args(["--mount", "--propagation", "private", "sh", "-euc", script, "sh"]);
        unshare.arg((user - 1).to_string()).args(words);
        unshare
    });
    let (first, own) = (kcm.user(), kcm.own_user());
    kcm.ask(first);
    kcm.ask(own + 1);
    assert_eq!(kcm.lines(own + 2, "ask", 1), ["closed"]);
    kcm.log.wait_for_words(&[&format!("uid {}", own + 2), "have 2 already (--agents-per-owner)"]);
    assert_eq!(kcm.ask(first).field("received"), "2");
    // Others are outside of the range.
    kcm.ask(0);
}

/// As when a user stops what its agent has started, and kills the agent, again and again.
fn what_agents_leave_behind_counts_until_it_has_ended(_: &Shared) {
    let kcm = LocalKcm::start("answers", &[]);
    let user = kcm.user();
    kcm.set_way(user, "deserts");
    assert_eq!(kcm.lines(user, "ask", 1), ["closed"]);
    kcm.wait_for_agents(8);
    kcm.set_way(user, "answers");
    let refused = |times: usize| {
        wait_for("the refusal", Duration::from_secs(20), || {
            assert_eq!(kcm.lines(user, "ask", 1), ["closed"]);
            let told = format!("uid {user}: no agent: 8 processes of agents");
            let lines = kcm.log.lines();
            (lines.iter().filter(|line| line.contains(&told)).count() == times).then_some(())
        });
    };
    refused(1);
    kcm.ask(kcm.other_user());
    kcm.daemon.signal(Signal::SIGHUP);
    kcm.log.wait_for_words(&["restarted; agents that go on: 1"]);
    refused(2);
    for (left, _) in kcm.agents_with_uids().into_iter().filter(|(_, uid)| *uid == user) {
        kill(left, Signal::SIGKILL).unwrap();
    }
    wait_for("an agent", Duration::from_secs(20), || {
        kcm.lines(user, "ask", 1).remove(0).starts_with("for=").then_some(())
    });
}

/// From the moment when the child has become the user, that user can stop it. Here it is stopped before and after each of its
/// system calls, from its first one on.
fn a_child_that_is_stopped_before_it_is_an_agent_holds_up_nobody_else(_: &Shared) {
    let kcm = LocalKcm::start("leaves", &[]);
    kcm.let_leave();
    let mut stops = 0;
    loop {
        kcm.wait_for_agents(0);
        let stopped = std::thread::scope(|scope| {
            let keeper = Fork::followed(kcm.daemon.pid());
            let asking = scope.spawn(|| kcm.ask(kcm.user()));
            let stopped = keeper.child_stopped_after(stops);
            if let Some(child) = stopped {
                let begun = Instant::now();
                assert_eq!(kcm.ask(kcm.other_user()).field("received"), "1");
                assert!(begun.elapsed() < stretched(Duration::from_secs(2)), "{:?}", begun.elapsed());
                kill(child, Signal::SIGCONT).unwrap();
            }
            assert_eq!(asking.join().unwrap().field("received"), "1");
            stopped
        });
        if stopped.is_none() {
            break;
        }
        stops += 1;
    }
    // Two for each call, among them those that close, become the user and execute.
    assert!(stops >= 40, "{stops}");
}

fn an_agent_that_says_what_none_says_loses_its_door(_: &Shared) {
    let kcm = LocalKcm::start("answers", &[]);
    for (uid, way) in [(kcm.user(), "babbles"), (kcm.other_user(), "laden")] {
        kcm.set_way(uid, way);
        let line = kcm.lines(uid, "ask", 1).remove(0);
        // Its first connection may have been answered; a kernel that refuses descriptors tells the stub only.
        assert!(line == "closed" || line.starts_with("for="), "{line}");
        kcm.ask(0);
        // When it has ended, its user has another.
        let agents = kcm.agents_with_uids().into_iter().filter(|(_, user)| *user == uid);
        // It may have ended already.
        agents.for_each(|(pid, _)| kill(pid, Signal::SIGKILL).unwrap_or_default());
        kcm.set_way(uid, "answers");
        wait_for("another agent", Duration::from_secs(20), || {
            kcm.lines(uid, "ask", 1).remove(0).starts_with("for=").then_some(())
        });
    }
    kcm.log.wait_for_words(&[&format!("uid {}", kcm.user()), "says what no agent says"]);
}

fn descriptors_that_clients_send_hold_up_nobody(_: &Shared) {
    let kcm = LocalKcm::start("answers", &["--connections", "20"]);
    let said = kcm.lines(kcm.user(), "laden", 200);
    assert_eq!(said.len(), 200);
    let begun = Instant::now();
    kcm.ask(kcm.other_user());
    assert!(begun.elapsed() < stretched(Duration::from_secs(2)), "{:?}", begun.elapsed());
}

fn a_user_can_look_into_neither_the_server_nor_its_own_agent(_: &Shared) {
    let kcm = LocalKcm::start("answers", &[]);
    let (own, others) = (kcm.ask(kcm.user()).pid(), kcm.ask(kcm.other_user()).pid());
    let roots = kcm.ask(0).pid();
    for pid in [own, others, roots, kcm.daemon.pid(), kcm.acceptor()] {
        expect_closed_to(kcm.user(), pid);
    }
    // Root's agent is of the same user as the server, and no agent's file can be read.
    for pid in [roots, kcm.daemon.pid(), kcm.acceptor()] {
        expect_closed_to(kcm.own_user(), pid);
    }
    let mut read = crate::support::process::command_as(kcm.user(), "sh");
    read.args(["-c", "! cat \"$1\" >/dev/null 2>&1", "sh"]).arg(kcm.path("lgss_agent"));
    succeed(&mut read, "");
}
