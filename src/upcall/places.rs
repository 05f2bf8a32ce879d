//! What is needed of a requester after its release, opened by the front while the requester is still blocked (rules S5,
//! S6).

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

/// The open descriptors that a negotiation needs.
#[derive(Debug)]
pub(super) struct Places {
    /// The root directory above the credential cache (O_PATH).
    pub(super) root: OwnedFd,
    /// The network namespace.
    pub(super) network: OwnedFd,
    /// For a program: the user namespace whose owner the negotiation is counted for.
    pub(super) user_namespace: Option<OwnedFd>,
    /// For a user who may have named a cache there: one for whom Lustre asks, or one whose own program names no cache.
    pub(super) environment: Option<OwnedFd>,
    /// For a requester with a root directory other than ours; in a request for the machine, with another mount
    /// namespace.
    pub(super) container: Option<Container>,
}

/// What distinguishes one container from another, and the user ids in it; taken while the requester is blocked.
#[derive(Debug)]
pub(super) struct Container {
    /// The mount namespace; ours, if only the root directory is another.
    pub(super) mount_namespace: OwnedFd,
    /// The requester's open file `uid_map`, which keeps the user namespace and can be read at any time.
    pub(super) uid_map: OwnedFd,
    /// The text of the requester's file `cgroup`, which cannot be read after the requester's end (cgroups(7)).
    pub(super) cgroup: Vec<u8>,
}

impl Places {
    /// Opens the program's; for Lustre those of the process that the callout names, or ours.
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
            // The number is that of the reaper, or 1. Machine credentials do not depend on its root directory, and the
            // settings decide whether its mount namespace gets any.
            let named = ProcTask::open(&pid.to_string()).map_err(gone)?;
            let (ours, identity) = (ours()?, |task: &ProcTask| task.mount_namespace().map_err(gone));
            if identity(&ours)? == identity(&named)? {
                return open(&ours).map_err(gone);
            }
            elsewhere(&ours, &named).map_err(gone)
        }
        pid => {
            let task = ProcTask::open(&pid.to_string()).map_err(gone)?;
            // Optional: the cache that it names is only preferred to others.
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

/// For machine credentials in a container, which are negotiated in its network.
fn elsewhere(ours: &ProcTask, named: &ProcTask) -> Result<Places, RequesterError> {
    let (network, container) = (named.open_namespace(NamespaceKind::Network)?, Some(Container::of(named)?));
    Ok(Places { network, container, ..open(ours)? })
}

fn ours() -> Result<ProcTask, Failure> {
    ProcTask::open("self").map_err(gone)
}

/// Whether the task is in our user namespace. A process that ends has lost its root directory and network when its
/// files are closed, and yet its data must still reach the servers. The kernel vouches for its uid. In our user
/// namespace that is the user of this host, who would have the same context in any process, so that our own directory
/// and network can be used. In other user namespaces nothing can replace them.
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
