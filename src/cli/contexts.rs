//! The contexts that the caller can see, for list, flush, show and completion.

use nix::unistd::geteuid;

use super::report::KeyReport;
use crate::ctx::{rings, visible};

/// Of everything that the caller sees.
pub(super) fn reports() -> Vec<KeyReport> {
    possess_more();
    visible::contexts().iter().filter_map(KeyReport::of_visible).collect()
}

/// His own only: he may see keys of others who let him.
pub(super) fn reports_of_user() -> Vec<KeyReport> {
    let own = Some(geteuid().as_raw());
    reports().into_iter().filter(|report| report.owner() == own).collect()
}

/// The state of contexts in the user keyring can be read whatever the session leads to. If it cannot be had, less is
/// seen.
pub(super) fn possess_more() {
    let _ = rings::possess_user_keyring();
}
