//! A negotiation before its worker is started. Whatever can fail without a worker fails here.

use super::exchange::InitChannel;
use super::failures::FailureMemory;
use super::job::Job;
use super::lustre_parameters;
use super::machine_part::MachinePart;
use super::order::Order;
use super::relay::Relay;
use super::shared_keys::SharedKeyPart;
use super::times::Times;
use crate::event::Failure;
use crate::negotiate::messages::Credentials;

/// A negotiation for which a worker can be started.
pub(super) struct PreparedNegotiation {
    /// Whose credentials are asked for; `None` if none are needed.
    pub(super) credentials: Option<Credentials>,
    /// For Lustre: the exchange of tokens with the server.
    pub(super) channel: Option<Relay>,
    /// Other requests that the outcome concerns.
    pub(super) concerned: Concerned,
}

impl PreparedNegotiation {
    /// Prepares a negotiation.
    ///
    /// # Errors
    /// What it fails with, or what a like request has failed with lately.
    pub(super) fn of(job: &Job<'_>, times: &Times) -> Result<Self, Failure> {
        let (order, config) = (job.order(), job.config);
        let channel = match order {
            Order::Program { .. } => None,
            Order::Lustre(callout) => {
                Some(Relay::new(InitChannel::open(callout, &lustre_parameters::directories())?))
            }
        };
        let credentials = order.credentials(job.invocation, config);
        // The kernel asks twice for a user's access; what was slow the first time is not tried again.
        let memory = order.lustre().filter(|callout| !callout.roles.any());
        let memory = memory.and_then(|callout| FailureMemory::of_user(config, callout));
        if let Some(failure) = memory.as_ref().and_then(FailureMemory::pause) {
            return Err(failure);
        }
        let (mut machine, mut shared_keys) = (None, None);
        match (&credentials, order.lustre()) {
            (Some(Credentials::SharedKeys { .. }), Some(callout)) => {
                shared_keys = Some(SharedKeyPart::take(callout, job, times.deadline)?);
            }
            (Some(credentials), _) => machine = MachinePart::take(credentials, job, times.deadline)?,
            (None, _) => {}
        }
        Ok(Self { credentials, channel, concerned: Concerned { machine, shared_keys, memory } })
    }
}

/// Other requests that the outcome concerns.
pub(super) struct Concerned {
    /// For machine credentials: requests that wait for the same ones.
    pub(super) machine: Option<MachinePart>,
    /// For shared keys: requests with the same ones.
    pub(super) shared_keys: Option<SharedKeyPart>,
    /// For a user of Lustre's: the user's next access.
    memory: Option<FailureMemory>,
}

impl Concerned {
    /// Passes the outcome on to them.
    pub(super) fn learn<T>(self, agreed: &Result<T, Failure>) {
        match (self.machine, agreed) {
            (Some(part), Ok(_)) => part.succeeded(),
            (Some(part), Err(failure)) => part.failed(failure),
            (None, _) => {}
        }
        match (self.shared_keys, agreed) {
            (Some(part), Ok(_)) => part.succeeded(),
            (Some(part), Err(failure)) => part.failed(failure),
            (None, _) => {}
        }
        match (self.memory, agreed) {
            (Some(memory), Ok(_)) => memory.succeeded(),
            (Some(memory), Err(failure)) => memory.failed(failure),
            (None, _) => {}
        }
    }
}
