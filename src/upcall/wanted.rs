//! What a worker is to negotiate, and what of its report is taken for that (rules S12, S13).
//!
//! Made by prepared.rs; the monitor's negotiation passes the worker's messages on to its parts.

use super::check::{Agreed, AgreedContext, check};
use super::check_shared::check_shared;
use super::findings::Findings;
use super::machine_part::{MachinePart, not_asked_for};
use super::relay::{GrantedContext, Relay};
use super::shared_keys::{SharedKeyCandidate, SharedKeyPart};
use super::ticket_store::TicketStore;
use crate::config::Enctypes;
use crate::creds::stamp::Stamp;
use crate::ctx::lustre::LustreCallout;
use crate::event::{Cause, Failure, Stage};
use crate::negotiate::messages::{Established, Report, SharedKeyEstablished};
use crate::secret::Secret;

/// A context that a worker negotiates.
pub(super) enum WantedContext<'a> {
    /// A program's, by a ticket of the user's. The worker itself speaks to the server.
    Program,
    /// Lustre's, by a ticket.
    Ticket {
        /// The way to the server.
        relay: Relay,
        /// For a ticket of the machine's: requests that wait for the same one.
        machine: Option<MachinePart>,
    },
    /// Lustre's, by a shared key.
    SharedKey {
        /// The way to the server.
        relay: Relay,
        /// The request.
        callout: &'a LustreCallout,
        /// The keys, and requests with the same ones.
        part: SharedKeyPart,
    },
}

/// Those who take the worker's messages, as far as there are any (routing.rs).
pub(super) struct MessageTakers<'a> {
    /// Takes tickets of the machine's.
    pub(super) machine: Option<&'a mut MachinePart>,
    /// Takes tested primes.
    pub(super) shared_keys: Option<&'a mut SharedKeyPart>,
    /// Takes tokens, as long as one may be sent.
    pub(super) relay: Option<&'a mut Relay>,
}

impl<'a> WantedContext<'a> {
    /// Those who take messages; the relay only as long as a token may be sent.
    pub(super) fn takers(&mut self) -> MessageTakers<'_> {
        match self {
            Self::Program => MessageTakers { machine: None, shared_keys: None, relay: None },
            Self::Ticket { relay, machine } => {
                let relay = relay.has_room().then_some(relay);
                MessageTakers { machine: machine.as_mut(), shared_keys: None, relay }
            }
            Self::SharedKey { relay, part, .. } => {
                let relay = relay.has_room().then_some(relay);
                MessageTakers { machine: None, shared_keys: Some(part), relay }
            }
        }
    }

    /// The shared keys that may serve, the best first.
    pub(super) fn candidates(&self) -> &[SharedKeyCandidate] {
        match self {
            Self::SharedKey { part, .. } => part.candidates(),
            Self::Program | Self::Ticket { .. } => &[],
        }
    }

    /// The stage in which a mount still waits when its time is over.
    pub(super) fn first_stage(&self) -> Stage {
        match self {
            Self::SharedKey { .. } => Stage::Credentials,
            Self::Program | Self::Ticket { .. } => Stage::Kdc,
        }
    }

    /// The stamp of the own cache, for a ticket of the machine's.
    pub(super) fn stamp(&self) -> Option<&Stamp> {
        self.machine().map(MachinePart::stamp)
    }

    /// Where such tickets are stored.
    pub(super) fn store(&self) -> Option<&TicketStore> {
        self.machine().map(MachinePart::store)
    }

    fn machine(&self) -> Option<&MachinePart> {
        match self {
            Self::Ticket { machine, .. } => machine.as_ref(),
            Self::Program | Self::SharedKey { .. } => None,
        }
    }

    /// Takes the worker's report.
    ///
    /// # Errors
    /// The failure that it reports, or that of a check.
    pub(super) fn accept(
        &self,
        report: Report,
        findings: &mut Findings,
        enctypes: &Enctypes,
    ) -> Result<Agreed, Failure> {
        match (report, self) {
            (Report::Failed(failed), _) => Err(findings.failed(failed)),
            (Report::Established { mut context, base_key, handle }, Self::Program) => {
                findings.established(&mut context);
                check(*context, base_key, handle.expose(), enctypes)
            }
            // Window and handle are from the server's answers that we have read, not from the worker.
            (Report::Established { mut context, base_key, .. }, Self::Ticket { relay, .. }) => {
                findings.established(&mut context);
                let GrantedContext { window, handle } = relay.granted().ok_or_else(not_granted)?;
                check(Established { window: *window, ..*context }, base_key, handle, enctypes)
            }
            (Report::Shared { context, keys }, Self::SharedKey { relay, callout, part }) => {
                findings.shared(&context);
                accept_shared(&context, &keys, (relay, callout, part))
            }
            (Report::Established { .. } | Report::Shared { .. }, _) => {
                let failure = not_asked_for();
                findings.unreported(&failure, None);
                Err(failure)
            }
        }
    }

    /// A failure, with what was wrong with the shared keys.
    pub(super) fn with_objections(&self, failure: Failure) -> Failure {
        match self {
            Self::SharedKey { part, .. } => part.with_objections(failure),
            Self::Program | Self::Ticket { .. } => failure,
        }
    }

    /// What the outcome is passed on to, and the way to the server.
    pub(super) fn into_parts(self) -> (Option<CredentialPart>, Option<Relay>) {
        match self {
            Self::Program => (None, None),
            Self::Ticket { relay, machine } => (machine.map(CredentialPart::Machine), Some(relay)),
            Self::SharedKey { relay, part, .. } => (Some(CredentialPart::SharedKeys(part)), Some(relay)),
        }
    }
}

/// Other requests with the same credentials.
pub(super) enum CredentialPart {
    Machine(MachinePart),
    SharedKeys(SharedKeyPart),
}

impl CredentialPart {
    /// Passes the outcome on to them.
    pub(super) fn learn<T>(self, agreed: &Result<T, Failure>) {
        match (self, agreed) {
            (Self::Machine(part), Ok(_)) => part.succeeded(),
            (Self::Machine(part), Err(failure)) => part.failed(failure),
            (Self::SharedKeys(part), Ok(_)) => part.succeeded(),
            (Self::SharedKeys(part), Err(failure)) => part.failed(failure),
        }
    }
}

fn accept_shared(
    context: &SharedKeyEstablished,
    keys: &Secret,
    (relay, callout, part): (&Relay, &LustreCallout, &SharedKeyPart),
) -> Result<Agreed, Failure> {
    let candidate = part.candidates().get(context.candidate).ok_or_else(not_asked_for)?;
    let granted = relay.granted().ok_or_else(not_granted)?;
    let (checked, lifetime) = check_shared(context, keys, granted, &candidate.key, callout.wanted_level())?;
    Ok(Agreed {
        context: AgreedContext::SharedKey(checked),
        lifetime,
        credential: part.credential(candidate, context.remark.as_deref()),
        server: callout.peer.to_string(),
    })
}

fn not_granted() -> Failure {
    Failure::new(Stage::Negotiate, Cause::WorkerFault, "worker: a context that no server has granted")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::Private;
    use crate::config::LogLevel;
    use crate::negotiate::channel::GSS_S_COMPLETE;
    use crate::negotiate::messages::Failed;
    use crate::upcall::check::tests::reported;
    use crate::upcall::relay::tests::relay_after;
    use crate::upcall::shared_keys::tests::part::usual_part;
    use std::time::Instant;

    const GRANTED: (u32, u32, &str) = (GSS_S_COMPLETE, 64, "granted");

    fn ticket(answers: &[(u32, u32, &str)]) -> (WantedContext<'static>, tempfile::TempDir) {
        let (relay, directory) = relay_after(answers);
        (WantedContext::Ticket { relay, machine: None }, directory)
    }

    /// A request by a shared key, with those of the test's: two of them.
    fn by_shared_key<'a>(
        part: SharedKeyPart,
        callout: &'a LustreCallout,
        answers: &[(u32, u32, &str)],
    ) -> (WantedContext<'a>, tempfile::TempDir) {
        let (relay, directory) = relay_after(answers);
        (WantedContext::SharedKey { relay, callout, part }, directory)
    }

    fn established() -> Report {
        let (context, base_key) = (Box::new(reported()), Secret::new(vec![7; 32]));
        Report::Established { context, base_key, handle: Private::new(b"reported".to_vec()) }
    }

    fn shared() -> Report {
        shared_by(0)
    }

    fn shared_by(candidate: usize) -> Report {
        let context = SharedKeyEstablished {
            candidate,
            host_random: Private::new([1; 4]),
            peer_random: Private::new([2; 4]),
            remark: None,
            stages: Vec::new(),
            trail: Vec::new(),
        };
        Report::Shared { context, keys: Secret::new(vec![7; 32]) }
    }

    fn accept(wanted: &WantedContext<'_>, report: Report) -> Result<Agreed, Failure> {
        let mut findings = Findings::new(Instant::now(), 0, LogLevel::Info);
        wanted.accept(report, &mut findings, &Enctypes::default())
    }

    /// Window and handle of the context that is taken.
    fn taken(wanted: &WantedContext<'_>) -> (u32, Vec<u8>) {
        match accept(wanted, established()).unwrap().context {
            AgreedContext::Kerberos(context) => (context.window.count(), context.handle.as_bytes().to_vec()),
            AgreedContext::SharedKey(_) | AgreedContext::Null(_) => panic!("another mechanism's"),
        }
    }

    /// Rule S13.
    #[test]
    fn window_and_handle_are_the_workers_for_a_program_and_the_servers_for_lustre() {
        assert_eq!(taken(&WantedContext::Program), (128, b"reported".to_vec()));
        let (wanted, _directory) = ticket(&[GRANTED]);
        assert_eq!(taken(&wanted), (64, b"granted".to_vec()));
    }

    #[test]
    fn a_report_that_no_server_has_granted_or_nobody_has_asked_for_is_the_workers_fault() {
        let (ungranted, _first) = ticket(&[]);
        let (granted, _second) = ticket(&[GRANTED]);
        for (wanted, report, words) in [
            (&ungranted, established(), "no server has granted"),
            (&granted, shared(), "not asked for"),
            (&WantedContext::Program, shared(), "not asked for"),
        ] {
            let failure = accept(wanted, report).map(drop).unwrap_err();
            assert!(failure.cause == Cause::WorkerFault && failure.detail.contains(words), "{failure}");
        }
    }

    #[test]
    fn a_context_by_a_shared_key_is_of_a_key_that_there_was_and_granted_by_the_server() {
        let (part, callout, _keys) = usual_part();
        let (wanted, _directory) = by_shared_key(part, &callout, &[GRANTED]);
        assert_eq!((wanted.candidates().len(), wanted.first_stage()), (2, Stage::Credentials));
        let agreed = accept(&wanted, shared()).unwrap();
        assert!(matches!(agreed.context, AgreedContext::SharedKey(context) if context.window.count() == 64));
        for (report, words) in [(shared_by(2), "not asked for"), (established(), "not asked for")] {
            let failure = accept(&wanted, report).map(drop).unwrap_err();
            assert!(failure.cause == Cause::WorkerFault && failure.detail.contains(words), "{failure}");
        }
        let (part, relay) = wanted.into_parts();
        assert!(matches!(part, Some(CredentialPart::SharedKeys(_))) && relay.is_some());

        let (part, callout, _keys) = usual_part();
        let (ungranted, _directory) = by_shared_key(part, &callout, &[]);
        let failure = accept(&ungranted, shared()).map(drop).unwrap_err();
        assert!(failure.detail.contains("no server has granted"), "{failure}");
    }

    #[test]
    fn the_workers_own_failure_is_taken_from_any() {
        let (granted, _directory) = ticket(&[GRANTED]);
        for wanted in [&WantedContext::Program, &granted] {
            let failure = Failure::new(Stage::Kdc, Cause::KdcSilent, "silent");
            let told = accept(wanted, Report::Failed(Failed::without_stages(failure))).map(drop).unwrap_err();
            assert_eq!((told.stage, told.cause), (Stage::Kdc, Cause::KdcSilent));
        }
    }

    #[test]
    fn tokens_are_taken_for_lustre_only_and_nothing_is_taken_that_nobody_needs() {
        let takers = |wanted: &mut WantedContext<'_>| {
            let MessageTakers { machine, shared_keys, relay } = wanted.takers();
            (machine.is_some(), shared_keys.is_some(), relay.is_some())
        };
        assert_eq!(takers(&mut WantedContext::Program), (false, false, false));
        let (mut wanted, _directory) = ticket(&[]);
        assert_eq!(takers(&mut wanted), (false, false, true));
        assert!(wanted.candidates().is_empty() && wanted.stamp().is_none() && wanted.store().is_none());
        assert_eq!((wanted.first_stage(), WantedContext::Program.first_stage()), (Stage::Kdc, Stage::Kdc));
    }
}
