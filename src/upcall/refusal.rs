//! The failures of requests that are refused before anything is done for them.

use crate::event::{Cause, Failure, Stage};

/// A refusal by a rule; its number begins the detail.
pub(super) fn refused(detail: impl std::fmt::Display) -> Failure {
    Failure::new(Stage::Authorise, Cause::Refused, detail)
}

/// A request whose words are malformed.
pub(super) fn malformed(error: impl std::fmt::Display) -> Failure {
    Failure::new(Stage::Authorise, Cause::BadRequest, error)
}
