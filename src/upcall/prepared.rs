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
use super::wanted::{CredentialPart, WantedContext};
use crate::ctx::lustre::LustreCallout;
use crate::event::Failure;
use crate::negotiate::messages::Credentials;

/// A negotiation that can begin.
pub(super) struct PreparedNegotiation<'a> {
    /// Who negotiates what.
    pub(super) way: NegotiationWay<'a>,
    /// For a user of Lustre's: the user's next access.
    pub(super) memory: Option<FailureMemory>,
}

/// Who negotiates what.
pub(super) enum NegotiationWay<'a> {
    /// A worker, by these credentials.
    Worker(Credentials, Box<WantedContext<'a>>),
    /// The monitor itself, by the mechanism without credentials.
    Monitor(Relay, &'a LustreCallout),
}

impl<'a> PreparedNegotiation<'a> {
    /// Prepares a negotiation.
    ///
    /// # Errors
    /// The failure of a step, or the recent failure of a similar request.
    pub(super) fn of(job: &Job<'a>, times: &Times) -> Result<Self, Failure> {
        let config = job.config;
        let callout = match job.order() {
            Order::Program { .. } => {
                let way = NegotiationWay::Worker(Credentials::Users, Box::new(WantedContext::Program));
                return Ok(Self { way, memory: None });
            }
            Order::Lustre(callout) => callout,
        };
        let relay = Relay::new(InitChannel::open(callout, &lustre_parameters::directories())?);
        // The kernel asks twice for a user's access; what was slow the first time is not tried again.
        let memory = if callout.roles.any() { None } else { FailureMemory::of_user(config, callout) };
        if let Some(failure) = memory.as_ref().and_then(FailureMemory::pause) {
            return Err(failure);
        }
        let way = match job.order().credentials(job.invocation, config) {
            None => NegotiationWay::Monitor(relay, callout),
            Some(credentials @ Credentials::SharedKeys { .. }) => {
                let part = SharedKeyPart::take(callout, job, times.deadline)?;
                NegotiationWay::Worker(
                    credentials,
                    Box::new(WantedContext::SharedKey { relay, callout, part }),
                )
            }
            Some(credentials) => {
                let machine = MachinePart::take(&credentials, job, times.deadline)?;
                NegotiationWay::Worker(credentials, Box::new(WantedContext::Ticket { relay, machine }))
            }
        };
        Ok(Self { way, memory })
    }
}

/// Other requests that the outcome concerns.
pub(super) struct Concerned {
    /// Those with the same credentials.
    pub(super) part: Option<CredentialPart>,
    /// For a user of Lustre's: the user's next access.
    pub(super) memory: Option<FailureMemory>,
}

impl Concerned {
    /// Passes the outcome on to them.
    pub(super) fn learn<T>(self, agreed: &Result<T, Failure>) {
        if let Some(part) = self.part {
            part.learn(agreed);
        }
        match (&self.memory, agreed) {
            (Some(memory), Ok(_)) => memory.succeeded(),
            (Some(memory), Err(failure)) => memory.failed(failure),
            (None, _) => {}
        }
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
            Concerned { part: None, memory: memory() }.learn(&agreed);
            memory().unwrap().pause().map(|failure| failure.cause)
        };
        let silent = Failure::new(Stage::Negotiate, Cause::ServerSilent, "no answer");
        assert_eq!(learn(Err(silent)), Some(Cause::ServerSilent));
        assert_eq!(learn(Ok(())), None);
    }
}
