//! The search for the prime of a client's key: a safe prime to which 2 is a good generator.
//!
//! It takes up to a minute or more, so a line on the terminal shows that it goes on. Nothing has been written by then:
//! whoever interrupts it leaves nothing behind.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use openssl::bn::BigNum;
use openssl::error::ErrorStack;

use crate::terminal::Terminal;
use crate::terminal::wait_line::{self, Output, WaitLine};

/// Modulo 24, every safe prime is 11 or 23. For the latter, 2 is a square, so it generates the subgroup whose order is the
/// other prime.
const MODULUS: u32 = 24;
const REMAINDER: u32 = 23;

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
    /// The terminal does not take the line.
    #[error("{0}")]
    Terminal(#[from] io::Error),
}

/// A safe prime of so many bits, big endian.
///
/// # Errors
/// [`PrimeSearchError`].
pub(super) fn found(bits: u32, terminal: &mut Terminal<'_>) -> Result<Vec<u8>, PrimeSearchError> {
    let (sender, receiver) = mpsc::channel();
    let search = move || {
        // Nobody listens any more if the terminal has gone.
        let _ = sender.send(search(bits));
    };
    thread::Builder::new().spawn(search).map_err(PrimeSearchError::Thread)?;
    let what = format!("lgss_sk: looking for a prime of {bits} bits");
    let mut line = WaitLine::new(Output::Text);
    loop {
        match receiver.recv_timeout(wait_line::STEP) {
            Ok(found) => {
                line.end(terminal.err)?;
                return Ok(found?);
            }
            Err(RecvTimeoutError::Timeout) => {
                line.show(&what, "Ctrl-C ends it, and nothing is written", terminal.err)?;
            }
            Err(RecvTimeoutError::Disconnected) => return Err(PrimeSearchError::NoResult),
        }
    }
}

fn search(bits: u32) -> Result<Vec<u8>, ErrorStack> {
    let (modulus, remainder) = (BigNum::from_u32(MODULUS)?, BigNum::from_u32(REMAINDER)?);
    let mut prime = BigNum::new()?;
    let length = i32::try_from(bits).unwrap_or(i32::MAX);
    loop {
        prime.generate_prime(length, true, Some(&modulus), Some(&remainder))?;
        // From a start near the largest number of so many bits, the search may lead to a longer one.
        if prime.num_bits() == length {
            return Ok(prime.to_vec());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openssl::bn::BigNumContext;

    #[test]
    fn a_prime_is_safe_and_2_generates_the_large_subgroup() {
        let found = found(512, &mut Terminal { out: &mut Vec::new(), err: &mut Vec::new() }).unwrap();
        assert_eq!(found.len(), 64);
        let (prime, mut context) = (BigNum::from_slice(&found).unwrap(), BigNumContext::new().unwrap());
        assert_eq!((prime.num_bits(), prime.mod_word(24).unwrap()), (512, 23));
        let mut half = BigNum::new().unwrap();
        half.rshift1(&prime).unwrap();
        assert!(prime.is_prime(64, &mut context).unwrap() && half.is_prime(64, &mut context).unwrap());
        let mut power = BigNum::new().unwrap();
        power.mod_exp(&BigNum::from_u32(2).unwrap(), &half, &prime, &mut context).unwrap();
        assert_eq!(power, BigNum::from_u32(1).unwrap());
    }
}
