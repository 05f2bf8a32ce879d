//! Whether a service goes by another name than the one that was asked for (rules S17, S23).

use serde::{Deserialize, Serialize};

/// What becomes of the host in a service's name, whatever krb5.conf says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Canonicalize {
    /// It is used as given.
    #[default]
    No,
    /// It is used as given, and if no KDC knows that service, the name service's canonical name is tried.
    Fallback,
    /// The name service's canonical name is used.
    Yes,
}
