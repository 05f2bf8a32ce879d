//! Contexts that the calling process can see.

use nix::unistd::geteuid;

use super::owners::Owners;
use super::report::KeyReport;
use crate::ctx::{rings, visible};

/// Reports of all contexts that the caller sees.
pub(crate) fn reports() -> Vec<KeyReport> {
    reach_user_keyring();
    visible::contexts().iter().filter_map(KeyReport::of_visible).collect()
}

/// Only the caller's own: it also sees keys of others who allow it.
pub(crate) fn reports_of_user() -> Vec<KeyReport> {
    let own = Some(geteuid().as_raw());
    reports().into_iter().filter(|report| report.owner() == own).collect()
}

/// What the caller sees for those who asked for everybody's, or only its own.
pub(super) fn reports_of(owners: Owners) -> Vec<KeyReport> {
    match owners {
        Owners::All if geteuid().is_root() => reports(),
        _ => reports_of_user(),
    }
}

/// Makes the state of contexts in the user keyring readable, wherever the session leads. If this fails, less is seen.
pub(crate) fn reach_user_keyring() {
    let _ = rings::possess_user_keyring();
}
