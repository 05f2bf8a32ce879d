//! Lines for the system log (syslog(3)) from programs that do not wait for it, or not for long.
//!
//! Used by `lgss_agent`, `lgss_kcm`, `lgss_kinit`, `lgss_helper` and `lgss hook`; the upcall's lines, which wait for a busy log within limits, are in
//! `upcall/outcome.rs`. Invariant: a line is one line, shorter than 1 KiB, without control characters; without a log all works the
//! same.
#![forbid(unsafe_code)]

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::text::{cut, escaped};

/// Where syslogd listens, for programs that read no settings.
#[cfg(feature = "tools")]
pub(crate) const SOCKET: &str = "/dev/log";
/// Longest line in bytes, without its header.
const LINE: usize = 960;
/// The facility `authpriv`.
const FACILITY: u8 = 10 << 3;

/// How much a line matters (syslog(3)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LogSeverity {
    Error = 3,
    Warning = 4,
    Info = 6,
    Debug = 7,
}

/// The way to the log.
#[derive(Debug)]
pub(crate) struct SystemLog {
    program: &'static str,
    path: PathBuf,
    socket: Option<UnixDatagram>,
    way: LogWay,
}

/// Whose rights a line needs at the log's socket. By either way a log that was started anew gets the next line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LogWay {
    /// Those of the process when it writes.
    Unconnected,
    /// Those of the process when it connected, as long as the log is the same; then it connects again.
    Connected,
}

impl SystemLog {
    /// For lines of this program, which may not connect when it writes them.
    pub(crate) fn open(program: &'static str, path: PathBuf) -> Self {
        let socket = UnixDatagram::unbound().ok().filter(|socket| socket.set_nonblocking(true).is_ok());
        Self { program, path, socket, way: LogWay::Unconnected }
    }

    /// The same for one that gives up rights before it writes them.
    pub(crate) fn connected(program: &'static str, path: PathBuf) -> Self {
        let log = Self { way: LogWay::Connected, ..Self::open(program, path) };
        if let Some(socket) = &log.socket {
            let _ = socket.connect(&log.path);
        }
        log
    }

    /// The same for another process, which may not be allowed to make a socket.
    pub(crate) fn again(&self) -> Self {
        let socket = self.socket.as_ref().and_then(|socket| socket.try_clone().ok());
        Self { program: self.program, path: self.path.clone(), socket, way: self.way }
    }

    /// Writes a line. Waits for a busy log for at most two seconds: for programs that nobody else waits for.
    pub(crate) fn write_patiently(&self, severity: LogSeverity, line: &str) {
        const PATIENCE: Duration = Duration::from_secs(2);
        const LOOK: Duration = Duration::from_millis(10);
        let end = Instant::now() + PATIENCE;
        while self.try_to_write(severity, line).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
            && Instant::now() < end
        {
            std::thread::sleep(LOOK);
        }
    }

    /// Writes a line, if the log takes it at once.
    pub(crate) fn write(&self, severity: LogSeverity, line: &str) {
        let _ = self.try_to_write(severity, line);
    }

    fn try_to_write(&self, severity: LogSeverity, line: &str) -> std::io::Result<usize> {
        let (program, id) = (self.program, std::process::id());
        let line = escaped(line);
        let line = format!("<{}>{program}[{id}]: {}", FACILITY | severity as u8, cut(&line, LINE));
        let Some(socket) = &self.socket else { return Ok(0) };
        match self.way {
            LogWay::Unconnected => socket.send_to(line.as_bytes(), &self.path),
            LogWay::Connected => match socket.send(line.as_bytes()) {
                Err(error) if error.kind() != ErrorKind::WouldBlock => {
                    socket.connect(&self.path).and_then(|()| socket.send(line.as_bytes()))
                }
                sent => sent,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_bounded_and_on_one_line_and_a_log_that_is_restarted_gets_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        for log in [SystemLog::open, SystemLog::connected].map(|open| open("lgss_trial", path.clone())) {
            log.write(LogSeverity::Info, "to nobody");
            for _ in 0..2 {
                let reader = UnixDatagram::bind(&path).unwrap();
                reader.set_nonblocking(true).unwrap();
                log.again()
                    .write(LogSeverity::Warning, &format!("first\nsecond\u{1b}[0m {}", "x".repeat(2000)));
                let mut buffer = [0; 4096];
                let length = reader.recv(&mut buffer).unwrap();
                let line = std::str::from_utf8(&buffer[..length]).unwrap();
                assert!(line.starts_with("<84>lgss_trial[") && line.len() < 1024, "{line}");
                assert!(!line.contains(char::is_control), "{line}");
                std::fs::remove_file(&path).unwrap();
            }
        }
    }
}
