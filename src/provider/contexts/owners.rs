//! Whose contexts an operation is about.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whose contexts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Owners {
    /// Those of every user with keys, root among them.
    All,
    /// Those of one uid.
    One(u32),
}

impl fmt::Display for Owners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all users"),
            Self::One(uid) => write!(f, "uid {uid}"),
        }
    }
}
