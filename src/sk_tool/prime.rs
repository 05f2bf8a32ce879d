//! The prime of a client's key: found in all processors' threads, while a line on the terminal shows that it goes on.
//!
//! For 2048 bits that takes seconds to a minute, depending on luck and machine; for more bits, minutes. Nothing has been
//! written by then: whoever interrupts it leaves nothing behind. The searching threads take no signal that ends the process;
//! they may go on for a while after the prime is there, and what is written then must not be interrupted through them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;

use openssl::error::ErrorStack;

use super::prime_search::safe_prime;
use crate::sys::signals::SignalsBlocked;
use crate::terminal::Terminal;
use crate::terminal::wait_line::{self, Output, WaitLine};

/// Most threads that search.
const THREADS: usize = 16;
/// By then nothing has been written.
const INTERRUPT: &str = "Ctrl-C ends it safely";

/// Why there is no prime.
#[derive(Debug, thiserror::Error)]
pub(super) enum PrimeSearchError {
    /// OpenSSL fails.
    #[error("no prime was found: {0}")]
    OpenSsl(#[from] ErrorStack),
    /// The search could not be started.
    #[error("the search for a prime cannot be started: {0}")]
    Thread(#[source] io::Error),
    /// The search has ended without a result.
    #[error("the search for a prime has ended without a result")]
    NoResult,
}

/// A safe prime of so many bits, big endian.
///
/// # Errors
/// [`PrimeSearchError`].
pub(super) fn found(bits: u32, terminal: &mut Terminal<'_>) -> Result<Vec<u8>, PrimeSearchError> {
    let stop = Arc::new(AtomicBool::new(false));
    let receiver = searching(bits, &stop)?;
    let what = wanted(bits);
    let mut line = WaitLine::new(Output::Text);
    let found = loop {
        match receiver.recv_timeout(wait_line::STEP) {
            Ok(found) => break found,
            // A terminal that does not take the line stops nothing.
            Err(RecvTimeoutError::Timeout) => drop(line.show(&what, INTERRUPT, terminal.err)),
            Err(RecvTimeoutError::Disconnected) => return Err(PrimeSearchError::NoResult),
        }
    };
    stop.store(true, Ordering::Relaxed);
    let _ = line.end(terminal.err);
    Ok(found?)
}

/// Starts the threads, and returns where their results come.
fn searching(
    bits: u32,
    stop: &Arc<AtomicBool>,
) -> Result<Receiver<Result<Vec<u8>, ErrorStack>>, PrimeSearchError> {
    let (sender, receiver) = mpsc::channel();
    let length = i32::try_from(bits).unwrap_or(i32::MAX);
    let threads = thread::available_parallelism().map_or(1, |count| count.get().min(THREADS));
    // From their first instruction on; the main thread's own mask is restored at the end of this function.
    let _blocked = SignalsBlocked::now();
    for _ in 0..threads {
        let (sender, stop) = (sender.clone(), Arc::clone(stop));
        // Nobody listens any more once a prime is there.
        let search = move || drop(safe_prime(length, &stop).transpose().map(|found| sender.send(found)));
        thread::Builder::new().spawn(search).map_err(PrimeSearchError::Thread)?;
    }
    Ok(receiver)
}

fn wanted(bits: u32) -> String {
    format!("lgss_sk: looking for a prime of {bits} bits")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// It would wrap, and the next update would leave the first half where it is.
    #[test]
    fn the_line_of_a_search_for_a_day_fits_the_narrowest_terminal() {
        let line = wait_line::text(&wanted(16_384), Duration::from_secs(86_400), INTERRUPT);
        assert!(line.len() <= 79, "{} columns: {line}", line.len());
        assert_eq!(line, "lgss_sk: looking for a prime of 16384 bits: 86400 s, Ctrl-C ends it safely");
    }
}
