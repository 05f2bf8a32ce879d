//! What the loop tells the log of requests and caches.
//!
//! Called by serve.rs. Invariant: no line has a ticket in it.

use super::collections::Collections;
use super::expiry::Dropped;
use super::journal::{AgentJournal, Topic};
use super::operations::KcmRefusal;
use crate::config::LogLevel;

impl AgentJournal {
    /// A request that is refused, if that is to be known.
    pub(super) fn tell_refusal(&mut self, refusal: &KcmRefusal) {
        if let Some((level, topic)) = refusal.severity() {
            self.say(level, topic, refusal);
        }
    }

    /// Caches that were dropped.
    pub(super) fn tell_dropped(&mut self, dropped: Vec<Dropped>) {
        for Dropped { label, principal } in dropped {
            let words = format_args!("{label} of {principal} is dropped: its tickets have expired");
            self.say(LogLevel::Info, Topic::Expiry, words);
        }
    }

    /// Says that caches end with the process, if they do.
    pub(super) fn tell_loss(&mut self, why: &str, collections: &Collections) {
        let count = collections.count();
        if count > 0 && !collections.survive() {
            let tickets: usize = collections.all().map(|(_, _, cache)| cache.credentials().len()).sum();
            let words =
                format_args!("{why}: caches that were in memory are lost: {count} with {tickets} entries");
            self.say(LogLevel::Warn, Topic::Process, words);
        }
    }
}
