//! A realm and a Ganesha, shared by all tests of a run that do not change them.

use super::ganesha::Ganesha;
use super::process::Until;
use super::realm::{Realm, RealmOptions};
use super::server::Target;
use std::sync::OnceLock;

/// The first test that needs one starts it; main drops them.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    // Fields are in the order of their ends.
    ganesha: OnceLock<Ganesha>,
    realm: OnceLock<Realm>,
}

impl Shared {
    pub(crate) fn realm(&self) -> &Realm {
        self.realm
            .get_or_init(|| Realm::start_with(RealmOptions { until: Until::RunEnds, ..Default::default() }))
    }

    pub(crate) fn ganesha(&self) -> &Ganesha {
        self.ganesha.get_or_init(|| Ganesha::start(self.realm(), Until::RunEnds))
    }

    /// The NFS service of the realm.
    pub(crate) fn nfs(&self) -> &Target {
        self.ganesha().target()
    }
}
