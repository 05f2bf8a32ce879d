//! From a command line to a process that may hold secrets: never root, no core, no way to new rights, confined.
//!
//! Called by [`super::run`]. Everything that needs a file or a name is done here, before the first connection.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{SockType, getsockopt, sockopt};
use nix::unistd::getresuid;

use super::arguments::{AgentArguments, IntakeChoice};
use super::change::{Memory, StorageError};
use super::collections::Collections;
use super::confinement::confine;
use super::intake::Intake;
use super::journal::{AgentJournal, Topic};
use super::limits::StoreLimits;
use super::peer::ClientScope;
use super::persistent::{KeptOwner, Persistent, Prepared};
use super::renewal::Renewals;
use super::serve::{Agent, CONNECTIONS};
use crate::config::{AgentSettings, AgentStorage, Config, ConfigError, LogLevel};
use crate::sys::listening::{PlaceTaken, listen};
use crate::sys::random::random_bytes;
use crate::sys::{given, jail, process};

/// Descriptors besides those of connections.
const OTHER_DESCRIPTORS: usize = 32;

/// Why the agent does not serve.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartFailure {
    #[error("not as root: a user's tickets are kept by a process of that user's")]
    Root,
    #[error("--for-uid {0}: this process's user is {1}; it serves that user, or as lgss_kcm's user uid 0")]
    ForAnother(u32, u32),
    #[error("descriptor {0}: {1}")]
    Given(i32, #[source] Errno),
    #[error("{0}: {1}")]
    Process(&'static str, #[source] Errno),
    #[error(transparent)]
    Settings(#[from] ConfigError),
    #[error("socket {0}: a server has it already")]
    InUse(PathBuf),
    #[error("socket {0}: something else is there; remove it, or name another place")]
    NoSocket(PathBuf),
    #[error("socket {0}: {1}")]
    Socket(PathBuf, #[source] io::Error),
    #[error("confinement: {0}")]
    Confinement(#[source] io::Error),
    #[error("agent.storage = \"keyring\": {0}")]
    Storage(#[source] StorageError),
}

/// Serves until there is no more to do.
///
/// # Errors
/// [`StartFailure`], if it cannot even begin.
pub(super) fn start(arguments: &AgentArguments) -> Result<(), StartFailure> {
    let uid = own_uid()?;
    let served = arguments.for_uid.unwrap_or(uid);
    if served != uid && served != 0 {
        return Err(StartFailure::ForAnother(served, uid));
    }
    let number = arguments.intake.descriptor();
    let given = given::take_only(number).map_err(|errno| StartFailure::Given(number.unwrap_or(-1), errno))?;
    let socket = absolute(arguments)?;
    process::reset_inherited();
    // For people who look at processes: what lgss_kcm executes has a number for a name before Linux 6.14.
    let _ = nix::sys::prctl::set_name(c"lgss_agent");
    let failed = |what| move |errno| StartFailure::Process(what, errno);
    jail::leave_no_core().map_err(failed("core"))?;
    jail::keep_no_right().map_err(failed("rights"))?;
    jail::allow_descriptors((CONNECTIONS + OTHER_DESCRIPTORS) as u64).map_err(failed("descriptors"))?;
    let config = Config::load(arguments.config.as_deref());
    let logged = config.as_ref().ok().cloned().unwrap_or_default().log;
    let mut journal = AgentJournal::new(logged.socket, logged.level, served);
    let begun = config.map_err(StartFailure::from).and_then(|config| {
        let renewals = renewals(&config, &mut journal);
        let intake = intake(&arguments.intake, given, socket)?;
        let ending = ending_signals().map_err(failed("signals"))?;
        let salt = random_bytes().map_err(failed("random numbers"))?;
        let settings = storable(config.agent, served, &mut journal);
        let prepared = (settings.storage == AgentStorage::Keyring).then(Prepared::open);
        confine(&settings).map_err(StartFailure::Confinement)?;
        let collections = match prepared {
            None => Collections::new(Box::new(Memory), salt),
            Some(prepared) => restored(prepared, (served, salt), &settings, &mut journal)?,
        };
        Ok((settings, intake, ending, collections, renewals))
    });
    match begun {
        Ok((settings, intake, ending, collections, renewals)) => {
            let agent = Agent::new((served, settings), intake, collections, renewals, journal);
            agent.serve(&ending, Instant::now());
            Ok(())
        }
        Err(failure) => {
            journal.say(LogLevel::Error, Topic::Process, format_args!("not started: {failure}"));
            Err(failure)
        }
    }
}

/// What renews tickets, if they are to be renewed. Its starter is forked before there is a socket of ours.
fn renewals(config: &Config, journal: &mut AgentJournal) -> Option<Renewals> {
    let started = config.agent.renew.then(|| Renewals::start(config))?;
    let told = |errno: &Errno| {
        let words = format_args!("no ticket is renewed: no process to start workers: {errno}");
        journal.say(LogLevel::Error, Topic::Renewal, words);
    };
    started.inspect_err(told).ok()
}

/// Root's caches are served by another user's process, whose keyring is no place for them.
fn storable(settings: AgentSettings, served: u32, journal: &mut AgentJournal) -> AgentSettings {
    if served != 0 || settings.storage == AgentStorage::Memory {
        return settings;
    }
    let words = "agent.storage: root's caches are in memory, since this process is not root's";
    journal.say(LogLevel::Info, Topic::Process, words);
    AgentSettings { storage: AgentStorage::Memory, ..settings }
}

/// The caches that are in the persistent keyring.
fn restored(
    prepared: Prepared,
    (uid, salt): (u32, [u8; 8]),
    settings: &AgentSettings,
    journal: &mut AgentJournal,
) -> Result<Collections, StartFailure> {
    let owner = KeptOwner { uid, token: salt, memory: StoreLimits::of(settings).memory };
    let found = Persistent::open(prepared, owner).map_err(StartFailure::Storage)?;
    for remark in found.remarks {
        journal.say(LogLevel::Warn, Topic::Storage, remark);
    }
    if !found.kept.caches.is_empty() {
        let tickets: usize = found.kept.caches.values().map(|cache| cache.credentials().len()).sum();
        let words = format_args!(
            "caches in the persistent keyring: {} with {tickets} entries",
            found.kept.caches.len()
        );
        journal.say(LogLevel::Info, Topic::Process, words);
    }
    Ok(Collections::restored(Box::new(found.storage), salt, (ClientScope::User, found.kept)))
}

fn own_uid() -> Result<u32, StartFailure> {
    let ids = getresuid().map_err(|errno| StartFailure::Process("ids", errno))?;
    if [ids.real, ids.effective, ids.saved].iter().any(|id| id.is_root()) {
        return Err(StartFailure::Root);
    }
    Ok(ids.effective.as_raw())
}

/// The path of the socket that is to be made, before the process leaves its directory.
fn absolute(arguments: &AgentArguments) -> Result<Option<PathBuf>, StartFailure> {
    let IntakeChoice::Path(path) = &arguments.intake else { return Ok(None) };
    std::path::absolute(path).map(Some).map_err(|error| StartFailure::Socket(path.clone(), error))
}

fn intake(
    choice: &IntakeChoice,
    given: Option<OwnedFd>,
    path: Option<PathBuf>,
) -> Result<Intake, StartFailure> {
    match (choice, given, path) {
        (IntakeChoice::Door(number), Some(door), _) => {
            expect(&door, SockType::SeqPacket).map_err(|errno| StartFailure::Given(*number, errno))?;
            Ok(Intake::Door(door, 0))
        }
        (IntakeChoice::Passed(number), Some(socket), _) => {
            expect(&socket, SockType::Stream).map_err(|errno| StartFailure::Given(*number, errno))?;
            let listener = UnixListener::from(socket);
            let non_blocking = listener.set_nonblocking(true);
            non_blocking.map_err(|_| StartFailure::Given(*number, Errno::EBADF))?;
            Ok(Intake::Passed(listener))
        }
        (_, _, Some(path)) => {
            let listener = listen(&path).map_err(|taken| match taken {
                PlaceTaken::InUse => StartFailure::InUse(path.clone()),
                PlaceTaken::NoSocket => StartFailure::NoSocket(path.clone()),
                PlaceTaken::Kernel(errno) => StartFailure::Socket(path.clone(), errno.into()),
            })?;
            listener.set_nonblocking(true).map_err(|error| StartFailure::Socket(path, error))?;
            Ok(Intake::Own(listener))
        }
        (_, _, None) => Err(StartFailure::Given(-1, Errno::EBADF)),
    }
}

fn expect(socket: &OwnedFd, kind: SockType) -> Result<(), Errno> {
    if getsockopt(socket, sockopt::SockType)? == kind { Ok(()) } else { Err(Errno::EPROTOTYPE) }
}

/// Signals that end the process, to be read in its loop.
fn ending_signals() -> Result<SignalFd, Errno> {
    let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().collect();
    signals.thread_block()?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}
