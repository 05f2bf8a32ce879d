//! Renews a ticket that somebody else keeps.
//!
//! Called by the worker of a user's agent. Invariant: nothing is stored anywhere.

use std::time::Instant;

use super::ticket::{CacheNames, ClientAccount, unusable};
use crate::event::Failure;
use crate::gss::krb5::Library;
use crate::gss::renewal::OldTicket;
use crate::gss::status::Krb5Error;
use crate::secret::Secret;
use crate::time;

/// Has a KDC renew the ticket-granting ticket of this cache. Returns the new one as the only entry of a file cache.
/// Waits for a KDC as long as the library does.
///
/// # Errors
/// [`Failure`].
pub(crate) fn renewed(cache: CacheNames) -> Result<Secret, Failure> {
    let library = Library::open().map_err(unusable)?;
    let account = ClientAccount::open(&library, cache)?;
    let realm = account.client().name().realm;
    let (service, begun) = (format!("krbtgt/{realm}@{realm}"), Instant::now());
    let failed = |error: Krb5Error| account.kdc_failure(&error, &service, begun.elapsed());
    let new = account.cache().renewed_alone(OldTicket::Renew, None).map_err(failed)?;
    new.open().and_then(|new| new.as_file(time::now())).map_err(failed)
}
