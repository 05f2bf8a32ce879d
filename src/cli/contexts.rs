//! Contexts that the caller can see, for list, flush, show and completion.

use nix::unistd::geteuid;

use super::report::KeyReport;
use crate::ctx::{rings, visible};

/// Reports of all contexts that the caller sees.
pub(super) fn reports() -> Vec<KeyReport> {
    reach_user_keyring();
    visible::contexts().iter().filter_map(KeyReport::of_visible).collect()
}

/// Only the caller's own: it also sees keys of others who allow it.
pub(super) fn reports_of_user() -> Vec<KeyReport> {
    let own = Some(geteuid().as_raw());
    reports().into_iter().filter(|report| report.owner() == own).collect()
}

/// Makes the state of contexts in the user keyring readable, wherever the session leads. If this fails, less is seen.
pub(super) fn reach_user_keyring() {
    let _ = rings::possess_user_keyring();
}
