//! What the worker's exit status tells a person at a terminal; the monitor goes by the message alone.

/// Exit status if the result, a failure included, has been reported.
pub(super) const REPORTED: u8 = 0;
/// Exit status if nothing could be reported.
pub(super) const NOT_REPORTED: u8 = 1;
/// Exit status if this is not started as the launcher does.
pub(super) const MISUSED: u8 = 2;
