//! What of a requester will be needed after its release, opened by the front while it is still blocked (rules S5, S6).

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;

use super::authorise::Acting;
use super::claim::Claim;
use super::order::Order;
use super::refusal::refused;
use super::witness::{Witness, gone};
use crate::ctx::lustre::LustreCallout;
use crate::event::Failure;
use crate::identity::requester::{NamespaceKind, ProcTask, RequesterError};
use crate::sys::{files, namespaces};

/// Where a negotiation takes place, opened.
#[derive(Debug)]
pub(super) struct Places {
    /// The root directory below which the credential cache is (O_PATH).
    pub(super) root: OwnedFd,
    /// The network namespace.
    pub(super) network: OwnedFd,
    /// Of a program: the user namespace by whose owner the negotiation is counted.
    pub(super) user_namespace: Option<OwnedFd>,
    /// Of a user who may have named its cache there: one whom Lustre asks for, or a program of its own that names none.
    pub(super) environment: Option<OwnedFd>,
    /// Of a requester with another root directory than ours; of one for the node, with another mount namespace.
    pub(super) container: Option<Container>,
}

/// What tells one container from another, and how users are numbered in it; taken while the requester is blocked.
#[derive(Debug)]
pub(super) struct Container {
    /// The mount namespace, which is ours for one that has only changed its root directory.
    pub(super) mount_namespace: OwnedFd,
    /// The requester's file `uid_map`, to be read at any time: it keeps the user namespace.
    pub(super) uid_map: OwnedFd,
    /// The text of the requester's file `cgroup`, which cannot be read after its end (cgroups(7)).
    pub(super) cgroup: Vec<u8>,
}

impl Places {
    /// Opens them: a program's own; for Lustre those of the process that the callout names, or ours.
    ///
    /// # Errors
    /// Rules S5 and S6, as a [`Failure`].
    pub(super) fn of(claim: &Claim<'_>, witness: &Witness, acting: Acting) -> Result<Self, Failure> {
        match (claim.order, witness) {
            (Order::Lustre(callout), _) => of_lustre(callout),
            (Order::Program { callout, .. }, Witness::Task(requester)) => {
                let task = requester.task();
                let may_name = acting == Acting::ForItself && claim.uid != 0 && callout.cache.is_none();
                let environment = may_name.then(|| task.open_environment().ok()).flatten();
                of_program(task).map(|places| Places { environment, ..places }).map_err(gone)
            }
            (Order::Program { .. }, Witness::ThreadRing) => Err(refused("S6: nobody has seen the requester")),
        }
    }
}

fn of_program(task: &ProcTask) -> Result<Places, RequesterError> {
    let user_namespace = Some(task.open_namespace(NamespaceKind::User)?);
    Ok(Places { user_namespace, ..open(task)? })
}

fn of_lustre(callout: &LustreCallout) -> Result<Places, Failure> {
    match callout.pid {
        0 => open(&ours()?).map_err(gone),
        pid if callout.roles.any() => {
            // The number is that of the reaper, or 1. Credentials of the node do not depend on its root directory, and
            // whether its mount namespace has any is for the settings to say.
            let named = ProcTask::open(&pid.to_string()).map_err(gone)?;
            let (ours, identity) = (ours()?, |task: &ProcTask| task.mount_namespace().map_err(gone));
            if identity(&ours)? == identity(&named)? {
                return open(&ours).map_err(gone);
            }
            elsewhere(&ours, &named).map_err(gone)
        }
        pid => {
            let task = ProcTask::open(&pid.to_string()).map_err(gone)?;
            // What it names is a wish: without it there are other caches.
            let environment = task.open_environment().ok();
            match open(&task) {
                Err(RequesterError::Proc(_, Errno::ENOENT | Errno::ESRCH)) if is_of_our_users(&task) => {
                    open(&ours()?).map_err(gone)
                }
                opened => Ok(Places { environment, ..opened.map_err(gone)? }),
            }
        }
    }
}

/// For credentials of the node in a container: negotiated in its network.
fn elsewhere(ours: &ProcTask, named: &ProcTask) -> Result<Places, RequesterError> {
    let (network, container) = (named.open_namespace(NamespaceKind::Network)?, Some(Container::of(named)?));
    Ok(Places { network, container, ..open(ours)? })
}

fn ours() -> Result<ProcTask, Failure> {
    ProcTask::open("self").map_err(gone)
}

/// A process that ends has no root directory and no network any more when its files are closed, and yet what it has
/// written must reach the servers. The kernel vouches for its uid; in our user namespace that is the user of this host,
/// who would have the same context of the kernel's in any process. In others nothing takes the place of what has gone.
fn is_of_our_users(task: &ProcTask) -> bool {
    let of = |task: &ProcTask| {
        task.open_namespace(NamespaceKind::User).ok().and_then(|ns| namespaces::identity(ns.as_fd()).ok())
    };
    let ours = ProcTask::open("self").ok().and_then(|task| of(&task));
    ours.is_some() && of(task) == ours
}

fn open(task: &ProcTask) -> Result<Places, RequesterError> {
    let (root, network) = (task.open_root()?, task.open_namespace(NamespaceKind::Network)?);
    let is_ours = files::our_root()
        .and_then(|ours| files::same_place(ours.as_fd(), root.as_fd()))
        .map_err(|errno| RequesterError::Proc("root", errno))?;
    let container = if is_ours { None } else { Some(Container::of(task)?) };
    Ok(Places { root, network, user_namespace: None, environment: None, container })
}

impl Container {
    fn of(task: &ProcTask) -> Result<Self, RequesterError> {
        Ok(Self {
            mount_namespace: task.open_namespace(NamespaceKind::Mount)?,
            uid_map: task.open_uid_map()?,
            cgroup: task.cgroup()?,
        })
    }
}
