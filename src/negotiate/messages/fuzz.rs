//! Checks for the fuzz targets (docs/fuzzing.md): what one end of the conversation makes of anything that the other could
//! send. What was taken is sent and taken again.

use std::time::{Duration, Instant};

use super::report::{Message, Report};
use super::{FrameError, MonitorEnd, WorkerEnd};
use crate::ctx::HANDLE_LIMIT;
use crate::negotiate::channel::answer::WindowProof;
use crate::sys::duplex::Duplex;

/// Half of what a pipe takes without a reader. What is sent anew may be a little longer.
const ROOM: usize = 32 * 1024;
const SOON: Duration = Duration::from_secs(5);

/// The monitor's reading of a worker's messages. `data` are frames without their lengths, each after two bytes with it, or
/// the bytes of the pipe if the first is odd.
pub fn from_worker(data: &[u8]) {
    let Some(pipes) = pipes_with(data) else { return };
    let mut end = MonitorEnd::over(pipes);
    while let Ok(message) = receive(&mut end) {
        is_within_limits(&message);
        let again =
            resent(|worker| send(worker, &message)).map(|pipes| receive(&mut MonitorEnd::over(pipes)));
        // What is written anew may be longer than a message may be.
        if let Some(again) = again {
            assert!(again.as_ref().is_ok_and(|again| is_same(again, &message)), "{again:?} {message:?}");
        }
    }
}

fn receive(end: &mut MonitorEnd) -> Result<Message, FrameError> {
    end.receive_message(Instant::now() + SOON)
}

/// The worker's reading of the monitor's messages.
pub fn from_monitor(data: &[u8]) {
    let (Some(for_request), Some(for_reply)) = (pipes_with(data), pipes_with(data)) else { return };
    let soon = || Instant::now() + SOON;
    if let Ok(request) = WorkerEnd::over(for_request).receive_request(soon()) {
        let again = resent_by_monitor(|monitor| monitor.send_request(&request));
        let again = again.map(|pipes| WorkerEnd::over(pipes).receive_request(soon()));
        if let Some(again) = again {
            assert!(again.as_ref().is_ok_and(|again| *again == request), "{again:?}");
        }
    }
    if let Ok(Some(answer)) = WorkerEnd::over(for_reply).receive_reply(soon()) {
        assert!(
            answer.handle.expose().len() <= HANDLE_LIMIT && answer.window_proof == WindowProof::TheKernels
        );
        let again = resent_by_monitor(|monitor| monitor.send_reply(&answer, soon()));
        let again = again.and_then(|pipes| WorkerEnd::over(pipes).receive_reply(soon()).ok().flatten());
        let is_same = again.is_none_or(|again| {
            (again.handle, again.gss_major, again.window) == (answer.handle, answer.gss_major, answer.window)
                && again.token.expose() == answer.token.expose()
        });
        assert!(is_same);
    }
}

/// Pipes with these messages, and then their end.
fn pipes_with(data: &[u8]) -> Option<Duplex> {
    let (mut ours, theirs) = Duplex::pair().ok()?;
    let (&first, mut rest) = data.split_first()?;
    let mut bytes = Vec::new();
    if first % 2 == 1 {
        bytes.extend_from_slice(rest);
    } else {
        while let Some((&[high, low], after)) = rest.split_first_chunk() {
            let length = usize::from(u16::from_be_bytes([high, low])).min(after.len());
            let frame;
            (frame, rest) = after.split_at(length);
            bytes.extend(u32::try_from(frame.len()).ok()?.to_ne_bytes());
            bytes.extend_from_slice(frame);
        }
    }
    bytes.truncate(ROOM);
    let written = if bytes.is_empty() { 0 } else { ours.write(&bytes, Instant::now() + SOON).ok()? };
    (written == bytes.len()).then_some(theirs)
}

fn resent(send: impl FnOnce(&mut WorkerEnd) -> Result<(), FrameError>) -> Option<Duplex> {
    let (ours, theirs) = Duplex::pair().ok()?;
    send(&mut WorkerEnd::over(ours)).ok()?;
    Some(theirs)
}

fn resent_by_monitor(send: impl FnOnce(&mut MonitorEnd) -> Result<(), FrameError>) -> Option<Duplex> {
    let (ours, theirs) = Duplex::pair().ok()?;
    send(&mut MonitorEnd::over(ours)).ok()?;
    Some(theirs)
}

fn send(worker: &mut WorkerEnd, message: &Message) -> Result<(), FrameError> {
    match message {
        Message::Ready(ready, cache) => worker.send_ready(*ready, Some(cache)),
        Message::Token(token, stages) => worker.send_token(token, stages),
        Message::TestedPrime(prime) => worker.send_tested_prime(*prime),
        Message::Report(Report::Established { context, base_key, handle }) => {
            worker.send_established(context, base_key, handle.expose())
        }
        Message::Report(Report::Shared { context, keys }) => worker.send_shared(context, keys),
        Message::Report(Report::Failed(failed)) => worker.send_failed(failed),
    }
}

fn is_within_limits(message: &Message) {
    const KEYS: usize = 96;
    match message {
        Message::Token(token, _) => assert!((1..=64 * 1024).contains(&token.len())),
        Message::Report(Report::Established { base_key, handle, context }) => {
            assert!(base_key.len() <= KEYS && handle.expose().len() <= HANDLE_LIMIT);
            is_shown(&context.considered.clone().sanitised().in_words(400), 400);
        }
        Message::Report(Report::Shared { keys, .. }) => assert!(keys.len() <= KEYS),
        Message::Report(Report::Failed(failed)) => {
            is_shown(&failed.considered.clone().sanitised().in_words(400), 400);
            is_shown(&failed.failure.clone().sanitised().detail, 500);
        }
        Message::Ready(..) | Message::TestedPrime(_) => {}
    }
}

/// Fit for a line of the log.
fn is_shown(text: &str, limit: usize) {
    // What was chosen and what was wanted are not cut.
    assert!(text.len() <= limit + 2 * 500 + 64, "{} bytes", text.len());
    assert!(!text.contains(char::is_control), "{text:?}");
}

fn is_same(one: &Message, other: &Message) -> bool {
    match (one, other) {
        (Message::Ready(one, a), Message::Ready(other, b)) => one == other && a.expose() == b.expose(),
        (Message::Token(a, one), Message::Token(b, other)) => one == other && a.expose() == b.expose(),
        (Message::TestedPrime(one), Message::TestedPrime(other)) => one == other,
        (Message::Report(Report::Failed(one)), Message::Report(Report::Failed(other))) => one == other,
        (
            Message::Report(Report::Established { context: one, base_key: a, handle: h }),
            Message::Report(Report::Established { context: other, base_key: b, handle: i }),
        ) => (one, h) == (other, i) && a.expose() == b.expose(),
        (
            Message::Report(Report::Shared { context: one, keys: a }),
            Message::Report(Report::Shared { context: other, keys: b }),
        ) => one == other && a.expose() == b.expose(),
        _ => false,
    }
}
