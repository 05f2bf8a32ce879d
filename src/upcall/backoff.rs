//! The pause of an owner whose requests fail in a row (rule S8): the record of the failures, and what follows from it.
//!
//! Kept in the owner's file by [`super::slots`], and for Lustre by [`super::failures`].

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::class::Private;
use crate::config::Backoff;
use crate::ctx::request::ANEW_PAUSE;
use crate::event::{Failure, one_line};
use crate::negotiate::messages::TRIED_LIMIT;

/// Longest words that are remembered, in bytes.
const WORDS_LIMIT: usize = 500;
/// How many requests within an [`ANEW_PAUSE`] may look for other credentials during a pause; as many as a program makes
/// at once.
const LOOKS: u32 = 8;

/// An owner's failures in a row. Times are counted from the start of the machine, so that its clock may be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FailureRecord {
    /// Their number.
    failures: u32,
    /// Time of the last one.
    last: Duration,
    /// End of the pause.
    until: Duration,
    /// When the pause was last broken by a request that asked anew.
    broken: Duration,
    /// The last one.
    what: LastFailure,
    /// When requests began to look for other credentials, and how many have looked since.
    looks: (Duration, u32),
}

/// The last failure, as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LastFailure {
    /// The name of its errno.
    errno: String,
    /// The requester's uid; several uids can have one owner.
    uid: u32,
    /// Stage and detail; empty if the requester may not know them (rule S15).
    words: String,
    /// Numbers of the user's credentials that failed in this row; `None` if the last failure was not about credentials.
    tried: Private<Option<Vec<u64>>>,
}

impl LastFailure {
    /// Its errno alone.
    pub(super) fn named(failure: &Failure) -> Self {
        Self {
            errno: format!("{:?}", failure.cause.errno()),
            uid: 0,
            words: String::new(),
            tried: Private::default(),
        }
    }

    /// A failure of a request by that user.
    pub(super) fn of(failure: &Failure, uid: u32) -> Self {
        let told = failure.cause.is_the_requesters_own();
        let mut words = if told { one_line(&failure.to_string()) } else { String::new() };
        let end = (0..=WORDS_LIMIT.min(words.len())).rev().find(|&at| words.is_char_boundary(at));
        words.truncate(end.unwrap_or_default());
        Self { errno: format!("{:?}", failure.cause.errno()), uid, words, tried: Private::default() }
    }

    /// The same, with the credentials that failed.
    pub(super) fn with(self, tried: Option<Vec<u64>>) -> Self {
        Self { tried: Private::new(tried), ..self }
    }

    /// The same, with the same user's credentials that failed before.
    fn after(mut self, before: &Self) -> Self {
        if let (Some(tried), Some(earlier)) = (self.tried.expose(), before.tried.expose())
            && self.uid == before.uid
        {
            let more = earlier.iter().filter(|number| !tried.contains(number));
            let all = tried.iter().chain(more).copied().take(TRIED_LIMIT).collect();
            self.tried = Private::new(Some(all));
        }
        self
    }
}

impl FailureRecord {
    /// The record after one more failure.
    pub(super) fn after_failure(
        before: Option<Self>,
        now: Duration,
        what: LastFailure,
        backoff: &Backoff,
    ) -> Self {
        // A row ends by itself after a while. A negotiation that began before a pause does not lengthen it.
        let before = before.filter(|before| !before.is_over(now, backoff));
        let what = before.as_ref().map_or(what.clone(), |before| what.after(&before.what));
        let looks = before.as_ref().map_or((Duration::ZERO, 0), |before| before.looks);
        let broken = before.as_ref().map_or(Duration::ZERO, |before| before.broken);
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
        let until = now.saturating_add(pause);
        Self { failures, last: now, until, broken, what, looks }
    }

    /// Whether the row has ended by itself.
    pub(super) fn is_over(&self, now: Duration, backoff: &Backoff) -> bool {
        now > self.last.saturating_add(backoff.longest.0 * 2)
    }

    /// The rest of the pause, if there is one.
    pub(super) fn pause_left(&self, now: Duration) -> Option<Duration> {
        self.until.checked_sub(now).filter(|left| !left.is_zero())
    }

    /// Whether it is too early, after the last failure, for anyone to break or end the pause.
    pub(super) fn forbids_anew(&self, now: Duration) -> bool {
        now < self.last.saturating_add(ANEW_PAUSE)
    }

    /// The record with its pause broken by a request that asks anew; `None` within [`ANEW_PAUSE`] of the last failure
    /// or the last break.
    pub(super) fn break_pause(&self, now: Duration) -> Option<Self> {
        let recently = !self.broken.is_zero() && now < self.broken.saturating_add(ANEW_PAUSE);
        (!recently && !self.forbids_anew(now)).then(|| Self { broken: now, ..self.clone() })
    }

    /// The credentials that a request of this user's need not try, and the record with one more look; `None` if the
    /// request may not look.
    pub(super) fn look(&self, uid: u32, now: Duration) -> Option<(Vec<u64>, Self)> {
        let tried = self.what.tried.expose().clone().filter(|_| self.what.uid == uid)?;
        let (since, count) = self.looks;
        let looks = match now.checked_sub(since) {
            Some(passed) if passed < ANEW_PAUSE && count >= LOOKS => return None,
            Some(passed) if passed < ANEW_PAUSE => (since, count + 1),
            _ => (now, 1),
        };
        Some((tried, Self { looks, ..self.clone() }))
    }

    /// The record without its pause; the next failure makes a longer one.
    pub(super) fn without_pause(self, now: Duration) -> Self {
        Self { last: now, until: now, ..self }
    }

    /// The record in words, for the log and for this user.
    pub(super) fn in_words(&self, reader: u32) -> String {
        let LastFailure { errno, uid, words, .. } = &self.what;
        let told =
            if *uid == reader && !words.is_empty() { format!("{errno}: {words}") } else { errno.clone() };
        format!("{} requests failed in a row, the last: {told}", self.failures)
    }
}

/// `failures last until broken errno uid looks-since looks tried words`: times in milliseconds, `tried` in hexadecimal.
impl fmt::Display for FailureRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { failures, last, until, broken, what, looks: (since, looks) } = self;
        let LastFailure { errno, uid, words, tried } = what;
        let [last, until, broken, since] = [last, until, broken, since].map(Duration::as_millis);
        write!(f, "{failures} {last} {until} {broken} {errno} {uid} {since} {looks} ")?;
        match tried.expose() {
            None => f.write_str("-")?,
            Some(tried) => {
                f.write_str(".")?;
                tried.iter().try_for_each(|number| write!(f, "{number:x}."))?;
            }
        }
        write!(f, " {words}")
    }
}

/// Reads the field `tried`.
fn numbers(text: &str) -> Result<Option<Vec<u64>>, NotARecord> {
    if text == "-" {
        return Ok(None);
    }
    let listed = text.strip_prefix('.').ok_or(NotARecord)?.split_terminator('.');
    listed
        .map(|number| u64::from_str_radix(number, 16).map_err(|_| NotARecord))
        .collect::<Result<_, _>>()
        .map(Some)
}

/// Text that is no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotARecord;

impl FromStr for FailureRecord {
    type Err = NotARecord;

    fn from_str(text: &str) -> Result<Self, NotARecord> {
        let mut parts = text.splitn(10, ' ');
        let mut part = || parts.next().ok_or(NotARecord);
        let number = |part: &str| part.parse::<u64>().map_err(|_| NotARecord);
        let time = |part: &str| number(part).map(Duration::from_millis);
        let failures = part()?.parse().map_err(|_| NotARecord)?;
        let (last, until, broken) = (time(part()?)?, time(part()?)?, time(part()?)?);
        let errno = part()?.to_owned();
        let uid = part()?.parse().map_err(|_| NotARecord)?;
        let looks = (time(part()?)?, part()?.parse().map_err(|_| NotARecord)?);
        let tried = numbers(part()?)?;
        let what = LastFailure { errno, uid, words: part()?.to_owned(), tried: Private::new(tried) };
        Ok(Self { failures, last, until, broken, what, looks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Cause, Stage};

    fn backoff() -> Backoff {
        Backoff { after: 2, first: "1s".parse().unwrap(), longest: "5s".parse().unwrap() }
    }

    fn no_ticket() -> LastFailure {
        LastFailure::of(&Failure::new(Stage::Credentials, Cause::NoTicket, "FILE:/tmp/x: no ticket"), 7)
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Pauses after so many failures in a row, each as soon as the pause before it has ended.
    fn pauses(count: usize) -> Vec<u64> {
        let (mut record, mut now) = (None, seconds(100));
        let mut pauses = Vec::new();
        for _ in 0..count {
            let next = FailureRecord::after_failure(record.take(), now, no_ticket(), &backoff());
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
        let fail = |before, now| FailureRecord::after_failure(before, seconds(now), no_ticket(), &backoff());
        let third = fail(Some(fail(Some(fail(None, 10)), 10)), 10);
        assert_eq!(third.pause_left(seconds(10)), Some(seconds(1)));
        let during = fail(Some(third.clone()), 10);
        assert_eq!((during.failures, during.until), (3, third.until));
        assert_eq!(fail(Some(third.clone()), 20).failures, 4);
        assert_eq!(fail(Some(third), 21).failures, 1);
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_garbage_is_none() {
        let record = FailureRecord::after_failure(None, seconds(7), no_ticket(), &backoff());
        assert_eq!(record.to_string().parse(), Ok(record));
        for garbage in [
            "",
            "1",
            "1 2 3",
            "1 2 3 E",
            "-1 2 3 0 E 7 0 0 - w",
            "x y z 0 E 7 0 0 - w",
            "1 2 3 0 E 7 w",
            "1 2 3 0 E x 0 0 - w",
            "1 2 3 0 E 7 0 0 x w",
            "1 2 3 E 7 0 0 - w",
        ] {
            assert_eq!(garbage.parse::<FailureRecord>(), Err(NotARecord), "{garbage}");
        }
    }

    #[test]
    fn a_pause_says_what_went_wrong_last_to_whom_it_went_wrong() {
        let record = FailureRecord::after_failure(None, seconds(7), no_ticket(), &backoff());
        let told = "1 requests failed in a row, the last: ENOKEY: credentials: FILE:/tmp/x: no ticket";
        assert_eq!(
            (record.in_words(7), record.in_words(8).ends_with("the last: ENOKEY")),
            (told.to_owned(), true)
        );
        let setup = LastFailure::of(&Failure::new(Stage::Launch, Cause::Setup, "of the host"), 7);
        let record = FailureRecord::after_failure(Some(record), seconds(8), setup, &backoff());
        assert_eq!(record.in_words(7), "2 requests failed in a row, the last: EIO");
        assert_eq!(record.to_string().parse(), Ok(record));
    }

    fn with(numbers: &[u64]) -> LastFailure {
        no_ticket().with(Some(numbers.to_vec()))
    }

    #[test]
    fn who_has_other_credentials_than_those_that_failed_is_told_which_these_are() {
        let record = FailureRecord::after_failure(None, seconds(7), with(&[1, 0xff]), &backoff());
        assert_eq!(record.to_string().parse(), Ok(record.clone()));
        // Not for another user, and not where credentials were not the matter.
        assert!(record.look(7, seconds(7)).is_some());
        assert_eq!(record.look(8, seconds(8)), None);
        let (tried, looked) = record.look(7, seconds(8)).unwrap();
        assert_eq!((tried, looked.to_string().parse()), (vec![1, 0xff], Ok(looked.clone())));
        let other = FailureRecord::after_failure(Some(looked), seconds(9), no_ticket(), &backoff());
        assert_eq!(other.look(7, seconds(12)), None);
        let none = FailureRecord::after_failure(None, seconds(7), with(&[]), &backoff());
        assert_eq!(none.to_string().parse(), Ok(none));
    }

    #[test]
    fn a_pause_is_broken_once_a_second_and_not_within_one_of_a_failure() {
        let record = FailureRecord::after_failure(None, seconds(7), no_ticket(), &backoff());
        assert_eq!(record.break_pause(Duration::from_millis(7999)), None);
        let broken = record.break_pause(seconds(8)).unwrap();
        assert_eq!(broken.to_string().parse::<FailureRecord>().unwrap(), broken);
        assert_eq!(broken.break_pause(Duration::from_millis(8999)), None);
        assert!(broken.break_pause(seconds(9)).is_some());
        let next =
            FailureRecord::after_failure(Some(broken), Duration::from_millis(8500), no_ticket(), &backoff());
        assert_eq!(next.break_pause(Duration::from_millis(9499)), None);
    }

    #[test]
    fn looks_are_counted_and_what_failed_earlier_in_the_row_is_remembered() {
        let mut record = FailureRecord::after_failure(None, seconds(7), with(&[1]), &backoff());
        for _ in 0..LOOKS {
            record = record.look(7, seconds(9)).unwrap().1;
        }
        assert_eq!(record.look(7, Duration::from_millis(9900)), None);
        assert!(record.look(7, seconds(10)).is_some());
        let next = FailureRecord::after_failure(Some(record), seconds(10), with(&[2]), &backoff());
        assert_eq!(next.look(7, seconds(11)).unwrap().0, [2, 1]);
        let many: Vec<u64> = (100..200).take(TRIED_LIMIT).collect();
        let full = FailureRecord::after_failure(Some(next), seconds(10), with(&many), &backoff());
        assert_eq!(full.look(7, seconds(11)).unwrap().0, many);
    }

    #[test]
    fn a_pause_that_is_ended_leaves_the_row() {
        let fail = |before, now| FailureRecord::after_failure(before, seconds(now), no_ticket(), &backoff());
        let paused = fail(Some(fail(Some(fail(None, 10)), 10)), 10);
        let ended = paused.without_pause(seconds(11));
        assert_eq!((ended.pause_left(seconds(11)), ended.forbids_anew(seconds(11))), (None, true));
        assert_eq!(fail(Some(ended), 11).pause_left(seconds(11)), Some(seconds(2)));
    }

    #[test]
    fn who_asks_anew_breaks_a_pause_once_a_second_at_most() {
        let record = FailureRecord::after_failure(None, seconds(7), no_ticket(), &backoff());
        assert!(record.forbids_anew(seconds(7)) && record.forbids_anew(Duration::from_millis(7999)));
        assert!(!record.forbids_anew(seconds(8)));
    }
}
