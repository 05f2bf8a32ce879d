//! What others can do to the tickets of `lgss_kinit`, or to the place where they go: nothing.

use crate::kinit::another_client;
use crate::support::login::{Login, SESSION_CACHE};
use crate::support::process::{self, command};
use crate::support::shared::Shared;

crate::trials![
    another_session_of_the_same_user_reaches_nothing,
    a_session_keyring_of_somebody_elses_gets_no_tickets,
    a_collection_that_others_have_prepared_gets_no_tickets,
    a_login_without_a_session_keyring_is_told_who_shares_the_tickets,
    however_full_the_quota_is_the_old_tickets_stay,
    names_that_the_library_takes_for_others_are_refused,
    whoever_looks_while_tickets_are_replaced_finds_some,
];

fn another_session_of_the_same_user_reaches_nothing(shared: &Shared) {
    let login = Login::new(shared.realm());
    // Each of them succeeds where the keys are possessed. They are in order: the later ones destroy what the earlier need.
    let attempts = [
        "keyctl print $ticket",
        "keyctl link $ticket $tickets",
        "keyctl list $ring",
        "keyctl search $ring user $name",
        "keyctl setperm $ticket 0x3f010000",
        "keyctl timeout $ticket 1000",
        "keyctl update $note x",
        "keyctl newring x $tickets",
        "keyctl unlink $note $tickets",
        "keyctl clear $empty",
        "keyctl invalidate $ticket",
        "keyctl revoke $ring",
    ];
    let (others, own) = (
        attempts.map(|attempt| format!("other {attempt}\n")),
        attempts.map(|attempt| format!("{attempt}\n")),
    );
    let said = login.done(&format!(
        "typed alice; name=krbtgt/{realm}@{realm}; exec </dev/null
        ring=$(keyctl search @s keyring _krb_krb5); tickets=$(keyctl search $ring keyring krb5)
        ticket=$(keyctl search $ring user $name); note=$(keyctl search $ring user __krb5_time_offsets__)
        empty=$(keyctl newring empty $ring)
        other() {{ status=0; said=$(keyctl session - \"$@\" 2>&1) || status=$?
            case $status:$said in 1:*\"Permission denied\"*|1:*\"not available\"*) echo refused ;; *) echo \"$status $*: $said\"; exit 3 ;; esac; }}
        {others}fails keyctl session - klist -s -c {SESSION_CACHE}
        klist -s -c {SESSION_CACHE}
        {own}fails klist -s -c {SESSION_CACHE}",
        realm = shared.realm().name(),
        others = others.concat(),
        own = own.concat()
    ));
    assert_eq!(said.matches("refused").count(), attempts.len(), "{said}");
}

/// As after su or sudo.
fn a_session_keyring_of_somebody_elses_gets_no_tickets(shared: &Shared) {
    let login = Login::new(shared.realm());
    let kinit_after = |before: &str, options: &str| {
        let script = format!("printf '%s\\n' \"$PASSWORD\" | lgss_kinit {options} alice");
        let inside = login.command("sh");
        let words = inside.get_args().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ");
        let mut roots = command("keyctl");
        roots
            .args(["session", "-", "sh", "-ec"])
            .arg(format!("{before} exec setpriv {words} -ec \"$1\""))
            .args(["sh", &script]);
        roots
            .envs(inside.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .env_remove("KRB5CCNAME");
        process::run(&mut roots, "")
    };
    let kinit = |options: &str| kinit_after("", options);
    // Its owner may keep us from looking at it.
    let hidden = kinit_after("keyctl setperm @s 0x3e3f0000;", "").unwrap_err();
    assert!(hidden.contains("Permission denied while opening") && !hidden.contains("Password"), "{hidden}");
    let said = kinit("").unwrap_err();
    assert!(said.contains("is uid 0's, as after su or sudo") && !said.contains("Password"), "{said}");
    kinit("--keyring user").unwrap();
    // Whoever names it knows.
    kinit("--keyring session").unwrap();
}

fn a_collection_that_others_have_prepared_gets_no_tickets(shared: &Shared) {
    let login = Login::new(shared.realm());
    let said = login.done(&format!(
        "keyctl link @u @s; planted=$(keyctl newring _krb_krb5 @u); typed alice
        [ -z \"$(keyctl rlist $planted)\" ]; klist -s -c {SESSION_CACHE}
        fails keyctl session - sh -c 'keyctl link @u @s; klist -s -c {SESSION_CACHE}'
        staging=$(keyctl newring _krb_lgss_kinit @u); inner=$(keyctl newring krb5 $staging); keyctl setperm $inner 0x3f3f3f3f
        keyctl setperm $staging 0x3f3f3f3f; typed --keyring user alice; [ -z \"$(keyctl rlist $inner)\" ]
        klist -s -c KEYRING:user:krb5; kdestroy -A -c KEYRING:user:krb5
        kdestroy -A -c {SESSION_CACHE}; keyctl unlink $(keyctl search @s keyring _krb_krb5) @s || true
        for rights in 0x3f3f0000 0x3f01003f 0x3f012100; do
            planted=$(keyctl newring _krb_krb5 @s); keyctl setperm $planted $rights; typed alice
            [ -z \"$(keyctl rlist $planted 2>/dev/null)\" ]
            ring=$(keyctl search @s keyring _krb_krb5); inner=$(keyctl newring krb5 $ring); keyctl setperm $inner $rights
            typed alice; [ -z \"$(keyctl rlist $inner 2>/dev/null)\" ]
            klist -s -c {SESSION_CACHE}; keyctl unlink $ring @s
        done; echo all tried"
    ));
    assert!(said.contains("all tried"), "{said}");
}

/// A process without one has the kernel's own for its uid, which can also be joined.
fn a_login_without_a_session_keyring_is_told_who_shares_the_tickets(shared: &Shared) {
    let login = Login::new(shared.realm());
    let uid = login.site.uid();
    let script = format!(
        "printf '%s\\n' \"$PASSWORD\" | lgss_kinit alice; klist -s -c {SESSION_CACHE}; lgss_kinit --from {SESSION_CACHE}
        keyctl session _uid_ses.{uid} klist -c {SESSION_CACHE}; kdestroy -A -c {SESSION_CACHE}"
    );
    let mut inside = login.command("keyctl");
    inside.args([
        "session",
        "-",
        "sh",
        "-ec",
        "keyctl show @us >/dev/null; exec keyctl session _uid_ses.$0 sh -euc \"$1\"",
    ]);
    let said = process::succeed(inside.arg(uid.to_string()).arg(script), "");
    assert!(said.contains("share these tickets") && said.contains("krbtgt/"), "{said}");
}

fn however_full_the_quota_is_the_old_tickets_stay(shared: &Shared) {
    let login = Login::new(shared.realm());
    let said = login.done(&format!(
        "typed alice 2>/dev/null; klist -c {SESSION_CACHE} | grep Default
        left() {{ awk -v uid=$(id -u): '$1 == uid {{ split($4, keys, \"/\"); print keys[2] - keys[1] }}' /proc/key-users; }}
        n=0; while keyctl add user fill$n x @s >/dev/null 2>&1; do n=$((n+1)); done
        for free in 0 1 2 3 4 5; do
            i=0; until [ $(left) = $free ]; do i=$((i+1)); [ $i -lt 200 ]; sleep 0.1; done
            typed alice 2>said || grep 'uota exceeded' said; klist -s -c {SESSION_CACHE}
            n=$((n-1)); keyctl unlink $(keyctl search @s user fill$n) @s
            i=0; until [ $(left) = $((free+1)) ]; do
                i=$((i+1)); [ $i -lt 200 ]; sleep 0.1; done
        done; echo all tried"
    ));
    assert!(said.contains("all tried"), "{said}");
}

fn names_that_the_library_takes_for_others_are_refused(shared: &Shared) {
    let login = Login::new(shared.realm());
    for name in [
        "KEYRING:session:x:a:b",
        "KEYRING:x",
        "KEYRING:legacy:x",
        "KEYRING:persistent:01",
        "'KEYRING:session:x:a;b'",
        "\"$(printf 'KEYRING:session:\\377')\"",
    ] {
        let said = login.refused(&format!("export KRB5CCNAME={name}; typed alice"));
        assert!(
            said.contains("no plain name of a cache in a keyring") && !said.contains("Password"),
            "{said}"
        );
    }
}

/// One that has begun to read the cache which is replaced looks again.
fn whoever_looks_while_tickets_are_replaced_finds_some(shared: &Shared) {
    let login = Login::new(shared.realm());
    let (other, keytab) = another_client(&login, shared.realm());
    login.done(&format!(
        "export KRB5CCNAME={SESSION_CACHE}; lgss_kinit -k -t {keytab} {other}
        (for i in 1 2 3 4 5 6 7 8 9 10; do lgss_kinit -k -t {keytab} {other}; done; touch over) &
        until [ -e over ]; do klist -s || klist -s || klist -s; done; wait"
    ));
}
