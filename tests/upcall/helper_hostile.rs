//! Hostile callers of `lgss_helper`: messages, environment, descriptors, limits, signals, installations.

use crate::support::operators::{Conversation, Membership, Operators, VERSION};
use crate::support::shared::Shared;
use crate::support::site::Site;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg, setsockopt, sockopt};
use std::fmt::Write as _;
use std::io::IoSlice;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

crate::trials![
    messages_that_make_no_sense_are_refused_and_nothing_is_done,
    a_helper_serves_one_request_of_one_version,
    whoever_is_slow_or_gone_holds_no_helper,
    what_a_caller_leaves_to_the_helper_changes_nothing,
    only_a_socket_of_lgss_is_served,
    no_one_can_stop_a_helper_that_has_taken_its_rights,
    a_helper_without_its_rights_says_so,
    a_helper_that_everybody_may_start_still_asks_for_the_group,
];

/// Of a user without keys, so that it costs little.
const LIST: &str = r#"{"method":"list","payload":{"owners":{"one":1}}}"#;

fn messages_that_make_no_sense_are_refused_and_nothing_is_done(shared: &Shared) {
    let site = Site::new(shared.realm());
    let operators = Operators::of(&site);
    let nested = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    for (line, why) in [
        ("", "no JSON"),
        ("nonsense", "no JSON"),
        ("[]", "another kind"),
        (nested.as_str(), "is"),
        ("\"\\ud800\"", "is"),
        (r#"{"method":"list"}"#, "missing"),
        (r#"{"method":"list","payload":{}}"#, "missing"),
        (r#"{"method":"list","payload":{"owners":{"one":-1}}}"#, "kind"),
        (r#"{"method":"list","payload":{"owners":{"one":4294967296}}}"#, "kind"),
        (r#"{"method":"list","payload":{"owners":"all","as":0}}"#, "unknown"),
        (r#"{"method":"list","payload":{"owners":"all"},"forwarded":true}"#, "unknown"),
        (r#"{"method":"list","payload":{"owners":"all"},"uid":0}"#, "unknown"),
        (r#"{"method":"exec","payload":{"argv":["/bin/sh"]}}"#, "no such method"),
        (r#"{"method":"ping","payload":{"version":"0"}}"#, "no such method"),
        (r#"{"method":"caches","payload":{"uid":0,"target":null}}"#, "root only"),
        (r#"{"method":"caches","payload":{"uid":1,"target":"--config=/etc/shadow"}}"#, "kind"),
        (
            r#"{"method":"sk_load","payload":{"key":"zz","mount":null,"suffix":null,"verbosity":"usual"}}"#,
            "kind",
        ),
        (
            r#"{"method":"sk_load","payload":{"key":"00","mount":null,"suffix":null,"verbosity":"usual"}}"#,
            "no shared key",
        ),
    ] {
        let mut helper = operators.helper_by(Membership::Member).greeted();
        let said = helper.say(line).heard();
        assert!(said.starts_with(r#"{"refusal":"#) && said.contains(why), "{line:.80}: {said}");
        assert_eq!(helper.end().0, "", "{line:.80}");
    }
    // Too long for the method, and for any.
    let long = format!(r#"{{"method":"list","payload":{{"owners":"all"}}{}}}"#, " ".repeat(5000));
    let said = operators.helper_by(Membership::Member).greeted().say(&long).heard();
    assert!(said.contains("at most 1024 bytes"), "{said}");
    let endless = "x".repeat(2 * 1024 * 1024);
    let said = operators.helper_by(Membership::Member).greeted().say(&endless).heard();
    assert!(said.contains("more than 1048576 bytes"), "{said}");
}

fn a_helper_serves_one_request_of_one_version(shared: &Shared) {
    let site = Site::new(shared.realm());
    let operators = Operators::of(&site);
    let other = r#"{"method":"ping","payload":{"version":"99.0"}}"#;
    let said = operators.helper_by(Membership::Member).say(other).heard();
    assert!(said.contains("99.0") && said.contains(VERSION) && said.contains("one package"), "{said}");
    let said = operators.helper_by(Membership::Member).say(LIST).heard();
    assert!(said.contains("must be a ping"), "{said}");
    // Both requests there before the helper looks: neither is done.
    let mut helper = operators.helper_by(Membership::Member).greeted();
    let said = helper.say(&format!("{LIST}\n{LIST}")).heard();
    assert!(said.contains("one request"), "{said}");
    // A second one later finds nobody.
    let mut helper = operators.helper_by(Membership::Member).greeted();
    let said = helper.say(LIST).heard();
    assert!(said.starts_with(r#"{"answer":"#), "{said}");
    assert_eq!(helper.say(LIST).heard(), "");
    assert_eq!(helper.end().1, Some(0));
    // `lgss` does not take the answers of another version's helper.
    let stub = "#!/bin/sh\nread ping; echo '{\"answer\":{\"version\":\"99.0\"}}'; read request; echo '{\"answer\":[]}'\n";
    std::fs::remove_file(operators.helper()).unwrap();
    std::fs::write(operators.helper(), stub).unwrap();
    // The kernel takes no such bit of a script's, and lgss looks only whether it is there.
    operators.set_mode(0o4755);
    let said = operators.run(Membership::Member, "lgss list --user 1");
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("99.0") && said.contains("one package"), "{said}");
}

fn whoever_is_slow_or_gone_holds_no_helper(shared: &Shared) {
    let site = Site::new(shared.realm());
    let operators = Operators::of(&site);
    let begun = Instant::now();
    let silent = operators.helper_by(Membership::Member);
    let mut half = operators.helper_by(Membership::Member).greeted();
    half.socket().set_nonblocking(false).unwrap();
    {
        use std::io::Write;
        let _ = half.socket().write_all(&LIST.as_bytes()[..20]);
    }
    let said = half.heard();
    assert!(said.contains("too slow"), "{said}");
    assert_eq!(half.end().1, Some(1));
    let (said, status) = silent.end();
    assert!(said.contains("too slow") && status == Some(1), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(60));
    // One that is gone before it has asked, and one after.
    assert_eq!(
        operators.helper_by(Membership::Member).greeted().socket().shutdown(std::net::Shutdown::Both).ok(),
        Some(())
    );
    let mut gone = operators.helper_by(Membership::Member).greeted();
    gone.say(LIST).socket().shutdown(std::net::Shutdown::Both).unwrap();
    assert!(gone.end().1.is_some(), "it is not ended by a signal");
    // Descriptors that come along are nobody's.
    let mut with_files = operators.helper_by(Membership::Member).greeted();
    let files: Vec<_> = (0..10).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
    let numbers: Vec<_> = files.iter().map(AsRawFd::as_raw_fd).collect();
    let message = [ControlMessage::ScmRights(&numbers)];
    let line = format!("{LIST}\n");
    sendmsg::<()>(
        with_files.socket().as_raw_fd(),
        &[IoSlice::new(line.as_bytes())],
        &message,
        MsgFlags::empty(),
        None,
    )
    .unwrap();
    let said = with_files.heard();
    assert!(said.starts_with(r#"{"answer":"#), "{said}");
}

fn what_a_caller_leaves_to_the_helper_changes_nothing(shared: &Shared) {
    let site = Site::new(shared.realm());
    let operators = Operators::of(&site);
    let helper = operators.helper();
    let program = helper.display();
    let removed = "mkdir -m 777 gone; cd gone; rmdir ../gone";
    for (prelude, what) in [
        ("umask 0", "umask"),
        (
            "export LD_PRELOAD=/nonexistent.so LD_LIBRARY_PATH=. PATH=. TMPDIR=. HOME=. KRB5_CONFIG=/etc/shadow TZ=:/etc/shadow MALLOC_PERTURB_=1 RUST_BACKTRACE=full",
            "environment",
        ),
        ("exec 3</dev/null 4</dev/null 5<&0 9<&0", "descriptors"),
        ("exec 2<&-", "no standard error"),
        (removed, "directory"),
        ("ulimit -c unlimited", "core"),
        ("ulimit -f 0", "file size"),
        ("ulimit -n 8", "descriptors' limit"),
        ("ulimit -t 2", "time"),
        ("ulimit -d 65536", "data"),
        ("ulimit -u 20", "processes"),
        ("trap '' HUP INT QUIT ALRM TERM CHLD PIPE USR1", "ignored signals"),
    ] {
        let mut command = operators.command(Membership::Member, "/bin/sh");
        command.args([
            "-c",
            &format!("cd {} || exit; {prelude}; exec {program}", home(&site, &operators).display()),
        ]);
        let mut helper = Conversation::with(command);
        let greeting = helper.ping().heard();
        let said = helper.say(LIST).heard();
        assert!(said.starts_with(r#"{"answer":"#), "{what}: {greeting}, {said}");
    }
    for (name, words) in
        [("", ""), ("../../../bin/sh", "--help -c id"), ("\u{1b}[2J", "{\"method\":\"list\"}")]
    {
        let mut command = operators.command(Membership::Member, "/bin/bash");
        command.args(["-c", r#"exec -a "$1" "$0" $2"#]).arg(&helper).args([name, words]);
        let said = Conversation::with(command).greeted().say(LIST).heard();
        assert!(said.starts_with(r#"{"answer":"#), "{name:?}: {said}");
    }
    // A session keyring of the caller's is not the helper's, and signals that are blocked stay the caller's matter.
    let mut command = operators.command(Membership::Member, "/usr/bin/keyctl");
    command.args(["session", "-"]).arg(&helper);
    let said = Conversation::with(command).greeted().say(LIST).heard();
    assert!(said.starts_with(r#"{"answer":"#), "{said}");
}

fn home(site: &Site, operators: &Operators<'_>) -> std::path::PathBuf {
    let home = site.path("operator");
    if !home.exists() {
        std::fs::create_dir(&home).unwrap();
        std::os::unix::fs::chown(&home, Some(operators.uid()), None).unwrap();
    }
    home
}

fn only_a_socket_of_lgss_is_served(shared: &Shared) {
    let site = Site::new(shared.realm());
    let operators = Operators::of(&site);
    let script = format!(
        "{0} </dev/null; echo null $?; echo '{LIST}' | {0} | cat; {0} <&- >&-; echo closed $?",
        operators.helper().display()
    );
    let said = operators.run(Membership::Member, &script);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(!said.contains("answer") && said.contains("null 2") && said.contains("closed 2"), "{said}");
    // Two sockets are not one.
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let (_kept, another) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut command = operators.command(Membership::Member, operators.helper());
    let ended = command
        .stdin(std::os::fd::OwnedFd::from(theirs))
        .stdout(std::os::fd::OwnedFd::from(another))
        .status()
        .unwrap();
    assert_eq!(ended.code(), Some(2));
    drop(ours);
}

fn no_one_can_stop_a_helper_that_has_taken_its_rights(shared: &Shared) {
    let site = Site::new(shared.realm());
    let operators = Operators::of(&site);
    let mut log = String::new();
    for line in 0..20_000 {
        writeln!(log, "Nov 30 21:00:00 n lgss_keyring[{line}]: key 1 uid 1 krb5 nfs@srv: established")
            .unwrap();
    }
    std::fs::write(operators.log_files().join("auth.log"), log).unwrap();
    let mut helper = operators.helper_by(Membership::Member).greeted();
    setsockopt(helper.socket(), sockopt::RcvBuf, &4096).unwrap();
    helper.say(r#"{"method":"log","payload":{"uid":null,"lines":10000}}"#);
    let pid = helper.pid();
    // It waits for its reader, as root in every sense.
    let ids = || std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    crate::support::wait::wait_for("the helper's rights", Duration::from_secs(30), || {
        ids().contains("Uid:\t0\t0\t0\t0").then_some(())
    });
    for what in ["STOP", "KILL", "ALRM"] {
        let killed = operators
            .command(Membership::Member, "/bin/kill")
            .args(["-s", what, &pid.to_string()])
            .output()
            .unwrap();
        assert!(!killed.status.success(), "{what}: {killed:?}");
    }
    // Nor does what a terminal sends to a leader of its session, which keeps it.
    use nix::sys::signal::Signal::{SIGHUP, SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU};
    for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU] {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
    }
    let status = ids();
    assert!(status.contains("Groups:\t \n") || status.contains("Groups:\t\n"), "{status}");
    let environ = operators
        .command(Membership::Member, "/bin/cat")
        .arg(format!("/proc/{pid}/environ"))
        .output()
        .unwrap();
    assert!(!environ.status.success(), "{environ:?}");
    let answer = helper.heard();
    assert!(answer.len() > 500_000 && answer.starts_with(r#"{"answer":"#), "{} bytes", answer.len());
    assert_eq!(helper.end().1, Some(0));
}

fn a_helper_without_its_rights_says_so(shared: &Shared) {
    let site = Site::new(shared.realm());
    let operators = Operators::of(&site);
    operators.set_mode(0o750);
    let said = operators.helper_by(Membership::Member).greeted().say(LIST).heard();
    assert!(said.contains("cannot take the rights") && said.contains("4750"), "{said}");
    operators.set_mode(0o4750);
    let bound = [
        "--no-new-privs".to_owned(),
        format!("--reuid={}", operators.uid()),
        "--regid=65534".to_owned(),
        format!("--groups={}", operators.group()),
    ];
    let said =
        Conversation::with(operators.command_of(bound, operators.helper())).greeted().say(LIST).heard();
    assert!(said.contains("cannot take the rights") && said.contains("no_new_privs"), "{said}");
    // A copy of one's own. It belongs to the member's primary group, so that this member may call, and has no right.
    let home = home(&site, &operators);
    let script = format!(
        "cd {} && cp {} copy && chmod 4777 copy && exec ./copy",
        home.display(),
        operators.helper().display()
    );
    let mut command = operators.command(Membership::Member, "/bin/sh");
    operators.set_mode(0o4754);
    command.args(["-c", &script]);
    let said = Conversation::with(command).greeted().say(LIST).heard();
    assert!(said.contains("cannot take the rights"), "{said}");
    // A group that is root's is none of operators.
    std::os::unix::fs::chown(operators.helper(), Some(0), Some(0)).unwrap();
    std::fs::set_permissions(operators.helper(), std::os::unix::fs::PermissionsExt::from_mode(0o4755))
        .unwrap();
    let said = operators.helper_by(Membership::Member).ping().heard();
    assert!(said.contains("belongs to group root"), "{said}");
}

fn a_helper_that_everybody_may_start_still_asks_for_the_group(shared: &Shared) {
    let site = Site::new(shared.realm());
    let operators = Operators::of(&site);
    let refused = operators.command(Membership::Outsider, operators.helper()).output().unwrap();
    assert!(!refused.status.success() && refused.stdout.is_empty(), "{refused:?}");
    operators.set_mode(0o4755);
    let said = operators.helper_by(Membership::Outsider).ping().heard();
    assert!(said.contains("neither root nor in group"), "{said}");
    // The group of a program that is set-group-id is not the user's.
    let stranger = [
        format!("--reuid={}", site.uid()),
        "--rgid=65534".to_owned(),
        format!("--egid={}", operators.group()),
        "--clear-groups".to_owned(),
    ];
    let said = Conversation::with(operators.command_of(stranger, operators.helper())).ping().heard();
    assert!(said.contains("neither root nor in group"), "{said}");
    site.log.wait_for(|line| line.contains(&format!("uid {}: refused: you are neither", site.uid())));
}
