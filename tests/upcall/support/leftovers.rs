//! What upcalls leave behind: nothing but what later ones read, see docs/formats.md ("Run directory").

use super::keys::wait_until_forgotten;
use super::outcome::Outcome;
use super::server::Target;
use super::site::Site;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Files of the run directory that may outlive an upcall for a user: the slots, records of the owner and of lines in the log, the
/// time of the last sweep.
const KEPT: [&str; 6] = ["slots/users", "owners/uid-", "log/uid-", "log/users", "log/refused", "swept"];

/// Whoever was struck, the next request of this user gets its context.
#[track_caller]
pub(crate) fn expect_next_served(site: &Site, target: &Target, about: &str) {
    match site.ask(target) {
        Outcome::Established(_) => {}
        other => panic!("after {about}: {other:?}, log {:#?}", site.log.lines()),
    }
}

/// No process is left, and no file but those that later upcalls read.
#[track_caller]
pub(crate) fn expect_no_process_or_file(site: &Site, about: &str) {
    site.wait_until_idle();
    let run = site.path("run");
    let left: Vec<_> =
        files(&run).into_iter().filter(|path| !is_kept(path.strip_prefix(&run).unwrap())).collect();
    assert!(left.is_empty(), "after {about}: {left:?}");
}

/// After the last request of a site's user: no process, file or key is left, and no process of ours has crashed.
#[track_caller]
pub(crate) fn expect_nothing_left(site: &Site, about: &str) {
    expect_no_process_or_file(site, about);
    wait_until_forgotten(site.uid());
    let told = files(&site.path("killed"));
    let crashes = told.iter().filter(|path| path.extension().is_some_and(|word| word == "crash"));
    let crashes: Vec<_> = crashes.map(|path| (path, fs::read_to_string(path).unwrap_or_default())).collect();
    assert!(crashes.is_empty(), "{about}: {crashes:?}, log {:#?}", site.log.lines());
}

fn is_kept(path: &Path) -> bool {
    let path = path.to_string_lossy();
    // One that is to replace another has ".new" in its name.
    KEPT.iter().any(|kept| path.starts_with(kept)) && !path.contains(".new")
}

/// All files below a directory.
fn files(directory: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    entries
        .flat_map(|entry| {
            let path = entry.path();
            if path.is_dir() { files(&path) } else { BTreeSet::from([path]) }
        })
        .collect()
}
