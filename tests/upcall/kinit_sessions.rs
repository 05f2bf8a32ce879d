//! `lgss_kinit --new-session`: tickets for a command or a shell, and for nobody outside it.

use crate::support::login::{Login, SESSION_CACHE};
use crate::support::process::{self, command, run};
use crate::support::shared::Shared;
use crate::support::wait::wait_for;
use std::fs;
use std::time::Duration;

crate::trials![
    nobody_outside_the_new_session_reaches_its_tickets,
    the_command_is_what_it_would_be_without_us,
    without_a_command_the_users_shell_runs,
    after_su_a_new_session_takes_the_tickets,
    tickets_of_the_old_session_are_renewed_or_copied_into_the_new_one,
    a_new_session_that_gets_no_tickets_runs_nothing,
    a_reader_that_leaves_early_does_not_keep_the_command_from_running,
    no_older_child_can_give_the_process_another_session,
    a_session_that_others_can_link_is_told,
];

/// Each is refused outside, and does something inside.
const ATTEMPTS: [&str; 21] = [
    "keyctl print $ticket",
    "keyctl pipe $ticket",
    "keyctl list $tickets",
    "keyctl list $ring",
    "keyctl link $ticket $own",
    "keyctl link $ring $own",
    "keyctl link $session $own",
    "keyctl search $session keyring _krb_krb5",
    "keyctl search $ring user $name",
    "keyctl setperm $ticket 0x3f3f3f3f",
    "keyctl setperm $session 0x3f3f3f3f",
    "keyctl timeout $ticket 1000",
    "keyctl update $ticket x",
    "keyctl unlink $ticket $tickets",
    "keyctl clear $tickets",
    "keyctl clear $session",
    "keyctl revoke $ticket",
    "keyctl invalidate $ticket",
    "keyctl newring x $session",
    "keyctl session _ses klist -s -c KEYRING:session:krb5",
    "klist -s -c KEYRING:session:krb5",
];

/// Inside, these cannot be done, or find what attempts before them have ended.
const ALREADY_ENDED: [&str; 4] = [
    "keyctl link $session $own",
    "keyctl invalidate $ticket",
    "keyctl session _ses klist -s -c KEYRING:session:krb5",
    "klist -s -c KEYRING:session:krb5",
];

fn nobody_outside_the_new_session_reaches_its_tickets(shared: &Shared) {
    let login = Login::new(shared.realm());
    let user = login.site.path("user");
    let granting = format!("krbtgt/{0}@{0}", shared.realm().name());
    let inside = login.script(
        "inside",
        &format!(
            "name={granting}; ring=$(keyctl search @s keyring _krb_krb5); tickets=$(keyctl search $ring keyring krb5)
            ticket=$(keyctl search $ring user $name); session=$(keyctl show @s | awk '/_ses/ {{ print $1 }}'); own=$session
            for known in name ring tickets ticket session; do eval echo $known=\\$$known; done >new; mv new keys
            until [ -e tried ]; do sleep 0.02; done; klist -s; keyctl print $ticket >/dev/null; echo untouched
            mine=$(keyctl newring mine @s); own=$mine
            {}",
            ATTEMPTS.map(|attempt| format!("({attempt}) >/dev/null || echo not inside: '{attempt}'\n")).concat()
        ),
    );
    let outside = login.script(
        "outside",
        &format!(
            ". ./keys; own=$(keyctl newring own @s)
            refused() {{ if said=$(\"$@\" 2>&1); then echo \"done: $*: $said\"; else echo refused; fi; }}
            {}",
            ATTEMPTS.map(|attempt| format!("refused {attempt}\n")).concat()
        ),
    );
    let run = format!("typed --new-session alice -- timeout 120 sh {inside}");
    std::thread::scope(|scope| {
        let session = scope.spawn(|| login.done(&run));
        wait_for("the session", Duration::from_secs(30), || {
            assert!(!session.is_finished() || user.join("keys").exists(), "no session");
            user.join("keys").exists().then_some(())
        });
        let expect_refused = |said: &str| {
            assert!(!said.contains("done:"), "{said}");
            assert_eq!(said.matches("refused\n").count(), ATTEMPTS.len(), "{said}");
        };
        // Another session, one without a session keyring of its own, and one that has gone to root and come back.
        expect_refused(&login.done(&format!("sh {outside}")));
        expect_refused(&process::succeed(login.command("sh").arg(&outside), ""));
        let mut roots = command("keyctl");
        let back = login.command("sh");
        roots.args(["session", "-", "setpriv"]).args(back.get_args()).arg(&outside).current_dir(&user);
        expect_refused(&process::succeed(&mut roots, ""));
        fs::write(user.join("tried"), "").unwrap();
        let said = session.join().unwrap();
        assert!(said.contains("untouched"), "{said}");
        let failed: Vec<_> = said.lines().filter_map(|line| line.strip_prefix("not inside: ")).collect();
        assert_eq!(failed, ALREADY_ENDED, "{said}");
    });
}

/// Status, environment, standard input, limits and descriptors are the caller's.
fn the_command_is_what_it_would_be_without_us(shared: &Shared) {
    let login = Login::new(shared.realm());
    let said = login.done(&format!(
        "past() {{ sed 's/^Password for [^ ]* *//; /^$/d'; }}; ulimit -c >before; ls /proc/self/fd >fds
        status=0; typed --new-session alice -- sh -c 'echo cache $KRB5CCNAME; klist -s && exit 7' || status=$?; echo status $status
        printf '%s\\nthe rest\\n' \"$PASSWORD\" | lgss_kinit --new-session alice -- cat
        typed --new-session alice -- sh -c 'ulimit -c' | past | cmp - before && echo same limit
        typed --new-session alice -- grep -E 'Sig(Ign|Blk)' /proc/self/status | past >with; grep -E 'Sig(Ign|Blk)' /proc/self/status | cmp - with && echo same signals
        typed --new-session alice -- ls /proc/self/fd | past | cmp - fds && echo same descriptors
        for c in /nowhere /etc/passwd; do status=0; typed --new-session alice -- $c || status=$?; echo $c $status; done
        fails klist -s -c {SESSION_CACHE}"
    ));
    for word in [
        "cache KEYRING:session:krb5\nstatus 7",
        "the rest",
        "same limit",
        "same signals",
        "same descriptors",
        "lgss_kinit: /nowhere: No such file",
        "/nowhere 127",
        "/etc/passwd 126",
    ] {
        assert!(said.contains(word), "no {word}: {said}");
    }
    // Inside, nobody need be told where the tickets are.
    assert!(!said.contains("export KRB5CCNAME"), "{said}");
}

fn without_a_command_the_users_shell_runs(shared: &Shared) {
    let login = Login::new(shared.realm());
    let said = login.done(
        "printf '%s\\nklist -s && echo I have tickets, and am $0\\nexit 5\\n' \"$PASSWORD\" >typed
        for shell in /bin/bash relative ''; do
            export SHELL=$shell; status=0; lgss_kinit --new-session alice <typed || status=$?; echo status $status; done",
    );
    assert!(said.contains("am /bin/bash\nstatus 5"), "{said}");
    assert_eq!(said.matches("and am /bin/sh\nstatus 5").count(), 2, "{said}");
}

/// In a session keyring of root's, as after su, tickets would be root's.
fn after_su_a_new_session_takes_the_tickets(shared: &Shared) {
    let login = Login::new(shared.realm());
    let inside = login.command("sh");
    let words = inside.get_args().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ");
    let script = "printf '%s\\n' \"$PASSWORD\" | lgss_kinit --new-session alice -- sh -ec \
                  'klist -s; [ $(keyctl rdescribe @s | cut -d\\; -f2) = $(id -u) ]; echo in a session of our own'";
    let mut roots = command("keyctl");
    let then = format!("setpriv {words} -ec \"$1\"; keyctl search @s keyring _krb_krb5 || echo nothing here");
    roots.args(["session", "-", "sh", "-ec", &then, "sh", script]);
    roots.envs(inside.get_envs().filter_map(|(name, value)| Some((name, value?)))).env_remove("KRB5CCNAME");
    let said = process::succeed(&mut roots, "");
    assert!(said.contains("in a session of our own") && said.contains("nothing here"), "{said}");
}

fn tickets_of_the_old_session_are_renewed_or_copied_into_the_new_one(shared: &Shared) {
    let login = Login::new(shared.realm());
    let said = login.done(&format!(
        "typed -r 1d alice 2>/dev/null; old=$(keyctl search @s keyring _krb_krb5)
        lgss_kinit -R --new-session -- sh -ec 'klist | grep \"Ticket cache\\|krbtgt\"; fails keyctl list '$old || true
        lgss_kinit --from {SESSION_CACHE} --new-session -c KEYRING:session:mine -- sh -ec 'klist -s; echo $KRB5CCNAME'
        klist -s -c {SESSION_CACHE}"
    ));
    assert!(said.contains("Ticket cache: KEYRING:session:krb5") && said.contains("krbtgt/"), "{said}");
    assert!(said.contains("KEYRING:session:mine\n"), "{said}");
}

fn a_new_session_that_gets_no_tickets_runs_nothing(shared: &Shared) {
    let login = Login::new(shared.realm());
    let mut wrong = login.command("keyctl");
    wrong.args(["session", "-", "sh", "-c"]);
    wrong.arg(
        "echo wrong | lgss_kinit --new-session alice -- touch ran; status=$?; [ ! -e ran ] && exit $status",
    );
    let said = run(&mut wrong, "").unwrap_err();
    assert!(said.starts_with("exit status: 1: ") && said.contains("Password incorrect"), "{said}");
}

fn a_reader_that_leaves_early_does_not_keep_the_command_from_running(shared: &Shared) {
    let login = Login::new(shared.realm());
    login.done(
        "printf '%s\\n' \"$PASSWORD\" >typed
        (trap '' PIPE; sleep 1; lgss_kinit -V --new-session alice -- touch ran <typed) | true
        i=0; until [ -e ran ]; do i=$((i+1)); [ $i -lt 400 ]; sleep 0.05; done",
    );
}

/// By KEYCTL_SESSION_TO_PARENT, again and again, from a child that the shell had before it became `lgss_kinit`.
fn no_older_child_can_give_the_process_another_session(shared: &Shared) {
    let login = Login::new(shared.realm());
    let attacker = login.site.path("user").join("attacker.pl");
    let look = format!("klist -s -c {SESSION_CACHE} && echo caught >>caught");
    // keyctl(2): a session of its own, then that for the parent.
    let attack =
        format!("syscall(250, 1, 0); while (-e 'trying') {{ syscall(250, 18) }} exec 'sh', '-c', '{look}';");
    fs::write(&attacker, attack).unwrap();
    let said = login.done(
        "printf '%s\\n' \"$PASSWORD\" >typed; touch trying
        for i in 1 2 3 4 5 6 7 8; do
            sh -c 'perl attacker.pl & exec lgss_kinit --new-session alice -- true' <typed || true
        done; rm trying; i=0; while pgrep -u $(id -u) perl; do i=$((i+1)); [ $i -lt 400 ]; sleep 0.05; done
        [ ! -e caught ]; echo not caught",
    );
    assert!(said.contains("not caught"), "{said}");
}

fn a_session_that_others_can_link_is_told(shared: &Shared) {
    let login = Login::new(shared.realm());
    let said =
        login.done("printf '%s\\n' \"$PASSWORD\" >typed; keyctl session named lgss_kinit alice <typed");
    assert!(said.contains("other sessions of this user can link this session keyring"), "{said}");
    let said = login.done("typed alice");
    assert!(!said.contains("can link this session"), "{said}");
}
