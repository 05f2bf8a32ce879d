//! A lookup that has no context yet, for threads that wait and for event loops.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::client_context::ClientContext;
use super::error::{LookupError, MessageError};
use super::negotiation::Negotiation;

/// What [`Security::start`](super::Security::start) gives at once.
#[derive(Debug)]
pub enum Lookup {
    /// A context that may be used.
    Ready(ClientContext),
    /// A negotiation that goes on.
    Pending(Pending),
}

/// A negotiation that goes on, whether it is waited for or not. Its descriptor becomes readable when it has ended; nothing is to
/// be read from it.
///
/// ```no_run
/// use lgss::security::{ClientContext, Lookup, Security};
/// use std::os::fd::AsFd;
///
/// fn look_up(security: &Security) -> Result<ClientContext, Box<dyn std::error::Error>> {
///     match security.start()? {
///         Lookup::Ready(context) => Ok(context),
///         Lookup::Pending(pending) => {
///             let descriptor = pending.as_fd();
///             // poll(2) it among others, for POLLIN, and then:
///             Ok(pending.result().ok_or("not yet")??)
///         }
///     }
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Pending(Arc<Negotiation>);

impl Pending {
    pub(super) fn new(negotiation: Arc<Negotiation>) -> Self {
        Self(negotiation)
    }

    /// Whether the negotiation is this process's: in a forked child its descriptor never becomes readable.
    ///
    /// # Errors
    /// [`MessageError::Forked`].
    pub fn check(&self) -> Result<(), MessageError> {
        self.0.check()
    }

    /// The result, once there is one; `None` while the negotiation goes on. The same for all that ask.
    pub fn result(&self) -> Option<Result<ClientContext, LookupError>> {
        self.0.result()
    }

    /// Waits for the result.
    ///
    /// # Errors
    /// [`LookupError`]; [`LookupError::InProgress`] after `timeout`.
    pub fn wait(&self, timeout: Duration) -> Result<ClientContext, LookupError> {
        self.wait_until(Instant::now().checked_add(timeout))
    }

    /// Waits until this time; without one, for as long as it takes.
    pub(super) fn wait_until(&self, deadline: Option<Instant>) -> Result<ClientContext, LookupError> {
        self.0.wait(deadline)
    }
}

impl AsFd for Pending {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.descriptor()
    }
}
