//! The start: what needs root's rights or the file system comes first, then both are given up.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use landlock::RulesetStatus;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::resource::Resource;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{getegid, geteuid};

use super::confinement::{confine_keeper, prove_not_root};
use super::failure::KcmFailure;
use super::keeper::DoorKeeper;
use super::launch::{AGENTS_DESCRIPTORS, AgentProgram};
use super::lines::{KcmLog, LogSeverity};
use super::manager::{ServiceManager, uid_of};
use super::options::KcmOptions;
use super::served::PeerRule;
use super::socket::{PassedKind, kind, make};
use super::visitors::Visitors;
use crate::identity::system_user::{SystemUser, find};
use crate::sys::errno::errno_of;
use crate::sys::files::open_trusted;
use crate::sys::process::reset_inherited_but;
use crate::sys::{activation, jail, kept_setuid, keyctl, passing};

/// Connections that may wait at a door. The kernel counts all that are on their way for our user, and refuses more than it may
/// have open.
const QUEUE: u64 = 128;
/// Fewest, or a burst of one user's programs would find the door full.
const LEAST_QUEUE: u64 = 8;
/// Descriptors of our own, besides four for each agent.
const OWN_DESCRIPTORS: u64 = 256;
/// What an agent may lock in memory, if its user's limit allows.
const LOCKED_MEMORY: u64 = 64 * 1024 * 1024;
/// Agents are the keeper's children, so it says this of them, too.
const WITHOUT_LANDLOCK: &str = "the kernel has no Landlock: nothing but the files' modes keeps lgss_kcm and agents from writing to \
                                files (lgss_kcm(8)); use Linux 5.13 or later with it";

/// Does everything that comes before the first connection.
///
/// # Errors
/// [`KcmFailure`].
pub(super) fn prepare(options: KcmOptions) -> Result<DoorKeeper, KcmFailure> {
    let step = |step| move |errno| KcmFailure::Step(step, errno);
    // Before a restart they were blocked, and another may have come since.
    let wanted = wanted_signals();
    wanted.thread_block().map_err(step("signals"))?;
    let (passed, doors) = sort(activation::take());
    let program_file = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe"));
    reset_inherited_but(&wanted);
    let signals = signals(&wanted).map_err(step("signals"))?;
    // Agents and their workers shall not have that of whoever starts us.
    keyctl::join_anonymous_session().map_err(step("session keyring"))?;
    let user = find(&options.user)?;
    if !geteuid().is_root()
        && (geteuid() != user.uid || !kept_setuid::has_setuid().map_err(step("rights"))?)
    {
        return Err(KcmFailure::Unprivileged(geteuid().as_raw()));
    }
    let agent = AgentProgram::new(agents_file(&options)?, options.agent_config.as_deref())?;
    let listener = match passed {
        Some(listener) => listener,
        None => make(&options.socket)?,
    };
    listener.set_nonblocking(true).map_err(|error| KcmFailure::Step("socket", errno_of(&error)))?;
    // An older kernel does not know how.
    let _ = passing::refuse_descriptors(listener.as_fd());
    let (mut lines, manager) = (KcmLog::open(options.log_socket.clone()), ServiceManager::find());
    let queue = queue(u64::from(options.agents))?;
    // What agents leave behind counts for their users (children.rs).
    nix::sys::prctl::set_child_subreaper(true).map_err(step("children"))?;
    give_up(user, &options, &mut lines)?;
    let (served, refused) = (PeerRule::new(user.uid), Visitors::new(options.connections));
    Ok(DoorKeeper {
        options,
        program_file,
        listener,
        agent,
        doors,
        served,
        lines,
        manager,
        signals,
        queue,
        successor: None,
        refused,
    })
}

/// Whether the program could take the place of the one that has started it, which has given everything up.
///
/// # Errors
/// [`KcmFailure`].
pub(super) fn could_start(options: &KcmOptions) -> Result<(), KcmFailure> {
    let user = find(&options.user)?;
    if (user.uid, user.gid) != (geteuid(), getegid()) {
        return Err(KcmFailure::AnotherUser(user.uid.as_raw(), user.gid.as_raw()));
    }
    agents_file(options)?;
    queue(u64::from(options.agents)).map(drop)
}

/// The agent's program. What an agent would only say when its user wants a ticket is said here.
fn agents_file(options: &KcmOptions) -> Result<OwnedFd, KcmFailure> {
    let file = open_trusted(&options.agent, OFlag::O_PATH).map_err(KcmFailure::Agent)?;
    // Who executes it is any user.
    if !file.metadata().is_ok_and(|found| found.mode() & 0o001 != 0) {
        return Err(KcmFailure::AgentNotExecutable(options.agent.clone()));
    }
    if let Some(settings) = &options.agent_config {
        let unread = |errno| KcmFailure::AgentConfig(settings.clone(), errno);
        if settings.is_relative() {
            return Err(unread(Errno::EINVAL));
        }
        let found = std::fs::metadata(settings).map_err(|error| unread(errno_of(&error)))?;
        if found.mode() & 0o004 == 0 {
            return Err(unread(Errno::EACCES));
        }
    }
    Ok(file.into())
}

fn give_up(user: SystemUser, options: &KcmOptions, lines: &mut KcmLog) -> Result<(), KcmFailure> {
    let step = |step| move |errno| KcmFailure::Step(step, errno);
    kept_setuid::keep_only_setuid(user.uid, user.gid).map_err(step("rights"))?;
    jail::leave_no_core().map_err(step("core"))?;
    if !options.restarted {
        // Of which a process can have sixteen, so not at each restart.
        let files = confine_keeper()?;
        if files == RulesetStatus::NotEnforced {
            lines.write(LogSeverity::Warning, WITHOUT_LANDLOCK);
        }
    }
    // Also of a process that only says that it has been confined before.
    prove_not_root()
}

/// The socket and the doors of agents among what was passed.
fn sort(passed: Vec<activation::Handed>) -> (Option<UnixListener>, BTreeMap<u32, OwnedFd>) {
    let (mut listener, mut doors) = (None, BTreeMap::new());
    for activation::Handed { name, descriptor } in passed {
        match (kind(descriptor.as_fd()), uid_of(&name)) {
            (PassedKind::Listener, _) if listener.is_none() => listener = Some(descriptor.into()),
            (PassedKind::Door, Some(uid)) => drop(doors.insert(uid, descriptor)),
            _ => {}
        }
    }
    (listener, doors)
}

/// Sets limits; returns how many connections may wait at a door.
///
/// The kernel refuses to send a descriptor when as many as the limit are on their way, for whomever: full doors of all agents must
/// stay below it.
fn queue(agents: u64) -> Result<u32, KcmFailure> {
    let limits = |errno| KcmFailure::Step("limits", errno);
    kept_setuid::raise_limit(Resource::RLIMIT_MEMLOCK, LOCKED_MEMORY).map_err(limits)?;
    // A restart has each door three times.
    let own = 4 * agents + OWN_DESCRIPTORS;
    let wanted = (agents * QUEUE + own).max(AGENTS_DESCRIPTORS);
    let reached = kept_setuid::raise_limit(Resource::RLIMIT_NOFILE, wanted).map_err(limits)?;
    let needed = agents * LEAST_QUEUE + own;
    if reached < needed {
        return Err(KcmFailure::Descriptors { agents, needed, reached });
    }
    let each = ((reached - own) / agents.max(1)).min(QUEUE);
    u32::try_from(each).map_err(|_| limits(Errno::ERANGE))
}

fn wanted_signals() -> SigSet {
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGCHLD].into_iter().collect()
}

fn signals(wanted: &SigSet) -> Result<SignalFd, Errno> {
    SignalFd::with_flags(wanted, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}
