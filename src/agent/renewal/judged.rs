//! What a worker has answered, believed as little as any stranger's bytes.

use std::mem::{Discriminant, discriminant};

use nix::errno::Errno;

use crate::agent::cache::HeldCache;
use crate::agent::change::StorageError;
use crate::agent::codec::{FileCacheFault, HeldCredential, only_credential};
use crate::agent::limits::LimitMet;
use crate::event::{Cause, Failure};
use crate::negotiate::renewing::RenewalAnswer;
use crate::wire::WireError;

/// Why a ticket was not renewed.
#[derive(Debug, thiserror::Error)]
pub(super) enum RenewalFault {
    /// The worker says so.
    #[error(transparent)]
    Worker(Failure),
    /// No worker can be asked for.
    #[error("no worker: {0}")]
    NoWorker(Errno),
    /// No answer in time.
    #[error("the worker has not answered in time")]
    Late,
    /// An end without an answer.
    #[error("the worker has ended without an answer")]
    Nothing,
    /// More than a ticket may have.
    #[error("the worker's answer is too long")]
    TooLong,
    /// No answer in form.
    #[error("the worker's answer is none")]
    Garbage,
    /// A cache that is none.
    #[error("the worker's answer is {0}")]
    FileCache(#[from] FileCacheFault),
    /// A credential that is none.
    #[error("the worker's answer has a credential that is {0}")]
    Credential(#[from] WireError),
    /// Another ticket.
    #[error("the worker's answer is a ticket of another {0}")]
    Another(&'static str),
    /// A ticket that does not last longer.
    #[error("the KDC gives no longer life")]
    NotLater,
    /// A ticket for which there is one in the cache already that lasts longer.
    #[error("the cache has a ticket of the same kind that ends later")]
    Outlived,
    /// Too much.
    #[error(transparent)]
    Limit(#[from] LimitMet),
    /// It could not be stored.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Faults of one kind are told once.
pub(super) type FaultKind = (Discriminant<RenewalFault>, Option<Cause>);

impl RenewalFault {
    /// Its kind.
    pub(super) fn kind(&self) -> FaultKind {
        let cause = if let Self::Worker(failure) = self { Some(failure.cause) } else { None };
        (discriminant(self), cause)
    }
}

/// The new ticket in an answer: of the same client for the same service as the old one, and ending later.
///
/// # Errors
/// [`RenewalFault`].
pub(super) fn new_ticket(
    said: &[u8],
    cache: &HeldCache,
    old: &HeldCredential,
) -> Result<HeldCredential, RenewalFault> {
    let file = match RenewalAnswer::read(said) {
        RenewalAnswer::Cache(file) => file,
        RenewalAnswer::Failed(failure) => return Err(RenewalFault::Worker(failure)),
        RenewalAnswer::Garbage => return Err(RenewalFault::Garbage),
        RenewalAnswer::Nothing => return Err(RenewalFault::Nothing),
    };
    let (principal, credential) = only_credential(file)?;
    let new = HeldCredential::new(credential)?;
    let (is, was) = (new.fields()?, old.fields()?);
    if !principal.is(was.client) || !is.client.is(was.client) || !cache.is_of(is.client) {
        Err(RenewalFault::Another("client"))
    } else if !is.server.is(was.server) {
        Err(RenewalFault::Another("service"))
    } else if is.is_session_key != was.is_session_key || !is.second_ticket.is_empty() {
        Err(RenewalFault::Another("kind"))
    } else if is.times.end <= was.times.end {
        Err(RenewalFault::NotLater)
    } else {
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::codec::tests::{Sample, principal};
    use crate::agent::codec::{CacheId, PrincipalBytes, with_one};
    use crate::event::Stage;
    use crate::wire::Reader;

    fn old() -> Sample {
        Sample { end: 1000, renewable: 9000, ..Sample::for_server("krbtgt/A@A") }
    }

    fn judged(said: &[u8]) -> Result<HeldCredential, RenewalFault> {
        let alice = principal("alice@A");
        let cache =
            HeldCache::new(CacheId([0; 16]), PrincipalBytes::read(&mut Reader::new(&alice)).unwrap(), 1);
        new_ticket(said, &cache, &old().held())
    }

    fn told(sample: &Sample) -> String {
        let said = with_one(&principal(sample.client), 0, &sample.bytes());
        judged(said.expose()).map_or_else(|fault| fault.to_string(), |new| format!("{:?}", new.end()))
    }

    #[test]
    fn a_later_ticket_of_the_same_client_and_service_is_believed_and_no_other() {
        let later = Sample { end: 1001, ..old() };
        assert_eq!(told(&later), "Some(1001)");
        // Another session key's type is the KDC's choice.
        assert_eq!(told(&Sample { key_type: 17, ..later.clone() }), "Some(1001)");
        for (other, why) in [
            (Sample { client: "bob@A", ..later.clone() }, "client"),
            (Sample { client: "alice@B", ..later.clone() }, "client"),
            (Sample { server: "krbtgt/B@A".to_owned(), ..later.clone() }, "service"),
            (Sample { server: "nfs/srv@A".to_owned(), ..later.clone() }, "service"),
            (Sample { second_ticket: b"x".to_vec(), ..later.clone() }, "kind"),
            (Sample { end: 1000, ..later.clone() }, "no longer life"),
            (Sample { end: 0, ..later.clone() }, "no longer life"),
        ] {
            let said = told(&other);
            assert!(said.contains(why), "{other:?}: {said}");
        }
        // The cache's principal is not the ticket's.
        let said = with_one(&principal("bob@A"), 0, &later.bytes());
        assert!(matches!(judged(said.expose()), Err(RenewalFault::Another("client"))));
    }

    #[test]
    fn bytes_too_few_or_too_many_are_no_answer() {
        let said = with_one(&principal("alice@A"), 7, &Sample { end: 1001, ..old() }.bytes());
        let said = said.expose();
        assert!(judged(said).is_ok());
        for length in 0..said.len() {
            assert!(judged(&said[..length]).is_err(), "{length}");
        }
        assert!(judged(&[said, &[0]].concat()).is_err());
        // Two tickets.
        let two = [said, &old().bytes()].concat();
        assert!(matches!(judged(&two), Err(RenewalFault::Credential(_))));
    }

    #[test]
    fn failures_of_one_kind_have_one_cause() {
        let failed = |cause| {
            let failure = Failure::new(Stage::Kdc, cause, "why");
            judged(&RenewalAnswer::failure(&failure)).unwrap_err().kind()
        };
        assert_eq!(failed(Cause::KdcDown), failed(Cause::KdcDown));
        assert_ne!(failed(Cause::KdcDown), failed(Cause::KdcSilent));
        assert_ne!(RenewalFault::Late.kind(), RenewalFault::Nothing.kind());
    }
}
