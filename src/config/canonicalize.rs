//! Whether the name service may replace the host in a service's name (rules S17, S23).

use serde::{Deserialize, Serialize};

/// How the host in a service's name is treated, whatever krb5.conf says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Canonicalize {
    /// Used as given.
    #[default]
    No,
    /// Used as given; if no KDC knows that service, the name service's canonical name is tried.
    Fallback,
    /// Replaced by the name service's canonical name.
    Yes,
}
