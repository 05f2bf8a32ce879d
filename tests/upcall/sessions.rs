//! A session keyring that belongs to another user than the one who runs in it, with the real programs and their PAM
//! modules (rule S20): no context is left there, and none from there is trusted.

use crate::support::command_line::{lgss, lines};
use crate::support::outcome::Outcome;
use crate::support::probe::{Step, as_user};
use crate::support::process::command;
use crate::support::rpc::call_null_with;
use crate::support::shared::Shared;
use crate::support::site::{Site, install};
use nix::errno::Errno;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

crate::trials![
    root_leaves_its_context_to_no_session_and_believes_none_of_a_users,
    a_user_in_roots_session_leaves_its_context_to_root_and_believes_none_of_roots,
    a_user_in_another_users_session_shares_nothing_with_it,
    a_context_never_goes_into_a_keyring_of_another,
    a_daemon_of_root_that_becomes_a_user_takes_no_context_along,
];

/// Special id of the process keyring.
const PROCESS_RING: i32 = -2;

/// Runs a script that finds accounts of the site's user, `lgsstest`, and of another, `lgssother`.
fn with_accounts(site: &Site, script: &str) -> Output {
    let (uid, other) = (site.uid(), site.machine_uid());
    let etc = site.path("etc");
    fs::create_dir_all(&etc).unwrap();
    let write = |name: &str, text: String, mode: u32| {
        fs::write(etc.join(name), text).unwrap();
        fs::set_permissions(etc.join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    let account = |name: &str, uid: u32| format!("{name}:x:{uid}:{uid}::/:/bin/sh\n");
    let users = [account("root", 0), account("lgsstest", uid), account("lgssother", other)].concat();
    write("passwd", users, 0o644);
    let shadow = ["root", "lgsstest", "lgssother"].map(|name| format!("{name}:*:19000:0:99999:7:::\n"));
    write("shadow", shadow.concat(), 0o600);
    write(
        "sudoers",
        "ALL ALL=(ALL:ALL) NOPASSWD: ALL\nDefaults !lecture, env_keep += KRB5CCNAME\n".to_owned(),
        0o440,
    );
    let (program, service, channel) = (lgss(site), &site_service(site), site_channel(site));
    let script = format!(
        "set -e; for f in passwd shadow sudoers; do mount --bind {etc}/$f /etc/$f; done; set +e
         export LGSS={program} GET='{program} get {service} --channel {channel}' SERVICE={service}
         key() {{ sed -n 's/^key \\([0-9]*\\) .*/\\1/p' \"$1\"; }}
         {script}",
        etc = etc.display(),
        program = program.display(),
    );
    command("unshare").args(["-m", "/bin/sh", "-c", &script]).env_remove("KRB5CCNAME").output().unwrap()
}

fn site_service(site: &Site) -> String {
    fs::read_to_string(site.path("service")).unwrap()
}

fn site_channel(site: &Site) -> String {
    fs::read_to_string(site.path("channel")).unwrap()
}

/// A site whose user has a ticket, and root's cache, which has one too.
fn site(shared: &Shared) -> (Site, String) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    fs::write(site.path("service"), &shared.nfs().service).unwrap();
    fs::write(site.path("channel"), shared.nfs().channel()).unwrap();
    let roots = format!("FILE:{}", site.path("root-cache").display());
    shared.realm().ticket(0, &roots);
    (site, roots)
}

#[track_caller]
fn expect(output: &Output, parts: &[&str]) {
    let text = lines(output);
    parts.iter().for_each(|part| assert!(text.contains(part), "{part} is not in {text}"));
}

/// No other test asks for this description.
fn root_leaves_its_context_to_no_session_and_believes_none_of_a_users(shared: &Shared) {
    let (site, roots) = site(shared);
    let uid = site.uid();
    site.serve(&format!("lgss:0:{}", shared.nfs().service));
    let out = site.path("user").join("out");
    let out = out.display();
    // Through sudo(8), in the user's session, in which the user has planted a key for it.
    let in_users = format!(
        "cat >{out}.sh <<'END'
           sudo() {{ /usr/bin/sudo \"$@\"; }}
           planted=$(head -c 100 /dev/zero | keyctl padd user lgss:0:$SERVICE @s)
           sudo $LGSS list --json; sudo $LGSS show $planted; echo show $?
           sudo $GET --cache {roots} >{out}; echo get $?; cat {out}
           keyctl list @s; keyctl pipe $(sed -n 's/^key \\([0-9]*\\) .*/\\1/p' {out}) | wc -c
           sudo $GET
END
         setpriv --reuid {uid} --regid {uid} --clear-groups keyctl session - /bin/sh {out}.sh"
    );
    let said = with_accounts(&site, &in_users);
    expect(
        &said,
        &[
            &format!("it belongs to uid {uid}"),
            "show 6",
            &format!(
                "linked to your user keyring, since the session keyring belongs to uid {uid} (lgsstest)"
            ),
            "get 0",
            "keyctl_read_alloc: Permission denied\n",
            ", which you had already",
        ],
    );
    let text = lines(&said);
    assert!(text.contains("\n0\n"), "the user reads it: {text}");
    let planted = text.split("\n  {").filter(|key| key.contains(&format!("\"owner\": {uid},")));
    let planted: Vec<_> = planted.filter_map(|key| key.split("\n  }").next()).collect();
    assert!(!planted.is_empty(), "the planted key is not seen: {text}");
    assert!(planted.iter().all(|key| !key.contains("established")), "the planted key is believed: {text}");
    in_sessions_of_roots_nobody_else_reads_it(&site, &out.to_string());
}

fn in_sessions_of_roots_nobody_else_reads_it(site: &Site, out: &str) {
    // In a login's session, which pam_keyinit(8) links to root's user keyring, where the context is.
    let in_logins = format!(
        "keyctl session - /bin/sh -c '
           keyctl link @u @s; $GET >{out}; key=$(sed -n \"s/^key \\([0-9]*\\) .*/\\1/p\" {out})
           test $(keyctl pipe $key | wc -c) -gt 50 && echo root reads it
           su lgsstest -s /bin/sh -c \"keyctl show @s; keyctl pipe $key | wc -c; keyctl invalidate $key; keyctl revoke $key
             keyctl setperm $key 0x3f3f3f3f; echo x | keyctl pupdate $key\"
           $LGSS list; $GET'"
    );
    let said = with_accounts(site, &in_logins);
    expect(
        &said,
        &[
            "root reads it",
            ": key inaccessible (Permission denied)",
            "keyctl_read_alloc: Permission denied\n",
            "\n0\n",
            "keyctl_invalidate: Permission denied",
            "keyctl_revoke: Permission denied",
            "keyctl_setperm: Permission denied",
            "keyctl_update: Permission denied",
            "which you had already",
        ],
    );
    // In a new session, which su(1) without a login passes on; all of root's sessions have the same context.
    let in_roots = format!(
        "keyctl session - /bin/sh -c '
           $GET >{out}; cat {out}; su lgsstest -c \"keyctl pipe $(sed -n \"s/^key \\([0-9]*\\) .*/\\1/p\" {out}) | wc -c; keyctl list @s\"
           $LGSS flush $(sed -n \"s/^key \\([0-9]*\\) .*/\\1/p\" {out})'"
    );
    let said = with_accounts(site, &in_roots);
    expect(
        &said,
        &["which you had already", "Permission denied", "\n0\n", "keyring is empty", "1 context ended"],
    );
}

fn a_user_in_roots_session_leaves_its_context_to_root_and_believes_none_of_roots(shared: &Shared) {
    let (site, _) = site(shared);
    let uid = site.uid();
    let out = site.path("user").join("out");
    let out = out.display();
    for become_user in [
        "su lgsstest -s /bin/sh -c",
        "runuser -u lgsstest -- /bin/sh -c",
        &format!("setpriv --reuid {uid} --regid {uid} --clear-groups /bin/sh -c"),
    ] {
        let script = format!(
            "keyctl session - /bin/sh -c '
               head -c 100 /dev/zero | keyctl padd user lgss:{uid}:$SERVICE @s
               {become_user} \"$GET >{out} 2>&1; cat {out}; $GET --json; $LGSS list; $LGSS flush --all\"
               keyctl list @s; keyctl pipe $(sed -n \"s/^key \\([0-9]*\\) .*/\\1/p\" {out}) | wc -c'"
        );
        let said = with_accounts(&site, &script);
        expect(
            &said,
            &[
                "linked to your user keyring, since the session keyring belongs to uid 0 (root)",
                "established after",
                "\"found\": true",
                "its contents are ignored",
                "1 context ended",
                "1 key in keyring",
                "\n0\n",
            ],
        );
    }
    // In a login's own session, which pam_keyinit(8) makes for su -.
    let script = "keyctl session - su - lgsstest -s /bin/sh -c \"$GET; $LGSS flush --all\"";
    let said = with_accounts(&site, script);
    expect(&said, &["linked to your user keyring: ", "established after", "1 context ended"]);
}

/// Through sudo -u.
fn a_user_in_another_users_session_shares_nothing_with_it(shared: &Shared) {
    let (site, _) = site(shared);
    let (uid, other) = (site.uid(), site.machine_uid());
    let script = format!(
        "setpriv --reuid {other} --regid {other} --clear-groups keyctl session - /bin/sh -c '
           head -c 100 /dev/zero | keyctl padd user lgss:{uid}:$SERVICE @s
           sudo -u lgsstest $GET; keyctl list @s; sudo -u lgsstest $LGSS flush --all'"
    );
    let said = with_accounts(&site, &script);
    let owner = format!("since the session keyring belongs to uid {other} (lgssother)");
    expect(&said, &[&owner, "established after", "1 key in keyring", "1 context ended"]);
}

/// With request_key(2) itself, as programs call it that know nothing of this.
fn a_context_never_goes_into_a_keyring_of_another(shared: &Shared) {
    let (site, _) = site(shared);
    let uid = site.uid();
    let become_user = Step::Ids { uid: [uid; 3], gid: [uid; 3] };
    let refused = |steps: Vec<Step>, request| match site.ask_after(steps.clone(), request) {
        Outcome::Refused(Errno::EACCES) => {}
        other => panic!("{steps:?}: {other:?}"),
    };
    // The session is root's, and then another user's.
    refused(vec![Step::JoinSession, become_user.clone()], site.request(shared.nfs()));
    site.log.wait_for_words(&["S20", "belongs to uid 0", &format!("context to uid {uid}")]);
    // Root acts for one user in another's session, which only that user can use.
    let other = site.machine_uid();
    let acting = vec![
        Step::Ids { uid: [other, 0, 0], gid: [0; 3] },
        Step::JoinSession,
        Step::Ids { uid: [0; 3], gid: [0; 3] },
        Step::FsIds { uid, gid: uid },
    ];
    refused(acting, site.request(shared.nfs()));
    site.log.wait_for_words(&["S20", &format!("belongs to uid {other}")]);
    // From the same session, the context may go into the process keyring.
    let mut request = site.request(shared.nfs());
    request.ring = PROCESS_RING;
    call_null_with(&site.ask_after(vec![Step::JoinSession, become_user], request).context(), shared.nfs());
    call_null_with(&site.ask_after(as_user(uid), site.request(shared.nfs())).context(), shared.nfs());
}

/// A daemon with a context in its process keyring, or where the library puts it, starts a program as a user.
fn a_daemon_of_root_that_becomes_a_user_takes_no_context_along(shared: &Shared) {
    let (site, roots) = site(shared);
    let description = format!("lgss:0:{}:{}", shared.nfs().service, site.uid());
    site.serve(&description);
    let program = site.path("daemon");
    install(env!("CARGO_BIN_EXE_lgss-probe"), &program, 0o755);
    for place in ["user", "process"] {
        let said = command(&program)
            .args(["daemon", place, &description, &shared.nfs().channel(), &roots])
            .arg(site.uid().to_string())
            .output()
            .unwrap();
        assert!(said.status.success(), "{place}: {said:?}");
        assert_eq!(String::from_utf8_lossy(&said.stdout), "established\nEACCES\nnone\n", "{said:?}");
    }
}
