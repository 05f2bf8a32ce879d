//! How a process in the background tells what happens: a line in the system log, and a warning on the terminal from which it
//! was started, if that is still its user's.
//!
//! Used by `keeping`. Invariant: what is told has no control characters, and nobody waits for who reads it.

use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use nix::unistd::{geteuid, ttyname};
use syslog::{Facility, Formatter3164, Logger, LoggerBackend};

use crate::text::{cut, escaped};

/// Where syslogd listens (syslog(3)).
const LOG: &str = "/dev/log";
/// With its header a line stays below 1 KiB.
const LINE_LIMIT: usize = 960;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// For whoever looks.
    Usual,
    /// For the user at once.
    Warning,
}

/// The log, and a terminal that is opened for each warning: an open one would keep its line busy after the logout.
#[derive(Debug)]
pub(super) struct Teller {
    terminal: Option<(PathBuf, u64)>,
}

impl Teller {
    /// With the terminal of standard error, input or output.
    pub(super) fn of_our_terminal() -> Self {
        let streams = (std::io::stderr(), std::io::stdin(), std::io::stdout());
        let path = ttyname(&streams.0).or_else(|_| ttyname(&streams.1)).or_else(|_| ttyname(&streams.2));
        let known = path.ok().and_then(|path| Some((path.clone(), std::fs::metadata(path).ok()?.rdev())));
        Self { terminal: known }
    }

    /// Tells it. What cannot be told is lost.
    pub(super) fn tell(&self, weight: Weight, said: &str) {
        let said = escaped(said);
        log(weight, cut(&said, LINE_LIMIT).as_ref());
        if weight == Weight::Warning
            && let Some(mut terminal) = self.open()
        {
            let _ = terminal.write_all(format!("\r\nlgss_kinit: {said}\r\n").as_bytes());
        }
    }

    /// The same device, as long as it is a terminal of this user's. Nothing waits for it.
    fn open(&self) -> Option<File> {
        let (path, device) = self.terminal.as_ref()?;
        let flags = libc::O_NOCTTY | libc::O_NONBLOCK | libc::O_NOFOLLOW;
        let terminal = OpenOptions::new().write(true).custom_flags(flags).open(path).ok()?;
        let found = terminal.metadata().ok()?;
        let is_ours = found.rdev() == *device && found.uid() == geteuid().as_raw();
        (is_ours && terminal.is_terminal()).then_some(terminal)
    }
}

fn log(weight: Weight, line: &str) {
    let connected = UnixDatagram::unbound().and_then(|socket| {
        socket.set_nonblocking(true)?;
        socket.connect(LOG)?;
        Ok(socket)
    });
    // A machine without a log is no reason to stop.
    let Ok(socket) = connected else { return };
    let formatter = Formatter3164 {
        facility: Facility::LOG_AUTHPRIV,
        hostname: None,
        process: "lgss_kinit".into(),
        pid: std::process::id(),
    };
    let mut logger = Logger::new(LoggerBackend::Unix(socket), formatter);
    let _ = match weight {
        Weight::Usual => logger.info(line),
        Weight::Warning => logger.warning(line),
    };
}
