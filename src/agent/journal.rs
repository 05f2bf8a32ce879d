//! Lines in the system log.
//!
//! Used by all of the agent. Invariant: no line waits for the log, has a secret in it, or is one of too many of its kind.

use std::fmt::Display;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::config::LogLevel;
use crate::system_log::{LogSeverity, SystemLog};

/// Most lines of one topic in a window of time.
const LINES: u32 = 10;
/// That window.
const WINDOW: Duration = Duration::from_secs(60);

/// What lines are about. Each has an allowance of its own, so that no flood hides other lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Topic {
    /// The process: its start, its end, what it cannot do.
    Process,
    /// Limits that are met.
    Limit,
    /// Connections that are closed.
    Peer,
    /// Requests that make no sense.
    Malformed,
    /// Caches that have expired.
    Expiry,
    /// What could not be stored.
    Storage,
    /// Tickets that are renewed, or not.
    Renewal,
}

const TOPICS: usize = 7;

#[derive(Debug, Clone, Copy, Default)]
struct Allowance {
    began: Option<Instant>,
    written: u32,
    left_out: u32,
}

impl Allowance {
    /// Whether a line may be written; if so, with the number of those that were left out before.
    fn admits(&mut self, now: Instant) -> Option<u32> {
        if self.began.is_none_or(|began| now.duration_since(began) >= WINDOW) {
            let left_out = self.left_out;
            *self = Self { began: Some(now), written: 1, left_out: 0 };
            return Some(left_out);
        }
        if self.written < LINES {
            self.written += 1;
            return Some(0);
        }
        self.left_out = self.left_out.saturating_add(1);
        None
    }
}

/// The way to the system log.
#[derive(Debug)]
pub(super) struct AgentJournal {
    log: SystemLog,
    level: LogLevel,
    uid: u32,
    allowances: [Allowance; TOPICS],
}

impl AgentJournal {
    /// For lines about this user's caches. Without a log all works the same.
    pub(super) fn new(path: PathBuf, level: LogLevel, uid: u32) -> Self {
        Self {
            log: SystemLog::open("lgss_agent", path),
            level,
            uid,
            allowances: [Allowance::default(); TOPICS],
        }
    }

    /// Writes a line.
    pub(super) fn say(&mut self, level: LogLevel, topic: Topic, what: impl Display) {
        if !self.is_logged(level) {
            return;
        }
        let Some(allowance) = self.allowances.get_mut(topic as usize) else { return };
        match allowance.admits(Instant::now()) {
            None => {}
            Some(0) => self.write(level, &what.to_string()),
            Some(left_out) => {
                self.write(level, &format!("{left_out} lines like the next one were left out"));
                self.write(level, &what.to_string());
            }
        }
    }

    fn is_logged(&self, level: LogLevel) -> bool {
        severity(level) <= severity(self.level)
    }

    fn write(&self, level: LogLevel, what: &str) {
        self.log.write(severity(level), &format!("uid {}: {what}", self.uid));
    }
}

fn severity(level: LogLevel) -> LogSeverity {
    match level {
        LogLevel::Error => LogSeverity::Error,
        LogLevel::Warn => LogSeverity::Warning,
        LogLevel::Info => LogSeverity::Info,
        LogLevel::Debug => LogSeverity::Debug,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_topic_is_counted_and_told_in_the_next_window() {
        let mut allowance = Allowance::default();
        let start = Instant::now();
        let admitted = (0..LINES + 5).filter(|_| allowance.admits(start).is_some()).count();
        assert_eq!(admitted, 10);
        assert_eq!(allowance.admits(start + WINDOW), Some(5));
        assert_eq!(allowance.admits(start + WINDOW), Some(0));
    }
}
