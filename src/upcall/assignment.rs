//! What the monitor gives a launcher to do, and the failures of doing it.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use nix::errno::Errno;

use super::cgroup::OwnerCgroup;
use super::order::Order;
use crate::config::Config;
use crate::creds::cache_name::CacheName;
use crate::creds::search::Rings;
use crate::creds::stamp::Stamp;
use crate::event::{Cause, Failure, Stage};
use crate::key::KeySerial;
use crate::sys::lending::Late;
use crate::sys::process::Process;

/// What the monitor wants done.
#[derive(Clone, Copy)]
pub(super) struct Assignment<'a> {
    /// The key, to prove that the worker will have no access to it.
    pub key: KeySerial,
    /// Whether the key is not instantiated: there is an authority over it that the worker must not have.
    pub under_construction: bool,
    /// Whose context.
    pub uid: u32,
    /// That user's primary group.
    pub gid: u32,
    /// The requester's keyrings, which the front has lent us if it asks for itself.
    pub rings: Rings,
    /// Places that have blocked an earlier attempt, by their order in the search.
    pub blocked: &'a [usize],
    /// What it is for.
    pub order: &'a Order,
    /// Of the own cache of machine credentials, if these are asked for.
    pub stamp: Option<&'a Stamp>,
    /// The settings.
    pub config: &'a Config,
    /// Where it is accounted for.
    pub cgroup: Option<&'a OwnerCgroup<'a>>,
    /// The process that we must not outlive.
    pub monitor: &'a Process,
}

/// The worker's ends of what connects it with the monitor.
pub(super) struct Ends {
    /// For messages.
    pub(super) socket: UnixStream,
    /// Gets a byte for each place that is looked at, and is closed by exec.
    pub(super) starting: OwnedFd,
}

/// Of a cache that an attempt to read has been in vain for long.
pub(super) fn blocked(name: &CacheName) -> Failure {
    let why = match name {
        CacheName::Keyring { .. } => Late::Held.to_string(),
        _ => "its file system does not answer".to_owned(),
    };
    Failure::new(Stage::Credentials, Cause::BadCache, format_args!("{name}: {why}"))
}

/// A step of the launch that has failed.
pub(super) fn launch_failed(step: &str, errno: Errno) -> Failure {
    Failure::new(Stage::Launch, Cause::Setup, format_args!("{step}: {errno}"))
}
