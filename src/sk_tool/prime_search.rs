//! The search for a safe prime to which 2 is a good generator.
//!
//! Called by prime.rs, in several threads. From a random start it goes through the numbers that may be one, and tests each
//! by what costs least first: division of number and half by small primes, one power modulo the half, and at last the
//! test by which the worker, too, judges a key's prime.

use std::sync::atomic::{AtomicBool, Ordering};

use openssl::bn::{BigNum, BigNumContext, BigNumContextRef, BigNumRef, MsbOption};
use openssl::error::ErrorStack;

use crate::crypto::dh::{PrimeError, SafePrime};

/// Modulo 24, every safe prime is 11 or 23. For the latter, 2 is a square, so it generates the subgroup whose order is
/// the other prime.
const MODULUS: u32 = 24;
const REMAINDER: u32 = 23;
/// Numbers from one start. A new start costs a division by each small prime.
const SPAN: u32 = 1 << 13;
/// Small primes are below this.
const SMALL: u32 = 1 << 16;

/// A safe prime of so many bits, big endian; `None` if `stop` was set before it was found.
///
/// # Errors
/// OpenSSL fails.
pub(super) fn safe_prime(bits: i32, stop: &AtomicBool) -> Result<Option<Vec<u8>>, ErrorStack> {
    let small = small_primes();
    let mut context = BigNumContext::new()?;
    loop {
        let start = start(bits)?;
        let residues = residues(&start, &small)?;
        for step in (0..SPAN).filter(|step| may_be_safe(*step, &residues)) {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let mut number = start.to_owned()?;
            number.add_word(MODULUS * step)?;
            if number.num_bits() == bits && half_may_be_prime(&number, &mut context)? && is_safe(&number)? {
                return Ok(Some(number.to_vec()));
            }
        }
    }
}

/// The primes that may divide a candidate: by its remainder modulo 24, neither 2 nor 3 divides it or its half.
fn small_primes() -> Vec<u32> {
    let mut primes: Vec<u32> = vec![2];
    for number in (3..SMALL).step_by(2) {
        let mut divisors = primes.iter().take_while(|prime| **prime * **prime <= number);
        if !divisors.any(|prime| number.is_multiple_of(*prime)) {
            primes.push(number);
        }
    }
    primes.retain(|prime| *prime > 3);
    primes
}

/// A random number with the two highest bits set and the right remainder.
fn start(bits: i32) -> Result<BigNum, ErrorStack> {
    let mut number = BigNum::new()?;
    number.rand(bits, MsbOption::TWO_ONES, false)?;
    let remainder = u32::try_from(number.mod_word(MODULUS)?).unwrap_or(0);
    number.add_word(MODULUS + REMAINDER - remainder)?;
    Ok(number)
}

/// Each small prime, and what the number is modulo it.
fn residues(number: &BigNumRef, small: &[u32]) -> Result<Vec<(u32, u32)>, ErrorStack> {
    let residue = |prime: &u32| Ok((*prime, u32::try_from(number.mod_word(*prime)?).unwrap_or(0)));
    small.iter().map(residue).collect()
}

/// Whether no small prime divides the number so many steps from the start, or its half: then it would be 1 modulo that
/// prime.
fn may_be_safe(step: u32, residues: &[(u32, u32)]) -> bool {
    residues.iter().all(|(prime, residue)| (residue + MODULUS * step) % prime > 1)
}

/// Fermat's test of half the number, to base 2.
fn half_may_be_prime(number: &BigNumRef, context: &mut BigNumContextRef) -> Result<bool, ErrorStack> {
    let (mut half, mut last, mut power) = (BigNum::new()?, BigNum::new()?, BigNum::new()?);
    half.rshift1(number)?;
    last.checked_sub(&half, &*BigNum::from_u32(1)?)?;
    power.mod_exp(&*BigNum::from_u32(2)?, &last, &half, context)?;
    Ok(power == BigNum::from_u32(1)?)
}

fn is_safe(number: &BigNumRef) -> Result<bool, ErrorStack> {
    match SafePrime::check(&number.to_vec()) {
        Ok(_) => Ok(true),
        Err(PrimeError::Library(error)) => Err(error),
        Err(_) => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prime_is_safe_and_2_generates_the_large_subgroup() {
        let found = safe_prime(512, &AtomicBool::new(false)).unwrap().unwrap();
        assert!(found.len() == 64 && found[0] & 0xc0 == 0xc0);
        let (prime, mut context) = (BigNum::from_slice(&found).unwrap(), BigNumContext::new().unwrap());
        assert_eq!(prime.mod_word(24).unwrap(), 23);
        let mut half = BigNum::new().unwrap();
        half.rshift1(&prime).unwrap();
        assert!(prime.is_prime(64, &mut context).unwrap() && half.is_prime(64, &mut context).unwrap());
        let mut power = BigNum::new().unwrap();
        power.mod_exp(&BigNum::from_u32(2).unwrap(), &half, &prime, &mut context).unwrap();
        assert_eq!(power, BigNum::from_u32(1).unwrap());
    }

    #[test]
    fn no_two_primes_are_alike_and_a_stopped_search_finds_none() {
        let never = AtomicBool::new(false);
        assert_ne!(safe_prime(512, &never).unwrap(), safe_prime(512, &never).unwrap());
        assert_eq!(safe_prime(4096, &AtomicBool::new(true)).unwrap(), None);
    }

    #[test]
    fn small_primes_pass_over_nothing_but_what_they_divide() {
        let small = small_primes();
        assert_eq!((small.first(), small.get(1), small.len()), (Some(&5), Some(&7), 6540));
        // 23, 47, 71, 95, 119, 143, 167 …: of those, halves and numbers that no prime up to 13 divides.
        let residues: Vec<(u32, u32)> = [5, 7, 11, 13].map(|prime| (prime, 23 % prime)).to_vec();
        let kept: Vec<u32> =
            (0..20).filter(|step| may_be_safe(*step, &residues)).map(|step| 23 + 24 * step).collect();
        let safe: Vec<u32> = [167, 263, 359, 383, 479].to_vec();
        assert!(safe.iter().all(|prime| kept.contains(prime)), "{kept:?}");
        let divides = |number: u32| [5, 7, 11, 13].into_iter().any(|prime| number.is_multiple_of(prime));
        assert!(!kept.iter().any(|number| divides(*number) || divides(number / 2)), "{kept:?}");
    }
}
