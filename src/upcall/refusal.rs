//! How a request is turned away before anything is done for it.

use crate::event::{Cause, Failure, Stage};

/// A refusal by a rule, whose number starts the detail.
pub(super) fn refused(detail: impl std::fmt::Display) -> Failure {
    Failure::new(Stage::Authorise, Cause::Refused, detail)
}

/// Words of a requester's that are not of the form that they must have.
pub(super) fn malformed(error: impl std::fmt::Display) -> Failure {
    Failure::new(Stage::Authorise, Cause::BadRequest, error)
}
