//! The whole policy for `user` keys: whether this requester may have this context (rules S1, S2).

use super::claim::{Claim, refused};
use crate::ctx::request::{Callout, Owner};
use crate::event::Failure;
use crate::identity::requester::{Origin, Requester, Uids};
use crate::key::{KeySerial, Permission};

/// A request that may be served. Only [`authorise`] makes one.
#[derive(Debug)]
pub(super) struct Genuine {
    key: KeySerial,
    /// What is asked for.
    pub callout: Callout,
    /// Whether the requester asks for itself.
    pub acting: Acting,
}

/// For whom a requester asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acting {
    /// All its ids are the uid of the request: its keyrings are that user's.
    ForItself,
    /// A server of real uid 0 acts for a user by setfsuid(2): its keyrings are not that user's.
    ForAnother,
}

impl Permission for Genuine {
    fn key(&self) -> KeySerial {
        self.key
    }
}

/// Decides.
///
/// # Errors
/// The rule that forbids it, as a [`Failure`].
pub(super) fn authorise(claim: Claim, requester: &Requester) -> Result<Genuine, Failure> {
    if requester.origin != Origin::UserSpace {
        return Err(refused("S1: the kernel itself does not ask for keys of type user"));
    }
    let acting = acting_for(claim.uid, requester.uids)?;
    match claim.description.owner {
        Owner::Caller => {}
        Owner::Uid(uid) if uid == claim.uid => {}
        Owner::Uid(uid) => return Err(refused(format_args!("S2: the description names uid {uid}"))),
    }
    if claim.description.service != claim.callout.service {
        return Err(refused("S2: description and callout name different services"));
    }
    Ok(Genuine { key: claim.key, callout: claim.callout, acting })
}

/// Rule S2: the uid of the key must be the requester's in every respect, unless root asks in a user's name.
fn acting_for(uid: u32, ids: Uids) -> Result<Acting, Failure> {
    if [ids.real, ids.effective, ids.saved, ids.fs].iter().all(|&id| id == uid) {
        Ok(Acting::ForItself)
    } else if ids.real == 0 {
        Ok(Acting::ForAnother)
    } else {
        let Uids { real, effective, saved, fs } = ids;
        Err(refused(format_args!(
            "S2: uids of the requester: real {real}, effective {effective}, saved {saved}, fs {fs}"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Cause;

    fn uids(real: u32, effective: u32, saved: u32, fs: u32) -> Uids {
        Uids { real, effective, saved, fs }
    }

    #[test]
    fn a_user_acts_for_itself_only_and_root_for_anyone() {
        assert_eq!(acting_for(7, uids(7, 7, 7, 7)).unwrap(), Acting::ForItself);
        assert_eq!(acting_for(0, uids(0, 0, 0, 0)).unwrap(), Acting::ForItself);
        assert_eq!(acting_for(7, uids(0, 0, 0, 7)).unwrap(), Acting::ForAnother);
        assert_eq!(acting_for(7, uids(0, 7, 0, 7)).unwrap(), Acting::ForAnother);
        for ids in [uids(7, 0, 0, 0), uids(7, 7, 7, 8), uids(7, 7, 0, 7), uids(8, 7, 7, 7), uids(7, 8, 7, 7)]
        {
            let fsuid = ids.fs;
            assert_eq!(acting_for(fsuid, ids).unwrap_err().cause, Cause::Refused, "{ids:?}");
        }
    }
}
