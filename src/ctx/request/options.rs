//! Options of a request: how to authenticate, what to protect, and whether to wait for the end of a pause.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::RequestError;

/// Protection that the context is asked to offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// `n`: none beyond the context itself.
    Null,
    /// `a`: authentication.
    #[default]
    Authentication,
    /// `i`: integrity.
    Integrity,
    /// `p`: privacy.
    Privacy,
}

impl FromStr for Level {
    type Err = RequestError;

    fn from_str(text: &str) -> Result<Self, RequestError> {
        match text {
            "n" => Ok(Self::Null),
            "a" => Ok(Self::Authentication),
            "i" => Ok(Self::Integrity),
            "p" => Ok(Self::Privacy),
            _ => Err(RequestError::Malformed("level")),
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "n",
            Self::Authentication => "a",
            Self::Integrity => "i",
            Self::Privacy => "p",
        })
    }
}

/// GSS mechanism to negotiate with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mechanism {
    /// Kerberos 5 (RFC 4121).
    Krb5,
}

/// What is to become of a pause that the owner has after failures (rule S8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Anew {
    /// It is waited for, as programs do.
    #[default]
    Usual,
    /// `1`: a person has seen earlier requests fail, and does not want to wait for its end.
    Now,
    /// `only`: it is ended for all of the owner's requests, and nothing is negotiated.
    Only,
}

/// How soon after a failure, and after another who did so, a pause may be broken by who asks anew.
pub(crate) const ANEW_PAUSE: Duration = Duration::from_secs(1);
/// What the upcall says of a pause that is to be ended, where there is none.
pub(crate) const NO_PAUSE: &str = "there is no pause";

impl FromStr for Anew {
    type Err = RequestError;

    fn from_str(text: &str) -> Result<Self, RequestError> {
        match text {
            "1" => Ok(Self::Now),
            "only" => Ok(Self::Only),
            _ => Err(RequestError::Malformed("anew")),
        }
    }
}
