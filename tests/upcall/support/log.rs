//! A site's log socket: what the upcall reports to the administrator.

use super::wait::{stretched, wait_for};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Reads each line as soon as it arrives, since a full socket makes the upcall drop lines.
#[derive(Debug)]
pub(crate) struct LogReader {
    lines: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl LogReader {
    pub(crate) fn bind(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        // As the system log's is.
        fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let (lines, stop) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicBool>::default());
        let (kept, stopped) = (Arc::clone(&lines), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 65536];
            while !stopped.load(Ordering::Relaxed) {
                if let Ok(length) = socket.recv(&mut buffer) {
                    kept.lock().unwrap().push(String::from_utf8_lossy(&buffer[..length]).into_owned());
                }
            }
        });
        Self { lines, stop, thread: Some(thread) }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Waits for a line that fits; returns the first.
    #[track_caller]
    pub(crate) fn wait_for(&self, fits: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            if let Some(line) = self.lines().into_iter().find(|line| fits(line)) {
                return line;
            }
            let goes_on = start.elapsed() < stretched(Duration::from_secs(5));
            assert!(goes_on, "no such line in the log, which has: {:#?}", self.lines());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for the line of an upcall that has ended, with all of `words`.
    #[track_caller]
    pub(crate) fn wait_for_words(&self, words: &[&str]) -> String {
        self.wait_for(|line| words.iter().all(|word| line.contains(word)))
    }

    /// Waits for so many lines of established contexts; returns the last.
    #[track_caller]
    pub(crate) fn wait_for_established(&self, count: usize) -> String {
        wait_for(&format!("{count} contexts in the log"), Duration::from_secs(5), || {
            self.lines().into_iter().filter(|line| line.contains(": established ")).nth(count - 1)
        })
    }

    /// What the only upcall reports about the credentials it could choose from: the chosen one, and the others.
    #[track_caller]
    pub(crate) fn wait_for_choice(&self) -> (String, Vec<String>) {
        let line = self.wait_for(|line| line.contains(": chosen: ") || line.contains(": no credentials: "));
        let told = line.split_once(": chosen: ").and_then(|(_, told)| told.split_once("; not: "));
        let (chosen, others) = told.unwrap_or_else(|| ("", line.split_once(": no credentials: ").unwrap().1));
        (chosen.to_owned(), others.split("; ").map(str::to_owned).collect())
    }

    /// Waits until there are so many lines.
    #[track_caller]
    pub(crate) fn wait_for_count(&self, count: usize) -> Vec<String> {
        wait_for(&format!("{count} log lines"), Duration::from_secs(5), || {
            Some(self.lines()).filter(|lines| lines.len() >= count)
        })
    }
}

impl Drop for LogReader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
