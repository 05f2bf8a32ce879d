//! The monitor's child that becomes the worker: gives up one right after another, opens the credential caches on the
//! way, and executes the worker with a descriptor for each.
//!
//! Invariant: nothing in the requester's file system is executed or read as configuration; only its caches are opened.

use std::ffi::{CString, NulError};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::{Gid, Uid};

use super::assignment::{Assignment, Ends, blocked, launch_failed};
use super::confinement::confine_launcher;
use super::fetched_cache;
use super::sources::{WantedSources, seal_machines, seal_roots, seal_shared_keys};
use super::verdict::Served;
use crate::config::Config;
use crate::creds::cache_name::{Anchor, CacheName};
use crate::creds::search::{self, Rings, SearchProgress};
use crate::creds::source::Source;
use crate::creds::source_list::{self, SourceEntry};
use crate::event::{Cause, Failure, Stage};
use crate::identity::system_user;
use crate::key::KeySerial;
use crate::negotiate::messages::{Failed, WorkerEnd};
use crate::sys::duplex::Duplex;
use crate::sys::errno::errno_of;
use crate::sys::exec::{Execution, NotExecuted};
use crate::sys::jail::{self, OomScore};
use crate::sys::lending::Late;
use crate::sys::process;
use crate::sys::{files, keyctl};

/// The first descriptor of a source that is a file. The worker's contract: argv contains only a name, because everybody
/// can read it; the environment contains only KRB5_CONFIG; descriptors 0 to 2 are as inherited, 3 and 4 are the
/// pipes from and to the monitor, 5 is the list of sources ([`SourceEntry`]) as sealed memory, and the sources that are files follow.
const FIRST_SOURCE: usize = 6;

/// Becomes the worker, or reports a failure and ends.
pub(super) fn become_worker(
    assignment: &Assignment<'_>,
    served: &Served,
    program: OwnedFd,
    Ends { pipes, starting }: Ends,
) -> ! {
    let mut progress = SearchProgress::new(Some(starting.as_fd()), assignment.blocked);
    let launched = launch(assignment, served, &mut progress)
        .and_then(|sources| Ok((listed(sources)?, environment(assignment.config)?)));
    match launched {
        Ok(((list, opened), environment)) => {
            let told = match pipes.try_clone() {
                Ok(told) => told,
                Err(error) => {
                    report(pipes, launch_failed("exec", errno_of(&error)));
                    process::end(1)
                }
            };
            let descriptors = pipes.into_descriptors().into_iter().chain([list]).chain(opened).collect();
            let name = &assignment.config.worker.to_string_lossy();
            let (argv, environment) = (&[c"lgss_negotiate"], &[environment.as_c_str()]);
            let execution = Execution { program, name, argv, environment, descriptors };
            execution.run(told.into_descriptors(), |[incoming, outgoing], worker, obstacle| {
                report(Duplex::over(incoming, outgoing), not_executed(worker, obstacle));
            })
        }
        Err(failure) => {
            report(pipes, failure);
            process::end(1)
        }
    }
}

fn report(pipes: Duplex, failure: Failure) {
    let _ = WorkerEnd::over(pipes).send_failed(&Failed::without_stages(failure));
}

fn not_executed(worker: &str, obstacle: NotExecuted) -> Failure {
    match obstacle {
        NotExecuted::Descriptors(errno) => launch_failed("exec", errno),
        NotExecuted::Exec(errno) => launch_failed(&format!("worker {worker} cannot be executed"), errno),
    }
}

fn launch(
    assignment: &Assignment<'_>,
    served: &Served,
    progress: &mut SearchProgress<'_>,
) -> Result<Vec<Source>, Failure> {
    let failed = |step| move |errno| launch_failed(step, errno);
    // Before any secret is read; the monitor's own setting does not matter.
    jail::leave_no_core().map_err(failed("core"))?;
    // And before root copies anything of a requester's.
    jail::limit_resources(assignment.config.limits.memory).map_err(failed("limits"))?;
    jail::die_with_parent().map_err(failed("parent"))?;
    jail::set_oom_score(OomScore::Normal);
    jail::enter_network(served.places.network.as_fd()).map_err(failed("network namespace"))?;
    confine_launcher(assignment.config.worker_sandbox)?;
    let mut wanted = WantedSources::of(assignment, served, progress)?;
    let sources = match &mut wanted {
        // Root reads its own caches and hands them over as sealed memory, since no process of uid 0 talks to the
        // network.
        WantedSources::Roots(name) => {
            if !progress.begin() {
                return Err(blocked(name));
            }
            isolate_keyrings(assignment, roots_collection(name, assignment).as_slice())?;
            let sealed = seal_roots(name, assignment, served)?;
            drop_to_machine(assignment.config)?;
            sealed
        }
        WantedSources::SharedKeys => {
            isolate_keyrings(assignment, &[])?;
            let sealed = seal_shared_keys(assignment)?;
            drop_to_machine(assignment.config)?;
            sealed
        }
        WantedSources::Machines(default) => {
            isolate_keyrings(assignment, &[])?;
            let default = default.as_ref().map(|name| (name, progress.begin()));
            let sealed = seal_machines(default, assignment, served)?;
            drop_to_machine(assignment.config)?;
            sealed
        }
        WantedSources::Users(search) => {
            let late = Rings { late: Some(Late::Held), ..Rings::default() };
            search.look_into(if progress.begin() { assignment.rings } else { late });
            isolate_keyrings(assignment, search.lent())?;
            let (uid, gid) = (Uid::from_raw(assignment.uid), Gid::from_raw(assignment.gid));
            jail::drop_to(uid, gid).map_err(failed("drop of rights"))?;
            let mut sources = search.finish(progress);
            // Read by nobody with rights.
            sources.extend(assignment.fetched.and_then(fetched_cache::source));
            sources
        }
    };
    jail::die_with_parent().map_err(failed("parent"))?;
    if assignment.monitor.wait_for_end(Duration::ZERO) {
        return Err(launch_failed("the monitor has ended", Errno::ESRCH));
    }
    Ok(sources)
}

/// Proves that the authority over a key under construction is gone (rule S13). Reading such a key would wait for its
/// answer, so it is no proof. A process that has left the session the authority came with, and has given it up, cannot
/// get it back; without it only possession of the key would give any right to it.
fn prove_powerless(key: KeySerial) -> Result<(), Failure> {
    match keyctl::assume_authority(key.raw()) {
        Err(Errno::ENOKEY | Errno::EACCES) => Ok(()),
        Err(errno) => Err(launch_failed("proof of isolation", errno)),
        Ok(_) => {
            Err(Failure::new(Stage::Launch, Cause::Setup, "S13: the worker would have the key's authority"))
        }
    }
}

fn drop_to_machine(config: &Config) -> Result<(), Failure> {
    let failed = |step| move |errno| launch_failed(step, errno);
    let machine = system_user::find(&config.machine_user)
        .map_err(|error| Failure::new(Stage::Launch, Cause::Setup, error))?;
    jail::drop_to(machine.uid, machine.gid).map_err(failed("drop of rights"))
}

/// The collection with root's cache in the session keyring of its process.
fn roots_collection(name: &CacheName, assignment: &Assignment<'_>) -> Option<i32> {
    match name {
        CacheName::Keyring { anchor: Anchor::Session, collection, .. } => {
            search::session_collection(assignment.rings.session, collection, assignment.uid)
        }
        _ => None,
    }
}

/// Joins a new session keyring that contains only these collections of the requester's, and proves that it gives no
/// access to the key (rule S13).
fn isolate_keyrings(assignment: &Assignment<'_>, collections: &[i32]) -> Result<(), Failure> {
    search::isolate(collections).map_err(|(ring, errno)| launch_failed(ring, errno))?;
    // This also gives up the used authority over a key that has its answer. With it the kernel would refuse requests that
    // it makes in the worker, such as Lustre's.
    keyctl::divest_authority().map_err(|errno| launch_failed("authority", errno))?;
    if assignment.under_construction {
        return prove_powerless(assignment.key);
    }
    match keyctl::read(assignment.key.raw()) {
        Err(Errno::EACCES) => Ok(()),
        Err(errno) => Err(launch_failed("proof of isolation", errno)),
        Ok(_) => {
            Err(Failure::new(Stage::Launch, Cause::Setup, "S13: the worker would have access to the key"))
        }
    }
}

/// The worker's environment: KRB5_CONFIG alone.
fn environment(config: &Config) -> Result<CString, Failure> {
    let text = [b"KRB5_CONFIG=", config.krb5_config.as_os_str().as_bytes()].concat();
    CString::new(text).map_err(|_: NulError| launch_failed("exec", Errno::EINVAL))
}

/// The list of sources, and the sources that are files in the order of their descriptors.
fn listed(sources: Vec<Source>) -> Result<(OwnedFd, Vec<OwnedFd>), Failure> {
    let mut opened = Vec::new();
    let entries = sources.into_iter().map(|source| {
        SourceEntry::of(source, |descriptor| {
            opened.push(descriptor);
            format!("FILE:/proc/self/fd/{}", FIRST_SOURCE + opened.len() - 1)
        })
    });
    let list = source_list::encode(entries.collect())
        .map_err(|error| Failure::new(Stage::Launch, Cause::Setup, error))?;
    let list = files::sealed_memory(&list).map_err(|errno| launch_failed("sealed memory", errno))?;
    Ok((list, opened))
}
