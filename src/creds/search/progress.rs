//! Which place a search has come to, so that one that a file system blocks can be replaced by one that skips the place
//! (rules S8, S9).
//!
//! Invariant: a place has the same number in each search of one request, also if those before it are skipped.

use std::os::fd::BorrowedFd;

/// Counts the places, so that a watcher knows which of them blocks the search, and skips places that have blocked it
/// before.
#[derive(Debug, Default)]
pub(crate) struct SearchProgress<'a> {
    /// Gets one byte at the start of each place.
    pub watcher: Option<BorrowedFd<'a>>,
    /// Places that do not answer, by their numbers.
    pub blocked: &'a [usize],
    /// Places that have been started.
    begun: usize,
}

impl<'a> SearchProgress<'a> {
    /// At the beginning.
    pub(crate) fn new(watcher: Option<BorrowedFd<'a>>, blocked: &'a [usize]) -> Self {
        Self { watcher, blocked, begun: 0 }
    }

    /// Starts the next place; returns whether it may be looked at.
    pub(crate) fn begin(&mut self) -> bool {
        let place = self.begun;
        self.begun += 1;
        if let Some(watcher) = self.watcher {
            let _ = nix::unistd::write(watcher, &[0]);
        }
        !self.blocked.contains(&place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_blocked_place_is_skipped_and_those_after_it_keep_their_numbers() {
        let begun = |blocked: &[usize]| {
            let mut progress = SearchProgress::new(None, blocked);
            [(); 5].map(|()| progress.begin())
        };
        assert_eq!(begun(&[]), [true; 5]);
        assert_eq!(begun(&[1, 3, 9]), [true, false, true, false, true]);
    }

    #[test]
    fn a_watcher_hears_of_each_place_before_it_is_looked_at_also_of_one_that_is_skipped() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let mut progress = SearchProgress::new(Some(writer.as_fd()), &[0]);
        let mut heard = [7; 8];
        for may_be_looked_at in [false, true, true] {
            assert_eq!(progress.begin(), may_be_looked_at);
            assert_eq!(nix::unistd::read(&reader, &mut heard), Ok(1));
            assert_eq!(heard[0], 0);
        }
    }

    #[test]
    fn a_watcher_that_has_ended_stops_no_search() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        drop(reader);
        assert!(SearchProgress::new(Some(writer.as_fd()), &[]).begin());
    }
}
