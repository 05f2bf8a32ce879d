//! `lgss_kinit --renew-while`: tickets that are renewed as long as a process lives, and nothing that is left behind.

use crate::kinit::another_client;
use crate::support::login::{Login, SESSION_CACHE};
use crate::support::process;
use crate::support::realm::Realm;
use crate::support::shared::Shared;
use crate::support::wait::wait_for;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::Path;
use std::time::Duration;

crate::trials![
    over_several_lifetimes_a_command_has_tickets,
    what_renews_them_holds_nothing_and_ends_with_its_process,
    a_keytab_gets_new_tickets_when_the_renewable_life_is_over,
    it_ends_when_the_tickets_are_destroyed_or_the_session_ends,
    the_end_of_the_tickets_is_told_on_the_terminal_and_in_the_log,
    a_kdc_that_was_away_is_asked_again,
    tickets_destroyed_while_the_kdc_is_asked_stay_destroyed,
    tickets_of_another_client_in_the_same_cache_are_left_alone,
    a_caller_that_awaits_no_children_gets_its_command_and_its_renewal,
    what_cannot_be_renewed_or_watched_is_told_at_once,
];

/// `renewer` prints the numbers of the user's processes in the background; `until_gone` waits for their end; `end CACHE` prints
/// when the ticket-granting ticket ends, in seconds since the epoch; `later N` waits until that has changed N times.
const FUNCTIONS: &str = "
renewer() { pgrep -u $(id -u) -x lgss_kinit || true; }
until_gone() { i=0; while [ -n \"$(renewer)\" ]; do i=$((i+1)); [ $i -lt 600 ]; sleep 0.05; done; }
end() { LC_ALL=C klist 2>/dev/null | awk '/krbtgt/ { print $3, $4 }'; }
later() { old=; n=0; i=0; while [ $n -lt $1 ]; do now=$(end); i=$((i+1)); [ $i -lt 900 ]
    if [ -n \"$now\" ] && [ \"$now\" != \"$old\" ]; then n=$((n+1)); old=$now; fi; sleep 0.05; done; }
";

fn over_several_lifetimes_a_command_has_tickets(shared: &Shared) {
    let login = Login::new(shared.realm());
    let inside = login.script("inside", &format!("{FUNCTIONS} later 4; klist -s; echo renewed"));
    let said = login.done(&format!(
        "{FUNCTIONS}
        start=$(date +%s); typed -l 10s -r 10m --new-session --renew-while alice -- sh {inside}
        echo $(($(date +%s) - start)) seconds; until_gone; echo all gone"
    ));
    assert!(said.contains("renewed\n") && said.contains("all gone\n"), "{said}");
    let took: u64 = said.lines().find_map(|line| line.strip_suffix(" seconds")?.parse().ok()).unwrap();
    // Three renewals at half of ten seconds: more than one life.
    assert!(took > 10, "{said}");
}

/// Looks at the process in the background as root, since it is not dumpable.
fn what_renews_them_holds_nothing_and_ends_with_its_process(shared: &Shared) {
    let login = Login::new(shared.realm());
    let mut session = login.command("keyctl");
    let script = format!(
        "{FUNCTIONS} printf '%s\\n' \"$PASSWORD\" >typed; exec 7>held; sleep 300 & watched=$!
        (cd /; exec 8</dev/zero; lgss_kinit -r 1h --renew-while $watched alice <{dir}/typed >{dir}/said 2>&1)
        echo $watched >watched; echo ready; exec 7>&-; until_gone; echo all gone",
        dir = login.site.path("user").display()
    );
    session.args(["session", "-", "sh", "-euc", &script]);
    let said = std::thread::scope(|scope| {
        let running = scope.spawn(|| process::run(&mut session, ""));
        let watched = login.site.path("user").join("watched");
        let watched: i32 = wait_for("the renewer", Duration::from_secs(20), || {
            assert!(!running.is_finished() || watched.exists(), "it ended");
            fs::read_to_string(&watched).ok()?.trim().parse().ok()
        });
        let mut pgrep = process::command("pgrep");
        let found =
            process::succeed(pgrep.args(["-u", &login.site.uid().to_string(), "-x", "lgss_kinit"]), "");
        let renewer: i32 = found.trim().parse().unwrap_or_else(|_| panic!("not one: {found}"));
        let opened: Vec<_> = fs::read_dir(format!("/proc/{renewer}/fd"))
            .unwrap()
            .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
            .map(|target| target.display().to_string())
            .collect();
        let others: Vec<_> =
            opened.iter().filter(|name| *name != "/dev/null" && *name != "anon_inode:[pidfd]").collect();
        assert!(others.is_empty() && opened.len() == 4, "{opened:?}");
        let stat = fs::read_to_string(format!("/proc/{renewer}/stat")).unwrap();
        let after: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        // Another session of processes than the caller's, and its leader has ended.
        let callers = fs::read_to_string(format!("/proc/{watched}/stat")).unwrap();
        let callers = callers.rsplit_once(')').unwrap().1.split_whitespace().nth(3).unwrap().to_owned();
        assert!(after[3] != callers && after[3] != renewer.to_string(), "{stat}, of the caller {callers}");
        assert!(!Path::new(&format!("/proc/{}", after[3])).exists(), "{stat}");
        assert_eq!(fs::read_link(format!("/proc/{renewer}/cwd")).unwrap().to_str(), Some("/"));
        kill(Pid::from_raw(watched), Signal::SIGKILL).unwrap();
        running.join().unwrap()
    });
    let said = said.unwrap();
    assert!(said.contains("all gone\n"), "{said}");
}

fn a_keytab_gets_new_tickets_when_the_renewable_life_is_over(shared: &Shared) {
    let login = Login::new(shared.realm());
    let (other, keytab) = another_client(&login, shared.realm());
    let inside = login.script("inside", &format!("{FUNCTIONS} later 4; klist -s; echo still"));
    let said = login.done(&format!(
        "{FUNCTIONS} export KRB5CCNAME={SESSION_CACHE}
        lgss_kinit -k -t {keytab} -l 8s -r 10s {other} --renew-while -- sh {inside}; until_gone; echo all gone"
    ));
    assert!(said.contains("still\nall gone\n"), "{said}");
}

/// It looks once a minute, and when half of the life is over.
fn it_ends_when_the_tickets_are_destroyed_or_the_session_ends(shared: &Shared) {
    let login = Login::new(shared.realm());
    let functions = login.script("its-functions", FUNCTIONS);
    let said = login.done(&format!(
        "{FUNCTIONS} export KRB5CCNAME={SESSION_CACHE}; cp {functions} functions
        typed -l 60s -r 10m --renew-while $$ alice; [ -n \"$(renewer)\" ]; kdestroy; until_gone; echo destroyed
        (keyctl session - sh -euc '. ./functions; printf \"%s\\n\" \"$PASSWORD\" | lgss_kinit -l 60s -r 10m --renew-while '$$' alice; [ -n \"$(renewer)\" ]; keyctl revoke @s')
        until_gone; echo revoked"
    ));
    assert!(said.contains("destroyed\n") && said.contains("revoked\n"), "{said}");
}

/// The log's socket is in a name space of mounts of the test's own.
fn the_end_of_the_tickets_is_told_on_the_terminal_and_in_the_log(shared: &Shared) {
    let login = Login::new(shared.realm());
    let kinit = "lgss_kinit -l 8s --renew-while $$ alice <typed; until_gone";
    let inside = login.script("inside", &format!("{FUNCTIONS} export KRB5CCNAME={SESSION_CACHE}; {kinit}"));
    let inside = format!(
        "printf '%s\\n' \"$PASSWORD\" >typed; unset PASSWORD
        exec keyctl session - script -qec 'sh {inside}' /dev/null </dev/null"
    );
    let user = login.command("sh");
    let words = user.get_args().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ");
    let mounts = format!(
        "mkdir old; mount --rbind /dev old; mount -t tmpfs -o mode=755 lgss-test /dev; ln -s /proc/self/fd /dev/fd
        for name in null zero urandom tty; do : >/dev/$name; mount --bind old/$name /dev/$name; done
        mkdir /dev/pts; mount -t devpts -o newinstance,ptmxmode=666 lgss-test /dev/pts; ln -s pts/ptmx /dev/ptmx; chmod 666 \"$1\"; ln -s \"$1\" /dev/log; cd user; exec setpriv {words} -euc \"$0\""
    );
    let mut unshare = process::command("unshare");
    unshare.args(["--mount", "--propagation", "private", "sh", "-euc", &mounts, &inside]);
    unshare.arg(login.site.path("log")).current_dir(login.site.path(""));
    unshare.envs(user.get_envs().filter_map(|(name, value)| Some((name, value?)))).env_remove("KRB5CCNAME");
    let said = process::succeed(&mut unshare, "");
    let client = format!("alice@{}", shared.realm().name());
    let warned = format!("lgss_kinit: the tickets of {client} end in ");
    assert!(said.contains(&warned) && said.contains("they cannot be renewed for longer"), "{said}");
    assert!(said.contains(&format!("get new ones: lgss_kinit -c {SESSION_CACHE}:krb5 {client}")), "{said}");
    assert!(said.contains("have ended; get new ones"), "{said}");
    assert!(said.find(&warned) < said.find("have ended"), "{said}");
    login.site.log.wait_for_words(&["lgss_kinit[", &format!("the tickets of {client} end in ")]);
    login.site.log.wait_for_words(&["lgss_kinit[", "have ended"]);
}

/// `asked FILE` waits until the library has sent something to a KDC, by its trace.
const ASKED: &str =
    "asked() { i=0; until grep -qs 'Sending' $1; do i=$((i+1)); [ $i -lt 900 ]; sleep 0.05; done; }
";

/// krb5.conf is read anew for each attempt; for a moment there is none that can be used.
fn a_kdc_that_was_away_is_asked_again(shared: &Shared) {
    let login = Login::new(shared.realm());
    let said = login.done(&format!(
        "{FUNCTIONS}{ASKED} cp $KRB5_CONFIG own.conf; export KRB5_CONFIG=$PWD/own.conf KRB5CCNAME={SESSION_CACHE}
        KRB5_TRACE=$PWD/trace typed -l 30s -r 10m --renew-while $$ alice; first=$(end); cp own.conf good.conf
        echo '[libdefaults' >own.conf.new; mv own.conf.new own.conf; : >trace
        # Half of the life is over, and it could not even read its configuration.
        i=0; while [ $(($(date +%s) - $(date -d \"$first\" +%s) + 14)) -lt 0 ]; do i=$((i+1)); [ $i -lt 900 ]; sleep 0.05; done
        [ -n \"$(renewer)\" ]; [ \"$(KRB5_CONFIG=good.conf end)\" = \"$first\" ]
        sed 's/kdc = .*/kdc = 127.0.0.1:1/' good.conf >away.conf; mv away.conf own.conf; asked trace
        [ \"$(end)\" = \"$first\" ]; mv good.conf own.conf
        i=0; until [ \"$(end)\" != \"$first\" ]; do i=$((i+1)); [ $i -lt 900 ]; sleep 0.05; done
        klist -s; echo renewed; kdestroy; until_gone"
    ));
    assert!(said.contains("renewed"), "{said}");
}

/// The KDC stops while it is asked, once for a renewal and once for new tickets by keytab.
fn tickets_destroyed_while_the_kdc_is_asked_stay_destroyed(_: &Shared) {
    let realm = Realm::start();
    let login = Login::new(&realm);
    let (other, keytab) = another_client(&login, &realm);
    for options in [format!("-k -t {keytab} -r 1h {other}"), format!("-k -t {keytab} {other}")] {
        let script = login.script(
            "asking",
            &format!(
                "{FUNCTIONS}{ASKED} export KRB5CCNAME={SESSION_CACHE}; rm -f trace asked go
                KRB5_TRACE=$PWD/trace lgss_kinit -l 10s --renew-while $$ {options}; : >trace; touch silent
                asked trace; kdestroy; touch asked; i=0; until [ -e go ]; do i=$((i+1)); [ $i -lt 900 ]; sleep 0.05; done
                until_gone; fails klist -s; echo stays destroyed"
            ),
        );
        let user = login.site.path("user");
        std::thread::scope(|scope| {
            let running = scope.spawn(|| login.done(&format!("exec sh {script}")));
            let reached = |name: &str| {
                wait_for(name, Duration::from_secs(40), || {
                    assert!(!running.is_finished(), "it has ended before {name}");
                    fs::remove_file(user.join(name)).ok()
                });
            };
            reached("silent");
            realm.silence();
            reached("asked");
            realm.wake();
            fs::write(user.join("go"), "").unwrap();
            let said = running.join().unwrap();
            assert!(said.contains("stays destroyed"), "{options}: {said}");
        });
    }
}

fn tickets_of_another_client_in_the_same_cache_are_left_alone(shared: &Shared) {
    let login = Login::new(shared.realm());
    let (other, keytab) = another_client(&login, shared.realm());
    let said = login.done(&format!(
        "{FUNCTIONS} cache=KEYRING:session:krb5:mine; export KRB5CCNAME=$cache
        lgss_kinit -c $cache -k -t {keytab} -l 8s --renew-while $$ {other}; [ -n \"$(renewer)\" ]
        typed -c $cache alice; until_gone; klist | grep 'Default principal'"
    ));
    assert!(said.contains("Default principal: alice@"), "{said}");
}

/// As of some daemons, which set SIGCHLD to be ignored.
fn a_caller_that_awaits_no_children_gets_its_command_and_its_renewal(shared: &Shared) {
    let login = Login::new(shared.realm());
    // A shell and perl would set SIGCHLD to its default.
    let said = login.done(&format!(
        "{FUNCTIONS} printf '%s\\n' \"$PASSWORD\" >typed
        ignoring() {{ perl -e '$SIG{{CHLD}} = \"IGNORE\"; exec @ARGV' \"$@\"; }}
        ignoring lgss_kinit -r 1h --renew-while alice -- grep SigIgn /proc/self/status <typed; until_gone
        sleep 300 & ignoring lgss_kinit -r 1h --renew-while $! alice <typed; renewer | wc -l; kill $!; until_gone"
    ));
    // SIGCHLD is the seventeenth.
    let ignored = said.lines().find_map(|line| line.split_once("SigIgn:\t")).unwrap().1;
    assert!(u64::from_str_radix(ignored, 16).unwrap() & 1 << 16 != 0, "{said}");
    assert!(said.contains("\n1\n"), "{said}");
}

fn what_cannot_be_renewed_or_watched_is_told_at_once(shared: &Shared) {
    let login = Login::new(shared.realm());
    let gone = login.refused("sleep 0 & gone=$!; wait; typed --renew-while $gone alice");
    assert!(gone.contains("No such process") && !gone.contains("Password"), "{gone}");
    let ring = login.refused("typed --keyring process --renew-while $$ alice");
    assert!(
        ring.contains("the process keyring ends with lgss_kinit, so its tickets cannot be renewed"),
        "{ring}"
    );
    for names in ["-k -t own.keytab", "KRB5_CONFIG"] {
        let said = match names {
            "KRB5_CONFIG" => login.refused(
                "cp $KRB5_CONFIG own.conf; export KRB5_CONFIG=own.conf; typed --renew-while $$ alice",
            ),
            _ => login.refused("typed -k -t own.keytab --renew-while $$ alice"),
        };
        assert!(said.contains("is found from this directory only") && said.contains("whole path"), "{said}");
    }
    let said = login.done("typed --renew-while $$ alice");
    assert!(said.contains("cannot be renewed; use -r 7d to get renewable ones"), "{said}");
    let usage = login.ends_with(2, "typed --renew-while alice bob");
    assert!(usage.contains("two principals"), "{usage}");
    let usage = login.ends_with(2, "typed --renew-while alice");
    assert!(usage.contains("needs the number of a process or, after --, a command"), "{usage}");
}
