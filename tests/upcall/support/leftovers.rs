//! What is left of an upcall one of whose processes was struck, and whether the next upcall is served (rule S19).

use super::keys::{USER_KEYRINGS, keys_of};
use super::outcome::Outcome;
use super::server::Target;
use super::site::Site;
use super::wait::wait_for;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What upcalls of one user may leave in their run directory, besides that user's records: the table in docs/formats.md says
/// what for.
const KEPT: [&str; 11] = [
    "failures",
    "log",
    "log/refused",
    "log/tellers",
    "log/users",
    "machine",
    "owners",
    "primes",
    "slots",
    "slots/users",
    "swept",
];
/// Directories of the user's records.
const OF_ONE_OWNER: [&str; 2] = ["log", "owners"];

/// Every path below a site's run directory.
pub(crate) fn run_files(site: &Site) -> BTreeSet<PathBuf> {
    let run = site.path("run");
    files(&run).iter().map(|path| path.strip_prefix(&run).unwrap().to_owned()).collect()
}

fn files(directory: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    entries
        .flat_map(|entry| {
            let path = entry.path();
            let below = if path.is_dir() { files(&path) } else { BTreeSet::new() };
            below.into_iter().chain([path])
        })
        .collect()
}

/// Waits until no process of the site is left; then there is no file that was not there `before` and is not meant to stay.
#[track_caller]
pub(crate) fn expect_nothing_left(site: &Site, before: &BTreeSet<PathBuf>, about: &str) {
    site.wait_until_idle();
    let left: Vec<_> =
        run_files(site).difference(before).filter(|path| !is_kept(path, site.uid())).cloned().collect();
    assert!(left.is_empty(), "{about}: left {left:?}");
}

fn is_kept(path: &Path, uid: u32) -> bool {
    let owner = format!("uid-{uid}");
    KEPT.iter().any(|kept| path == Path::new(kept))
        || OF_ONE_OWNER.iter().any(|directory| path == Path::new(directory).join(&owner))
}

/// Waits until the user has no key but the keyrings that the kernel keeps. So no key of a request is left, and none of the
/// keyrings and authorisation keys that the kernel makes for an upcall in its requester's name. To be called once for a
/// user, not for each request: an init may take seconds to reap a process, which has its keyrings until then.
#[track_caller]
pub(crate) fn expect_no_keys_left(site: &Site, about: &str) {
    wait_for(&format!("the keys of a user to be collected {about}"), Duration::from_secs(20), || {
        (keys_of(site.uid()) <= USER_KEYRINGS).then_some(())
    });
}

/// An honest upcall of the same user gets its context.
#[track_caller]
pub(crate) fn expect_next_served(site: &Site, target: &Target, about: &str) {
    match site.ask(target) {
        Outcome::Established(_) => {}
        other => panic!("after {about}: {other:?}, log {:#?}", site.log.lines()),
    }
}
