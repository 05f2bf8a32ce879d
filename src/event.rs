//! A failure as data: stage, cause, detail, remedy; and how it becomes an errno, a log line or advice.
//!
//! Made by the worker and the upcall, read by everything that reports. Invariant: no failure contains a secret.
#![forbid(unsafe_code)]

mod cause;
#[cfg(feature = "upcall")]
mod failure;
mod meaning;
mod reason;
#[cfg(feature = "upcall")]
mod stage;

pub(crate) use meaning::{Meaning, NO_UPCALL, meaning};
pub use reason::Reason;
#[cfg(feature = "upcall")]
pub use {cause::Cause, failure::Failure, stage::Stage};

pub(crate) use crate::text::one_line;
