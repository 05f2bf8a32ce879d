//! What the kernel vouches for: who asks and from where, and what of it will be needed after its release (rules S1, S5, S6).

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;

use super::claim::{Asked, Claim, refused};
use crate::ctx::lustre::LustreCallout;
use crate::event::Failure;
use crate::identity::requester::{Namespace, Requester, RequesterError, Task};
use crate::key::auth_line::Expected;
use crate::key::{Authority, KeyDescription, KeySerial};
use crate::sys::namespaces;

/// Who has seen the requester.
#[derive(Debug)]
pub(super) enum Witness {
    /// The requester's thread keyring is the user keyring of the uid in the callout: that is how Lustre asks for ordinary
    /// users, and no program can. Nothing else need be read, which makes the most frequent request the cheapest.
    ThreadRing,
    /// The requester, as /proc shows it.
    Task(Requester),
}

impl Witness {
    /// Finds one.
    ///
    /// # Errors
    /// Rule S6, as a [`Failure`].
    pub(super) fn of(authority: &Authority, claim: &Claim, kernel: &KeyDescription) -> Result<Self, Failure> {
        if let Asked::Lustre(callout) = &claim.asked
            && !callout.roles.any()
            && is_user_keyring(claim.thread_ring, callout.uid)
        {
            return Ok(Self::ThreadRing);
        }
        let expected = Expected {
            auth_key: authority.auth_key(),
            key: authority.key(),
            uid: kernel.uid,
            gid: kernel.gid,
            callout_length: claim.callout_length,
        };
        Requester::find(expected).map(Self::Task).map_err(gone)
    }
}

/// Whether `ring` is the keyring `_uid.<uid>` of an ordinary user.
fn is_user_keyring(ring: i32, uid: u32) -> bool {
    let described = KeySerial::new(ring).and_then(|ring| KeyDescription::of(ring).ok());
    uid != 0
        && described.is_some_and(|ring| {
            let name = format!("_uid.{uid}");
            ring.key_type == "keyring" && ring.uid == uid && ring.description == name.as_bytes()
        })
}

/// Where a negotiation takes place, opened.
#[derive(Debug)]
pub(super) struct Places {
    /// The root directory below which the credential cache is (O_PATH).
    pub(super) root: OwnedFd,
    /// The network namespace.
    pub(super) network: OwnedFd,
    /// What else.
    pub(super) more: More,
}

/// What is needed of some requesters only.
#[derive(Debug)]
pub(super) enum More {
    /// Of a program: the user namespace by whose owner the negotiation is counted.
    UserNamespace(OwnedFd),
    /// Of a user whom Lustre asks for: the environment, since it has no other way to name its cache.
    Environment(OwnedFd),
    /// Nothing.
    Nothing,
}

impl Places {
    /// Opens them: a program's own; for Lustre those of the process that the callout names, or ours.
    ///
    /// # Errors
    /// Rules S5 and S6, as a [`Failure`].
    pub(super) fn of(claim: &Claim, witness: &Witness) -> Result<Self, Failure> {
        match (&claim.asked, witness) {
            (Asked::Lustre(callout), _) => of_lustre(callout),
            (Asked::User { .. }, Witness::Task(requester)) => {
                let namespace = requester.task().open_namespace(Namespace::User);
                namespace
                    .and_then(|namespace| open(requester.task(), More::UserNamespace(namespace)))
                    .map_err(gone)
            }
            (Asked::User { .. }, Witness::ThreadRing) => Err(refused("S6: nobody has seen the requester")),
        }
    }
}

fn of_lustre(callout: &LustreCallout) -> Result<Places, Failure> {
    let ours = || Task::open("self").map_err(gone);
    match callout.pid {
        0 => open(&ours()?, More::Nothing).map_err(gone),
        pid if callout.roles.any() => {
            // The number is that of the reaper, or 1; machine credentials are this host's, wherever the mount is.
            let named = Task::open(&pid.to_string()).map_err(gone)?;
            let (ours, identity) = (ours()?, |task: &Task| task.mount_namespace().map_err(gone));
            if identity(&ours)? != identity(&named)? {
                let detail = "S5: machine credentials are asked for from another mount namespace than ours";
                return Err(refused(detail));
            }
            open(&ours, More::Nothing).map_err(gone)
        }
        pid => {
            let task = Task::open(&pid.to_string()).map_err(gone)?;
            // What it names is a wish: without it there are other caches.
            let more = task.open_environment().map_or(More::Nothing, More::Environment);
            match open(&task, more) {
                Err(RequesterError::Proc(_, Errno::ENOENT | Errno::ESRCH)) if is_of_our_users(&task) => {
                    open(&ours()?, More::Nothing).map_err(gone)
                }
                opened => opened.map_err(gone),
            }
        }
    }
}

/// A process that ends has no root directory and no network any more when its files are closed, and yet what it has
/// written must reach the servers. The kernel vouches for its uid; in our user namespace that is the user of this host,
/// who would have the same context of the kernel's in any process. In others nothing takes the place of what has gone.
fn is_of_our_users(task: &Task) -> bool {
    let of = |task: &Task| {
        task.open_namespace(Namespace::User).ok().and_then(|ns| namespaces::identity(ns.as_fd()).ok())
    };
    let ours = Task::open("self").ok().and_then(|task| of(&task));
    ours.is_some() && of(task) == ours
}

fn open(task: &Task, more: More) -> Result<Places, RequesterError> {
    Ok(Places { root: task.open_root()?, network: task.open_namespace(Namespace::Network)?, more })
}

fn gone(error: RequesterError) -> Failure {
    match error {
        RequesterError::Proc(_, Errno::ENOENT | Errno::ESRCH) => {
            refused(format_args!("S6: the requester has gone: {error}"))
        }
        other => refused(format_args!("S6: {other}")),
    }
}
