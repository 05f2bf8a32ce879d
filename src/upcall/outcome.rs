//! How an upcall ended, and the one line about it in the system log, written after the requester has been released.
//!
//! Sending never blocks; without a log the upcall works the same. Nothing secret is in any line (rules S10, S15).

use std::fmt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use syslog::{BasicLogger, Facility, Formatter3164, Logger, LoggerBackend};

use super::claim::{Invocation, RULE_WORDS, Unusable};
use crate::config::{DEFAULT_PATH, Level, Log};
use crate::crypto::enctype::Enctype;
use crate::ctx::Lifetime;
use crate::ctx::lustre::LustreCallout;
use crate::ctx::request::Description;
use crate::event::{Cause, Failure, one_line};
use crate::key::{Consumer, KeySerial};
use crate::negotiate::messages::{Considered, Timing};

/// How an upcall ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The key holds a context.
    Established {
        /// Who, from which cache.
        credential: String,
        /// Who has answered.
        server: String,
        /// The server's window.
        window: crate::ctx::SeqWindow,
        /// The base key's type.
        enctype: Enctype,
        /// Until the key expires.
        lifetime: Lifetime,
        /// From the start of the upcall.
        total: Duration,
    },
    /// The key holds an error, or was rejected.
    Failed(Failure),
}

/// Which upcall a line is about.
#[derive(Debug)]
pub(super) struct Subject {
    key: KeySerial,
    uid: u32,
    target: String,
    /// The file that the settings are from.
    settings: PathBuf,
}

impl Subject {
    /// By its words; what does not parse is shown cut and without control characters.
    pub(super) fn of(invocation: &Invocation) -> Self {
        let description = String::from_utf8_lossy(&invocation.description);
        let callout = String::from_utf8_lossy(&invocation.callout);
        let parsed = match invocation.consumer() {
            Consumer::Program => {
                description.parse::<Description>().ok().map(|parsed| format!("krb5 {}", parsed.service))
            }
            Consumer::Kernel => callout.parse::<LustreCallout>().ok().map(|parsed| parsed.to_string()),
        };
        let target = parsed.unwrap_or_else(|| format!("({})", one_line(&description)));
        let settings = invocation.config.clone().unwrap_or_else(|| DEFAULT_PATH.into());
        Self { key: invocation.key, uid: invocation.uid, target, settings }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {} uid {} {}", self.key, self.uid, self.target)
    }
}

/// The way to the system log.
pub(super) struct Journal;

impl Journal {
    /// Connects, for lines of this level and above; every failure to do so is ignored.
    pub(super) fn open(settings: &Log, level: Level) -> Self {
        let connected = UnixDatagram::unbound().and_then(|socket| {
            socket.set_nonblocking(true)?;
            socket.connect(&settings.socket)?;
            Ok(socket)
        });
        if let Ok(socket) = connected {
            let formatter = Formatter3164 {
                facility: Facility::LOG_AUTHPRIV,
                hostname: None,
                process: "lgss_keyring".into(),
                pid: std::process::id(),
            };
            let logger = BasicLogger::new(Logger::new(LoggerBackend::Unix(socket), formatter));
            if log::set_boxed_logger(Box::new(logger)).is_ok() {
                log::set_max_level(filter(level));
            }
        }
        Self
    }

    /// The line of one upcall.
    pub(super) fn upcall(&self, subject: &Subject, outcome: &Outcome, stages: &[Timing]) {
        let stages = Stages(stages);
        match outcome {
            Outcome::Established { credential, server, window, enctype, lifetime, total } => log::info!(
                "{subject}: established in {} ms as {credential} with {server}, window {}, {enctype}, for {} s{stages}",
                total.as_millis(),
                window.count(),
                lifetime.as_secs(),
            ),
            Outcome::Failed(failure) => {
                let errno = failure.cause.errno();
                let remedy = failure.cause.remedy_by(&subject.settings);
                let level = match failure.cause {
                    Cause::Setup | Cause::WorkerFault => log::Level::Error,
                    _ => log::Level::Warn,
                };
                log::log!(level, "{subject}: {failure}: {errno:?}; {remedy}{stages}");
            }
        }
    }

    /// The line that says which credentials there were to choose from, if there was a choice. The failure that there are none
    /// has one reason in it already.
    pub(super) fn considered(&self, subject: &Subject, considered: &Considered) {
        let told = usize::from(considered.chosen.is_none());
        if considered.others.len() > told {
            log::info!("{subject}: {considered}");
        }
    }

    /// The line of a worker that does not end although it was killed.
    pub(super) fn stuck(&self, subject: &Subject, worker: nix::unistd::Pid) {
        log::warn!(
            "{subject}: launch: process {worker} does not end, as one that a file system holds up; until it does, it \
             counts as a negotiation; see to the file system"
        );
    }

    /// The line of words that were no upcall.
    pub(super) fn unusable(&self, unusable: &Unusable, key: KeySerial) {
        log::error!(
            "key {key}: config: the request-key rule is wrong: {}: {:?}; let the rule end in {RULE_WORDS}; lgss config check \
             (as root) finds it",
            one_line(&unusable.offence),
            Cause::Setup.errno(),
        );
    }
}

fn filter(level: Level) -> log::LevelFilter {
    match level {
        Level::Error => log::LevelFilter::Error,
        Level::Warn => log::LevelFilter::Warn,
        Level::Info => log::LevelFilter::Info,
        Level::Debug => log::LevelFilter::Debug,
    }
}

/// ` [authorise 0.3, kdc 4.1]`, in milliseconds.
struct Stages<'a>(&'a [Timing]);

impl fmt::Display for Stages<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Timing { stage, micros }) in self.0.iter().enumerate() {
            let separator = if index == 0 { " [" } else { ", " };
            write!(f, "{separator}{stage} {}.{:02}", micros / 1000, micros % 1000 / 10)?;
        }
        if self.0.is_empty() { Ok(()) } else { f.write_str("] ms") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Stage;

    #[test]
    fn stages_are_shown_in_milliseconds() {
        let timings =
            [Timing { stage: Stage::Kdc, micros: 4150 }, Timing { stage: Stage::Connect, micros: 90 }];
        assert_eq!(Stages(&timings).to_string(), " [kdc 4.15, connect 0.09] ms");
        assert_eq!(Stages(&[]).to_string(), "");
    }
}
