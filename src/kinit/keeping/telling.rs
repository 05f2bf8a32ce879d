//! How a process in the background tells what happens: a line in the system log, and a warning on the terminal from which it
//! was started, if that is still its user's.
//!
//! Used by `keeping`. Invariant: what is told has no control characters, and nobody waits for who reads it.

use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use nix::unistd::{geteuid, ttyname};

use crate::system_log::{self, LogSeverity, SystemLog};
use crate::text::escaped;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
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
    pub(super) fn tell(&self, urgency: Urgency, said: &str) {
        let said = escaped(said);
        let severity = match urgency {
            Urgency::Usual => LogSeverity::Info,
            Urgency::Warning => LogSeverity::Warning,
        };
        SystemLog::open("lgss_kinit", system_log::SOCKET.into()).write(severity, &said);
        if urgency == Urgency::Warning
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
