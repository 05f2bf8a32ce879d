//! How an upcall ended, and the line about it in the system log, written after the requester has been released; a second
//! one tells of credentials that were not chosen, if there are such.
//!
//! Lines are bounded, in length and, by who causes them, in number (rule S22). A log that does not read them is not
//! waited for; without one the upcall works the same. Nothing secret is in any line (rules S10, S15).

use std::borrow::Cow;
use std::fmt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use log::{Log, Metadata, Record};
use syslog::{BasicLogger, Facility, Formatter3164, Logger, LoggerBackend};

use super::invocation::{Invocation, RULE_WORDS, Unusable};
use super::log_budget::{Budget, Payer, Untold};
use super::order::{Garbled, Order};
use crate::config::{Config, DEFAULT_PATH, Level};
use crate::crypto::enctype::Enctype;
use crate::ctx::Lifetime;
use crate::ctx::request::NO_PAUSE;
use crate::event::{Cause, Failure, one_line};
use crate::key::KeySerial;
use crate::negotiate::messages::{Considered, Timing};
use crate::text::{cut, escaped, quoted};

/// Longest line in bytes; with what stands before each line in the log it stays below 1 KiB.
const LOG_LINE_LIMIT: usize = 960;
/// How long one line of a process waits for room at the log, which on a busy machine reads them in bursts. Nobody waits
/// for it.
const LOG_PATIENCE: Duration = Duration::from_millis(250);
/// How much is shown of a description that is not understood.
const SHOWN_TARGET_LIMIT: usize = 120;

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
    /// By its words, if the front has read them; what cannot be read is shown quoted and cut.
    pub(super) fn of(invocation: &Invocation, order: Option<&Result<Order, Garbled>>) -> Self {
        let target = match order {
            Some(Ok(order)) => Some(order.target()),
            Some(Err(garbled)) => garbled.target.clone(),
            None => None,
        };
        let description = String::from_utf8_lossy(&invocation.description);
        let target =
            target.unwrap_or_else(|| format!("({})", cut(&quoted(&description), SHOWN_TARGET_LIMIT)));
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
pub(super) struct Journal {
    budget: Option<Arc<Mutex<Budget>>>,
}

/// Every line passes here, so that strangers' words in it are made fit for the log.
struct BoundedLog {
    log: BasicLogger,
    /// The logger's socket.
    socket: UnixDatagram,
    budget: Option<Arc<Mutex<Budget>>>,
}

impl Log for BoundedLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.log.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        let budget = self.budget.as_ref().and_then(|budget| budget.lock().ok());
        let (admitted, notice) = budget.map_or((true, None), |budget| budget.admits());
        if let Some(notice) = notice {
            self.write(log::Level::Warn, &notice);
        }
        if admitted {
            self.write(record.level(), &record.args().to_string());
        }
    }

    fn flush(&self) {
        self.log.flush();
    }
}

impl BoundedLog {
    fn write(&self, level: log::Level, line: &str) {
        let line = escaped(line);
        let begun = Instant::now();
        self.log.log(
            &Record::builder().level(level).args(format_args!("{}", cut(&line, LOG_LINE_LIMIT))).build(),
        );
        if begun.elapsed() >= LOG_PATIENCE {
            // One line has waited for all.
            let _ = self.socket.set_nonblocking(true);
        }
    }
}

impl Journal {
    /// Connects, for lines of this level and above, charged to whoever causes them; every failure to do so is ignored.
    pub(super) fn open(config: &Config, level: Level, payer: Payer) -> Self {
        let Some((log, socket)) = connected(config, patience(payer)) else { return Self { budget: None } };
        let budget = Budget::open(config, payer).map(Mutex::new).map(Arc::new);
        if log::set_boxed_logger(Box::new(BoundedLog { log, socket, budget: budget.clone() })).is_ok() {
            log::set_max_level(filter(level));
        }
        Self { budget }
    }

    /// Our lines that were left out, if they are still to be told of.
    pub(super) fn close(self) -> Option<Untold> {
        self.budget.and_then(|budget| budget.lock().ok()?.untold())
    }

    /// One line that is charged to nobody.
    pub(super) fn notice(config: &Config, notice: &str) {
        if let Some((log, socket)) = connected(config, LOG_PATIENCE) {
            log::set_max_level(filter(config.log.level));
            BoundedLog { log, socket, budget: None }.write(log::Level::Warn, notice);
        }
    }

    /// The line of one of many upcalls for the node that fail in the same way.
    pub(super) fn repeated(&self, subject: &Subject, failure: &Failure, times: u32, seconds: u64) {
        let (errno, remedy) = (failure.cause.errno(), failure.cause.remedy_by(&subject.settings));
        let (head, tail) = (
            format!("{subject}: {}: ", failure.stage),
            format!(": {errno:?}; {remedy}; {times} times in {seconds} s"),
        );
        log::warn!("{head}{}{tail}", fitting(&failure.detail, &head, &tail));
    }

    /// The line of one upcall.
    pub(super) fn upcall(&self, subject: &Subject, outcome: &Outcome, stages: &[Timing]) {
        let stages = Stages(stages);
        match outcome {
            Outcome::Established { credential, server, window, enctype, lifetime, total } => {
                let head = format!("{subject}: established in {} ms as ", total.as_millis());
                let server = quoted(server);
                let tail = format!(
                    " with {server}, window {}, {enctype}, for {} s{stages}",
                    window.count(),
                    lifetime.as_secs()
                );
                log::info!("{head}{}{tail}", fitting(credential, &head, &tail));
            }
            Outcome::Failed(failure) => {
                let errno = failure.cause.errno();
                let remedy = failure.cause.remedy_by(&subject.settings);
                let level = match failure.cause {
                    Cause::Setup | Cause::WorkerFault => log::Level::Error,
                    Cause::Unpaused if failure.detail == NO_PAUSE => log::Level::Debug,
                    Cause::Unpaused => log::Level::Info,
                    _ => log::Level::Warn,
                };
                let (head, tail) =
                    (format!("{subject}: {}: ", failure.stage), format!(": {errno:?}; {remedy}{stages}"));
                log::log!(level, "{head}{}{tail}", fitting(&failure.detail, &head, &tail));
            }
        }
    }

    /// The line that says which credentials there were to choose from, if there was a choice. The failure that there
    /// are none has one reason in it already.
    pub(super) fn considered(&self, subject: &Subject, considered: &Considered) {
        let told = usize::from(considered.chosen.is_none());
        if considered.others.len() > told || considered.wanted.is_some() {
            let head = format!("{subject}: ");
            log::info!("{head}{}", considered.in_words(LOG_LINE_LIMIT.saturating_sub(head.len())));
        }
    }

    /// What a worker has tried, in as few lines as possible.
    pub(super) fn trail(&self, subject: &Subject, trail: &[String]) {
        let head = format!("{subject}: tried: ");
        let mut line = String::new();
        for step in trail {
            if !line.is_empty() && head.len() + line.len() + step.len() + 2 > LOG_LINE_LIMIT {
                log::debug!("{head}{line}");
                line.clear();
            }
            let separator = if line.is_empty() { "" } else { "; " };
            line = format!("{line}{separator}{step}");
        }
        if !line.is_empty() {
            log::debug!("{head}{line}");
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

/// Of words that nobody understands, in a process that the kernel waits for.
fn patience(payer: Payer) -> Duration {
    if payer == Payer::Unknown { Duration::from_millis(1) } else { LOG_PATIENCE }
}

fn connected(config: &Config, patience: Duration) -> Option<(BasicLogger, UnixDatagram)> {
    let socket = UnixDatagram::unbound().ok()?;
    let same = socket.try_clone().ok()?;
    socket.set_write_timeout(Some(patience)).and_then(|()| socket.connect(&config.log.socket)).ok()?;
    let formatter = Formatter3164 {
        facility: Facility::LOG_AUTHPRIV,
        hostname: None,
        process: "lgss_keyring".into(),
        pid: std::process::id(),
    };
    Some((BasicLogger::new(Logger::new(LoggerBackend::Unix(socket), formatter)), same))
}

/// As much of others' words as the line has room for; our own are always in it.
fn fitting<'t>(text: &'t str, head: &str, tail: &str) -> Cow<'t, str> {
    cut(text, LOG_LINE_LIMIT.saturating_sub(head.len() + tail.len()))
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
