//! Whose keyring a program's context goes into (rule S20). The kernel has linked the key there before it starts us, and
//! any process that possesses that keyring can use the context.
//!
//! Checked by the front. A session keyring outlives sudo(8), su(1), setuid programs and daemons that drop their ids, so
//! its owner need not be the user that runs in it. What else an owner's keyring is linked to is the owner's business.

use nix::errno::Errno;

use super::authorise::Acting;
use super::refusal::refused;
use crate::event::Failure;
use crate::key::KeyDescription;
use crate::sys::keyctl;

/// Refuses a keyring that belongs neither to the context's owner nor, if root acts for that user, to root. Takes one
/// system call, which the authority over the key permits.
///
/// # Errors
/// The refusal, as a [`Failure`].
pub(super) fn check(uid: u32, acting: Acting) -> Result<(), Failure> {
    match keyctl::describe(keyctl::REQUESTORS_KEYRING).and_then(KeyDescription::read) {
        Ok(ring) if ring.key_type == "keyring" && is_own(ring.uid, uid, acting) => Ok(()),
        Ok(ring) => Err(refused(format_args!(
            "S20: the keyring for the context belongs to uid {}, the context to uid {uid}; ask in a session of its own \
             (keyctl session - CMD, pam_keyinit) or into the process keyring",
            ring.uid
        ))),
        // There is no such keyring.
        Err(Errno::ENOKEY) => Ok(()),
        Err(errno) => Err(refused(format_args!(
            "S20: whose keyring the context would go into cannot be seen: {}; ask in a new session (keyctl session - CMD)",
            errno.desc()
        ))),
    }
}

fn is_own(owner: u32, uid: u32, acting: Acting) -> bool {
    owner == uid || (acting == Acting::ForAnother && owner == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyring_is_the_context_owners_or_that_of_root_who_acts_for_it() {
        for (owner, uid, acting, own) in [
            (7, 7, Acting::ForItself, true),
            (0, 0, Acting::ForItself, true),
            (7, 0, Acting::ForItself, false),
            (0, 7, Acting::ForItself, false),
            (8, 7, Acting::ForItself, false),
            (0, 7, Acting::ForAnother, true),
            (7, 7, Acting::ForAnother, true),
            (8, 7, Acting::ForAnother, false),
        ] {
            assert_eq!(is_own(owner, uid, acting), own, "{owner} {uid} {acting:?}");
        }
    }
}
