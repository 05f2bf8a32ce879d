//! Keyrings that a program's context may be in.

use nix::errno::Errno;
use nix::unistd::{geteuid, getuid};

use super::rings::{self, Session};
use crate::sys::keyctl;

/// The keyring that a requested key is linked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// The user keyring: every session of the user finds the context. EACCES for a process of root's that acts for a user.
    User,
    /// The session keyring: only this session finds it.
    Session,
    /// The process keyring: only this process finds it, and nothing of it is left for whoever the process becomes or
    /// starts. Contexts of the session are not found.
    Process,
}

impl Destination {
    fn raw(self) -> keyctl::RawSerial {
        match self {
            Self::User => keyctl::USER_KEYRING,
            Self::Session => keyctl::SESSION_KEYRING,
            Self::Process => keyctl::PROCESS_KEYRING,
        }
    }

    /// Searches for a key; a new one is linked to the keyring that `ask` gets. Searches the session keyring only if it is
    /// the caller's.
    pub(super) fn search(
        self,
        ask: impl Fn(keyctl::RawSerial) -> Result<keyctl::RawSerial, Errno> + Sync,
    ) -> Result<keyctl::RawSerial, Errno> {
        match (self, rings::session()) {
            (Self::User | Self::Session, Session::Own) if !geteuid().is_root() && !getuid().is_root() => {
                ask(self.raw())
            }
            _ => self.search_aside(ask),
        }
    }

    /// The same without the session keyring, whoever owns it.
    pub(super) fn search_aside(
        self,
        ask: impl Fn(keyctl::RawSerial) -> Result<keyctl::RawSerial, Errno> + Sync,
    ) -> Result<keyctl::RawSerial, Errno> {
        match self {
            // By way of the process keyring the caller possesses what is in its user keyring.
            Self::User if rings::is_root_acting_for_another() => return Err(Errno::EACCES),
            Self::User => rings::possess_user_keyring()?,
            Self::Process => drop(keyctl::make_keyring(keyctl::PROCESS_KEYRING)?),
            Self::Session => return Err(Errno::EACCES),
        }
        rings::aside(|| ask(self.raw()))
    }
}
