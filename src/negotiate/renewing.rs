//! What a user's agent and a worker that renews a ticket for it say to each other, over two pipes that the worker gets as
//! descriptors 3 and 4.
//!
//! To the worker, until the end of the pipe: `u32 length · JSON RenewalOrder · cache`, with the old ticket as the only
//! entry of a file cache, version 4. From it, until the end of the pipe: such a cache with the new ticket, or the JSON of a
//! [`Failure`]. Invariant: nothing of either side is believed because of who it is.

use std::ffi::CStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::class::classes;
use crate::config::WorkerSandbox;
use crate::event::Failure;
use crate::secret::Secret;
#[cfg(feature = "gss")]
use crate::wire::{Reader, WireError};

/// The word of the command line that makes a worker renew a ticket.
pub(crate) const RENEW_WORD: &CStr = c"--renew";
/// First byte of a file cache of any version.
const FILE_CACHE: u8 = 5;

/// How a ticket is to be renewed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RenewalOrder {
    /// How tightly the worker confines itself.
    pub(crate) sandbox: WorkerSandbox,
    /// How long it waits for name service and KDC.
    pub(crate) limit: Duration,
    /// The cache's name for people.
    pub(crate) cache: String,
}

classes!(RenewalOrder { sandbox: public, limit: public, cache: public });

impl RenewalOrder {
    /// The message with this cache.
    pub(crate) fn with(&self, cache: &Secret) -> Secret {
        let order = serde_json::to_vec(self).unwrap_or_default();
        let length = u32::try_from(order.len()).unwrap_or(0).to_be_bytes();
        // As large as it gets: a buffer that grows leaves tickets behind in memory.
        let mut message = Zeroizing::new(Vec::with_capacity(length.len() + order.len() + cache.len()));
        [&length, order.as_slice(), cache.expose()].iter().for_each(|part| message.extend_from_slice(part));
        message.into()
    }

    /// The order and the cache of a message.
    ///
    /// # Errors
    /// [`OrderFault`].
    #[cfg(feature = "gss")]
    pub(crate) fn read(message: &[u8]) -> Result<(Self, &[u8]), OrderFault> {
        let mut reader = Reader::new(message);
        let order = serde_json::from_slice(reader.opaque_be()?)?;
        Ok((order, reader.rest()))
    }
}

/// What is wrong with an order.
#[cfg(feature = "gss")]
#[derive(Debug, thiserror::Error)]
pub(crate) enum OrderFault {
    /// It has no form.
    #[error("the order is {0}")]
    Wire(#[from] WireError),
    /// Its JSON is another version's.
    #[error("the programs are of different versions: {0}")]
    Version(#[from] serde_json::Error),
}

/// What a worker has said.
#[derive(Debug)]
pub(crate) enum RenewalAnswer<'a> {
    /// Bytes that begin like a file cache.
    Cache(&'a [u8]),
    /// It was not renewed.
    Failed(Failure),
    /// Neither of both.
    Garbage,
    /// Nothing.
    Nothing,
}

impl<'a> RenewalAnswer<'a> {
    /// From all that has come.
    pub(crate) fn read(said: &'a [u8]) -> Self {
        match said {
            [] => Self::Nothing,
            [FILE_CACHE, ..] => Self::Cache(said),
            _ => serde_json::from_slice(said)
                .map_or(Self::Garbage, |failure: Failure| Self::Failed(failure.sanitised())),
        }
    }

    /// A failure as it is said.
    pub(crate) fn failure(failure: &Failure) -> Vec<u8> {
        serde_json::to_vec(failure).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Cause, Stage};

    #[test]
    fn an_answer_is_a_cache_a_failure_or_nothing_of_worth() {
        let failure = Failure::new(Stage::Kdc, Cause::KdcDown, "no KDC");
        let said = RenewalAnswer::failure(&failure);
        assert!(matches!(RenewalAnswer::read(&said), RenewalAnswer::Failed(told) if told == failure));
        assert!(matches!(RenewalAnswer::read(&[5, 4, 0]), RenewalAnswer::Cache([5, 4, 0])));
        assert!(matches!(RenewalAnswer::read(&[]), RenewalAnswer::Nothing));
        for garbage in [&b"x"[..], b"{}", &[4, 5], said.get(1..).unwrap()] {
            assert!(matches!(RenewalAnswer::read(garbage), RenewalAnswer::Garbage), "{garbage:?}");
        }
    }

    #[test]
    #[cfg(feature = "gss")]
    fn an_order_comes_with_its_cache_and_one_of_another_version_is_refused() {
        let order = RenewalOrder {
            sandbox: WorkerSandbox::Strict,
            limit: Duration::from_secs(20),
            cache: "KCM:1".to_owned(),
        };
        let message = order.with(&Secret::new(b"cache".to_vec()));
        let message = message.expose();
        let (read, cache) = RenewalOrder::read(message).unwrap();
        assert_eq!((read, cache), (order, &b"cache"[..]));
        let newer = [&[0, 0, 0, 9], &b"{\"new\":1}cache"[..]].concat();
        assert!(matches!(RenewalOrder::read(&newer), Err(OrderFault::Version(_))));
        for length in 0..10 {
            assert!(RenewalOrder::read(&message[..length]).is_err(), "{length}");
        }
    }
}
