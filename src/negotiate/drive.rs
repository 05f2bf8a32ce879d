//! Exchanges tokens between a mechanism and a server until both are complete, then checks the result.
//!
//! Called by the worker. Invariants: the result has a window that the server signed or the kernel received, a handle, and
//! a context with mutual authentication (rule S12); at most [`ROUND_LIMIT`] tokens are sent (rule S11).

use super::ROUND_LIMIT;
use super::channel::{Answer, Channel, ChannelError, GSS_S_COMPLETE, GSS_S_UNAUTHORIZED, WindowProof};
use super::mech::{CompleteContext, ExchangeStep, InitiatorSide, MechanismError, MechanismFault};
use crate::ctx::payload::user::GSS_S_CONTINUE_NEEDED;
use crate::ctx::{Handle, SeqWindow};
use crate::event::{Cause, Failure, Stage};
use crate::gss::status::GSS_S_FAILURE;
use crate::onc_rpc::reply::{AuthStatus, RpcReplyError};
use crate::secret::Secret;

/// Bits of the routine error in a major status.
const ROUTINE_ERROR: u32 = 0xff_0000;

/// A negotiated context, with its mechanism's keys.
#[derive(Debug)]
pub struct Negotiated<K> {
    /// The server's window.
    pub window: SeqWindow,
    /// The server's handle.
    pub handle: Handle,
    /// Keys and state.
    pub keys: K,
}

/// Why there is no context.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// Our own first token cannot be made.
    #[error("first token: {0}")]
    Start(MechanismError),
    /// An exchange failed.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The server answers with an error.
    #[error("server refuses the context: {}GSS major {major:#x}, minor {minor:#x}", words(said, *fault, *major))]
    Refused {
        /// The server's major status.
        major: u32,
        /// The server's minor status.
        minor: u32,
        /// Its objection, by its token, else by its minor status.
        fault: MechanismFault,
        /// Our mechanism's reading of its error token, if it sent one.
        said: Option<MechanismError>,
    },
    /// The server's token is not accepted.
    #[error("token of the server: {0}")]
    Token(MechanismError),
    /// No handle, or an oversized one.
    #[error("server gives a handle of {0} bytes")]
    Handle(usize),
    /// One side is complete while the other still waits for a token.
    #[error("server and client disagree whether the exchange is complete")]
    OutOfStep,
    /// The exchange does not end.
    #[error("no context after {ROUND_LIMIT} rounds")]
    TooManyRounds,
    /// The window is 0.
    #[error("server grants a sequence window of 0")]
    NoWindow,
    /// The window is not signed.
    #[error("server's answer lacks the verifier of its sequence window")]
    Unsigned,
    /// The window's signature is wrong.
    #[error("verifier of the sequence window: {0}")]
    Verifier(MechanismError),
    /// The context lacks something, or its key is not accepted.
    #[error("{0}")]
    Unusable(MechanismError),
}

/// Exchanges tokens until there is a context.
///
/// # Errors
/// [`DriveError`].
pub fn drive<M: InitiatorSide>(
    mechanism: M,
    channel: &mut impl Channel,
) -> Result<Negotiated<<M::Context as CompleteContext>::Keys>, DriveError> {
    let (mut side, mut token) = match mechanism.step(&[]).map_err(DriveError::Start)? {
        ExchangeStep::Continue(mechanism, token) => (Side::Waiting(mechanism), token),
        // A context that is complete without the server's answer is not mutual.
        ExchangeStep::Complete(..) => return Err(DriveError::OutOfStep),
    };
    let mut handle = None;
    for _ in 0..ROUND_LIMIT {
        let answer = channel.exchange(handle.as_ref(), &token)?;
        if !matches!(answer.gss_major, GSS_S_COMPLETE | GSS_S_CONTINUE_NEEDED) {
            return Err(side.refusal(&answer));
        }
        // After its first answer a server may repeat its handle or leave it out.
        let given = answer.handle.expose();
        if !given.is_empty() || handle.is_none() {
            handle = Some(Handle::new(given).ok_or(DriveError::Handle(given.len()))?);
        }
        let next = side.take(answer.token.expose())?;
        match (answer.gss_major, next) {
            (GSS_S_COMPLETE, (Side::Done(context), last)) if last.is_empty() => {
                let handle = handle.ok_or(DriveError::Handle(0))?;
                return finish(context, handle, &answer);
            }
            (GSS_S_CONTINUE_NEEDED, (next, more)) if !more.is_empty() => (side, token) = (next, more),
            _ => return Err(DriveError::OutOfStep),
        }
    }
    Err(DriveError::TooManyRounds)
}

/// Our side of the exchange.
enum Side<M: InitiatorSide> {
    Waiting(M),
    /// Complete; only the server's last answer is missing.
    Done(M::Context),
}

impl<M: InitiatorSide> Side<M> {
    fn take(self, token: &[u8]) -> Result<(Self, Secret), DriveError> {
        match self {
            // An empty token would restart the mechanism.
            Self::Waiting(_) if token.is_empty() => Err(DriveError::OutOfStep),
            Self::Waiting(mechanism) => match mechanism.step(token).map_err(DriveError::Token)? {
                ExchangeStep::Continue(mechanism, token) => Ok((Self::Waiting(mechanism), token)),
                ExchangeStep::Complete(context, token) => Ok((Self::Done(context), token)),
            },
            Self::Done(context) if token.is_empty() => Ok((Self::Done(context), Secret::new(Vec::new()))),
            Self::Done(_) => Err(DriveError::OutOfStep),
        }
    }

    /// The refusal in this answer. A server may add an error token, which says more than its statuses.
    fn refusal(self, answer: &Answer) -> DriveError {
        let said = match self {
            Self::Waiting(mechanism) if !answer.token.is_empty() => {
                mechanism.step(answer.token.expose()).err()
            }
            _ => None,
        };
        let (major, minor) = (answer.gss_major, answer.gss_minor);
        let fault = said.as_ref().map_or_else(|| M::fault_of(minor), |error| error.fault);
        DriveError::Refused { major, minor, fault, said }
    }
}

fn finish<C: CompleteContext>(
    context: C,
    handle: Handle,
    answer: &Answer,
) -> Result<Negotiated<C::Keys>, DriveError> {
    let window = SeqWindow::new(answer.window).ok_or(DriveError::NoWindow)?;
    match &answer.window_proof {
        WindowProof::Mic(mic) => {
            context.verify_mic(&answer.window.to_be_bytes(), mic).map_err(DriveError::Verifier)?;
        }
        WindowProof::TheKernels => {}
        WindowProof::Missing => return Err(DriveError::Unsigned),
    }
    let keys = context.into_keys().map_err(DriveError::Unusable)?;
    Ok(Negotiated { window, handle, keys })
}

/// The server's objection in words: from its token, else by its minor status.
fn words(said: &Option<MechanismError>, fault: MechanismFault, major: u32) -> String {
    match (said, fault) {
        (Some(error), _) => format!("{error}, "),
        (None, _) if major == GSS_S_UNAUTHORIZED => "it denies access, ".to_owned(),
        (None, MechanismFault::ClockSkew) => "its clock differs too much, ".to_owned(),
        (None, MechanismFault::TicketExpired) => "the ticket has expired, ".to_owned(),
        (None, MechanismFault::StaleKey) => "it cannot decrypt the ticket, ".to_owned(),
        (None, _) => String::new(),
    }
}

impl DriveError {
    /// As a failure of the upcall, with `server` named in the detail.
    pub fn failure(&self, server: &str) -> Failure {
        Failure::new(Stage::Negotiate, self.cause(), format_args!("{server}: {self}"))
            .with_gss_major(self.gss_major())
    }

    /// Whether a new ticket may help. The server either says that it cannot decrypt the ticket, or rejects it without a reason
    /// as NFS-Ganesha does then, or fails without a reason as Lustre's servers do, which log the minor status only.
    pub fn asks_for_new_ticket(&self) -> bool {
        match self {
            Self::Refused { major, minor: 0, said: None, .. } if major & ROUTINE_ERROR == GSS_S_FAILURE => {
                true
            }
            Self::Refused { fault, .. } => *fault == MechanismFault::StaleKey,
            Self::Channel(ChannelError::Reply(RpcReplyError::Rejected(status))) => {
                *status == AuthStatus::REJECTED_CREDENTIAL
            }
            _ => false,
        }
    }

    /// Whether the same exchange, begun anew, may succeed: its random numbers were unlucky.
    pub fn asks_to_begin_again(&self) -> bool {
        matches!(self, Self::Token(error) if error.fault == MechanismFault::BeginAgain)
    }

    /// Whether another shared key may help: the server refuses the context. One that completes it has found our token to be
    /// made with its own key.
    pub fn asks_for_another_secret(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }

    fn cause(&self) -> Cause {
        match self {
            Self::Refused { fault, .. } => of_ticket(*fault).unwrap_or(Cause::ServerRefused),
            Self::Start(error) => of_ticket(error.fault).unwrap_or(Cause::Setup),
            Self::Token(error) => of_ticket(error.fault).unwrap_or(Cause::BadReply),
            // KDC and krb5.conf agreed on a key that is not AES; the peer is not to blame.
            Self::Unusable(MechanismError { fault: MechanismFault::Key, .. }) => Cause::EncryptionType,
            Self::Channel(ChannelError::Sandbox(_)) => Cause::Setup,
            Self::Channel(ChannelError::Call(_)) => Cause::TokenTooLarge,
            Self::Channel(ChannelError::Silent | ChannelError::Unanswered) => Cause::ServerSilent,
            Self::Channel(ChannelError::Reply(error)) if error.is_about_the_program() => Cause::WrongProgram,
            Self::Channel(ChannelError::Reply(error)) if error.is_refusal() => Cause::ServerRefused,
            Self::Channel(ChannelError::Lost(_)) => Cause::ServerDown,
            _ => Cause::BadReply,
        }
    }

    fn gss_major(&self) -> u32 {
        match self {
            Self::Refused { major, .. } => *major,
            Self::Start(error) | Self::Token(error) | Self::Verifier(error) | Self::Unusable(error) => {
                error.gss_major
            }
            _ => 0,
        }
    }
}

/// Causes with the same advice for the user, whichever side found the fault.
fn of_ticket(fault: MechanismFault) -> Option<Cause> {
    match fault {
        MechanismFault::ClockSkew => Some(Cause::ClockSkew),
        MechanismFault::TicketExpired => Some(Cause::TicketExpired),
        MechanismFault::StaleKey
        | MechanismFault::Token
        | MechanismFault::Mic
        | MechanismFault::Incomplete
        | MechanismFault::Key
        | MechanismFault::OtherSecret
        | MechanismFault::BeginAgain => None,
    }
}

#[cfg(test)]
mod tests;
