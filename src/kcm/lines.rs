//! Lines in the system log: what was refused and why, and agents that end as they should not.
//!
//! Written by both processes. Invariant: the log is not waited for, and a flood of lines is counted and reported in one.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::text::one_line;

/// The facility authpriv and two levels of it (syslog(3)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    Warning = 84,
    Notice = 85,
}

/// Lines at once, and the time for which each further one waits.
const AT_ONCE: u32 = 20;
const EACH: Duration = Duration::from_secs(1);

/// The connection to the log.
#[derive(Debug)]
pub(super) struct KcmLog {
    path: PathBuf,
    socket: Option<UnixDatagram>,
    left: u32,
    counted_until: Instant,
    left_out: u32,
}

impl KcmLog {
    /// Connects; where there is no log, every line tries again.
    pub(super) fn open(path: PathBuf) -> Self {
        let socket = UnixDatagram::unbound().ok().filter(|socket| socket.set_nonblocking(true).is_ok());
        if let Some(socket) = &socket {
            let _ = socket.connect(&path);
        }
        Self { path, socket, ..Self::unconnected() }
    }

    fn unconnected() -> Self {
        Self { path: PathBuf::new(), socket: None, left: AT_ONCE, counted_until: Instant::now(), left_out: 0 }
    }

    /// The same connection for another process, which may not be allowed to make one.
    pub(super) fn again(&self) -> Self {
        let socket = self.socket.as_ref().and_then(|socket| socket.try_clone().ok());
        Self { path: self.path.clone(), socket, ..Self::unconnected() }
    }

    /// Writes a line, if there have not been too many.
    pub(super) fn write(&mut self, weight: Weight, line: &str) {
        let passed = self.counted_until.elapsed().as_secs() / EACH.as_secs();
        let passed = u32::try_from(passed).unwrap_or(u32::MAX).min(AT_ONCE);
        if passed > 0 {
            self.left = (self.left + passed).min(AT_ONCE);
            self.counted_until = Instant::now();
        }
        if self.left == 0 {
            self.left_out = self.left_out.saturating_add(1);
            return;
        }
        self.left -= 1;
        if self.left_out > 0 {
            let count = std::mem::take(&mut self.left_out);
            self.send(Weight::Warning, &format!("{count} lines were left out"));
        }
        self.send(weight, line);
    }

    fn send(&self, weight: Weight, line: &str) {
        let text = format!("<{}>lgss_kcm[{}]: {}", weight as u8, std::process::id(), one_line(line));
        let Some(socket) = &self.socket else { return };
        // A log that has been restarted has another socket at the same place.
        if socket.send(text.as_bytes()).is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock)
            && socket.connect(&self.path).is_ok()
        {
            let _ = socket.send(text.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_lines_is_one_line_and_a_log_that_is_restarted_gets_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut lines = KcmLog::open(path.clone());
        lines.write(Weight::Notice, "to nobody");
        let log = UnixDatagram::bind(&path).unwrap();
        log.set_nonblocking(true).unwrap();
        for number in 0..100 {
            lines.write(Weight::Warning, &format!("line {number}"));
        }
        let mut read = || {
            let mut buffer = [0; 200];
            log.recv(&mut buffer).ok().map(|length| String::from_utf8_lossy(&buffer[..length]).into_owned())
        };
        let first = read().unwrap();
        assert!(first.starts_with("<84>lgss_kcm[") && first.ends_with("]: line 0"), "{first}");
        let more = std::iter::from_fn(&mut read).count();
        assert!(more < usize::try_from(AT_ONCE).unwrap() + 2, "{more}");
        lines.counted_until = Instant::now().checked_sub(EACH).unwrap();
        lines.write(Weight::Warning, "after");
        assert!(read().unwrap().ends_with("lines were left out"));
        assert!(read().unwrap().ends_with("]: after"));
    }
}
