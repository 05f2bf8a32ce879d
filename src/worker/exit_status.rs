//! The worker's exit statuses, for a person at a terminal. The monitor goes by the message alone.

/// Exit status if the result, success or failure, has been reported.
pub(super) const REPORTED: u8 = 0;
/// Exit status if nothing could be reported.
pub(super) const NOT_REPORTED: u8 = 1;
/// Exit status if the program is not started the way the launcher starts it.
pub(super) const MISUSED: u8 = 2;
