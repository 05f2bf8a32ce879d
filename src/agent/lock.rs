//! Keeps what the caches have got from being swapped out.
//!
//! Called by the event loop. Invariant: that it cannot be done is told once, and changes nothing else.

use super::journal::{AgentJournal, Topic};
use crate::config::LogLevel;
use crate::sys::locked::lock_present;

/// Memory is locked again when caches have grown by so much, in bytes.
const LOCK_STEP: usize = 64 * 1024;

/// The lock of the process's memory.
#[derive(Debug)]
pub(super) struct MemoryLock {
    /// Size of the caches when memory was last locked; `None` once that has failed.
    locked: Option<usize>,
}

impl Default for MemoryLock {
    fn default() -> Self {
        Self { locked: Some(0) }
    }
}

impl MemoryLock {
    /// Locks what the caches have got since the last time. `size` is theirs in bytes.
    pub(super) fn renew(&mut self, size: usize, journal: &mut AgentJournal) {
        let Some(locked) = self.locked.filter(|locked| *locked == 0 || size >= locked + LOCK_STEP) else {
            return;
        };
        match lock_present() {
            Ok(()) => self.locked = Some(size.max(1)),
            Err(errno) => {
                self.locked = None;
                let words = if locked == 0 { "memory" } else { "further memory" };
                let words = format_args!("{words} may be swapped out: {errno}; raise the limit memlock");
                journal.say(LogLevel::Info, Topic::Process, words);
            }
        }
    }
}
