//! Diffie-Hellman with generator 2 in the group of a safe prime, by OpenSSL.
//!
//! Called by the mechanism sk with the prime of a shared key. Invariants: a group's prime is safe, so that a peer's number
//! can betray one bit of ours at most; private numbers are raised in constant time, and they and what comes of them are
//! zeroed.
#![forbid(unsafe_code)]

use openssl::bn::{BigNum, BigNumContext, BigNumContextRef, BigNumRef};
use openssl::error::ErrorStack;
use openssl::rand::rand_priv_bytes;
use zeroize::Zeroizing;

use super::prime_size::{PRIME_FLOOR, PRIME_LIMIT};
use crate::secret::Secret;

const GENERATOR: u32 = 2;
/// Rounds of the test of a prime: a composite passes with a probability of at most 2⁻⁶⁴, even one chosen by an attacker.
const ROUNDS: u32 = 32;
/// Longest private number, in bytes. In a group whose order has no small factors but 2, half its bits count.
const PRIVATE_LIMIT: usize = 64;
/// How many leading zeros a shared secret may have, in bytes.
const PADDING_LIMIT: usize = 2;

/// Proof that a prime is safe: half of it, rounded down, is prime as well.
#[derive(Debug)]
pub(crate) struct SafePrime {
    number: BigNum,
    bytes: Vec<u8>,
}

/// Why a prime is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrimeError {
    /// Too short to protect anything.
    #[error("prime of {0} bits is shorter than {PRIME_FLOOR}")]
    Short(usize),
    /// Longer than a shared key has room for.
    #[error("prime of {0} bytes is longer than {PRIME_LIMIT}")]
    Long(usize),
    /// Its top bit is not set, so its length is ambiguous.
    #[error("prime does not fill its {0} bytes")]
    Unfilled(usize),
    /// It is of no form that a safe prime has in which 2 generates the group, or its half of prime order.
    #[error("prime is {0} modulo 24, not 11 or 23")]
    Residue(u64),
    /// It is composite.
    #[error("prime is composite")]
    Composite,
    /// Its half is composite.
    #[error("prime is not safe: half of it is not prime")]
    Unsafe,
    /// OpenSSL fails.
    #[error("prime cannot be tested: {0}")]
    Library(#[from] ErrorStack),
}

impl SafePrime {
    /// Tests a number, big endian: a tenth of a second of processor time for 2048 bits, a minute for the longest.
    ///
    /// # Errors
    /// [`PrimeError`].
    pub(crate) fn check(bytes: &[u8]) -> Result<Self, PrimeError> {
        let prime = Self::checked_before(bytes)?;
        let mut context = BigNumContext::new()?;
        let mut half = BigNum::new()?;
        half.rshift1(&prime.number)?;
        // 2^half is 1 or -1 for every prime of these forms. With a prime half it proves the prime (Pocklington), which 3
        // does not divide.
        let mut power = BigNum::new()?;
        power.mod_exp(&*BigNum::from_u32(GENERATOR)?, &half, &prime.number, &mut context)?;
        if power != BigNum::from_u32(1)? && power != prime.last()? {
            return Err(PrimeError::Composite);
        }
        if is_prime(&half, &mut context)? { Ok(prime) } else { Err(PrimeError::Unsafe) }
    }

    /// Takes a number that [`SafePrime::check`] has taken before, perhaps in another process. The caller vouches for that.
    ///
    /// # Errors
    /// [`PrimeError`], if that can be seen without a test.
    pub(crate) fn checked_before(bytes: &[u8]) -> Result<Self, PrimeError> {
        if bytes.len() > PRIME_LIMIT {
            return Err(PrimeError::Long(bytes.len()));
        }
        if bytes.len() * 8 < PRIME_FLOOR as usize {
            return Err(PrimeError::Short(bytes.len() * 8));
        }
        if bytes.first().is_none_or(|first| first & 0x80 == 0) {
            return Err(PrimeError::Unfilled(bytes.len()));
        }
        let number = BigNum::from_slice(bytes)?;
        match number.mod_word(24)? {
            11 | 23 => Ok(Self { number, bytes: bytes.to_vec() }),
            other => Err(PrimeError::Residue(other)),
        }
    }

    /// The number, big endian. Its first bit is set.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// One less.
    fn last(&self) -> Result<BigNum, ErrorStack> {
        let mut last = self.number.to_owned()?;
        last.sub_word(1)?;
        Ok(last)
    }
}

/// Miller and Rabin's test of an odd number above 3. OpenSSL's own makes four times the rounds with long numbers.
fn is_prime(number: &BigNumRef, context: &mut BigNumContextRef) -> Result<bool, ErrorStack> {
    let one = BigNum::from_u32(1)?;
    let mut last = number.to_owned()?;
    last.sub_word(1)?;
    let twos = (0..last.num_bits()).find(|&bit| last.is_bit_set(bit)).unwrap_or(0);
    let mut odd = BigNum::new()?;
    odd.rshift(&last, twos)?;
    let mut passes = |base: &BigNumRef| {
        let mut power = BigNum::new()?;
        power.mod_exp(base, &odd, number, context)?;
        if power == one {
            return Ok(true);
        }
        for _ in 0..twos {
            if power == last {
                return Ok(true);
            }
            let root = power.to_owned()?;
            power.mod_sqr(&root, number, context)?;
        }
        Ok(false)
    };
    let mut passed = 0;
    while passed < ROUNDS {
        let mut base = BigNum::new()?;
        last.rand_range(&mut base)?;
        if base <= one {
            continue;
        }
        if !passes(&base)? {
            return Ok(false);
        }
        passed += 1;
    }
    Ok(true)
}

/// Our private number and the public number of it.
pub(crate) struct KeyPair<'a> {
    prime: &'a SafePrime,
    private: SecretNumber,
    public: Vec<u8>,
}

/// Why there is no shared secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AgreementError {
    /// The peer's number is 0, 1, one less than the prime, or more.
    #[error("public key is out of range")]
    PeerKey,
    /// The secret has too many leading zeros for the peer to have the same one.
    #[error("shared secret is {0} bytes short")]
    ShortSecret(usize),
    /// OpenSSL fails.
    #[error("shared secret cannot be computed: {0}")]
    Library(#[from] ErrorStack),
}

impl<'a> KeyPair<'a> {
    /// Makes a key pair whose public number is as long as the prime, so that peers which pad it and peers which do not see
    /// the same. That ends soon, since nearly all numbers below the prime are as long.
    ///
    /// # Errors
    /// OpenSSL fails.
    pub(crate) fn generate(prime: &'a SafePrime) -> Result<Self, ErrorStack> {
        loop {
            let mut private = Zeroizing::new([0; PRIVATE_LIMIT]);
            let length = PRIVATE_LIMIT.min(prime.bytes.len() - 1);
            let (private, _) = private.split_at_mut(length);
            rand_priv_bytes(private)?;
            let pair = Self::of(prime, private)?;
            if pair.public.len() == prime.bytes.len() {
                return Ok(pair);
            }
        }
    }

    /// The pair of this private number.
    ///
    /// # Errors
    /// OpenSSL fails.
    pub(crate) fn of(prime: &'a SafePrime, private: &[u8]) -> Result<Self, ErrorStack> {
        let mut private = SecretNumber(BigNum::from_slice(private)?);
        private.0.set_const_time();
        let public = private.power_of(&BigNum::from_u32(GENERATOR)?, prime)?.0.to_vec();
        Ok(Self { prime, private, public })
    }

    /// The public number, big endian.
    pub(crate) fn public(&self) -> &[u8] {
        &self.public
    }

    /// The secret shared with the peer that has this public number, as long as the prime.
    ///
    /// # Errors
    /// [`AgreementError`].
    pub(crate) fn agree(&self, peer: &[u8]) -> Result<Secret, AgreementError> {
        let peer = BigNum::from_slice(peer)?;
        if peer <= BigNum::from_u32(1)? || peer >= self.prime.last()? {
            return Err(AgreementError::PeerKey);
        }
        let shared = self.private.power_of(&peer, self.prime)?;
        let bytes = Secret::new(shared.0.to_vec_padded(self.prime.number.num_bytes())?);
        match bytes.expose().iter().take_while(|&&byte| byte == 0).count() {
            0..=PADDING_LIMIT => Ok(bytes),
            missing => Err(AgreementError::ShortSecret(missing)),
        }
    }
}

/// A number that is zeroed.
struct SecretNumber(BigNum);

impl SecretNumber {
    /// Raises `base` to it.
    fn power_of(&self, base: &BigNum, prime: &SafePrime) -> Result<Self, ErrorStack> {
        let mut power = Self(BigNum::new_secure()?);
        power.0.mod_exp(base, &self.0, &prime.number, &mut *BigNumContext::new_secure()?)?;
        Ok(power)
    }
}

impl Drop for SecretNumber {
    fn drop(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A safe prime for each residue, a prime with a composite half, and twice a prime and one.
    const SAFE_23: &str = "fa2d267a88a1daea4e948f359a6d792144cbcce6f0c05baa21d627bd010755bc\
                           e5cb5e1f47ab197d481155a21caae0530c884a7d589a39db8144ebfec4c7478f";
    const SAFE_11: &str = "f03bb076043652ad3e6ecff36a480458c420030daecba581dfb3cefaaca4a4bd\
                           2927ac0bf69e87437db3240ef72d9c96ca402bce86667673c4b82dddf76ed70b";
    const UNSAFE: &str = "d0b2d893ce522774a65bc389f43c7728d6b60b6dada87eee07d80902e1df12de\
                          cf2893489d0916760c73a179892ee48cb7903f48e94a721e994de42155516a13";
    const COMPOSITE: &str = "e8525869733dd665558f2f8908b643d51fd2f88bf8bf8531a49ee9b673b838fb\
                             86ebd99a22d7f7d6d7db3026e5a78a6498ada7b8825f22475ab2a0b8c0bfdf6b";

    fn number(hex: &str) -> Vec<u8> {
        BigNum::from_hex_str(hex).unwrap().to_vec()
    }

    fn prime(hex: &str) -> SafePrime {
        SafePrime::check(&number(hex)).unwrap()
    }

    #[test]
    fn safe_primes_of_both_forms_and_those_of_rfc_3526_are_taken() {
        for known in [number(SAFE_11), number(SAFE_23), BigNum::get_rfc3526_prime_2048().unwrap().to_vec()] {
            assert_eq!(SafePrime::check(&known).unwrap().as_bytes(), known);
        }
    }

    #[test]
    fn each_other_number_is_refused_with_its_reason() {
        let refusal = |bytes: &[u8]| SafePrime::check(bytes).unwrap_err().to_string();
        assert!(matches!(SafePrime::check(&number(UNSAFE)), Err(PrimeError::Unsafe)));
        assert!(matches!(SafePrime::check(&number(COMPOSITE)), Err(PrimeError::Composite)));
        assert_eq!(refusal(&[]), "prime of 0 bits is shorter than 512");
        assert_eq!(refusal(&[0xff; 63]), "prime of 504 bits is shorter than 512");
        assert_eq!(refusal(&[0xff; 2049]), "prime of 2049 bytes is longer than 2048");
        assert_eq!(refusal(&[&[0], &number(SAFE_23)[..]].concat()), "prime does not fill its 65 bytes");
        assert_eq!(refusal(&[0x7f; 64]), "prime does not fill its 64 bytes");
        for (difference, residue) in [(1, 0), (2, 1), (12, 11)] {
            let mut other = BigNum::from_hex_str(SAFE_23).unwrap();
            other.add_word(difference).unwrap();
            match SafePrime::check(&other.to_vec()) {
                Err(PrimeError::Residue(found)) => assert_eq!(found, residue),
                Err(PrimeError::Composite | PrimeError::Unsafe) => assert_eq!(residue, 11),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn the_test_of_primes_agrees_with_division_and_is_not_deceived_by_pseudoprimes() {
        let mut context = BigNumContext::new().unwrap();
        let mut tested = |number: u32| is_prime(&BigNum::from_u32(number).unwrap(), &mut context).unwrap();
        for number in (5_u32..3000).step_by(2) {
            let divided = (3..).step_by(2).take_while(|d| d * d <= number).all(|d| number % d != 0);
            assert_eq!(tested(number), divided, "{number}");
        }
        // Carmichael numbers, and numbers that pass for base 2, or for 2, 3, 5 and 7.
        for number in [8911, 825_265, 2047, 3277, 1_373_653, 3_215_031_751] {
            assert!(!tested(number), "{number}");
        }
        assert!(tested(65_537) && tested(4_294_967_291));
    }

    #[test]
    fn what_was_checked_before_is_not_tested_again_but_looked_at() {
        assert!(SafePrime::checked_before(&number(COMPOSITE)).is_ok());
        assert!(
            SafePrime::checked_before(&[0xff; 2048])
                .is_err_and(|error| error.to_string().contains("modulo 24"))
        );
        assert!(SafePrime::checked_before(&[0xff; 63]).is_err());
    }

    #[test]
    fn both_ends_have_the_same_secret_as_long_as_the_prime() {
        for hex in [SAFE_11, SAFE_23] {
            let prime = prime(hex);
            let [one, other] = [0, 1].map(|_| KeyPair::generate(&prime).unwrap());
            assert_eq!((one.public().len(), other.public().len()), (64, 64));
            assert_ne!(one.public(), other.public());
            // One in 2²⁴ secrets is too short, which would be bad luck.
            let secret = one.agree(other.public()).unwrap();
            assert_eq!(secret.expose(), other.agree(one.public()).unwrap().expose());
            assert_eq!(secret.len(), 64);
        }
    }

    #[test]
    fn small_numbers_give_the_powers_of_two() {
        let prime = prime(SAFE_23);
        let pair = KeyPair::of(&prime, &[3]).unwrap();
        assert_eq!(pair.public(), [8]);
        assert!(matches!(pair.agree(&[2]), Err(AgreementError::ShortSecret(63))));
        // Half the order: 2 is a square modulo this prime.
        let mut half = BigNum::from_hex_str(SAFE_23).unwrap();
        half.div_word(2).unwrap();
        assert_eq!(KeyPair::of(&prime, &half.to_vec()).unwrap().public(), [1]);
    }

    #[test]
    fn a_peers_number_without_secrets_is_refused() {
        let prime = prime(SAFE_23);
        let pair = KeyPair::generate(&prime).unwrap();
        let near = |difference: i8| {
            let mut number = number(SAFE_23);
            *number.last_mut().unwrap() = 0x8f_u8.wrapping_add_signed(difference);
            number
        };
        for peer in [vec![], vec![0; 64], vec![1], near(-1), near(0), near(1), vec![0xff; 64], vec![0xff; 65]]
        {
            assert!(matches!(pair.agree(&peer), Err(AgreementError::PeerKey)), "{peer:?}");
        }
        for peer in [vec![2], near(-2)] {
            assert!(!matches!(pair.agree(&peer), Err(AgreementError::PeerKey)), "{peer:?}");
        }
    }
}
