//! Passes tokens from the worker to a server that the kernel is connected to, and answers back.
//!
//! Used by the monitor for Lustre. Invariant: a worker sends [`ROUND_LIMIT`] tokens at most (rule S11), and the window
//! and handle of a context are those that the server's own answers had (rule S13).

use std::time::{Duration, Instant};

use super::exchange::{Exchanged, InitChannel};
use crate::ctx::payload::user::GSS_S_CONTINUE_NEEDED;
use crate::event::Failure;
use crate::negotiate::ROUND_LIMIT;
use crate::negotiate::channel::GSS_S_COMPLETE;
use crate::secret::Secret;
use crate::sys::process::Process;

/// If the kernel gives up a token this soon, the token was lost with its connection, and another may arrive. A longer
/// silence is not repeated: the kernel asks twice for one access as it is.
const LOST_WITHIN: Duration = Duration::from_secs(5);

/// The exchange of tokens with one server.
pub(super) struct Relay {
    channel: InitChannel,
    tokens: usize,
    /// A token was not answered, so the worker has been told to begin anew, which happens once.
    silent_once: bool,
    /// From the answers since the negotiation began, or began anew.
    granted: Option<GrantedContext>,
    /// The last of these answers said that the server's side is complete.
    is_complete: bool,
}

/// The parts of a context that a server grants, from its answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GrantedContext {
    /// The sequence window of the last answer.
    pub(super) window: u32,
    /// The handle of the last answer that had one.
    pub(super) handle: Vec<u8>,
}

impl Relay {
    /// Over this channel, before the first token.
    pub(super) fn new(channel: InitChannel) -> Self {
        Self { channel, tokens: 0, silent_once: false, granted: None, is_complete: false }
    }

    /// Whether the worker may send another token.
    pub(super) fn has_room(&self) -> bool {
        self.tokens < ROUND_LIMIT
    }

    /// Counts one of the worker's tokens.
    fn count_token(&mut self) {
        self.tokens += 1;
    }

    /// The context that the server has granted; `None` before its side is complete, and after an error.
    pub(super) fn granted(&self) -> Option<&GrantedContext> {
        self.granted.as_ref().filter(|_| self.is_complete)
    }

    /// A process of the channel that does not end.
    pub(super) fn into_stuck(self) -> Option<Process> {
        self.channel.into_stuck()
    }

    /// Sends a token to the server and returns its answer. The end of the worker, if there is one, ends the exchange.
    ///
    /// # Errors
    /// [`Failure`] of the stage `Negotiate`.
    pub(super) fn exchange(
        &mut self,
        token: &Secret,
        worker: Option<&Process>,
        deadline: Instant,
    ) -> Result<Exchanged, Failure> {
        self.count_token();
        let begun = Instant::now();
        let exchanged = self.channel.exchange(token.expose(), worker, deadline)?;
        self.conclude(exchanged, begun.elapsed())
    }

    /// Keeps what an answer has of window and handle, and decides about silence; the exchange took so long.
    fn conclude(&mut self, exchanged: Exchanged, took: Duration) -> Result<Exchanged, Failure> {
        let answer = match &exchanged {
            Exchanged::Answer(answer) => answer,
            Exchanged::Silence if took > LOST_WITHIN => {
                return Err(self.channel.silent("no answer in time"));
            }
            Exchanged::Silence if std::mem::replace(&mut self.silent_once, true) => {
                return Err(self.channel.silent("no answer, also not to a second try"));
            }
            // The worker begins anew.
            Exchanged::Silence => {
                (self.granted, self.is_complete) = (None, false);
                return Ok(exchanged);
            }
            Exchanged::Unwanted => return Ok(exchanged),
        };
        let was_complete = std::mem::replace(&mut self.is_complete, answer.gss_major == GSS_S_COMPLETE);
        // With a token after a complete answer the worker has begun anew.
        let before = self.granted.take().filter(|_| !was_complete);
        let window = answer.window;
        self.granted = match (answer.gss_major, answer.handle.expose().as_slice()) {
            (GSS_S_COMPLETE | GSS_S_CONTINUE_NEEDED, []) => {
                before.map(|before| GrantedContext { window, ..before })
            }
            (GSS_S_COMPLETE | GSS_S_CONTINUE_NEEDED, handle) => {
                Some(GrantedContext { window, handle: handle.to_vec() })
            }
            // An error ends the negotiation.
            _ => None,
        };
        Ok(exchanged)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::event::{Cause, Stage};
    use crate::negotiate::channel::lustre::decode;
    use crate::wire::Writer;
    use tempfile::TempDir;

    const FAILURE: u32 = 0x000d_0000;

    /// Over a channel that no token passes, after these answers of a server: status, window, handle.
    pub(in crate::upcall) fn relay_after(answers: &[(u32, u32, &str)]) -> (Relay, TempDir) {
        let (mut relay, directory) = relay();
        for &(gss_major, window, handle) in answers {
            let answer = answer_with(gss_major, window, handle.as_bytes());
            assert!(matches!(relay.conclude(answer, Duration::ZERO), Ok(Exchanged::Answer(_))));
        }
        (relay, directory)
    }

    fn relay() -> (Relay, TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let channel = directory.path().join("sptlrpc/gss");
        std::fs::create_dir_all(&channel).unwrap();
        std::fs::write(channel.join("init_channel"), "").unwrap();
        let callout = "4:krb5:2001:2002::-:2:0x20000c0a84d01:lustre-OST0000-osc-ff2d:0x0:557:";
        let channel = InitChannel::open(&callout.parse().unwrap(), &[directory.path().to_owned()]).unwrap();
        (Relay::new(channel), directory)
    }

    fn answer(window: u32, handle: &[u8]) -> Exchanged {
        answer_with(GSS_S_COMPLETE, window, handle)
    }

    fn answer_with(gss_major: u32, window: u32, handle: &[u8]) -> Exchanged {
        let mut writer = Writer::new();
        for word in [0, gss_major, 0, window] {
            writer.u32_host(word);
        }
        for field in [handle, b"token"] {
            writer.opaque_host(field).unwrap().bytes(&[0; 3][..field.len().wrapping_neg() % 4]);
        }
        Exchanged::Answer(decode(writer.as_slice()).unwrap())
    }

    fn granted(window: u32, handle: &[u8]) -> Option<GrantedContext> {
        Some(GrantedContext { window, handle: handle.to_vec() })
    }

    /// The context that is granted after these answers: status, window, handle.
    fn after(answers: &[(u32, u32, &str)]) -> Option<GrantedContext> {
        relay_after(answers).0.granted().cloned()
    }

    #[test]
    fn the_last_handle_stays_and_the_last_window_counts() {
        let more = GSS_S_CONTINUE_NEEDED;
        assert_eq!(after(&[(GSS_S_COMPLETE, 7, "")]), None, "a window of no handle");
        assert_eq!(after(&[(more, 7, ""), (GSS_S_COMPLETE, 8, "first")]), granted(8, b"first"));
        assert_eq!(after(&[(more, 7, "first"), (GSS_S_COMPLETE, 8, "")]), granted(8, b"first"));
        assert_eq!(
            after(&[(more, 7, "first"), (more, 8, ""), (GSS_S_COMPLETE, 9, "")]),
            granted(9, b"first")
        );
        assert_eq!(after(&[(more, 7, "first"), (GSS_S_COMPLETE, 8, "second")]), granted(8, b"second"));
    }

    /// A worker that sends a token after a complete answer begins anew, as one that tries another key does.
    #[test]
    fn after_a_complete_answer_or_an_error_only_later_answers_count() {
        let complete = (GSS_S_COMPLETE, 7, "first");
        let more = GSS_S_CONTINUE_NEEDED;
        assert_eq!(after(&[complete, (GSS_S_COMPLETE, 8, "second")]), granted(8, b"second"));
        assert_eq!(after(&[complete, (GSS_S_COMPLETE, 8, "")]), None);
        assert_eq!(after(&[complete, (more, 8, ""), (GSS_S_COMPLETE, 9, "")]), None);
        assert_eq!(after(&[complete, (more, 8, "second"), (GSS_S_COMPLETE, 9, "")]), granted(9, b"second"));
        for before in [complete, (more, 7, "first")] {
            for refusal in [(FAILURE, 8, ""), (FAILURE, 8, "second")] {
                assert_eq!(after(&[before, refusal]), None);
                assert_eq!(after(&[before, refusal, (GSS_S_COMPLETE, 9, "")]), None);
                let anew = [before, refusal, (GSS_S_COMPLETE, 9, "third")];
                assert_eq!(after(&anew), granted(9, b"third"));
            }
        }
    }

    /// Rule S13: the worker's word alone makes no context.
    #[test]
    fn nothing_is_granted_before_the_server_is_done_after_its_error_or_its_silence() {
        let (mut relay, _directory) = relay();
        assert_eq!(relay.granted(), None);
        for (gss_major, expected) in
            [(GSS_S_CONTINUE_NEEDED, None), (GSS_S_COMPLETE, granted(7, b"handle")), (FAILURE, None)]
        {
            relay.conclude(answer_with(gss_major, 7, b"handle"), Duration::ZERO).unwrap();
            assert_eq!(relay.granted().cloned(), expected, "{gss_major:#x}");
        }
        relay.conclude(answer(7, b"handle"), Duration::ZERO).unwrap();
        relay.conclude(Exchanged::Silence, Duration::ZERO).unwrap();
        assert_eq!(relay.granted(), None, "after silence");
        relay.conclude(answer(9, b""), Duration::ZERO).unwrap();
        assert_eq!(relay.granted(), None, "a handle from before the silence");
    }

    #[test]
    fn a_token_that_is_lost_may_be_sent_anew_once() {
        let (mut relay, _directory) = relay();
        assert!(matches!(relay.conclude(Exchanged::Silence, LOST_WITHIN), Ok(Exchanged::Silence)));
        relay.conclude(answer(7, b"handle"), Duration::ZERO).unwrap();
        let failure = relay.conclude(Exchanged::Silence, Duration::ZERO).unwrap_err();
        assert_eq!((failure.stage, failure.cause), (Stage::Negotiate, Cause::ServerSilent));
        assert!(failure.detail.contains("also not to a second try"), "{failure}");
    }

    #[test]
    fn a_server_that_was_waited_for_is_not_waited_for_again() {
        let (mut relay, _directory) = relay();
        let failure = relay.conclude(Exchanged::Silence, LOST_WITHIN + Duration::from_millis(1)).unwrap_err();
        assert_eq!((failure.stage, failure.cause), (Stage::Negotiate, Cause::ServerSilent));
        assert!(failure.detail.ends_with("no answer in time"), "{failure}");
    }

    #[test]
    fn the_end_of_the_worker_is_no_silence_and_changes_nothing() {
        let (mut relay, _directory) = relay();
        relay.conclude(answer(7, b"handle"), Duration::ZERO).unwrap();
        let unwanted = relay.conclude(Exchanged::Unwanted, LOST_WITHIN * 2);
        assert!(matches!(unwanted, Ok(Exchanged::Unwanted)));
        assert_eq!(relay.granted().cloned(), granted(7, b"handle"));
        assert!(relay.conclude(Exchanged::Silence, Duration::ZERO).is_ok());
    }

    #[test]
    fn a_worker_sends_no_more_tokens_than_a_negotiation_may_have() {
        let (mut relay, _directory) = relay();
        for tokens in 0..ROUND_LIMIT {
            assert!(relay.has_room(), "after {tokens}");
            relay.count_token();
        }
        assert!(!relay.has_room());
    }
}
