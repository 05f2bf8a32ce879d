//! A user's credentials from the site's hook.

use crate::support::outcome::Outcome;
use crate::support::shared::Shared;
use crate::support::site::{Settings, Site, install_content};
use crate::support::wait::stretched;
use lgss::private_to_lgss::event::{Cause, Reason};
use nix::errno::Errno;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::time::{Duration, Instant};

crate::trials![
    a_context_is_made_with_what_the_hook_has_for_its_user,
    the_hook_runs_as_the_user_without_any_right,
    of_a_hook_that_fails_only_the_log_tells,
    what_a_hook_gives_that_is_no_cache_is_refused,
    a_hook_that_hangs_leaves_time_for_the_users_own_tickets,
    failures_for_want_of_the_hooks_credentials_lead_to_a_pause,
    a_request_that_names_its_cache_asks_no_hook,
];

const KDC: &str = "4s";

/// A site whose hook for credentials is this script; `$in` is what it reads, `$kept` a cache with the user's ticket.
fn site(shared: &Shared, extra: &str, script: &str) -> Site {
    let site = Site::with(shared.realm(), &Settings { extra, kdc: KDC, ..Settings::default() });
    let hooks = site.path("hooks.d");
    DirBuilder::new().mode(0o755).create(&hooks).unwrap();
    let kept = site.path("user").join("kept");
    shared.realm().ticket(site.uid(), &format!("FILE:{}", kept.display()));
    let script = format!("#!/bin/sh\nin=$(cat); kept={}\n{script}\n", kept.display());
    install_content(script, &hooks.join("fetch"), 0o755);
    site.add_settings(&format!("[caches]\nhook = \"fetch\"\n[hooks]\ndirectory = \"{}\"\n", hooks.display()));
    site
}

const GIVES_IT: &str = "printf '{\"ccache\": \"%s\"}' \"$(base64 -w0 $kept)\"";
const NO_PAUSES: &str = Settings::DEFAULT.extra;

fn reason(outcome: Outcome) -> (Errno, Reason) {
    let Outcome::Failed { errno, reason: Some(reason) } = outcome else { panic!("{outcome:?}") };
    (errno, reason)
}

fn a_context_is_made_with_what_the_hook_has_for_its_user(shared: &Shared) {
    let site = site(shared, NO_PAUSES, GIVES_IT);
    let before = fs::read(site.path("user").join("kept")).unwrap();
    drop(site.ask(shared.nfs()).context());
    let line = site.log.wait_for_established(1);
    assert!(line.contains(" in HOOK:"), "{line}");
    assert_eq!(fs::read(site.path("user").join("kept")).unwrap(), before);
    site.wait_until_idle();
    // With none, it is as without a hook.
    let script = "#!/bin/sh\necho '{\"ccache\": null}'\n";
    install_content(script, &site.path("hooks.d").join("fetch"), 0o755);
    let outcome = site.ask_with(site.request_as(&site.uid().to_string(), shared.nfs(), ":none"));
    assert_eq!(outcome.errno(), Cause::NoTicket.errno());
    site.wait_until_idle();
    assert!(site.log.lines().iter().all(|line| !line.contains("hook fetch")), "{:?}", site.log.lines());
}

fn the_hook_runs_as_the_user_without_any_right(shared: &Shared) {
    let check = "\
        [ \"$(id -u)$(id -G)\" = \"$uid$uid\" ] || exit 3\n\
        case \"$in\" in *'\"purpose\":\"credentials\",\"uid\":'$uid',\"service\":\"'$service'\"'*) ;; *) exit 4;; esac\n\
        grep -q '^CapBnd:.0*$' /proc/self/status && grep -q '^NoNewPrivs:.1$' /proc/self/status || exit 5\n\
        [ -z \"$(tr -d '\\000' </proc/self/environ | tr -d A-Z/_=)\" ] || exit 6\n\
        (touch /var/tmp/x && ! touch \"${kept%/*}/x\") 2>/dev/null || exit 7\n\
        [ \"$(wc -l </proc/net/dev)\" = 3 ] || exit 8\n";
    let site = site(shared, NO_PAUSES, "");
    let hook = site.path("hooks.d").join("fetch");
    let kept = site.path("user").join("kept");
    let script = format!(
        "#!/bin/sh\nin=$(cat); kept={} uid={} service={}\n{check}{GIVES_IT}\n",
        kept.display(),
        site.uid(),
        shared.nfs().service
    );
    install_content(script, &hook, 0o755);
    drop(site.ask(shared.nfs()).context());
}

fn of_a_hook_that_fails_only_the_log_tells(shared: &Shared) {
    for (script, told) in [
        ("echo a secret >&2; echo '{}'; exit 3", "hook fetch: it ended with exit status 3"),
        ("exec cat /dev/zero", "hook fetch: S14: more than 65536 bytes of output"),
        ("kill -KILL $$; exec sleep 60", "hook fetch: S14: no result within "),
    ] {
        let site = site(shared, NO_PAUSES, script);
        let (errno, reason) = reason(site.ask(shared.nfs()));
        assert_eq!((errno, reason.cause.as_str()), (Errno::ENOKEY, "no_ticket"), "{reason:?}");
        let words = format!("{reason:?}");
        assert!(!words.contains("HOOK") && !words.contains("hook"), "{words}");
        let line = site.log.wait_for_words(&[&format!("uid {} ", site.uid()), told]);
        assert!(!line.contains("secret"), "{line}");
        site.wait_until_idle();
    }
    let site = site(shared, NO_PAUSES, GIVES_IT);
    let hook = site.path("hooks.d").join("fetch");
    fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    assert_eq!(site.ask(shared.nfs()).errno(), Errno::ENOKEY);
    site.log.wait_for_words(&["hook fetch: S14: ", "/hooks.d/fetch has the mode 0777"]);
}

fn what_a_hook_gives_that_is_no_cache_is_refused(shared: &Shared) {
    for script in [
        "echo nothing",
        "echo '{}'; echo '{}'",
        "echo '{\"ccache\": 7}'",
        "echo '{\"ccache\": \"no base64\"}'",
        "printf '{\"ccache\": \"%s\"}' \"$(head -c 9000 /dev/urandom | base64 -w0)\"",
        "printf '{\"ccache\": \"%s\"}' \"$(head -c 200 $kept | base64 -w0)\"",
        "echo '{\"ccache\": \"\"}'",
        "printf '{\"ccache\": \"%s\", \"more\": 1}' \"$(base64 -w0 $kept)\"",
    ] {
        let site = site(shared, NO_PAUSES, script);
        let (errno, reason) = reason(site.ask(shared.nfs()));
        assert!(errno != Errno::EIO && reason.detail.contains("HOOK:"), "{script}: {errno} {reason:?}");
        site.wait_until_idle();
    }
}

fn a_hook_that_hangs_leaves_time_for_the_users_own_tickets(shared: &Shared) {
    let site = site(shared, NO_PAUSES, "sleep 1000 & sleep 1000");
    site.ticket(shared.realm());
    let began = Instant::now();
    drop(site.ask(shared.nfs()).context());
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(1) && took < stretched(Duration::from_secs(4)), "{took:?}");
    site.log.wait_for_words(&["hook fetch: S14: no result within "]);
    site.wait_until_idle();
    let left: Vec<_> =
        crate::support::process::Process::all().into_iter().filter(|it| it.uid == Some(site.uid())).collect();
    assert!(left.is_empty(), "{left:?}");
}

fn failures_for_want_of_the_hooks_credentials_lead_to_a_pause(shared: &Shared) {
    let site = site(shared, "[backoff]\nafter = 1\nfirst = \"300s\"\nlongest = \"300s\"\n", "exit 1");
    let ask = |instance: &str| {
        let outcome = site.ask_with(site.request_as(&site.uid().to_string(), shared.nfs(), instance));
        site.wait_until_idle();
        outcome.errno()
    };
    assert_eq!([":a", ":b", ":c"].map(ask), [Errno::ENOKEY, Errno::ENOKEY, Errno::EAGAIN]);
}

fn a_request_that_names_its_cache_asks_no_hook(shared: &Shared) {
    let site = site(shared, NO_PAUSES, "exit 1");
    site.ticket(shared.realm());
    let named = format!("cache=FILE:{}", site.default_cache().display());
    drop(site.ask_with(site.request_with(shared.nfs(), &named)).context());
    site.log.wait_for_established(1);
    site.wait_until_idle();
    assert!(site.log.lines().iter().all(|line| !line.contains("hook fetch")), "{:?}", site.log.lines());
}
