//! What the monitor asks a launcher to do, and the failures of a launch.

use std::os::fd::OwnedFd;

use nix::errno::Errno;

use super::cgroup::OwnerCgroup;
use super::order::Order;
use super::shared_keys::SharedKeyCandidate;
use crate::config::Config;
use crate::creds::cache_name::CacheName;
use crate::creds::search::Rings;
use crate::creds::stamp::Stamp;
use crate::event::{Cause, Failure, Stage};
use crate::hook::HookOutput;
use crate::key::KeySerial;
use crate::sys::duplex::Duplex;
use crate::sys::lending::Late;
use crate::sys::process::Process;

/// Everything that a launcher needs to know.
#[derive(Clone, Copy)]
pub(super) struct Assignment<'a> {
    /// The key, to prove that the worker will have no access to it.
    pub key: KeySerial,
    /// Whether the key is not instantiated: there is an authority over it that the worker must not have.
    pub under_construction: bool,
    /// The context's owner.
    pub uid: u32,
    /// That user's primary group.
    pub gid: u32,
    /// The requester's keyrings, which the front has lent us if the requester asks for itself.
    pub rings: Rings,
    /// Places that have blocked an earlier attempt, by their number in the search.
    pub blocked: &'a [usize],
    /// The request.
    pub order: &'a Order,
    /// The shared keys that may serve, the best first.
    pub shared_keys: &'a [SharedKeyCandidate],
    /// The stamp of the own cache, if machine credentials are asked for.
    pub stamp: Option<&'a Stamp>,
    /// What the site's hook has for the user, not yet looked at.
    pub fetched: Option<&'a HookOutput>,
    /// The settings.
    pub config: &'a Config,
    /// The cgroup to start in.
    pub cgroup: Option<&'a OwnerCgroup<'a>>,
    /// The monitor, which the launcher must not outlive.
    pub monitor: &'a Process,
}

/// The worker's ends of its connections with the monitor.
pub(super) struct Ends {
    /// For messages.
    pub(super) pipes: Duplex,
    /// A pipe that gets a byte for each place that is started on, and is closed by exec.
    pub(super) starting: OwnedFd,
}

/// The failure of a cache that has blocked an earlier attempt.
pub(super) fn blocked(name: &CacheName) -> Failure {
    let why = match name {
        CacheName::Keyring { .. } => Late::Held.to_string(),
        _ => "its file system does not answer".to_owned(),
    };
    Failure::new(Stage::Credentials, Cause::BadCache, format_args!("{name}: {why}"))
}

/// The failure of a step of the launch.
pub(super) fn launch_failed(step: &str, errno: Errno) -> Failure {
    Failure::new(Stage::Launch, Cause::Setup, format_args!("{step}: {errno}"))
}
