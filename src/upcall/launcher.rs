//! The monitor's child that becomes the worker: gives up every right in order, opens the credential cache on the way,
//! and executes the worker with two descriptors.
//!
//! Invariant: nothing of the requester's file system is executed or read as configuration; only its cache is opened.

use std::convert::Infallible;
use std::ffi::{CString, NulError};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid};

use super::authorise::Acting;
use super::front::Served;
use crate::config::Config;
use crate::creds::cache_name::{Anchor, CacheName};
use crate::creds::default_cache::default_cache_name;
use crate::creds::keyring_copy;
use crate::creds::open::{Opened, open_cache};
use crate::event::{Cause, Failure, Stage};
use crate::identity::system_user;
use crate::key::KeySerial;
use crate::negotiate::messages::{Failed, Link};
use crate::sys::jail::{self, OomScore};
use crate::sys::process::{self, Process};
use crate::sys::{files, keyctl};

/// Largest cache that is copied for the machine user, in bytes.
const COPY_LIMIT: usize = 16 * 1024 * 1024;
/// The worker's descriptors: 0 to 2 as inherited, the message socket, the cache.
const FIRST_UNUSED: i32 = 5;

/// What the monitor wants done.
pub(super) struct Assignment<'a> {
    /// The key, to prove that the worker will have no access to it.
    pub key: KeySerial,
    /// Whose context.
    pub uid: u32,
    /// That user's primary group.
    pub gid: u32,
    /// For whom the requester asks.
    pub acting: Acting,
    /// The requester's session keyring.
    pub session_ring: i32,
    /// The cache that the callout names.
    pub cache: Option<&'a str>,
    /// The settings.
    pub config: &'a Config,
    /// The process that we must not outlive.
    pub monitor: &'a Process,
}

/// Does not return: the worker runs, or a failure has been reported.
pub(super) fn become_worker(
    assignment: &Assignment<'_>,
    served: &Served,
    program: OwnedFd,
    socket: UnixStream,
) -> ! {
    let mut link = socket.try_clone().map(Link::new);
    let Err(failure) = launch(assignment, served, program, socket.into());
    if let Ok(link) = link.as_mut() {
        let _ = link.send_failed(&Failed { failure, stages: Vec::new() });
    }
    process::end(1)
}

fn launch(
    assignment: &Assignment<'_>,
    served: &Served,
    program: OwnedFd,
    socket: OwnedFd,
) -> Result<Infallible, Failure> {
    let failed = |step| move |errno| launch_failed(step, errno);
    jail::die_with_parent().map_err(failed("parent"))?;
    jail::set_oom_score(OomScore::Normal);
    jail::enter_network(served.network.as_fd()).map_err(failed("network namespace"))?;
    let name = cache_name(assignment)?;
    isolate_keyrings(assignment, &name)?;
    jail::limit_resources().map_err(failed("limits"))?;
    let cache = if assignment.uid == 0 {
        // Root's cache is read by root and handed over as sealed memory: no process of uid 0 talks to the network.
        let sealed = seal(open_as_owner(assignment, served, &name)?, &name)?;
        let machine = system_user::find(&assignment.config.machine_user)
            .map_err(|error| Failure::new(Stage::Launch, Cause::Setup, error))?;
        jail::drop_to(machine.uid, machine.gid).map_err(failed("drop of rights"))?;
        Cache { name, descriptor: Some(sealed) }
    } else {
        let (uid, gid) = (Uid::from_raw(assignment.uid), Gid::from_raw(assignment.gid));
        jail::drop_to(uid, gid).map_err(failed("drop of rights"))?;
        match open_as_owner(assignment, served, &name)? {
            Opened::File(located) => Cache { name, descriptor: Some(located) },
            Opened::Named(name) => Cache { name, descriptor: None },
        }
    };
    jail::die_with_parent().map_err(failed("parent"))?;
    if assignment.monitor.wait_for_end(Duration::ZERO) {
        return Err(launch_failed("the monitor has ended", Errno::ESRCH));
    }
    execute(assignment.config, cache, program, socket)
}

/// The cache of the request, or the host's default for the uid.
fn cache_name(assignment: &Assignment<'_>) -> Result<CacheName, Failure> {
    let bad = |error: &dyn std::fmt::Display| Failure::new(Stage::Credentials, Cause::BadCache, error);
    let name = match assignment.cache {
        Some(name) => name.to_owned(),
        None => default_cache_name(&assignment.config.krb5_config, assignment.uid).map_err(|e| bad(&e))?,
    };
    name.parse().map_err(|e| bad(&e))
}

/// A fresh session keyring with nothing in it but the requester's cache collection, if that is in its session; proved
/// to give no access to the key (rule S13).
fn isolate_keyrings(assignment: &Assignment<'_>, name: &CacheName) -> Result<(), Failure> {
    let failed = |step| move |errno| launch_failed(step, errno);
    let collection = match name {
        CacheName::Keyring { anchor: Anchor::Session, collection, .. }
            if assignment.acting == Acting::ForItself =>
        {
            session_collection(assignment.session_ring, collection)
        }
        _ => None,
    };
    // Across the change of session, possession is kept by way of the process keyring.
    if let Some(ring) = collection {
        keyctl::link(ring, keyctl::PROCESS_KEYRING).map_err(failed("process keyring"))?;
    }
    let session = keyctl::join_anonymous_session().map_err(failed("session keyring"))?;
    if let Some(ring) = collection {
        keyctl::link(ring, session).map_err(failed("session keyring"))?;
        keyctl::clear(keyctl::PROCESS_KEYRING).map_err(failed("process keyring"))?;
    }
    match keyctl::read(assignment.key.raw()) {
        Err(Errno::EACCES) => Ok(()),
        Err(errno) => Err(launch_failed("proof of isolation", errno)),
        Ok(_) => {
            Err(Failure::new(Stage::Launch, Cause::Setup, "S13: the worker would have access to the key"))
        }
    }
}

/// A collection's keyring below the requester's session keyring; collections are called `_krb_<name>`, those of the
/// oldest form just by their name (krb5 ccache types, "KEYRING").
fn session_collection(session: i32, collection: &str) -> Option<i32> {
    let search = |name: String| {
        let name = CString::new(name).ok()?;
        keyctl::search(session, c"keyring", &name).ok()
    };
    search(format!("_krb_{collection}")).or_else(|| search(collection.to_owned()))
}

/// Opens the cache below the requester's root. A daemon's caches are only for requesters in our own file system: the
/// daemon that another one would reach there is not the host's.
fn open_as_owner(assignment: &Assignment<'_>, served: &Served, name: &CacheName) -> Result<Opened, Failure> {
    let opened = open_cache(served.root.as_fd(), name, assignment.uid, &assignment.config.caches)?;
    if matches!(name, CacheName::Kcm(_)) {
        let root = open("/", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|e| launch_failed("root", e))?;
        let same =
            files::same_place(root.as_fd(), served.root.as_fd()).map_err(|e| launch_failed("root", e))?;
        if !same {
            let detail =
                format_args!("{name}: the requester is in another mount namespace, the KCM daemon is not");
            return Err(Failure::new(Stage::Credentials, Cause::BadCache, detail));
        }
    }
    Ok(opened)
}

/// Root's cache as sealed memory. A daemon's cannot be had that way: it answers root itself only.
fn seal(opened: Opened, name: &CacheName) -> Result<OwnedFd, Failure> {
    let failed = |cause, errno: Errno| {
        Failure::new(Stage::Credentials, cause, format_args!("{name}: {}", errno.desc()))
    };
    let content = match opened {
        Opened::File(located) => {
            files::read_located(located.as_fd(), COPY_LIMIT).map_err(|e| failed(Cause::BadCache, e))
        }
        Opened::Named(CacheName::Keyring { anchor, residual, collection }) => {
            keyring_copy::copy(anchor, &collection, &residual).map_err(|errno| match errno {
                Errno::ENOKEY => failed(Cause::NoTicket, errno),
                _ => failed(Cause::BadCache, errno),
            })
        }
        Opened::Named(_) => {
            let detail =
                format_args!("{name}: for requests of root FILE, DIR and KEYRING caches can be used");
            Err(Failure::new(Stage::Credentials, Cause::BadCache, detail))
        }
    }?;
    files::sealed_memory(&content).map_err(|errno| launch_failed("sealed memory", errno))
}

struct Cache {
    name: CacheName,
    descriptor: Option<OwnedFd>,
}

/// The worker's contract: argv is the cache as the library finds it and as a person knows it, the environment holds
/// KRB5_CONFIG alone, descriptor 3 is the message socket and 4 the cache.
fn execute(config: &Config, cache: Cache, program: OwnedFd, socket: OwnedFd) -> Result<Infallible, Failure> {
    let failed = |errno| launch_failed("exec", errno);
    let name = cache.name.to_string();
    let found_as = match &cache.descriptor {
        Some(_) => "FILE:/proc/self/fd/4".to_owned(),
        None => name.clone(),
    };
    let text = |text: Vec<u8>| CString::new(text).map_err(|_: NulError| failed(Errno::EINVAL));
    let argv = [text(b"lgss_negotiate".to_vec())?, text(found_as.into_bytes())?, text(name.into_bytes())?];
    let mut krb5_config = b"KRB5_CONFIG=".to_vec();
    krb5_config.extend_from_slice(config.krb5_config.as_os_str().as_bytes());
    let environment = text(krb5_config)?;
    // Out of the way of the places below; closed by exec.
    let program = process::raised(program, FIRST_UNUSED).map_err(failed)?;
    process::place_descriptors(std::iter::once(socket).chain(cache.descriptor).collect(), program.as_fd())
        .map_err(failed)?;
    let argv = argv.each_ref().map(CString::as_c_str);
    Err(failed(process::exec(program.as_fd(), &argv, &[environment.as_c_str()], FIRST_UNUSED)))
}

fn launch_failed(step: &str, errno: Errno) -> Failure {
    Failure::new(Stage::Launch, Cause::Setup, format_args!("{step}: {errno}"))
}
