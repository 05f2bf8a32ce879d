//! The monitor's child that becomes the worker: gives up every right in order, opens the credential cache on the way,
//! and executes the worker with two descriptors.
//!
//! Invariant: nothing of the requester's file system is executed or read as configuration; only its caches are opened.

use std::convert::Infallible;
use std::ffi::{CString, NulError};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::{Gid, Uid};

use super::authorise::Acting;
use super::front::Served;
use super::order::Order;
use super::sources::{Held, Source, Wanted};
use crate::config::Config;
use crate::creds::stamp::Stamp;
use crate::event::{Cause, Failure, Stage};
use crate::identity::system_user;
use crate::key::KeySerial;
use crate::negotiate::messages::{Failed, Link};
use crate::sys::jail::{self, OomScore};
use crate::sys::keyctl;
use crate::sys::process::{self, Process};

/// The worker's descriptors: 0 to 2 as inherited, the message socket, and from here on the sources.
const FIRST_SOURCE: usize = 4;

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
    /// What it is for.
    pub order: &'a Order,
    /// Of the own cache of machine credentials, if these are asked for.
    pub stamp: Option<&'a Stamp>,
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
    jail::enter_network(served.places.network.as_fd()).map_err(failed("network namespace"))?;
    let wanted = Wanted::of(assignment, served)?;
    isolate_keyrings(assignment, wanted.session_collection())?;
    jail::limit_resources().map_err(failed("limits"))?;
    // What is root's is read by root and handed over as sealed memory: no process of uid 0 talks to the network.
    let sources = if wanted.are_roots() {
        let sealed = wanted.seal(assignment, served)?;
        let machine = system_user::find(&assignment.config.machine_user)
            .map_err(|error| Failure::new(Stage::Launch, Cause::Setup, error))?;
        jail::drop_to(machine.uid, machine.gid).map_err(failed("drop of rights"))?;
        sealed
    } else {
        let (uid, gid) = (Uid::from_raw(assignment.uid), Gid::from_raw(assignment.gid));
        jail::drop_to(uid, gid).map_err(failed("drop of rights"))?;
        wanted.open(assignment, served)?
    };
    jail::die_with_parent().map_err(failed("parent"))?;
    if assignment.monitor.wait_for_end(Duration::ZERO) {
        return Err(launch_failed("the monitor has ended", Errno::ESRCH));
    }
    execute(assignment.config, sources, program, socket)
}

/// A fresh session keyring with nothing in it but the requester's cache collection, if that is in its session; proved
/// to give no access to the key (rule S13).
fn isolate_keyrings(assignment: &Assignment<'_>, collection: Option<&str>) -> Result<(), Failure> {
    let failed = |step| move |errno| launch_failed(step, errno);
    let collection = collection
        .filter(|_| assignment.acting == Acting::ForItself)
        .and_then(|collection| session_collection(assignment.session_ring, collection));
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

/// The worker's contract: argv has three words for each source, its role, how the library finds it, and how a person
/// knows it; the environment holds KRB5_CONFIG alone; descriptor 3 is the message socket, and from 4 on come the sources
/// that are files.
fn execute(
    config: &Config,
    sources: Vec<Source>,
    program: OwnedFd,
    socket: OwnedFd,
) -> Result<Infallible, Failure> {
    let failed = |errno| launch_failed("exec", errno);
    let text = |text: Vec<u8>| CString::new(text).map_err(|_: NulError| failed(Errno::EINVAL));
    let mut words = vec![text(b"lgss_negotiate".to_vec())?];
    let mut descriptors = vec![socket];
    for Source { role, display, held } in sources {
        let library = match held {
            Held::Descriptor(descriptor) => {
                let place = FIRST_SOURCE + descriptors.len() - 1;
                descriptors.push(descriptor);
                format!("FILE:/proc/self/fd/{place}")
            }
            Held::Name(name) => name,
            Held::Nothing => String::new(),
        };
        for word in [role.word().to_owned(), library, display] {
            words.push(text(word.into_bytes())?);
        }
    }
    let mut krb5_config = b"KRB5_CONFIG=".to_vec();
    krb5_config.extend_from_slice(config.krb5_config.as_os_str().as_bytes());
    let environment = text(krb5_config)?;
    let first_unused =
        i32::try_from(FIRST_SOURCE + descriptors.len() - 1).map_err(|_| failed(Errno::EMFILE))?;
    // Out of the way of the places below; closed by exec.
    let program = process::raised(program, first_unused).map_err(failed)?;
    process::place_descriptors(descriptors, program.as_fd()).map_err(failed)?;
    let argv: Vec<_> = words.iter().map(CString::as_c_str).collect();
    Err(failed(process::exec(program.as_fd(), &argv, &[environment.as_c_str()], first_unused)))
}

pub(super) fn launch_failed(step: &str, errno: Errno) -> Failure {
    Failure::new(Stage::Launch, Cause::Setup, format_args!("{step}: {errno}"))
}
