//! Contexts of all users: listed and ended.
//!
//! Called by `lgss list` and `lgss flush`, and by lgss_helper. A user's own contexts need no rights: report.rs and seen.rs.

pub(crate) mod ending;
mod every_user;
mod listing;
mod owners;
pub(crate) mod report;
pub(crate) mod seen;

#[cfg(feature = "tools")]
pub(crate) use every_user::{UserAnswer, others};
pub(crate) use listing::ListContexts;
#[cfg(feature = "tools")]
pub(crate) use owners::Owners;
