//! Signals by which a person or the system ends a process, kept back while something is half done.

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

/// While this lives, such signals wait, in this thread and in those that it starts meanwhile.
#[must_use]
pub(crate) struct SignalsBlocked {
    former: Option<SigSet>,
}

impl SignalsBlocked {
    /// Blocks them.
    pub(crate) fn now() -> Self {
        let ending: SigSet =
            [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT].into_iter().collect();
        // It fails for an unknown operation only (pthread_sigmask(3)).
        Self { former: ending.thread_swap_mask(SigmaskHow::SIG_BLOCK).ok() }
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        if let Some(former) = self.former {
            let _ = former.thread_set_mask();
        }
    }
}
