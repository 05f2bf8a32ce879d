//! The principal that a context speaks for.
//!
//! Reported by the worker, put into the key by the monitor, read by programs. Invariant: a [`Principal`] is printable, on
//! one line and within its limit, whatever its source.

use std::fmt;

use crate::event::one_line;

/// Longest principal, in bytes as it is written.
pub(crate) const PRINCIPAL_LIMIT: usize = 400;

/// A Kerberos principal as libraries write it: `name@REALM`, special characters escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "upcall", derive(serde::Serialize))]
pub struct Principal(String);

impl Principal {
    /// `None` if it is empty, too long, or holds what is not printable.
    pub fn new(text: &str) -> Option<Self> {
        let fits = (1..=PRINCIPAL_LIMIT).contains(&text.len()) && one_line(text) == text;
        fits.then(|| Self(text.to_owned()))
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The client's side of an established context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Initiator {
    /// Who it is to the server.
    pub principal: Principal,
    /// The wish that was not met, with the reason; in words, for the requester.
    pub unmet: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_is_printable_and_limited() {
        for good in ["a@R", "nfs/srv.example.test@EXAMPLE.TEST", "o\\@dd@R", "é@R"] {
            assert_eq!(Principal::new(good).map(|principal| principal.to_string()), Some(good.to_owned()));
        }
        for bad in ["", "a\nb@R", "a\u{1b}[2J@R", &"x".repeat(PRINCIPAL_LIMIT + 1)] {
            assert_eq!(Principal::new(bad), None, "{bad:?}");
        }
    }
}
