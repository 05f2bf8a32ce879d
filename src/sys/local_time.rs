//! The time of day as this machine's clocks show it ([localtime_r(3)](https://man7.org/linux/man-pages/man3/localtime_r.3p.html)).

use std::mem::MaybeUninit;

/// A date and time in the machine's time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LocalTime {
    /// Year of our era.
    pub year: i32,
    /// 1 to 12.
    pub month: i32,
    /// 1 to 31.
    pub day: i32,
    /// 0 to 23.
    pub hour: i32,
    /// 0 to 59.
    pub minute: i32,
    /// 0 to 60.
    pub second: i32,
}

impl LocalTime {
    /// Of these seconds since the epoch; `None` if the C library cannot count so far.
    pub(crate) fn of(epoch: u64) -> Option<Self> {
        let seconds = libc::time_t::try_from(epoch).ok()?;
        let mut broken_down = MaybeUninit::<libc::tm>::zeroed();
        // SAFETY: both pointers are to live locals; the result is the second of them, or null.
        let result = unsafe { libc::localtime_r(&raw const seconds, broken_down.as_mut_ptr()) };
        if result.is_null() {
            return None;
        }
        // SAFETY: it was zeroed, and the C library has filled it.
        let tm = unsafe { broken_down.assume_init() };
        Some(Self {
            year: tm.tm_year.checked_add(1900)?,
            month: tm.tm_mon + 1,
            day: tm.tm_mday,
            hour: tm.tm_hour,
            minute: tm.tm_min,
            second: tm.tm_sec,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::LocalTime;

    #[test]
    fn the_date_is_right_to_a_day_whatever_the_time_zone() {
        // 2026-11-15 12:00:30 UTC; no time zone is off by seconds any more.
        let time = LocalTime::of(1_794_744_030).unwrap();
        assert_eq!((time.year, time.month, time.second), (2026, 11, 30));
        assert!((14..=16).contains(&time.day) && (0..24).contains(&time.hour), "{time:?}");
    }
}
