//! Options of a request: how to authenticate, what to protect, and what happens in a pause after failures.

use std::fmt;
use std::str::FromStr;

#[cfg(feature = "upcall")]
use serde::{Deserialize, Serialize};

use super::error::RequestError;

/// Protection that the context is asked to offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "upcall", derive(Serialize, Deserialize), serde(rename_all = "snake_case"))]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "upcall", derive(Serialize, Deserialize), serde(rename_all = "snake_case"))]
pub(crate) enum Mechanism {
    /// Kerberos 5 (RFC 4121).
    Krb5,
}

/// What a request does during a pause that its owner has after failures (rule S8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "upcall", derive(Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum OnPause {
    /// The request fails during a pause, unless there are credentials that have not failed.
    #[default]
    Respect,
    /// `anew=1`: the request breaks the pause, once a second at most; for a person who repeats a request that has failed.
    Break,
    /// `anew=only`: the pause ends for all of the owner's requests, and nothing is negotiated.
    EndOnly,
}

/// Least time between a failure, or a broken pause, and the next break.
#[cfg(feature = "upcall")]
pub(crate) const ANEW_PAUSE: std::time::Duration = std::time::Duration::from_secs(1);
/// The upcall's answer to [`OnPause::EndOnly`] where there is no pause.
#[cfg(feature = "upcall")]
pub(crate) const NO_PAUSE: &str = "there is no pause";

impl FromStr for OnPause {
    type Err = RequestError;

    fn from_str(text: &str) -> Result<Self, RequestError> {
        match text {
            "1" => Ok(Self::Break),
            "only" => Ok(Self::EndOnly),
            _ => Err(RequestError::Malformed("anew")),
        }
    }
}
