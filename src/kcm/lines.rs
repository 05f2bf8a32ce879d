//! Lines in the system log: what was refused and why, and agents that end as they should not.
//!
//! Written by both processes. Invariant: the log is not waited for, and a flood of lines is counted and reported in one.

use std::path::PathBuf;
use std::time::{Duration, Instant};

pub(super) use crate::system_log::LogSeverity;
use crate::system_log::SystemLog;

/// Lines at once, and the time for which each further one waits.
const AT_ONCE: u32 = 20;
const EACH: Duration = Duration::from_secs(1);

/// The log, and how many more lines it gets.
#[derive(Debug)]
pub(super) struct KcmLog {
    log: SystemLog,
    left: u32,
    counted_until: Instant,
    left_out: u32,
}

impl KcmLog {
    /// The log whose socket this is.
    pub(super) fn open(path: PathBuf) -> Self {
        Self::over(SystemLog::connected("lgss_kcm", path))
    }

    /// The same for another process, which may not be allowed to make a socket.
    pub(super) fn again(&self) -> Self {
        Self::over(self.log.again())
    }

    fn over(log: SystemLog) -> Self {
        Self { log, left: AT_ONCE, counted_until: Instant::now(), left_out: 0 }
    }

    /// Writes a line, if there have not been too many.
    pub(super) fn write(&mut self, severity: LogSeverity, line: &str) {
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
            self.log.write(LogSeverity::Warning, &format!("{count} lines were left out"));
        }
        self.log.write(severity, line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn a_flood_of_lines_is_counted_in_one_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut lines = KcmLog::open(path.clone());
        let log = UnixDatagram::bind(&path).unwrap();
        log.set_nonblocking(true).unwrap();
        for number in 0..100 {
            lines.write(LogSeverity::Warning, &format!("line {number}"));
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
        lines.write(LogSeverity::Warning, "after");
        assert!(read().unwrap().ends_with("lines were left out"));
        assert!(read().unwrap().ends_with("]: after"));
    }
}
