//! A session keyring that was revoked, has expired, or does not lead to the user keyring: the next source is used.

use crate::support::command_line::{lgss, lines, session};
use crate::support::outcome::Outcome;
use crate::support::probe::{Request, SESSION_RING, Step, as_user};
use crate::support::rpc::call_null_with;
use crate::support::shared::Shared;
use crate::support::site::Site;
use lgss::private_to_lgss::event::Cause;
use nix::errno::Errno;

crate::trials![
    with_a_revoked_session_keyring_the_next_source_is_used_and_the_log_says_why,
    with_an_expired_session_keyring_the_next_source_is_used_and_the_log_says_why,
    the_kernel_itself_refuses_a_key_for_a_dead_session_keyring,
    a_session_that_does_not_lead_to_the_user_keyring_has_its_caches_nevertheless,
    get_list_and_caches_say_that_the_login_has_ended_and_what_to_type,
];

/// Keyrings for a program whose session keyring is unusable.
const PROCESS_RING: i32 = -2;
const THREAD_RING: i32 = -1;
const NO_RING: i32 = 0;
const REVOKE: &str = "keyctl revoke @s";
const EXPIRE: &str = "keyctl timeout @s 1; while keyctl rlist @s >/dev/null 2>&1; do sleep 0.05; done";

fn run(script: &str) -> Step {
    Step::Run { words: ["sh", "-c", script].map(str::to_owned).to_vec(), input: String::new() }
}

/// Makes a good cache in the session and one in /tmp, then ends the session by this script.
#[track_caller]
fn expect_next_source(shared: &Shared, end: &str, reason: &str) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let mut steps = as_user(site.uid());
    steps.push(shared.realm().kinit(&site.path("krb5.conf"), "KEYRING:session:mine"));
    steps.push(run(end));
    for (count, ring) in [(1, PROCESS_RING), (2, THREAD_RING)] {
        let request = site.request_as(&site.uid().to_string(), shared.nfs(), &format!(":{count}"));
        let outcome = site.ask_after(steps.clone(), Request { ring, ..request });
        call_null_with(&outcome.context(), shared.nfs());
        site.log.wait_for_established(count);
    }
    let chosen = format!(" in FILE:{}, ", site.default_cache().display());
    site.log.wait_for_words(&["chosen: alice@", &chosen, &format!("KEYRING:session: {reason}")]);
    // A request for that cache alone gets the reason, too.
    let request = site.request_with(shared.nfs(), "cache=KEYRING:session:mine");
    let outcome = site.ask_after(steps, Request { ring: PROCESS_RING, ..request });
    site.assert_failed(&outcome, Cause::BadCache, shared.nfs());
    let told = format!("KEYRING:session: {reason}: the session keyring's login has ended; log in again");
    site.log.wait_for_words(&["credentials: ", &told]);
}

fn with_a_revoked_session_keyring_the_next_source_is_used_and_the_log_says_why(shared: &Shared) {
    expect_next_source(shared, REVOKE, "Key has been revoked");
}

fn with_an_expired_session_keyring_the_next_source_is_used_and_the_log_says_why(shared: &Shared) {
    expect_next_source(shared, EXPIRE, "Key has expired");
}

/// Without a named keyring, the kernel puts the key into the session keyring, even an expired one. Nobody can see whose
/// that is, so the upcall refuses (rule S20).
fn the_kernel_itself_refuses_a_key_for_a_dead_session_keyring(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    for (end, ring, expected) in [
        (REVOKE, SESSION_RING, Errno::EKEYREVOKED),
        (REVOKE, NO_RING, Errno::EKEYREVOKED),
        (EXPIRE, SESSION_RING, Errno::EKEYEXPIRED),
        (EXPIRE, NO_RING, Errno::EACCES),
    ] {
        let mut steps = as_user(site.uid());
        steps.push(run(end));
        let request = Request { ring, ..site.request(shared.nfs()) };
        match site.ask_after(steps, request) {
            Outcome::Refused(errno) => assert_eq!(errno, expected, "{end}, {ring}"),
            other => panic!("{end}, {ring}: {other:?}"),
        }
        match expected {
            Errno::EACCES => drop(site.log.wait_for_words(&["S20", "Key has expired", "keyctl session"])),
            _ => assert_eq!(site.log.lines(), Vec::<String>::new(), "there was an upcall"),
        }
    }
}

/// pam_keyinit(8) links the two; a program that joins a new session loses the link.
fn a_session_that_does_not_lead_to_the_user_keyring_has_its_caches_nevertheless(shared: &Shared) {
    for linked in [true, false] {
        let site = Site::new(shared.realm());
        let mut steps = as_user(site.uid());
        steps.push(run("keyctl link @u @s"));
        steps.push(shared.realm().kinit(&site.path("krb5.conf"), "KEYRING:user:mine"));
        if !linked {
            steps.push(run("keyctl unlink @u @s"));
        }
        call_null_with(&site.ask_after(steps, site.request(shared.nfs())).context(), shared.nfs());
        site.log.wait_for_words(&["chosen: alice@", " in KEYRING:user:mine:mine, "]);
    }
}

fn get_list_and_caches_say_that_the_login_has_ended_and_what_to_type(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let get = format!("lgss get {} --channel {}", shared.nfs().service, shared.nfs().channel());
    for (end, word) in [(REVOKE, "was revoked: EKEYREVOKED"), (EXPIRE, "has expired: EKEYEXPIRED")] {
        for command in [&get, &format!("{get} --json"), "lgss list", "lgss caches"] {
            let text = lines(&session(&site, &format!("exec 2>&1; {end}; {command}")));
            assert!(
                text.contains(&format!("your session keyring {word} (its login has ended")),
                "{command}: {text}"
            );
            assert!(text.contains("keyctl session - CMD"), "{command}: {text}");
        }
        // The recommended command works as it stands.
        let program = lgss(&site);
        let script =
            format!("{end}; keyctl session - {}", get.replacen("lgss", &program.display().to_string(), 1));
        let text = lines(&session(&site, &script));
        assert!(text.contains("established after"), "{text}");
    }
}
