//! Parsers of command-line values, with the complaint about those that cannot be read.

use std::time::Duration;

use crate::config::Seconds;
use crate::ctx::initiator::Principal;
use crate::ctx::request::{Level, RpcChannel, Service};
use crate::key::KeySerial;

/// A key named on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyArgument {
    /// The key that was meant.
    pub serial: KeySerial,
    /// The same digits read as hexadecimal, if they look like a key in the log.
    pub otherwise: Option<KeySerial>,
}

pub(super) fn service(text: &str) -> Result<Service, &'static str> {
    text.parse().map_err(|_| "a service is NAME@HOST, such as nfs@srv.example.com")
}

pub(super) fn principal(text: &str) -> Result<Principal, &'static str> {
    let fits =
        text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) && !text.contains(';') && text.contains('@');
    Principal::new(text).filter(|_| fits).ok_or("a principal is NAME@REALM, such as alice@EXAMPLE.COM")
}

pub(super) fn channel(text: &str) -> Result<RpcChannel, &'static str> {
    let form =
        "a channel is rpc:HOST:PORT,PROGRAM,VERSION with decimal numbers, such as rpc:srv:2049,100003,4";
    text.parse().map_err(|_| form)
}

/// Levels with their names: of requests first, then of NFS (exports(5)).
pub(super) const LEVELS: [(Level, &[&str], &str); 4] = [
    (Level::Null, &["n", "none"], "no protection"),
    (Level::Authentication, &["a", "krb5", "authentication"], "authentication"),
    (Level::Integrity, &["i", "krb5i", "integrity"], "integrity"),
    (Level::Privacy, &["p", "krb5p", "privacy"], "privacy"),
];

pub(super) fn level(text: &str) -> Result<Level, &'static str> {
    let form =
        "a level is one of n (none), a (authentication, krb5), i (integrity, krb5i), p (privacy, krb5p)";
    LEVELS.iter().find(|(_, names, _)| names.contains(&text)).map(|(level, ..)| *level).ok_or(form)
}

/// A duration as in lgss.toml(5), or 0 for no wait.
pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
    if matches!(text, "0" | "0s" | "0ms" | "0min") {
        return Ok(Duration::ZERO);
    }
    text.parse::<Seconds>().map(|Seconds(duration)| duration)
}

/// Decimal as keyctl(1) prints keys, `0x` and hexadecimal, or the log's eight digits if they cannot be decimal: they
/// contain a letter or start with 0, as no decimal serial number does.
pub(super) fn serial(text: &str) -> Result<KeyArgument, &'static str> {
    let form =
        "a key is a positive number: decimal, 0x and hexadecimal, or the eight hexadecimal digits of the log";
    let hexadecimal = |digits: &str| {
        let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        plain.then(|| i32::from_str_radix(digits, 16).ok()).flatten().and_then(KeySerial::new)
    };
    let as_in_the_log = (text.len() == 8).then(|| hexadecimal(text)).flatten();
    let decimal = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    let (serial, otherwise) = match (text.strip_prefix("0x"), decimal) {
        (Some(digits), _) => (hexadecimal(digits), None),
        (None, true) => (text.parse().ok(), as_in_the_log),
        (None, false) => (as_in_the_log, None),
    };
    serial.map(|serial| KeyArgument { serial, otherwise }).ok_or(form)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Option<(i32, Option<i32>)> {
        serial(text).ok().map(|key| (key.serial.raw(), key.otherwise.map(KeySerial::raw)))
    }

    #[test]
    fn a_key_may_be_named_as_keyctl_or_the_log_prints_it() {
        assert_eq!(key("797025216"), Some((797_025_216, None)));
        assert_eq!(key("0x2f81a3c0"), Some((0x2f81_a3c0, None)));
        assert_eq!(key("2f81a3c0"), Some((0x2f81_a3c0, None)));
        assert_eq!(key("00812345"), Some((0x0081_2345, None)));
    }

    #[test]
    fn eight_digits_are_decimal_and_the_other_reading_is_kept_for_the_error() {
        assert_eq!(key("12345678"), Some((12_345_678, Some(0x1234_5678))));
        assert_eq!(key("99999999"), Some((99_999_999, None)), "no key has that number in hexadecimal");
    }

    #[test]
    fn durations_have_the_units_of_the_settings_and_levels_the_names_of_nfs() {
        for (text, milliseconds) in [("5", 5000), ("5s", 5000), ("500ms", 500), ("2min", 120_000), ("0", 0)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        assert!(duration("5 parsecs").is_err() && duration("").is_err() && duration("-1").is_err());
        for (text, is) in [("p", Level::Privacy), ("krb5p", Level::Privacy), ("krb5", Level::Authentication)]
        {
            assert_eq!(level(text), Ok(is));
        }
        assert!(level("krb5x").unwrap_err().contains("krb5p"));
    }

    #[test]
    fn what_names_no_key_is_refused() {
        for text in
            ["", "0", "-3", "+3", "0x", "0x0", "0x80000000", "2147483648", "2f81a3c", "abc", "0x+1", "1 "]
        {
            assert_eq!(key(text), None, "{text:?}");
        }
    }
}
