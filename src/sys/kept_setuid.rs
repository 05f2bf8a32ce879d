//! The one right of `lgss_kcm`: to become another user, never root.
//!
//! Called by src/kcm alone. Invariant: after [`keep_only_setuid`] there is no capability but CAP_SETUID, no supplementary
//! group, and no way to get more by executing a file; after [`leave_for`] there is nothing, and no way back.

use capctl::caps::{Cap, CapState, ambient, bounding};
use capctl::prctl::Secbits;
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Gid, Uid, getegid, getgroups, getresgid, getresuid, setgroups, setresgid, setresuid};

use super::jail::{become_undumpable, verify_dropped};

fn code(error: capctl::Error) -> Errno {
    Errno::from_raw(error.code())
}

/// Whether this process has the right.
///
/// # Errors
/// Those of capget(2).
pub(crate) fn has_setuid() -> Result<bool, Errno> {
    Ok(CapState::get_current().map_err(code)?.permitted.has(Cap::SETUID))
}

/// Becomes this user and group, if it is another, and gives up everything but CAP_SETUID, which stays inheritable for
/// [`hand_on_setuid`]. Undumpable from then on. Verifies that.
///
/// Clearing the groups takes CAP_SETGID, emptying the bounding set and locking the secure bits CAP_SETPCAP, unless that has been
/// done already.
///
/// # Errors
/// EPERM if a right to do it was missing or something is left over; other errors of the kernel.
pub(crate) fn keep_only_setuid(uid: Uid, gid: Gid) -> Result<(), Errno> {
    if uid.is_root() || uid.as_raw() == u32::MAX || gid.as_raw() == u32::MAX {
        return Err(Errno::EPERM);
    }
    ambient::clear().map_err(code)?;
    let mut all = CapState::get_current().map_err(code)?;
    all.effective = all.permitted;
    // Not possible later, when the bounding set lacks it.
    all.inheritable.add(Cap::SETUID);
    all.set_current().map_err(code)?;
    if !getgroups()?.is_empty() {
        setgroups(&[])?;
    }
    let locked = Secbits::NOROOT | Secbits::NOROOT_LOCKED;
    if !capctl::prctl::get_securebits().map_err(code)?.contains(locked) {
        capctl::prctl::set_securebits(locked).map_err(code)?;
    }
    bounding::clear().map_err(code)?;
    setresgid(gid, gid, gid)?;
    become_undumpable(uid)?;
    kept().set_current().map_err(code)?;
    capctl::prctl::set_no_new_privs().map_err(code)?;
    verify_kept(uid, gid)
}

fn kept() -> CapState {
    let mut kept = CapState::empty();
    kept.permitted.add(Cap::SETUID);
    kept.effective.add(Cap::SETUID);
    kept.inheritable.add(Cap::SETUID);
    kept
}

fn verify_kept(uid: Uid, gid: Gid) -> Result<(), Errno> {
    let (uids, gids) = (getresuid()?, getresgid()?);
    let ids_ok = [uids.real, uids.effective, uids.saved].iter().all(|&id| id == uid)
        && [gids.real, gids.effective, gids.saved].iter().all(|&id| id == gid);
    let regained = setgroups(&[Gid::from_raw(0)]).is_ok();
    let as_told = CapState::get_current().map_err(code)? == kept()
        && bounding::probe().is_empty()
        && ambient::probe().is_none_or(|set| set.is_empty());
    if ids_ok && !regained && as_told && getgroups()?.is_empty() { Ok(()) } else { Err(Errno::EPERM) }
}

/// Tries to become root by every call that could. Those who have the right but must not use it so end if this succeeds.
pub(crate) fn can_become_root() -> bool {
    let root = Uid::from_raw(0);
    // The last two leave the other ids as they are: what they change could be changed back, but nobody would want to go on.
    setresuid(root, root, root).is_ok()
        || nix::unistd::setuid(root).is_ok()
        || nix::unistd::seteuid(root).is_ok()
}

/// Becomes `uid` for good, or stays who it is, and gives the right up. The group stays. Verifies that, also by trying to get
/// back.
///
/// # Errors
/// EPERM for root, if the right was missing, or if something was left over; other errors of the kernel.
pub(crate) fn leave_for(uid: Uid) -> Result<(), Errno> {
    let (before, gid) = (nix::unistd::geteuid(), getegid());
    if uid.is_root() || uid.as_raw() == u32::MAX {
        return Err(Errno::EPERM);
    }
    ambient::clear().map_err(code)?;
    become_undumpable(uid)?;
    CapState::empty().set_current().map_err(code)?;
    verify_dropped(uid, gid)?;
    let returned = before != uid && setresuid(before, before, before).is_ok();
    if returned || !getgroups()?.is_empty() { Err(Errno::EPERM) } else { Ok(()) }
}

/// Has the next program that this process executes begin with the right.
///
/// # Errors
/// EPERM if this process does not have it.
pub(crate) fn hand_on_setuid() -> Result<(), Errno> {
    ambient::raise(Cap::SETUID).map_err(code)
}

/// Sets a limit to `wanted`; without the right to raise it, as near as the hard limit allows. Returns the limit.
///
/// # Errors
/// Those of setrlimit(2).
pub(crate) fn raise_limit(limit: Resource, wanted: u64) -> Result<u64, Errno> {
    if setrlimit(limit, wanted, wanted).is_ok() {
        return Ok(wanted);
    }
    let (_, hard) = getrlimit(limit)?;
    let reached = wanted.min(hard);
    setrlimit(limit, reached, hard).map(|()| reached)
}
