//! Which part of a negotiation takes a message of the worker's.
//!
//! Pure, so that each case can be tried: a worker that was taken over may send anything at any time (rule S13).

use super::machine_part::not_asked_for;
use crate::event::{Cause, Failure, Stage};
use crate::negotiate::messages::{Message, Ready, Report, TestedPrime, Timing};
use crate::secret::Secret;

/// A message, with the part that takes it: `M` for machine credentials, `S` for shared keys, `R` for the server.
#[derive(Debug)]
pub(super) enum RoutedMessage<M, S, R> {
    /// The last one.
    Report(Report),
    /// See [`Message::Ready`].
    Ready(M, Ready, Secret),
    /// See [`Message::TestedPrime`].
    TestedPrime(S, TestedPrime),
    /// See [`Message::Token`].
    Token(R, Secret, Vec<Timing>),
}

impl<M, S, R> RoutedMessage<M, S, R> {
    /// For a negotiation with these parts; `relay` only as long as a token may be sent.
    ///
    /// # Errors
    /// `WorkerFault` for a message that no part takes.
    pub(super) fn of(
        message: Message,
        machine: Option<M>,
        shared_keys: Option<S>,
        relay: Option<R>,
    ) -> Result<Self, Failure> {
        match message {
            Message::Report(report) => Ok(Self::Report(report)),
            Message::Ready(ready, cache) => {
                machine.map(|part| Self::Ready(part, ready, cache)).ok_or_else(not_asked_for)
            }
            Message::TestedPrime(prime) => {
                shared_keys.map(|part| Self::TestedPrime(part, prime)).ok_or_else(not_asked_for)
            }
            Message::Token(token, stages) => {
                relay.map(|relay| Self::Token(relay, token, stages)).ok_or_else(one_token_more)
            }
        }
    }
}

fn one_token_more() -> Failure {
    Failure::new(Stage::Negotiate, Cause::WorkerFault, "worker: a token more than it may send")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::negotiate::messages::Failed;

    type Routed = RoutedMessage<&'static str, &'static str, &'static str>;

    /// One message of each kind, with the part that takes it.
    fn messages() -> [(Message, Option<&'static str>); 4] {
        let failure = Failure::new(Stage::Kdc, Cause::KdcSilent, "silent");
        [
            (Message::Report(Report::Failed(Failed::without_stages(failure))), None),
            (
                Message::Ready(Ready { good_until: 1, service_until: None }, Secret::new(Vec::new())),
                Some("machine"),
            ),
            (Message::TestedPrime(TestedPrime { candidate: 0 }), Some("shared keys")),
            (Message::Token(Secret::new(vec![7]), Vec::new()), Some("relay")),
        ]
    }

    #[test]
    fn a_message_goes_to_its_own_part_only_and_is_the_workers_fault_without_it() {
        for there in 0..8u8 {
            let part = |number: u8, name| (there >> number & 1 == 1).then_some(name);
            let parts = [part(0, "machine"), part(1, "shared keys"), part(2, "relay")];
            for (message, taker) in messages() {
                let told = format!("{message:?} with {parts:?}");
                let [machine, shared_keys, relay] = parts;
                match (Routed::of(message, machine, shared_keys, relay), taker) {
                    (Ok(Routed::Report(_)), None) => {}
                    (
                        Ok(Routed::Ready(part, ..) | Routed::TestedPrime(part, _) | Routed::Token(part, ..)),
                        Some(taker),
                    ) => assert_eq!(part, taker, "{told}"),
                    (Err(failure), Some(taker)) => {
                        assert_eq!(failure.cause, Cause::WorkerFault, "{told}");
                        assert!(!parts.contains(&Some(taker)), "{told}");
                    }
                    (other, _) => panic!("{told}: {other:?}"),
                }
            }
        }
    }
}
