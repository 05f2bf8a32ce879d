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
    /// The failure of a step, or the recent failure of a similar request.
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
        tell(self.machine, agreed, MachinePart::succeeded, MachinePart::failed);
        tell(self.shared_keys, agreed, SharedKeyPart::succeeded, SharedKeyPart::failed);
        tell(self.memory.as_ref(), agreed, FailureMemory::succeeded, FailureMemory::failed);
    }
}

/// Passes the outcome on to one of them, if the request has it.
fn tell<P, T>(
    part: Option<P>,
    agreed: &Result<T, Failure>,
    succeeded: impl FnOnce(P),
    failed: impl FnOnce(P, &Failure),
) {
    match (part, agreed) {
        (Some(part), Ok(_)) => succeeded(part),
        (Some(part), Err(failure)) => failed(part, failure),
        (None, _) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::event::{Cause, Stage};

    #[test]
    fn a_users_next_access_learns_of_silence_and_of_the_success_after_it() {
        let directory = tempfile::Builder::new().prefix("lgss-test").tempdir_in("/var/lib").unwrap();
        let mut config = Config::default();
        config.run_dir = directory.path().to_owned();
        let callout = "4:sk:2001:2001::-:1:0x20000c0a84d01:lustre-MDT0000-mdc-ff2d:0x20000c0a84d02:1:5f47";
        let memory = || FailureMemory::of_user(&config, &callout.parse().unwrap());
        let learn = |agreed: Result<(), Failure>| {
            Concerned { machine: None, shared_keys: None, memory: memory() }.learn(&agreed);
            memory().unwrap().pause().map(|failure| failure.cause)
        };
        let silent = Failure::new(Stage::Negotiate, Cause::ServerSilent, "no answer");
        assert_eq!(learn(Err(silent)), Some(Cause::ServerSilent));
        assert_eq!(learn(Ok(())), None);
    }
}
