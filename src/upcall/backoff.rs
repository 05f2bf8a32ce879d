//! The pause of an owner whose requests fail one after another (rule S8): a record of the failures, and what follows.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::config::Backoff;
use crate::event::{Failure, one_line};

/// Longest words that are remembered, in bytes.
const WORDS_LIMIT: usize = 500;
/// How soon after a failure a pause may be broken by who asks anew.
const ANEW_PAUSE: Duration = Duration::from_secs(1);

/// An owner's failures in a row. Times are since the machine was started, whatever happens to its clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// How many.
    failures: u32,
    /// When the last one was.
    last: Duration,
    /// Until when requests are turned away.
    until: Duration,
    /// What the last one was.
    what: What,
}

/// A failure, as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct What {
    /// The name of its errno.
    errno: String,
    /// Whose it was: several uids can be one owner.
    uid: u32,
    /// Stage and detail; empty if they are not for the requester (rule S15).
    words: String,
}

impl What {
    /// Without words.
    pub(super) fn named(failure: &Failure) -> Self {
        Self { errno: format!("{:?}", failure.cause.errno()), uid: 0, words: String::new() }
    }

    /// Of that user's request.
    pub(super) fn of(failure: &Failure, uid: u32) -> Self {
        let told = failure.cause.is_the_requesters_own();
        let mut words = if told { one_line(&failure.to_string()) } else { String::new() };
        let end = (0..=WORDS_LIMIT.min(words.len())).rev().find(|&at| words.is_char_boundary(at));
        words.truncate(end.unwrap_or_default());
        Self { errno: format!("{:?}", failure.cause.errno()), uid, words }
    }
}

impl Record {
    /// With one more failure.
    pub(super) fn after_failure(before: Option<Self>, now: Duration, what: What, backoff: &Backoff) -> Self {
        // A row ends by itself after a while, and what was begun before a pause does not lengthen it.
        let before = before.filter(|before| !before.is_over(now, backoff));
        if let Some(before) = before.as_ref().filter(|before| now < before.until) {
            return Self { last: now, what, ..before.clone() };
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
        Self { failures, last: now, until: now.saturating_add(pause), what }
    }

    /// Whether the row has ended by itself.
    pub(super) fn is_over(&self, now: Duration, backoff: &Backoff) -> bool {
        now > self.last.saturating_add(backoff.longest.0 * 2)
    }

    /// What is left of the pause, if one is going on.
    pub(super) fn pause_left(&self, now: Duration) -> Option<Duration> {
        self.until.checked_sub(now).filter(|left| !left.is_zero())
    }

    /// Whether a person who asks anew has to wait all the same: so often a pause may be broken.
    pub(super) fn forbids_anew(&self, now: Duration) -> bool {
        now < self.last.saturating_add(ANEW_PAUSE)
    }

    /// In words, for the log and for this user.
    pub(super) fn in_words(&self, reader: u32) -> String {
        let What { errno, uid, words } = &self.what;
        let told =
            if *uid == reader && !words.is_empty() { format!("{errno}: {words}") } else { errno.clone() };
        format!("{} requests failed in a row, the last: {told}", self.failures)
    }
}

/// `failures last until errno uid words`, times in milliseconds.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { failures, last, until, what: What { errno, uid, words } } = self;
        write!(f, "{failures} {} {} {errno} {uid} {words}", last.as_millis(), until.as_millis())
    }
}

/// Text that is no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotARecord;

impl FromStr for Record {
    type Err = NotARecord;

    fn from_str(text: &str) -> Result<Self, NotARecord> {
        let mut parts = text.splitn(6, ' ');
        let mut part = || parts.next().ok_or(NotARecord);
        let number = |part: &str| part.parse::<u64>().map_err(|_| NotARecord);
        let failures = part()?.parse().map_err(|_| NotARecord)?;
        let (last, until) = (number(part()?)?, number(part()?)?);
        let errno = part()?.to_owned();
        let uid = part()?.parse().map_err(|_| NotARecord)?;
        let what = What { errno, uid, words: part()?.to_owned() };
        Ok(Self { failures, last: Duration::from_millis(last), until: Duration::from_millis(until), what })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Cause, Stage};

    fn backoff() -> Backoff {
        Backoff { after: 2, first: "1s".parse().unwrap(), longest: "5s".parse().unwrap() }
    }

    fn no_ticket() -> What {
        What::of(&Failure::new(Stage::Credentials, Cause::NoTicket, "FILE:/tmp/x: no ticket"), 7)
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Pauses after so many failures in a row, each as soon as the pause before it has ended.
    fn pauses(count: usize) -> Vec<u64> {
        let (mut record, mut now) = (None, seconds(100));
        let mut pauses = Vec::new();
        for _ in 0..count {
            let next = Record::after_failure(record.take(), now, no_ticket(), &backoff());
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
        let fail = |before, now| Record::after_failure(before, seconds(now), no_ticket(), &backoff());
        let third = fail(Some(fail(Some(fail(None, 10)), 10)), 10);
        assert_eq!(third.pause_left(seconds(10)), Some(seconds(1)));
        let during = fail(Some(third.clone()), 10);
        assert_eq!((during.failures, during.until), (3, third.until));
        assert_eq!(fail(Some(third.clone()), 20).failures, 4);
        assert_eq!(fail(Some(third), 21).failures, 1);
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_garbage_is_none() {
        let record = Record::after_failure(None, seconds(7), no_ticket(), &backoff());
        assert_eq!(record.to_string().parse(), Ok(record));
        for garbage in ["", "1", "1 2 3", "1 2 3 E", "1 2 3 E x w", "-1 2 3 E 7 w", "x y z E 7 w"] {
            assert_eq!(garbage.parse::<Record>(), Err(NotARecord), "{garbage}");
        }
    }

    #[test]
    fn a_pause_says_what_went_wrong_last_to_whom_it_went_wrong() {
        let record = Record::after_failure(None, seconds(7), no_ticket(), &backoff());
        let told = "1 requests failed in a row, the last: ENOKEY: credentials: FILE:/tmp/x: no ticket";
        assert_eq!(
            (record.in_words(7), record.in_words(8).ends_with("the last: ENOKEY")),
            (told.to_owned(), true)
        );
        let setup = What::of(&Failure::new(Stage::Launch, Cause::Setup, "of the host"), 7);
        let record = Record::after_failure(Some(record), seconds(8), setup, &backoff());
        assert_eq!(record.in_words(7), "2 requests failed in a row, the last: EIO");
        assert_eq!(record.to_string().parse(), Ok(record));
    }

    #[test]
    fn who_asks_anew_breaks_a_pause_once_a_second_at_most() {
        let record = Record::after_failure(None, seconds(7), no_ticket(), &backoff());
        assert!(record.forbids_anew(seconds(7)) && record.forbids_anew(Duration::from_millis(7999)));
        assert!(!record.forbids_anew(seconds(8)));
    }
}
