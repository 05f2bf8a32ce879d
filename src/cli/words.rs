//! Numbers in the words of people: spans of time, dates, keys.

use std::time::Duration;

use crate::key::KeySerial;

/// A key as keyctl(1) and as the log print it.
pub(super) fn key(serial: KeySerial) -> String {
    format!("{} ({serial})", serial.raw())
}

/// Two units at most: `9 h 58 min`, `3 d 4 h`, `45 s`.
pub(super) fn span(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let mut rest = seconds;
    let mut parts = Vec::with_capacity(4);
    for (size, unit) in UNITS {
        let count = rest / size;
        rest %= size;
        if count > 0 || !parts.is_empty() {
            parts.push((count, unit));
        }
    }
    let shown: Vec<String> = parts
        .iter()
        .take(2)
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count} {unit}"))
        .collect();
    if shown.is_empty() { "0 s".to_owned() } else { shown.join(" ") }
}

/// What has passed while somebody waited: `12 ms`, `3.1 s`.
pub(super) fn waited(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.1} s", time.as_secs_f32())
    }
}

/// `2026-11-21 21:15:58 UTC` of seconds since the epoch.
pub(super) fn date(epoch: u32) -> String {
    let (days, second) = (epoch / 86_400, epoch % 86_400);
    let (year, month, day) = civil(days);
    format!("{year}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC", second / 3600, second / 60 % 60, second % 60)
}

/// Year, month and day of a number of days since 1970-01-01, in years that start in March so that the odd day is last.
fn civil(days: u32) -> (u32, u32, u32) {
    const DAYS_IN_400_YEARS: u32 = 146_097;
    let since_march_of_year_0 = days + 719_468;
    let (era, day) = (since_march_of_year_0 / DAYS_IN_400_YEARS, since_march_of_year_0 % DAYS_IN_400_YEARS);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year + u32::from(month <= 2), month, day_of_month)
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

    #[test]
    fn spans_have_the_two_units_that_matter() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (35_905, "9 h 58 min"),
            (86_399, "23 h 59 min"),
            (86_460, "1 d"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }
}
