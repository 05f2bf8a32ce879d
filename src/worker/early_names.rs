//! Host names that only the site's program knows (lgss.toml(5), `lustre.nid2hostname`). The sandbox executes nothing, so the
//! program is run before it is entered.

use std::time::Instant;

use crate::event::Failure;
use crate::negotiate::messages::{Credentials, Request, Target};
use crate::negotiate::nid_host::{HostLookup, SystemNames};
use crate::nid::Nid;

/// The program's answers.
#[derive(Debug, Clone)]
pub(super) struct EarlyNames(Vec<(Nid, Result<String, Failure>)>);

impl EarlyNames {
    /// Asks the program for the names that the request needs from it. Most requests need none.
    pub(super) fn of(request: &Request) -> Self {
        let peer = match &request.target {
            Target::Lustre { peer, .. } => Some(peer),
            Target::Rpc { .. } => None,
        };
        let (peer, myself) = match &request.credentials {
            Credentials::Users => (peer, None),
            Credentials::Machines { myself, .. } => (peer, myself.as_ref()),
            Credentials::SharedKeys { .. } => (None, None),
        };
        let deadline = Instant::now() + request.limits.kdc;
        let asked = [peer, myself].into_iter().flatten().filter(|lookup| lookup.is_by_program());
        Self(asked.map(|lookup| (lookup.nid, lookup.host(&SystemNames, deadline))).collect())
    }

    /// The host name of an identifier.
    ///
    /// # Errors
    /// As [`HostLookup::host`].
    pub(super) fn host(&self, lookup: &HostLookup, deadline: Instant) -> Result<String, Failure> {
        match self.0.iter().find(|(nid, _)| *nid == lookup.nid) {
            Some((_, early)) => early.clone(),
            None => lookup.host(&SystemNames, deadline),
        }
    }
}
