//! The whole policy: whether this requester may have this context (rules S1, S2).
//!
//! Called by the front. Invariant: nothing else makes a [`Genuine`].

use super::claim::Claim;
use super::order::Order;
use super::refusal::refused;
use super::witness::Witness;
use crate::ctx::lustre::LustreCallout;
use crate::ctx::request::{Callout, Description, Owner};
use crate::event::Failure;
use crate::identity::requester::{Origin, Requester, Uids};
use crate::key::{Consumer, KeySerial, Permission};

/// A request that may be served. Only [`authorise`] makes one.
#[derive(Debug)]
pub(super) struct Genuine {
    key: KeySerial,
    /// Who reads the key.
    pub consumer: Consumer,
    /// In whose name the requester acts.
    pub acting: Acting,
}

/// In whose name a requester acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acting {
    /// The user's, who asks for itself: the keyrings are that user's.
    ForItself,
    /// A user's, for whom a server of real uid 0 acts by setfsuid(2): the keyrings are not that user's.
    ForAnother,
    /// The machine's.
    Machine,
}

impl Permission for Genuine {
    fn key(&self) -> KeySerial {
        self.key
    }
}

/// Decides whether the request may be served.
///
/// # Errors
/// The rule that forbids it, as a [`Failure`].
pub(super) fn authorise(claim: &Claim<'_>, witness: &Witness) -> Result<Genuine, Failure> {
    let key = claim.key;
    match (claim.order, witness) {
        (Order::Program { callout, description }, Witness::Task(requester)) => {
            let acting = of_a_program(claim.uid, callout, description, requester)?;
            Ok(Genuine { key, consumer: Consumer::Program, acting })
        }
        (Order::Program { .. }, Witness::ThreadRing) => {
            Err(refused("S1: the kernel itself does not ask for keys of type user"))
        }
        (Order::Lustre(callout), witness) => {
            let acting = of_lustre(callout, witness)?;
            Ok(Genuine { key, consumer: Consumer::Kernel, acting })
        }
    }
}

fn of_a_program(
    uid: u32,
    callout: &Callout,
    description: &Description,
    requester: &Requester,
) -> Result<Acting, Failure> {
    match requester.origin {
        Origin::UserSpace => {}
        Origin::Kernel(_) => return Err(refused("S1: the kernel itself does not ask for keys of type user")),
        Origin::Unknown => return Err(refused("S6: the requester's system call may not be looked at")),
    }
    let acting = acting_for(uid, requester.uids)?;
    match description.owner {
        Owner::Caller => {}
        Owner::Uid(named) if named == uid => {}
        Owner::Uid(named) => return Err(refused(format_args!("S2: the description names uid {named}"))),
    }
    if description.service != callout.service {
        return Err(refused("S2: description and callout name different services"));
    }
    Ok(acting)
}

/// Rule S2: the key's uid must be all four uids of the requester, unless root asks in a user's name.
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

/// Rule S1: only the kernel asks for these keys, and its callout is trusted in whatever process it asks. If the origin
/// cannot be seen, a requester gets its own context at most.
fn of_lustre(callout: &LustreCallout, witness: &Witness) -> Result<Acting, Failure> {
    let acting = if callout.roles.any() { Acting::Machine } else { Acting::ForItself };
    let requester = match witness {
        Witness::ThreadRing => return Ok(acting),
        Witness::Task(requester) => requester,
    };
    let needed = if acting == Acting::Machine { 0 } else { callout.uid };
    match requester.origin {
        Origin::Kernel(_) => Ok(acting),
        Origin::UserSpace => Err(refused("S1: only the kernel asks for keys of type lgssc")),
        Origin::Unknown if requester.uids.real == needed => Ok(acting),
        Origin::Unknown => Err(refused("S1: the request's origin cannot be seen, and it is for another uid")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Cause;
    use crate::identity::requester::Wait;

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

    fn of_lustre_by(callout: &str, origin: Origin, real: u32) -> Result<Acting, Failure> {
        let requester = Requester::pretended(origin, uids(real, real, real, real));
        of_lustre(&callout.parse().unwrap(), &Witness::Task(requester))
    }

    const USER: &str = "4:krb5:2001:2001::-:1:0x20000c0a84d01:lustre-MDT0000-mdc-ff2d:0x0:557:";
    const MACHINE: &str = "4:krb5:0:0:r:i:1:0x20000c0a84d01:lustre-MDT0000-mdc-ff2d:0x0:1:";

    #[test]
    fn only_the_kernel_gets_lustres_keys_and_it_may_ask_in_any_process() {
        for real in [0, 2001, 5] {
            assert_eq!(of_lustre_by(USER, Origin::Kernel(Wait::Other), real).unwrap(), Acting::ForItself);
            assert_eq!(of_lustre_by(MACHINE, Origin::Kernel(Wait::Other), real).unwrap(), Acting::Machine);
            for callout in [USER, MACHINE] {
                let refusal = of_lustre_by(callout, Origin::UserSpace, real).unwrap_err();
                assert!(refusal.detail.starts_with("S1"), "{refusal}");
            }
        }
    }

    #[test]
    fn where_the_origin_cannot_be_seen_nobody_gets_more_than_its_own() {
        assert_eq!(of_lustre_by(USER, Origin::Unknown, 2001).unwrap(), Acting::ForItself);
        assert_eq!(of_lustre_by(MACHINE, Origin::Unknown, 0).unwrap(), Acting::Machine);
        for (callout, real) in [(USER, 0), (USER, 5), (MACHINE, 2001)] {
            assert_eq!(of_lustre_by(callout, Origin::Unknown, real).unwrap_err().cause, Cause::Refused);
        }
    }
}
