//! Clocks, and the form in which times and durations are shown.
//!
//! Invariant: times and durations look the same in the log, in `lgss` and in messages. Settings use another form,
//! which can be read back (src/config/duration.rs).
#![forbid(unsafe_code)]

#[cfg(any(feature = "upcall", test))]
use std::fmt;
#[cfg(any(feature = "upcall", test))]
use std::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

#[cfg(any(feature = "upcall", test))]
use ::time::OffsetDateTime;
#[cfg(feature = "upcall")]
use nix::time::{ClockId, clock_gettime};

/// Seconds since the epoch.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The same in Kerberos's 32 bits, which end in 2106.
#[cfg(feature = "upcall")]
pub(crate) fn now_32() -> u32 {
    u32::try_from(now()).unwrap_or(u32::MAX)
}

/// A clock that does not jump and continues while the machine sleeps.
#[cfg(feature = "upcall")]
pub(crate) fn since_boot() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

/// Date and time as this machine's clocks show them; in UTC where its time zone cannot be known, and in programs without the tools,
/// which read no time zone.
#[cfg(feature = "upcall")]
pub(crate) fn local_now() -> OffsetDateTime {
    local(OffsetDateTime::now_utc())
}

#[cfg(all(feature = "upcall", not(feature = "tools")))]
fn local(time: OffsetDateTime) -> OffsetDateTime {
    time
}

#[cfg(feature = "tools")]
fn local(time: OffsetDateTime) -> OffsetDateTime {
    ::time::UtcOffset::local_offset_at(time).map_or(time, |offset| time.to_offset(offset))
}

/// Seconds since the epoch as a date: `2026-11-21 21:15:58 UTC`.
#[cfg(any(feature = "upcall", test))]
pub(crate) fn date(epoch: u32) -> String {
    let date = OffsetDateTime::from_unix_timestamp(epoch.into()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let ((year, month, day), (hour, minute, second)) = (date.to_calendar_date(), date.to_hms());
    format!("{year}-{:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC", u8::from(month))
}

/// How long somebody has waited: `12 ms`, `3.1 s`.
#[cfg(any(feature = "tools", test))]
pub(crate) fn waited(time: Duration) -> String {
    if time < Duration::from_secs(1) { format!("{} ms", time.as_millis()) } else { tenths(time) }
}

/// In seconds with one decimal: `3.1 s`, `0.0 s`.
#[cfg(any(feature = "upcall", test))]
pub(crate) fn tenths(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f32())
}

/// A span of time in seconds, shown in its two largest units: `9 h 58 min`, `3 d 4 h`, `45 s`.
#[cfg(any(feature = "upcall", test))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub u64);

#[cfg(any(feature = "upcall", test))]
const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];

#[cfg(any(feature = "upcall", test))]
impl Span {
    /// In the largest unit of which there are two or more: `47 h`, `3 d`, `90 s`.
    #[cfg(any(feature = "gss", test))]
    pub fn rounded(self) -> String {
        let enough = UNITS.iter().find(|(size, _)| self.0 >= 2 * size);
        let (size, unit) = enough.copied().unwrap_or((1, "s"));
        format!("{} {unit}", self.0 / size)
    }
}

#[cfg(any(feature = "upcall", test))]
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let largest = UNITS.iter().position(|(size, _)| self.0 >= *size).unwrap_or(UNITS.len() - 1);
        let mut units = UNITS.iter().skip(largest);
        let Some((size, unit)) = units.next() else { return Ok(()) };
        write!(f, "{} {unit}", self.0 / size)?;
        let rest = self.0 % size;
        match units.next() {
            Some((size, unit)) if rest >= *size => write!(f, " {} {unit}", rest / size),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_agree_with_known_ones() {
        for (epoch, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_000_000_000, "2001-09-09 01:46:40 UTC"),
            (1_709_251_199, "2024-02-29 23:59:59 UTC"),
            (1_735_689_599, "2024-12-31 23:59:59 UTC"),
            (u32::MAX, "2106-02-07 06:28:15 UTC"),
        ] {
            assert_eq!(date(epoch), text);
        }
    }

    #[cfg(feature = "tools")]
    #[test]
    fn a_local_date_is_right_to_a_day_whatever_the_time_zone() {
        // 2026-11-15 12:00:30 UTC; no time zone is off by seconds any more.
        let utc = OffsetDateTime::from_unix_timestamp(1_794_744_030).unwrap();
        let time = local(utc);
        assert_eq!((time, time.year(), u8::from(time.month()), time.second()), (utc, 2026, 11, 30));
        assert!((14..=16).contains(&time.day()), "{time:?}");
    }

    #[test]
    fn spans_have_the_two_units_that_matter() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (432, "7 min 12 s"),
            (3 * 3600 + 300, "3 h 5 min"),
            (35_905, "9 h 58 min"),
            (86_399, "23 h 59 min"),
            (86_460, "1 d"),
            (50 * 3600, "2 d 2 h"),
        ] {
            assert_eq!(Span(seconds).to_string(), text);
        }
    }

    #[test]
    fn a_rounded_span_keeps_two_or_more_of_its_unit() {
        for (seconds, text) in [
            (0, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (7199, "119 min"),
            (7200, "2 h"),
            (172_799, "47 h"),
            (172_800, "2 d"),
        ] {
            assert_eq!(Span(seconds).rounded(), text);
        }
    }

    #[test]
    fn a_wait_is_told_in_milliseconds_below_a_second() {
        assert_eq!(waited(Duration::from_micros(12_900)), "12 ms");
        assert_eq!(waited(Duration::from_millis(3140)), "3.1 s");
    }
}
