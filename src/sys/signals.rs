//! Signals by which a person or the system ends a process, kept back while something is half done; and those that children send.

#[cfg(feature = "tools")]
use nix::sys::signal::{SaFlags, SigAction, SigHandler, sigaction};
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

/// While this lives, children that have ended can be waited for, whatever this process inherited: who has set SIGCHLD to be
/// ignored does not want to hear of them.
#[cfg(feature = "tools")]
#[must_use]
pub(crate) struct ChildrenAwaited {
    former: Option<SigAction>,
}

#[cfg(feature = "tools")]
impl ChildrenAwaited {
    /// Sets SIGCHLD to its default.
    pub(crate) fn now() -> Self {
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: the default runs no code of ours.
        Self { former: unsafe { sigaction(Signal::SIGCHLD, &default) }.ok() }
    }
}

#[cfg(feature = "tools")]
impl Drop for ChildrenAwaited {
    fn drop(&mut self) {
        if let Some(former) = self.former {
            // SAFETY: what was set before, by this process or by whoever started it.
            let _ = unsafe { sigaction(Signal::SIGCHLD, &former) };
        }
    }
}
