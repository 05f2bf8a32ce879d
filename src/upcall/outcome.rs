//! The outcome of an upcall and its lines in the system log: one about the outcome, and one about the choice of
//! credentials if there was a choice.
//!
//! Written once the key is answered, normally after the requester has been released. Each line is bounded in length,
//! and each payer in the number of its lines (rule S22). A log that does not read is not waited for; without a log the
//! upcall works the same. Invariant: no line contains a secret (rules S10, S15).

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
use crate::config::{Config, LogLevel, settings_file};
use crate::creds::ticket_keys::TicketKeyFailure;
use crate::ctx::Lifetime;
use crate::ctx::request::NO_PAUSE;
use crate::event::{Cause, Failure, one_line};
use crate::key::KeySerial;
use crate::negotiate::messages::{Considered, Timing};
use crate::text::{cut, escaped, quoted};

/// Longest line in bytes; with its header in the log it stays below 1 KiB.
const LOG_LINE_LIMIT: usize = 960;
/// How long one line of a process waits for room at the log, which on a busy machine reads in bursts. Meanwhile nobody
/// waits for the process.
const LOG_PATIENCE: Duration = Duration::from_millis(250);
/// How much of a description that cannot be parsed is shown, in bytes.
const SHOWN_TARGET_LIMIT: usize = 120;

/// How an upcall ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The key holds a context.
    Established {
        /// The client's principal and its cache.
        credential: String,
        /// The server that has answered.
        server: String,
        /// The server's sequence window.
        window: crate::ctx::SeqWindow,
        /// The algorithms that protect messages.
        protection: String,
        /// Time until the key expires.
        lifetime: Lifetime,
        /// Time since the monitor took over.
        total: Duration,
    },
    /// The key holds an error, or was rejected.
    Failed(Failure),
}

/// The upcall that a line is about.
#[derive(Debug)]
pub(super) struct Subject {
    key: KeySerial,
    uid: u32,
    target: String,
    /// The file of the settings.
    settings: PathBuf,
}

impl Subject {
    /// From the request, if the front has read it; a description that cannot be parsed is shown quoted and cut.
    pub(super) fn of(invocation: &Invocation, order: Option<&Result<Order, Garbled>>) -> Self {
        let target = match order {
            Some(Ok(order)) => Some(order.target()),
            Some(Err(garbled)) => garbled.target.clone(),
            None => None,
        };
        let description = String::from_utf8_lossy(&invocation.description);
        let target =
            target.unwrap_or_else(|| format!("({})", cut(&quoted(&description), SHOWN_TARGET_LIMIT)));
        let settings = settings_file(invocation.config.as_deref()).to_owned();
        Self { key: invocation.key, uid: invocation.uid, target, settings }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {} uid {} {}", self.key, self.uid, self.target)
    }
}

/// The connection to the system log.
pub(super) struct Journal {
    budget: Option<Arc<Mutex<Budget>>>,
}

/// The logger that every line passes, which escapes and cuts it: it may contain strangers' text.
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
            // Only one line waits; the others do not.
            let _ = self.socket.set_nonblocking(true);
        }
    }
}

impl Journal {
    /// Connects, for lines of this level and above, charged to `payer`. Failures to connect are ignored.
    pub(super) fn open(config: &Config, level: LogLevel, payer: Payer) -> Self {
        let Some((log, socket)) = connected(config, patience(payer)) else { return Self { budget: None } };
        let budget = Budget::open(config, payer).map(Mutex::new).map(Arc::new);
        if log::set_boxed_logger(Box::new(BoundedLog { log, socket, budget: budget.clone() })).is_ok() {
            log::set_max_level(filter(level));
        }
        Self { budget }
    }

    /// Our lines that were left out, if they are still to be reported.
    pub(super) fn close(self) -> Option<Untold> {
        self.budget.and_then(|budget| budget.lock().ok()?.untold())
    }

    /// Writes one line that is charged to nobody.
    pub(super) fn notice(config: &Config, notice: &str) {
        if let Some((log, socket)) = connected(config, LOG_PATIENCE) {
            log::set_max_level(filter(config.log.level));
            BoundedLog { log, socket, budget: None }.write(log::Level::Warn, notice);
        }
    }

    /// Writes one line for many upcalls for the machine that fail alike.
    pub(super) fn repeated(&self, subject: &Subject, failure: &Failure, times: u32, seconds: u64) {
        let (errno, remedy) = (failure.cause.errno(), failure.cause.remedy_by(&subject.settings));
        let (head, tail) = (
            format!("{subject}: {}: ", failure.stage),
            format!(": {errno:?}; {remedy}; {times} times in {seconds} s"),
        );
        log::warn!("{head}{}{tail}", fitting(&failure.detail, &head, &tail));
    }

    /// Writes the line of one upcall.
    pub(super) fn upcall(&self, subject: &Subject, outcome: &Outcome, stages: &[Timing]) {
        let stages = Stages(stages);
        match outcome {
            Outcome::Established { credential, server, window, protection, lifetime, total } => {
                let head = format!("{subject}: established in {} ms as ", total.as_millis());
                let server = quoted(server);
                let tail = format!(
                    " with {server}, window {}, {protection}, for {} s{stages}",
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

    /// Writes the line about the credentials to choose from, if there was a choice. A failure for lack of credentials
    /// has one reason in it already.
    pub(super) fn considered(&self, subject: &Subject, considered: &Considered) {
        let told = usize::from(considered.chosen.is_none());
        if considered.others.len() > told || considered.wanted.is_some() {
            let head = format!("{subject}: ");
            log::info!("{head}{}", considered.in_words(LOG_LINE_LIMIT.saturating_sub(head.len())));
        }
    }

    /// Writes what a worker has tried, in as few lines as possible.
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

    /// Writes why the site's hook has no credentials for the user, who does not learn it.
    pub(super) fn hook_failed(&self, subject: &Subject, reason: &str) {
        log::warn!("{subject}: {reason}");
    }

    /// Writes the line about tickets of the machine's that are not in the keyring for later requests.
    pub(super) fn not_in_keys(&self, subject: &Subject, failure: &TicketKeyFailure) {
        log::warn!("{subject}: credentials: new tickets are not kept in root's user keyring: {failure}");
    }

    /// Writes the line of a worker that was killed and does not end.
    pub(super) fn stuck(&self, subject: &Subject, worker: nix::unistd::Pid) {
        log::warn!(
            "{subject}: launch: process {worker} does not end, as one that a file system holds up; until it does, it \
             counts as a negotiation; see to the file system"
        );
    }

    /// Writes the line of an upcall whose arguments make no sense.
    pub(super) fn unusable(&self, unusable: &Unusable, key: KeySerial) {
        log::error!(
            "key {key}: config: the request-key rule is wrong: {}: {:?}; let the rule end in {RULE_WORDS}; lgss config check \
             (as root) finds it",
            one_line(&unusable.offence),
            Cause::Setup.errno(),
        );
    }
}

/// How long a line waits. For malformed arguments almost not: the kernel waits for the process.
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

/// The text, cut to the room that head and tail leave in a line.
fn fitting<'t>(text: &'t str, head: &str, tail: &str) -> Cow<'t, str> {
    cut(text, LOG_LINE_LIMIT.saturating_sub(head.len() + tail.len()))
}

fn filter(level: LogLevel) -> log::LevelFilter {
    match level {
        LogLevel::Error => log::LevelFilter::Error,
        LogLevel::Warn => log::LevelFilter::Warn,
        LogLevel::Info => log::LevelFilter::Info,
        LogLevel::Debug => log::LevelFilter::Debug,
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
