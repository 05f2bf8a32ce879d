//! The pause of an owner whose requests fail one after another (rule S8): a record of the failures, and what follows.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::config::Backoff;

/// An owner's failures in a row. Times are since the machine was started, whatever happens to its clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// How many.
    failures: u32,
    /// When the last one was.
    last: Duration,
    /// Until when requests are turned away.
    until: Duration,
    /// What the last one was: the name of its errno.
    errno: String,
}

impl Record {
    /// With one more failure.
    pub(super) fn after_failure(
        before: Option<Self>,
        now: Duration,
        errno: String,
        backoff: &Backoff,
    ) -> Self {
        // A row ends by itself after a while, and what was begun before a pause does not lengthen it.
        let before = before.filter(|before| !before.is_over(now, backoff));
        if let Some(before) = before.as_ref().filter(|before| now < before.until) {
            return Self { last: now, errno, ..before.clone() };
        }
        let failures = before.map_or(0, |before| before.failures).saturating_add(1);
        let pause = match failures.checked_sub(u32::from(backoff.after)) {
            None | Some(0) => Duration::ZERO,
            Some(over) => {
                let doubled =
                    2u32.checked_pow(over - 1).and_then(|factor| backoff.first.0.checked_mul(factor));
                doubled.unwrap_or(Duration::MAX).min(backoff.longest.0)
            }
        };
        Self { failures, last: now, until: now.saturating_add(pause), errno }
    }

    /// Whether the row has ended by itself.
    pub(super) fn is_over(&self, now: Duration, backoff: &Backoff) -> bool {
        now > self.last.saturating_add(backoff.longest.0 * 2)
    }

    /// What is left of the pause, if one is going on.
    pub(super) fn pause_left(&self, now: Duration) -> Option<Duration> {
        self.until.checked_sub(now).filter(|left| !left.is_zero())
    }

    /// In words, for the log.
    pub(super) fn in_words(&self) -> String {
        format!("{} requests in a row have failed, the last with {}", self.failures, self.errno)
    }
}

/// `failures last until errno`, times in milliseconds.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { failures, last, until, errno } = self;
        write!(f, "{failures} {} {} {errno}", last.as_millis(), until.as_millis())
    }
}

/// Text that is no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotARecord;

impl FromStr for Record {
    type Err = NotARecord;

    fn from_str(text: &str) -> Result<Self, NotARecord> {
        let mut words = text.split_ascii_whitespace();
        let mut word = || words.next().ok_or(NotARecord);
        let number = |word: &str| word.parse::<u64>().map_err(|_| NotARecord);
        let failures = word()?.parse().map_err(|_| NotARecord)?;
        let (last, until) = (number(word()?)?, number(word()?)?);
        let errno = word()?.to_owned();
        Ok(Self { failures, last: Duration::from_millis(last), until: Duration::from_millis(until), errno })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff() -> Backoff {
        Backoff { after: 2, first: "1s".parse().unwrap(), longest: "5s".parse().unwrap() }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Pauses after so many failures in a row, each as soon as the pause before it has ended.
    fn pauses(count: usize) -> Vec<u64> {
        let (mut record, mut now) = (None, seconds(100));
        let mut pauses = Vec::new();
        for _ in 0..count {
            let next = Record::after_failure(record.take(), now, "ENOKEY".to_owned(), &backoff());
            let pause = next.pause_left(now).unwrap_or_default();
            pauses.push(pause.as_secs());
            now += pause;
            record = Some(next);
        }
        pauses
    }

    #[test]
    fn pauses_double_up_to_the_longest_once_the_free_failures_are_used_up() {
        assert_eq!(pauses(7), [0, 0, 1, 2, 4, 5, 5]);
        assert_eq!(pauses(100).last(), Some(&5));
    }

    #[test]
    fn failures_during_a_pause_do_not_lengthen_it_and_a_quiet_time_ends_the_row() {
        let fail = |before, now| Record::after_failure(before, seconds(now), "EIO".to_owned(), &backoff());
        let third = fail(Some(fail(Some(fail(None, 10)), 10)), 10);
        assert_eq!(third.pause_left(seconds(10)), Some(seconds(1)));
        let during = fail(Some(third.clone()), 10);
        assert_eq!((during.failures, during.until), (3, third.until));
        assert_eq!(fail(Some(third.clone()), 20).failures, 4);
        assert_eq!(fail(Some(third), 21).failures, 1);
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_garbage_is_none() {
        let record = Record::after_failure(None, seconds(7), "ENOKEY".to_owned(), &backoff());
        assert_eq!(record.to_string().parse(), Ok(record));
        for garbage in ["", "1", "1 2 3", "-1 2 3 E", "x y z E"] {
            assert_eq!(garbage.parse::<Record>(), Err(NotARecord), "{garbage}");
        }
    }
}
