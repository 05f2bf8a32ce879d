//! Caches on file systems that another user serves and that may never answer (rule S8).

use crate::support::fuse::{Fuse, Silence};
use crate::support::probe::{Request, Step, as_user};
use crate::support::process::Process;
use crate::support::shared::Shared;
use crate::support::site::{Settings, Site};
use crate::support::wait::wait_for;
use lgss::private_to_lgss::event::Cause;
use nix::errno::Errno;
use std::fs;
use std::time::Duration;

crate::trials![
    a_cache_on_fuse_is_refused_unless_configured,
    a_launcher_that_fuse_holds_up_fails_the_key_in_time_and_keeps_its_slot,
    a_worker_that_fuse_holds_up_fails_the_key_in_time_and_keeps_its_slot,
    a_root_directory_that_never_tells_its_attributes_holds_nobody_up,
];

const ALLOWED: &str = "[limits]\nper_owner = 1\n[caches]\nallow_fuse = true\n";

/// A launcher may be blocked for a sixth of this, so that a busy disk is not taken for a file system that never answers.
const KDC_TIME: &str = "12s";

/// A site whose user has its ticket on FUSE.
fn site(shared: &Shared, tables: &str, silence: Silence) -> (Site, Fuse) {
    let site = Site::with(shared.realm(), &Settings { extra: tables, kdc: KDC_TIME, ..Default::default() });
    site.ticket(shared.realm());
    let content = fs::read(site.default_cache()).unwrap();
    let fuse = Fuse::mount(&site.mount_point(), site.uid(), content, silence);
    (site, fuse)
}

fn request(site: &Site, shared: &Shared, cache: &str, instance: &str) -> Request {
    let mut request = site.request_as(&site.uid().to_string(), shared.nfs(), instance);
    request.callout.as_mut().unwrap().extend(format!(";cache={cache}").bytes());
    request
}

fn a_cache_on_fuse_is_refused_unless_configured(shared: &Shared) {
    let (site, fuse) = site(shared, "", Silence::Nothing);
    let outcome = site.ask_with(request(&site, shared, &fuse.cache(), ""));
    site.assert_failed(&outcome, Cause::BadCache, shared.nfs());
    site.log.wait_for_words(&["FUSE", "allow_fuse"]);
    let config = fs::read_to_string(site.path("lgss.toml")).unwrap();
    fs::write(site.path("lgss.toml"), config + "[caches]\nallow_fuse = true\n").unwrap();
    drop(site.ask_with(request(&site, shared, &fuse.cache(), ":allowed")).context());
}

/// The blocked process is neither killed nor forgotten: it counts until the file system has gone.
fn expect_held_slot(shared: &Shared, silence: Silence, program: &str) {
    let (site, fuse) = site(shared, ALLOWED, silence);
    let outcome = site.ask_with(request(&site, shared, &fuse.cache(), ""));
    assert_eq!(outcome.errno(), Cause::BadCache.errno(), "log {:#?}", site.log.lines());
    site.log.wait_for_words(&["does not answer"]);
    let exe = site.path(program);
    let stuck = || Process::all().into_iter().any(|p| p.exe == exe && p.uid == Some(site.uid()));
    assert!(stuck(), "no {program} is blocked");
    // The owner may have one negotiation; the cache in /tmp would be good.
    let next = site.request_as(&site.uid().to_string(), shared.nfs(), ":next");
    assert_eq!(site.ask_with(next).errno(), Errno::EAGAIN);
    wait_for("the word of it in the log", Duration::from_secs(20), || {
        site.log.lines().iter().any(|line| line.contains("does not end")).then_some(())
    });
    assert!(stuck(), "SIGKILL has ended it: this proves nothing");
    drop(fuse);
    site.wait_until_idle();
    drop(site.ask(shared.nfs()).context());
}

fn a_launcher_that_fuse_holds_up_fails_the_key_in_time_and_keeps_its_slot(shared: &Shared) {
    expect_held_slot(shared, Silence::Lookups, "lgss_keyring");
    expect_held_slot(shared, Silence::Opens, "lgss_keyring");
}

fn a_worker_that_fuse_holds_up_fails_the_key_in_time_and_keeps_its_slot(shared: &Shared) {
    expect_held_slot(shared, Silence::LaterOpens, "lgss_negotiate");
}

/// As a user can have it by an overlay over FUSE, in a user namespace. Both front and launcher look at it as root.
fn a_root_directory_that_never_tells_its_attributes_holds_nobody_up(shared: &Shared) {
    let (site, fuse) = site(shared, "", Silence::Attributes);
    let mut steps = vec![Step::Chroot { path: fuse.directory().display().to_string() }];
    steps.extend(as_user(site.uid()));
    let outcome = site.ask_after(steps, site.request(shared.nfs()));
    site.assert_failed(&outcome, Cause::NoTicket, shared.nfs());
}
