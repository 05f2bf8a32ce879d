//! What an attacker holds so that others wait: rule S21.

use crate::attack::{Attack, End, Scene, World};
use crate::plan::{Finding, Step};
use crate::support::fuse::{Fuse, Silence};
use crate::support::held_file::hold_by;
use crate::support::keyring_lock::{ask, hold_after, make_keyrings_of, released_soon};
use crate::support::keys::wait_for_quota;
use crate::support::outcome::Outcome;
use crate::support::probe::{Probe, as_user};
use crate::support::process::{Process, command_as};
use crate::support::rpc::call_null_with;
use crate::support::scratch::Scratch;
use crate::support::site::{Settings, Site};
use crate::support::wait::{stretched, wait_for};
use lgss::private_to_lgss::event::Cause;
use std::time::{Duration, Instant};

pub(crate) fn attacks() -> Vec<Attack> {
    let held = |name: &str, how: &'static str, said: &'static str| {
        Attack::checked("S21", name, "ENOKEY in seconds", move |scene| hold_cache(scene, how, said))
    };
    vec![
        held("lock its cache and never let go", "write-lock", "is locked by another program"),
        held("lease its cache and never let go", "write-lease", "is leased by another program"),
        Attack::asking(
            "S21",
            "name a cache on a file system that never answers",
            End::OwnContext,
            name_silent_place,
        ),
    ]
}

/// Those that slow the whole machine down.
pub(crate) fn attacks_on_all() -> Vec<Attack> {
    vec![Attack::checked(
        "S21",
        "hold the kernel's lock of keyrings by a graph of its own",
        "others are served in their time",
        hold_the_kernels_lock,
    )]
}

fn hold_cache(scene: &Scene<'_>, how: &str, said: &str) {
    let site = &scene.site;
    let mut starter = command_as(site.uid(), "env");
    if scene.world == World::UserNamespace {
        starter = command_as(site.uid(), "unshare");
        starter.args(["--user", "--map-root-user"]);
    }
    let holder = hold_by(starter, site, &site.default_cache(), how);
    let begun = Instant::now();
    let outcome = scene.ask(scene.honest_request(""));
    let took = begun.elapsed();
    // The library alone would wait for more than half a minute.
    assert!(took < stretched(Duration::from_secs(8)), "{took:?}");
    site.assert_failed(&outcome, Cause::BadCache, scene.shared.nfs());
    site.log.wait_for_words(&[said]);
    drop(holder);
}

/// Users may mount FUSE file systems, by fusermount(1) or in a namespace of their own.
fn name_silent_place(scene: &Scene<'_>) -> Outcome {
    let site = &scene.site;
    let fuse = Fuse::mount(&site.mount_point(), site.uid(), Vec::new(), Silence::Lookups);
    let begun = Instant::now();
    let cache = fuse.cache();
    let outcome = site.ask_in(&[("KRB5CCNAME", &cache)], scene.attacker(), scene.honest_request(""));
    assert!(begun.elapsed() < stretched(Duration::from_secs(6)), "{:?}", begun.elapsed());
    let exe = site.path("lgss_keyring");
    let held =
        Process::all().into_iter().any(|process| process.exe == exe && process.uid == Some(site.uid()));
    assert!(held, "no process of its own waits there");
    site.log.wait_for_words(&["its file system does not answer"]);
    outcome
}

fn hold_the_kernels_lock(scene: &Scene<'_>) {
    const PROCESSES: usize = 4;
    let settings =
        Settings { deadline: "60s", kdc: "30s", connect: "30s", round: "30s", ..Settings::default() };
    let victim = Site::with(scene.shared.realm(), &settings);
    victim.ticket(scene.shared.realm());
    make_keyrings_of(&victim, scene.shared);
    let [free, ..] = waits_for_lock();
    let holder = hold_after(scene.attacker(), PROCESSES);
    expect_held(free);
    released_soon(|number| {
        let request = victim.request_as(&victim.uid().to_string(), scene.shared.nfs(), &format!(":{number}"));
        let (outcome, blocked) = ask(&victim, request, None);
        call_null_with(&outcome.context(), scene.shared.nfs());
        blocked
    });
    // To the end.
    expect_held(free);
    drop(holder);
    victim.wait_until_idle();
    wait_for_quota(scene.site.uid());
}

/// Waits until somebody waits much longer than this for the lock: its holders need a processor for it.
#[track_caller]
fn expect_held(free: Duration) {
    wait_for("somebody to wait for the lock", Duration::from_secs(20), || {
        let [.., longest] = waits_for_lock();
        (longest > Duration::from_millis(50) && longest > 4 * free).then_some(())
    });
}

/// How long one more user waits who makes a keyring in another, five times; the shortest wait comes first.
fn waits_for_lock() -> [Duration; 5] {
    let user = Scratch::new();
    let mut steps = as_user(user.uid());
    let mut waits = [Duration::ZERO; 5];
    for _ in &waits {
        steps.extend([Step::Pause, Step::AddKeys { count: 1 }]);
    }
    let mut process = Probe::start(&steps);
    for wait in &mut waits {
        process.until_pause();
        let begun = Instant::now();
        process.go_on();
        for step in ["pause", "keyring"] {
            assert!(matches!(process.next(), Some(Finding::Done)), "{step}");
        }
        *wait = begun.elapsed();
    }
    waits.sort();
    waits
}
