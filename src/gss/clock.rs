//! Clocks elsewhere compared with this machine's.
//!
//! Pure. [`super::replies`] learns the KDC's clock, [`super::skew`] explains a difference.

use std::fmt;

use crate::time::{Span, now};

/// A clock elsewhere compared with this machine's, in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset(pub(super) i64);

impl Offset {
    /// The offset of a clock that shows `there`, in seconds since the epoch.
    pub fn of(there: u32) -> Self {
        Self(i64::from(there) - i64::try_from(now()).unwrap_or(i64::MAX))
    }

    /// By how much it differs, either way.
    pub fn span(self) -> Span {
        Span(self.0.unsigned_abs())
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = if self.0 < 0 { "behind" } else { "ahead of" };
        write!(f, "{} {side} this machine's", self.span())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_tells_which_clock_is_ahead() {
        assert_eq!(Offset(432).to_string(), "7 min 12 s ahead of this machine's");
        assert_eq!(Offset(-5).to_string(), "5 s behind this machine's");
    }
}
