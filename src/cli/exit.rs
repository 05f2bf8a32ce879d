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
    /// This machine is at fault: no upcall answers, or the installation or the settings are broken.
    Broken = 1,
    /// The command line, or the request made from it, cannot be understood.
    Usage = 2,
    /// There is no ticket, or it has expired.
    NoTicket = 3,
    /// The upcall, the KDC or the server refuses the request.
    Refused = 4,
    /// KDC or server cannot be reached, or did not answer in time.
    Unreachable = 5,
    /// The key or the user does not exist or may not be looked at, or the key is not a context's.
    Unreadable = 6,
    /// `flush`, `list`: not everything could be done.
    Incomplete = 7,
    /// `config check`: there are errors.
    Faulty = 8,
    /// The same request may succeed a little later.
    Again = 9,
    /// The server's answer breaks the protocol, or it cannot take such a ticket.
    Protocol = 10,
    /// The user's quota of keys is used up.
    Quota = 11,
    /// The clocks differ too much.
    Clocks = 12,
    /// The session keyring has ended.
    Session = 13,
    /// `hook run`: the hook has no result.
    NoResult = 14,
}

/// Table of exit statuses; a test compares the manual page with it.
pub const TABLE: &str = "\
Exit status:
  0  get: the context is established; show: the key was shown, whatever its state; caches: there is something to use; config check: no errors
  1  no upcall answers, or the installation or the settings of this machine are broken; caches: nothing could be looked at
  2  the command line or the request cannot be understood
  3  there is no ticket, or it has expired
  4  the upcall, the KDC or the server refuses the request
  5  KDC or server cannot be reached, or did not answer in time
  6  the key or user does not exist or is not accessible, the key does not hold a context, or you may not do this
  7  flush: a context could not be ended; list: a user's contexts could not be listed
  8  config check: there are errors
  9  try again: too many negotiations are running, your requests are paused after earlier failures, or the context was revoked while you waited; hook run: others are running hooks
  10  the server's answer breaks the protocol, or the ticket is too large for it
  11  your quota of keys is used up
  12  the clocks of client, KDC and server differ too much
  13  your session keyring has ended; log in again
  14  hook run: the hook gave no result, for whatever reason";

/// Line for the help, where the table would hide the rest.
pub(crate) const EXIT_SUMMARY: &str =
    "Exit status: 0 on success; lgss(1) lists one for each kind of failure.";

impl Exit {
    /// Exit status for a context that failed with `errno`.
    pub fn of_failure(errno: Errno) -> Self {
        match errno {
            Errno::EINVAL => Self::Usage,
            Errno::ENOKEY | Errno::EKEYEXPIRED => Self::NoTicket,
            Errno::EACCES | Errno::EPERM | Errno::EPROTONOSUPPORT => Self::Refused,
            Errno::ETIMEDOUT | Errno::ECONNREFUSED | Errno::EHOSTUNREACH => Self::Unreachable,
            Errno::EAGAIN | Errno::EKEYREVOKED | Errno::EINTR => Self::Again,
            Errno::EPROTO | Errno::E2BIG => Self::Protocol,
            Errno::EDQUOT => Self::Quota,
            Errno::EKEYREJECTED => Self::Clocks,
            _ => Self::Broken,
        }
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_tried_again_what_is_broken_and_what_breaks_the_protocol_have_numbers_of_their_own() {
        let exits =
            [Errno::EAGAIN, Errno::EIO, Errno::EPROTO, Errno::EDQUOT, Errno::EKEYREJECTED, Errno::EINVAL]
                .map(|errno| Exit::of_failure(errno) as u8);
        assert_eq!(exits, [9, 1, 10, 11, 12, 2]);
        assert_eq!(Exit::of_failure(Errno::EPROTONOSUPPORT) as u8, 4, "the server does not have the program");
    }
}
