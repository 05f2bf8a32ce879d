//! `lgss_agent` with the programs that people have: MIT's, Heimdal's, and libkrb5 in threads.

use crate::support::kcm::Kcm;
use crate::support::process::{command, command_as, run, succeed};
use crate::support::realm::{PASSWORD, Realm};
use crate::support::shared::Shared;
use crate::support::site::Site;
use crate::support::wait::wait_for;
use crate::support::writers::{HEIMDAL, Writer};
use nix::sys::signal::Signal;
use std::path::Path;
use std::time::Duration;

crate::trials![
    mits_programs_get_list_choose_and_destroy_tickets_of_two_principals,
    heimdals_programs_get_list_choose_and_destroy_tickets,
    each_implementation_uses_the_tickets_of_the_other,
    a_ticket_that_has_expired_is_shown_as_expired,
    threads_of_one_process_do_not_disturb_each_other,
    another_user_and_root_see_nothing,
    a_signal_ends_it_and_the_log_says_what_is_lost,
];

/// A realm with a second user, and the site of one who has an agent.
struct Home {
    realm: Realm,
    site: Site,
    kcm: Kcm,
}

impl Home {
    fn new() -> Self {
        let realm = Realm::start();
        realm.administrate(&[format!("addprinc -pw \"{PASSWORD}\" bob")]);
        let site = Site::new(&realm);
        let kcm = Kcm::start_agent(&site);
        Self { realm, site, kcm }
    }

    /// What a program prints that succeeds.
    #[track_caller]
    fn done(&self, line: &str) -> String {
        self.attempt(line).unwrap_or_else(|said| panic!("{line}: {said}; {:#?}", self.site.log.lines()))
    }

    fn attempt(&self, line: &str) -> Result<String, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let environment = ["env", "KRB5CCNAME=KCM:"].map(str::to_owned);
        self.kcm.run(&self.site, &[environment.to_vec(), words].concat())
    }

    fn service(&self) -> String {
        self.realm.service().replace('@', "/")
    }

    /// The principals of the collection, the default cache's first.
    fn principals(&self) -> Vec<String> {
        // With an empty collection it fails.
        let listed = self.attempt("klist -l").unwrap_or_default();
        let lines = listed.lines().skip(2).filter_map(|line| line.split('@').next());
        lines.map(str::to_owned).collect()
    }
}

fn mits_programs_get_list_choose_and_destroy_tickets_of_two_principals(_: &Shared) {
    let home = Home::new();
    home.done("kinit alice");
    home.done("kinit bob");
    assert_eq!(home.principals(), ["bob", "alice"]);
    home.done("kswitch -p alice");
    assert_eq!(home.principals(), ["alice", "bob"]);
    home.done(&format!("kvno {}", home.service()));
    let all = home.done("klist -A");
    let (alices, bobs) = all.split_once("Default principal: bob").unwrap();
    assert!(alices.contains(&home.service()) && !bobs.contains(&home.service()), "{all}");
    // The cache in use is renewed in its place.
    home.done("kinit -r 1d alice");
    home.done("kinit -R");
    assert_eq!(home.principals(), ["alice", "bob"]);
    home.done("kdestroy");
    assert_eq!(home.principals(), ["bob"]);
    home.done("kdestroy -A");
    assert!(home.principals().is_empty());
    let refused = home.attempt("klist").unwrap_err();
    assert!(refused.contains("not found"), "{refused}");
}

fn heimdals_programs_get_list_choose_and_destroy_tickets(_: &Shared) {
    let home = Home::new();
    let uid = home.site.uid();
    let tool = |words: &str| format!("{HEIMDAL}/bin/heimtools {words}");
    for (user, cache) in [("alice", format!("KCM:{uid}")), ("bob", format!("KCM:{uid}:second"))] {
        home.kcm.run(&home.site, &Writer::Heimdal.kinit_as(user, &cache)).unwrap();
    }
    home.done(&format!("{HEIMDAL}/bin/kgetcred -c KCM:{uid} {}", home.service()));
    let listed = home.done(&tool(&format!("klist -c KCM:{uid}")));
    assert!(listed.contains("Principal: alice@") && listed.contains(&home.service()), "{listed}");
    let all = home.done(&tool("klist -l"));
    assert!(all.contains("alice@") && all.contains("bob@"), "{all}");
    home.done(&tool("kswitch -p bob"));
    assert_eq!(home.principals(), ["bob", "alice"]);
    home.done(&format!("{HEIMDAL}/bin/kdestroy.heimdal -c KCM:{uid}"));
    assert_eq!(home.principals(), ["bob"]);
}

fn each_implementation_uses_the_tickets_of_the_other(_: &Shared) {
    let home = Home::new();
    let cache = format!("KCM:{}", home.site.uid());
    for (writer, reader) in [(Writer::Mit, Writer::Heimdal), (Writer::Heimdal, Writer::Mit)] {
        home.kcm.run(&home.site, &writer.kinit(&cache)).unwrap();
        let gets = match reader {
            Writer::Heimdal => Writer::kgetcred(&cache, &home.service()),
            Writer::Mit => ["kvno", "-c", &cache, &home.service()].map(str::to_owned).to_vec(),
        };
        home.kcm.run(&home.site, &gets).unwrap();
        for lister in Writer::BOTH {
            let listed = home.kcm.run(&home.site, &lister.klist(&cache)).unwrap();
            assert!(listed.contains(&home.service()), "{writer:?}, {lister:?}: {listed}");
        }
        home.done(&format!("kdestroy -c {cache}"));
    }
}

fn a_ticket_that_has_expired_is_shown_as_expired(_: &Shared) {
    let home = Home::new();
    home.done("kinit -l 1s alice");
    wait_for("the ticket's end", Duration::from_secs(10), || home.attempt("klist -s").err());
    let listed = home.done(&format!("{HEIMDAL}/bin/heimtools klist -c KCM:{}", home.site.uid()));
    assert!(listed.contains(">>>Expired<<<"), "{listed}");
    assert!(home.done("klist").contains("alice@"));
    // It is replaced like any other.
    home.done("kinit alice");
    home.done("klist -s");
}

fn threads_of_one_process_do_not_disturb_each_other(_: &Shared) {
    let home = Home::new();
    let (source, program) = (
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/cache_threads.c"),
        home.site.path("cache_threads"),
    );
    let mut cc = command("cc");
    cc.args(["-Wall", "-Wextra", "-Werror", "-pthread", "-o"]).arg(&program).arg(source).arg("-lkrb5");
    succeed(&mut cc, "");
    let said = home.done(&format!("{} KCM: 16 20", program.display()));
    assert_eq!(said, "done\n");
    assert!(home.principals().is_empty());
}

fn another_user_and_root_see_nothing(_: &Shared) {
    let home = Home::new();
    home.done("kinit alice");
    let klist = |mut klist: std::process::Command| {
        klist.arg("klist").env("KRB5_CONFIG", home.site.path("krb5.conf")).env("KRB5CCNAME", "KCM:");
        run(&mut klist, "").unwrap_err()
    };
    // Only its user can reach the socket at all, but for root.
    let others = klist(command_as(home.site.machine_uid(), "env"));
    let roots = klist(command("env"));
    assert!(!others.contains("alice") && !roots.contains("alice"), "{others} {roots}");
    home.site.log.wait_for_words(&["uid 0 is closed"]);
    home.done("klist -s");
}

fn a_signal_ends_it_and_the_log_says_what_is_lost(_: &Shared) {
    let home = Home::new();
    home.done("kinit alice");
    nix::sys::signal::kill(home.kcm.pid(), Signal::SIGTERM).unwrap();
    home.site.log.wait_for_words(&["lgss_agent", "ended by a signal", "are lost: 1"]);
}
