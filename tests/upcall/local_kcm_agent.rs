//! `lgss_kcm` with `lgss_agent` itself: MIT's tools find each user's tickets in that user's own agent.

use crate::support::local_kcm::LocalKcm;
use crate::support::process::{command, command_as, run, succeed};
use crate::support::realm::{PASSWORD, Realm};
use crate::support::shared::Shared;
use crate::support::spying::expect_closed_to;
use crate::support::wait::wait_for;
use nix::sys::signal::{Signal, kill};
use std::fs;
use std::process::Command;
use std::time::Duration;

crate::trials![
    two_users_and_root_have_tickets_of_their_own_at_once,
    a_restart_loses_no_ticket,
    an_agent_that_is_killed_is_missed_and_replaced,
    an_agent_without_tickets_leaves_and_no_client_notices,
    root_in_a_namespace_of_a_users_has_the_users_tickets,
];

/// A server, and a realm in which each user has a principal.
struct Tickets {
    kcm: LocalKcm,
}

impl Tickets {
    fn new(realm: &Realm, settings: &str) -> Self {
        let kcm = LocalKcm::start_agents(settings, &[]);
        let users = [0, kcm.user(), kcm.other_user()];
        realm
            .administrate(&users.map(|uid| format!("addprinc -pw \"{PASSWORD}\" {}", Self::name(&kcm, uid))));
        let text = realm.krb5_conf();
        let setting = format!("[libdefaults]\nkcm_socket = {}\n", kcm.socket().display());
        let with_socket = text.replacen("[libdefaults]\n", &setting, 1);
        assert_ne!(text, with_socket);
        fs::write(kcm.path("krb5.conf"), with_socket).unwrap();
        Self { kcm }
    }

    /// Another run's are in the same realm.
    fn name(kcm: &LocalKcm, uid: u32) -> String {
        format!("of-{uid}-{}", kcm.user())
    }

    /// A shell script of this user's.
    fn shell(&self, uid: u32, script: &str) -> Command {
        let mut shell = if uid == 0 { command("sh") } else { command_as(uid, "sh") };
        let typed = "typed() { printf '%s\\n' \"$PASSWORD\" | kinit \"$NAME\" >/dev/null; }\n";
        shell.args(["-euc", &format!("{typed}{script}")]);
        shell
            .env("KRB5_CONFIG", self.kcm.path("krb5.conf"))
            .env("KRB5CCNAME", "KCM:")
            .env("PASSWORD", PASSWORD);
        shell.env("NAME", Self::name(&self.kcm, uid)).current_dir("/");
        shell
    }

    #[track_caller]
    fn done(&self, uid: u32, script: &str) -> String {
        succeed(&mut self.shell(uid, script), "")
    }

    /// The principals of all of a user's caches.
    #[track_caller]
    fn principals(&self, uid: u32) -> Vec<String> {
        let said = self.done(uid, "klist -A || true");
        let lines = said.lines().filter_map(|line| line.strip_prefix("Default principal: "));
        lines.map(|principal| principal.split('@').next().unwrap().to_owned()).collect()
    }

    #[track_caller]
    fn get_for_everybody(&self) {
        for uid in self.users() {
            self.done(uid, "typed");
        }
    }

    fn users(&self) -> [u32; 3] {
        [0, self.kcm.user(), self.kcm.other_user()]
    }
}

fn two_users_and_root_have_tickets_of_their_own_at_once(shared: &Shared) {
    let tickets = Tickets::new(shared.realm(), "");
    std::thread::scope(|scope| {
        let tickets = &tickets;
        for uid in tickets.users() {
            let tgs = "krbtgt/$(klist | sed -n 's/^Default principal: .*@//p')";
            let script = format!("typed; klist -s; kvno -q \"{tgs}\"; klist -A | grep -q krbtgt");
            scope.spawn(move || tickets.done(uid, &script));
        }
    });
    for uid in tickets.users() {
        assert_eq!(tickets.principals(uid), [Tickets::name(&tickets.kcm, uid)]);
    }
    let agents = tickets.kcm.agents_with_uids();
    let mut owners: Vec<u32> = agents.iter().map(|(_, uid)| *uid).collect();
    owners.sort_unstable();
    let mut expected = [tickets.kcm.own_user(), tickets.kcm.user(), tickets.kcm.other_user()];
    expected.sort_unstable();
    assert_eq!(owners, expected);
    for (pid, _) in agents {
        expect_closed_to(tickets.kcm.user(), pid);
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        assert!(
            status.contains("NoNewPrivs:\t1") && status.contains("CapPrm:\t0000000000000000"),
            "{status}"
        );
    }
    tickets.done(tickets.kcm.user(), "kdestroy -A");
    assert_eq!(
        tickets.principals(tickets.kcm.other_user()),
        [Tickets::name(&tickets.kcm, tickets.kcm.other_user())]
    );
}

fn a_restart_loses_no_ticket(shared: &Shared) {
    let tickets = Tickets::new(shared.realm(), "");
    tickets.get_for_everybody();
    let strike = |how: &dyn Fn()| {
        let acceptor = tickets.kcm.acceptor();
        how();
        wait_for("another acceptor", Duration::from_secs(10), || {
            (tickets.kcm.acceptor() != acceptor).then_some(())
        });
        for uid in tickets.users() {
            assert_eq!(tickets.principals(uid), [Tickets::name(&tickets.kcm, uid)]);
        }
    };
    strike(&|| tickets.kcm.daemon.signal(Signal::SIGHUP));
    strike(&|| kill(tickets.kcm.acceptor(), Signal::SIGKILL).unwrap());
    strike(&|| tickets.kcm.daemon.signal(Signal::SIGHUP));
}

fn an_agent_that_is_killed_is_missed_and_replaced(shared: &Shared) {
    let tickets = Tickets::new(shared.realm(), "");
    tickets.get_for_everybody();
    let (user, others) = (tickets.kcm.user(), tickets.kcm.other_user());
    let (agent, _) = tickets.kcm.agents_with_uids().into_iter().find(|(_, uid)| *uid == user).unwrap();
    kill(agent, Signal::SIGKILL).unwrap();
    // After the pause for an agent that did not live long.
    wait_for("new tickets", Duration::from_secs(20), || run(&mut tickets.shell(user, "typed"), "").ok());
    assert_eq!(tickets.principals(user), [Tickets::name(&tickets.kcm, user)]);
    assert_eq!(tickets.principals(others), [Tickets::name(&tickets.kcm, others)]);
    tickets.kcm.log.wait_for_words(&[&format!("uid {user}"), "was ended by SIGKILL"]);
}

fn an_agent_without_tickets_leaves_and_no_client_notices(shared: &Shared) {
    let tickets = Tickets::new(shared.realm(), "[agent]\nidle = \"1s\"\n");
    let user = tickets.kcm.user();
    for _ in 0..3 {
        tickets.done(user, "typed; klist -s; kdestroy -A");
        tickets.kcm.wait_for_agents(0);
    }
    // One that has tickets stays.
    tickets.done(user, "typed");
    tickets.done(tickets.kcm.other_user(), "klist -A || true");
    wait_for("the agent without tickets to leave", Duration::from_secs(10), || {
        (tickets.kcm.agents().len() == 1).then_some(())
    });
    assert_eq!(tickets.principals(user), [Tickets::name(&tickets.kcm, user)]);
}

fn root_in_a_namespace_of_a_users_has_the_users_tickets(shared: &Shared) {
    let tickets = Tickets::new(shared.realm(), "");
    tickets.get_for_everybody();
    let inside = format!(
        "mount -t tmpfs lgss-test /mnt && touch /mnt/socket && mount --bind {socket} /mnt/socket && \
         sed 's|kcm_socket = .*|kcm_socket = /mnt/socket|' {config} >/mnt/krb5.conf && \
         [ $(id -u) = 0 ] && KRB5_CONFIG=/mnt/krb5.conf klist",
        socket = tickets.kcm.socket().display(),
        config = tickets.kcm.path("krb5.conf").display()
    );
    let user = tickets.kcm.user();
    let said = tickets.done(
        user,
        &format!("unshare --user --map-root-user --mount sh -euc '{}'", inside.replace('\'', "'\\''")),
    );
    assert!(said.contains(&Tickets::name(&tickets.kcm, user)), "{said}");
}
