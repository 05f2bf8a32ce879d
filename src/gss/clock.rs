//! Times and spans, and clocks elsewhere compared with this machine's.
//!
//! Pure: [`super::replies`] hears of the KDC's clock, [`super::skew`] explains a difference.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// A clock elsewhere compared with this machine's, in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset(pub(super) i64);

impl Offset {
    /// Of a clock that shows `there`, seconds since the epoch.
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

/// A span of time in seconds, shown in its two largest units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0;
        let (large, small, units) = match seconds {
            0..60 => return write!(f, "{seconds} s"),
            60..3600 => (seconds / 60, seconds % 60, ["min", "s"]),
            3600..86400 => (seconds / 3600, seconds % 3600 / 60, ["h", "min"]),
            _ => (seconds / 86400, seconds % 86400 / 3600, ["days", "h"]),
        };
        let [of_large, of_small] = units;
        if small == 0 {
            write!(f, "{large} {of_large}")
        } else {
            write!(f, "{large} {of_large} {small} {of_small}")
        }
    }
}

/// Seconds since the epoch.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_their_two_largest_units() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (432, "7 min 12 s"),
            (3 * 3600 + 300, "3 h 5 min"),
            (50 * 3600, "2 days 2 h"),
        ] {
            assert_eq!(Span(seconds).to_string(), text);
        }
    }

    #[test]
    fn an_offset_tells_which_clock_is_ahead() {
        assert_eq!(Offset(432).to_string(), "7 min 12 s ahead of this machine's");
        assert_eq!(Offset(-5).to_string(), "5 s behind this machine's");
    }
}
