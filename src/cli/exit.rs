//! The exit status of `lgss`: one small set for all commands, part of the interface (lgss(1)).

use std::process::{ExitCode, Termination};

use nix::errno::Errno;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// `get`: the context is established. `show`: the key was shown, whatever its state. `flush`: every context was
    /// ended. `caches`: there is something to use. `config check`: no errors.
    Ok = 0,
    /// No context, for a reason that has no number of its own; the settings cannot be used; or the caches could not be
    /// looked at.
    Failed = 1,
    /// The command line cannot be understood.
    Usage = 2,
    /// There is no ticket, or it has expired.
    NoTicket = 3,
    /// The upcall, the KDC or the server refuses the request.
    Refused = 4,
    /// KDC or server cannot be reached, or did not answer in time.
    Unreachable = 5,
    /// The key does not exist, may not be read, or is not that of a context.
    Unreadable = 6,
    /// `flush`, `list --all`: not everything could be done.
    Incomplete = 7,
    /// `config check`: there are errors.
    Faulty = 8,
}

/// For help and manual page.
pub const TABLE: &str = "\
Exit status:
  0  get: the context is established; show: the key was shown, whatever its state; caches: there is something to use; config check: no errors
  1  no context, for a reason not listed here; config show, caches: the settings cannot be used; caches: nothing could be looked at
  2  the command line cannot be understood
  3  there is no ticket, or it has expired
  4  the upcall, the KDC or the server refuses the request
  5  KDC or server cannot be reached, or did not answer in time
  6  the key does not exist, may not be read, or is not that of a context
  7  flush: a context could not be ended; list: a user's contexts could not be listed
  8  config check: there are errors";

impl Exit {
    /// For a context that failed with `errno`.
    pub fn of_failure(errno: Errno) -> Self {
        match errno {
            Errno::ENOKEY | Errno::EKEYEXPIRED => Self::NoTicket,
            Errno::EACCES | Errno::EPERM => Self::Refused,
            Errno::ETIMEDOUT | Errno::ECONNREFUSED | Errno::EHOSTUNREACH => Self::Unreachable,
            _ => Self::Failed,
        }
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self as u8)
    }
}
