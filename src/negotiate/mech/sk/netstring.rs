//! Netstrings, of which the tokens of sk consist: `<decimal length>:<bytes>,` one after the other.
//!
//! Called by [`token`](super::token). Invariant: what is decoded is what [`encode`] makes of the same fields, byte for
//! byte, so that a message authentication code over the fields covers the token.

/// Why a token is refused. Fields are counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NetstringError {
    /// The token ends before this field.
    #[error("token ends before its field {0}")]
    Missing(usize),
    /// The field does not begin with a decimal number without leading zeros and a colon.
    #[error("length of field {0} is malformed")]
    Length(usize),
    /// The field is longer than it may be.
    #[error("field {field} is longer than {limit} bytes")]
    TooLong {
        /// Which one.
        field: usize,
        /// Its limit.
        limit: usize,
    },
    /// The token ends within the field.
    #[error("token ends in its field {0}")]
    Truncated(usize),
    /// No comma follows the field.
    #[error("field {0} does not end with a comma")]
    Comma(usize),
    /// Something follows the last field.
    #[error("token has {0} bytes after its last field")]
    Trailing(usize),
}

/// The fields as one token.
pub(super) fn encode(fields: &[&[u8]]) -> Vec<u8> {
    let mut token = Vec::new();
    for field in fields {
        token.extend_from_slice(format!("{}:", field.len()).as_bytes());
        token.extend_from_slice(field);
        token.push(b',');
    }
    token
}

/// The fields of a token that has one for each limit, of so many bytes at most.
///
/// # Errors
/// [`NetstringError`].
pub(super) fn decode<const N: usize>(token: &[u8], limits: [usize; N]) -> Result<[&[u8]; N], NetstringError> {
    let mut fields: [&[u8]; N] = [&[]; N];
    let mut rest = token;
    for ((place, limit), field) in fields.iter_mut().zip(limits).zip(1..) {
        let length;
        (length, rest) = split_length(rest, field, limit)?;
        let after;
        (*place, after) = rest.split_at_checked(length).ok_or(NetstringError::Truncated(field))?;
        rest = match after {
            [b',', rest @ ..] => rest,
            [] => return Err(NetstringError::Truncated(field)),
            [..] => return Err(NetstringError::Comma(field)),
        };
    }
    if rest.is_empty() { Ok(fields) } else { Err(NetstringError::Trailing(rest.len())) }
}

/// The length of a field, and what follows its colon.
fn split_length(token: &[u8], field: usize, limit: usize) -> Result<(usize, &[u8]), NetstringError> {
    let digits = token.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = token.split_at(digits);
    match (digits, rest) {
        ([], []) => Err(NetstringError::Missing(field)),
        ([] | [b'0', _, ..], _) => Err(NetstringError::Length(field)),
        (_, []) => Err(NetstringError::Truncated(field)),
        (_, [b':', rest @ ..]) => {
            let append =
                |number: usize, digit: &u8| number.saturating_mul(10).saturating_add((digit - b'0').into());
            let length = digits.iter().fold(0, append);
            if length > limit { Err(NetstringError::TooLong { field, limit }) } else { Ok((length, rest)) }
        }
        _ => Err(NetstringError::Length(field)),
    }
}

#[cfg(test)]
mod tests {
    use super::NetstringError::{Comma, Length, Missing, TooLong, Trailing, Truncated};
    use super::*;
    use proptest::prelude::*;

    fn two(token: &[u8]) -> Result<[&[u8]; 2], NetstringError> {
        decode(token, [4, 300])
    }

    #[test]
    fn fields_may_hold_anything_even_nothing() {
        assert_eq!(encode(&[b"", b"1:a,"]), b"0:,4:1:a,,");
        assert_eq!(two(b"0:,4:1:a,,"), Ok([&b""[..], b"1:a,"]));
        assert_eq!(decode(b"", []), Ok([]));
    }

    #[test]
    fn each_offence_has_its_error() {
        for (token, error) in [
            (&b""[..], Missing(1)),
            (b"1:a,", Missing(2)),
            (b"1:a,2", Truncated(2)),
            (b"1:a,2:", Truncated(2)),
            (b"1:a,2:b", Truncated(2)),
            (b"1:a,2:bc", Truncated(2)),
            (b"1:a,2:bc;", Comma(2)),
            (b"1:a,2:bcd,", Comma(2)),
            (b"1:a,1:b,1:c,", Trailing(4)),
            (b"1:a,1:b,\0", Trailing(1)),
            (b"5:abcde,1:b,", TooLong { field: 1, limit: 4 }),
            (b"1:a,99999999999999999999999:b,", TooLong { field: 2, limit: 300 }),
            (b"01:a,1:b,", Length(1)),
            (b"00:,1:b,", Length(1)),
            (b":,1:b,", Length(1)),
            (b"+1:a,1:b,", Length(1)),
            (b"-1:a,1:b,", Length(1)),
            (b" 1:a,1:b,", Length(1)),
            (b"1 :a,1:b,", Length(1)),
            (b"1:a, 1:b,", Length(2)),
            (b"0x1:a,1:b,", Length(1)),
        ] {
            assert_eq!(two(token), Err(error), "{}", String::from_utf8_lossy(token));
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(first in prop::collection::vec(any::<u8>(), 0..5), second in prop::collection::vec(any::<u8>(), 0..300)) {
            let token = encode(&[&first, &second]);
            prop_assert_eq!(two(&token), Ok([&first[..], &second]));
        }

        #[test]
        fn nothing_else_is_decoded_and_nothing_panics(
            token in prop_oneof![prop::collection::vec(any::<u8>(), 0..40), "[0-9:,]{0,12}".prop_map(String::into_bytes)],
        ) {
            if let Ok(fields) = two(&token) {
                prop_assert_eq!(encode(&fields), token);
            }
        }

        #[test]
        fn a_changed_byte_changes_a_field_or_is_refused(
            first in prop::collection::vec(any::<u8>(), 0..5), second in prop::collection::vec(any::<u8>(), 0..40),
            place in any::<prop::sample::Index>(), difference in 1_u8..,
        ) {
            let good = encode(&[&first, &second]);
            let mut token = good.clone();
            token[place.index(good.len())] ^= difference;
            prop_assert!(two(&token).is_err() || two(&token) != two(&good));
        }
    }
}
