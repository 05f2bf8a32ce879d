//! Tries our programs without a request: starts them as the upcall starts the worker, by an account without rights,
//! and reads what they report about themselves.
//!
//! The worker's part is src/worker/self_test.rs. Invariant: a program that is tried never runs as root, has no longer than
//! [`TRIAL_LIMIT`], and changes nothing. [`output_of`] runs other programs in the same way for src/provider, within limits of its caller's,
//! and as root where it is told so.

use std::ffi::CString;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::wait::WaitStatus;
use nix::unistd::{Gid, Uid, dup2_stderr, dup2_stdin, dup2_stdout, geteuid, pipe2};
use serde::{Deserialize, Serialize};

use super::streams::read_all;
use crate::config::Config;
use crate::event::one_line;
use crate::identity::system_user::{self, SystemUser};
use crate::sys::exec::{Execution, NotExecuted};
use crate::sys::files::{Untrusted, open_trusted};
use crate::sys::fork::{self, ForkResult};
use crate::sys::process::{self, Process};
use crate::sys::{jail, keyctl};

/// How long a program may take.
pub(crate) const TRIAL_LIMIT: Duration = Duration::from_secs(10);
/// Longest wait for the end of a program that was killed.
const TRIAL_KILL_LIMIT: Duration = Duration::from_secs(2);
/// Most bytes that are read from each pipe.
const SAID_LIMIT: usize = 256 * 1024;
/// The first of the descriptors that are handed over.
const FIRST_HANDED: i32 = 3;
/// Uid and gid of nobody, who stands in for a machine user that does not exist.
const NOBODY: u32 = 65534;

/// The argument that makes the worker test itself.
pub(crate) const WORKER_WORD: &str = "--self-test";
/// The worker's name in its report.
pub(crate) const WORKER: &str = "lgss_negotiate";
/// How the upcall's answer to `--version` begins; Lustre's program of the same name does not know that option.
pub(crate) const UPCALL: &str = "lgss_keyring (lgss) ";
/// The version of this build.
pub(crate) const BUILD_VERSION: &str = env!("CARGO_PKG_VERSION");

/// What the worker reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SelfTestReport {
    /// [`WORKER`].
    pub program: String,
    /// Its version.
    pub version: String,
    /// The number of its contract with the upcall; workers before that number had a name do not report it.
    #[serde(default)]
    pub contract: Option<u32>,
    /// The uid that it runs as.
    pub uid: u32,
    /// Rights that it still has and must not have.
    pub rights: Option<String>,
    /// Why krb5.conf cannot be used.
    pub krb5_config: Option<String>,
    /// The default realm, if krb5.conf names one.
    pub realm: Option<String>,
    /// Those of our encryption types that krb5.conf permits.
    pub enctypes: Vec<String>,
    /// The keytabs that were handed over.
    pub keytabs: Vec<KeytabReport>,
}

/// What is in a keytab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeytabReport {
    /// Its name.
    pub name: String,
    /// The principals of its keys, each once.
    pub principals: Vec<String>,
    /// Why it cannot be read to its end.
    pub error: Option<String>,
}

/// Why a program gives no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrialFault {
    /// Somebody other than root could have written it, or it is not a file.
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    /// There is no process to try it in.
    #[error("it could not be tried: {0}: {1}")]
    Start(&'static str, Errno),
    /// The kernel does not execute it.
    #[error("it cannot be executed as uid {uid}: {}", reason(*.errno))]
    Exec {
        /// The uid that tried.
        uid: u32,
        /// The kernel's error.
        errno: Errno,
    },
    /// It ends without an answer.
    #[error("it {how}{}", complaint(.said))]
    Died {
        /// How it ended, in words.
        how: String,
        /// The first line that it wrote to standard error.
        said: String,
    },
    /// It does not answer in time.
    #[error("it does not answer within {} s", TRIAL_LIMIT.as_secs())]
    Silent,
    /// It answers as another program would.
    #[error("it is another program: it does not answer as {0} does{said}", said = complaint(.1))]
    Foreign(&'static str, String),
}

fn reason(errno: Errno) -> String {
    let more = match errno {
        Errno::EACCES | Errno::EPERM => {
            " (mode, a file system mounted noexec, or a security policy such as SELinux)"
        }
        Errno::ENOEXEC => " (made for another architecture, or no program)",
        Errno::ENOENT => " (a script, or its dynamic loader is missing)",
        _ => "",
    };
    format!("{}{more}", errno.desc())
}

fn complaint(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {}", one_line(text)) }
}

/// The worker's report, made by the account for root's requests; `keytabs` are names and sealed contents.
///
/// # Errors
/// [`TrialFault`].
pub(crate) fn worker(config: &Config, keytabs: Vec<(String, OwnedFd)>) -> Result<SelfTestReport, TrialFault> {
    let mut words = vec![WORKER.to_owned(), WORKER_WORD.to_owned()];
    let mut handed = Vec::new();
    for ((name, content), place) in keytabs.into_iter().zip(FIRST_HANDED..) {
        words.extend([format!("FILE:/proc/self/fd/{place}"), name]);
        handed.push(content);
    }
    let mut environment = b"KRB5_CONFIG=".to_vec();
    environment.extend_from_slice(config.krb5_config.as_os_str().as_bytes());
    let trial = Trial { words, environment: vec![environment], handed, ..Trial::plain() };
    let said = trial.run(&config.worker, of_root(config))?;
    report(&said.out).ok_or_else(|| said.fault(WORKER))
}

/// The report in what a worker writes; `None` if another program has written it.
pub(super) fn report(out: &[u8]) -> Option<SelfTestReport> {
    serde_json::from_slice(out).ok().filter(|report: &SelfTestReport| report.program == WORKER)
}

/// The version of an upcall program.
///
/// # Errors
/// [`TrialFault`].
#[cfg(feature = "tools")]
pub(crate) fn upcall_version(program: &Path, config: &Config) -> Result<String, TrialFault> {
    let words = vec!["lgss_keyring".to_owned(), "--version".to_owned()];
    let trial = Trial { words, ..Trial::plain() };
    let said = trial.run(program, of_root(config))?;
    let text = String::from_utf8_lossy(&said.out);
    let version = text.strip_prefix(UPCALL).and_then(|rest| rest.lines().next());
    version.map(str::to_owned).ok_or_else(|| said.fault("lgss_keyring"))
}

/// A program to run for what it writes: with these words, this environment and no input.
#[derive(Debug)]
pub(crate) struct ProgramRun {
    /// The program.
    pub program: PathBuf,
    /// Its words, the first of which is its name.
    pub words: Vec<String>,
    /// Its environment, `NAME=VALUE` each.
    pub environment: Vec<Vec<u8>>,
    /// Whose rights it has, if root runs it; without one it stays root.
    pub account: Option<SystemUser>,
    /// How long it may take.
    pub limit: Duration,
    /// Most bytes that are read of it.
    pub most: usize,
}

/// What the program writes to its standard output, however it ends, if it writes something in time.
///
/// # Errors
/// [`TrialFault`]; of one that ends without an answer, its first complaint.
pub(crate) fn output_of(run: ProgramRun) -> Result<Vec<u8>, TrialFault> {
    let ProgramRun { program, words, environment, account, limit, most } = run;
    let said = Trial { words, environment, limit, most, ..Trial::plain() }.run(&program, account)?;
    match said.ended {
        Some(WaitStatus::Exited(_, status)) if status == 0 || !said.out.is_empty() => Ok(said.out),
        Some(WaitStatus::Exited(_, status)) => {
            Err(TrialFault::Died { how: format!("ends with status {status}"), said: said.complaint() })
        }
        _ => Err(said.fault("it")),
    }
}

/// One program to be tried.
struct Trial {
    words: Vec<String>,
    environment: Vec<Vec<u8>>,
    handed: Vec<OwnedFd>,
    limit: Duration,
    most: usize,
}

/// Its output, and how it ended.
struct TrialOutput {
    out: Vec<u8>,
    err: Vec<u8>,
    ended: Option<WaitStatus>,
}

impl TrialOutput {
    /// The first line that it wrote to standard error.
    fn complaint(&self) -> String {
        let text = String::from_utf8_lossy(&self.err);
        text.lines().find(|line| !line.trim().is_empty()).unwrap_or("").to_owned()
    }

    /// The fault of a program that has not answered as it should.
    fn fault(&self, expected: &'static str) -> TrialFault {
        let complaint = self.complaint();
        match self.ended {
            None => TrialFault::Silent,
            Some(WaitStatus::Exited(_, 127)) if complaint.contains("shared librar") => {
                TrialFault::Died { how: "does not start".to_owned(), said: complaint }
            }
            Some(WaitStatus::Signaled(_, signal, _)) => {
                TrialFault::Died { how: format!("is ended by {}", signal.as_str()), said: complaint }
            }
            Some(_) => TrialFault::Foreign(expected, complaint),
        }
    }
}

/// The pipes of a program that is tried: two for its output, one for the reason why it could not be executed.
struct Pipes<T> {
    out: T,
    err: T,
    obstacle: T,
}

impl Trial {
    /// One without words.
    fn plain() -> Self {
        Self {
            words: Vec::new(),
            environment: Vec::new(),
            handed: Vec::new(),
            limit: TRIAL_LIMIT,
            most: SAID_LIMIT,
        }
    }

    /// Runs it as that account; without one with the ids that the process has.
    fn run(self, program: &Path, account: Option<SystemUser>) -> Result<TrialOutput, TrialFault> {
        let program: OwnedFd = open_trusted(program, OFlag::O_PATH)?.into();
        let bounds = (self.limit, self.most);
        let start = |errno| TrialFault::Start("pipe", errno);
        let (out, out_end) = pipe2(OFlag::O_CLOEXEC).map_err(start)?;
        let (err, err_end) = pipe2(OFlag::O_CLOEXEC).map_err(start)?;
        let (obstacle, obstacle_end) = pipe2(OFlag::O_CLOEXEC).map_err(start)?;
        let ours = Pipes { out, err, obstacle };
        let theirs = Pipes { out: out_end, err: err_end, obstacle: obstacle_end };
        // Only root can make a PID namespace.
        let stays_root = account.is_none() && geteuid().is_root();
        // What stays root may leave a process behind, as that which keeps a lock.
        let forked = if stays_root { fork::fork() } else { fork::fork_confined().or_else(|_| fork::fork()) };
        match forked.map_err(|e| TrialFault::Start("fork", e))? {
            ForkResult::Child => self.become_program(program, account, theirs),
            ForkResult::Parent { child } => {
                drop((theirs, program));
                let uid = account.map_or(geteuid(), |account| account.uid);
                collect(child, ours, uid, bounds)
            }
        }
    }

    /// In the child: the essentials of what the launcher does.
    fn become_program(self, program: OwnedFd, account: Option<SystemUser>, pipes: Pipes<OwnedFd>) -> ! {
        if let Err((step, errno)) = prepare(account, &pipes) {
            report_failure(pipes.obstacle, step, errno);
            process::end(1)
        }
        let text = |bytes: Vec<u8>| CString::new(bytes).unwrap_or_default();
        let words: Vec<CString> = self.words.into_iter().map(|word| text(word.into_bytes())).collect();
        let environment: Vec<CString> = self.environment.into_iter().map(text).collect();
        let argv: Vec<_> = words.iter().map(CString::as_c_str).collect();
        let environment: Vec<_> = environment.iter().map(CString::as_c_str).collect();
        let descriptors = self.handed;
        let execution = Execution { program, name: "", argv: &argv, environment: &environment, descriptors };
        execution.run([pipes.obstacle], |[told], _, obstacle| match obstacle {
            NotExecuted::Descriptors(errno) => report_failure(told, "descriptors", errno),
            NotExecuted::Exec(errno) => report_failure(told, EXEC, errno),
        })
    }
}

/// In the child: gives up its rights and connects its standard descriptors to our pipes.
fn prepare(account: Option<SystemUser>, pipes: &Pipes<OwnedFd>) -> Result<(), (&'static str, Errno)> {
    process::reset_inherited();
    // What stays root is no program of a stranger's words, and may start others that need more.
    if account.is_some() || !geteuid().is_root() {
        jail::limit_resources(jail::MEMORY_MIB).map_err(|e| ("limits", e))?;
    }
    // Root's terminal is not the account's.
    let _ = nix::unistd::setsid();
    match keyctl::join_anonymous_session() {
        // Without keys it is tried all the same; their absence is reported elsewhere.
        Ok(_) | Err(Errno::ENOSYS | Errno::EPERM) => {}
        Err(errno) => return Err(("session keyring", errno)),
    }
    if let Some(SystemUser { uid, gid }) = account {
        jail::drop_to(uid, gid).map_err(|e| ("drop of rights", e))?;
    }
    jail::die_with_parent().map_err(|e| ("parent", e))?;
    let null = File::options().read(true).open("/dev/null").map_err(|_| ("/dev/null", Errno::ENOENT))?;
    dup2_stdin(&null)
        .and_then(|()| dup2_stdout(&pipes.out))
        .and_then(|()| dup2_stderr(&pipes.err))
        .map_err(|e| ("dup2", e))
}

/// Writes the errno, then the step.
fn report_failure(told: OwnedFd, step: &str, errno: Errno) {
    let _ = File::from(told).write_all(&[&(errno as i32).to_ne_bytes()[..], step.as_bytes()].concat());
}

/// The step that is the program's own fault.
const EXEC: &str = "exec";
/// Steps that are not the program's fault.
const STEPS: [&str; 6] = ["limits", "drop of rights", "parent", "/dev/null", "dup2", "descriptors"];

/// Root tries programs by the account that negotiates for it; others with their own ids.
fn of_root(config: &Config) -> Option<SystemUser> {
    geteuid().is_root().then(|| account(config))
}

/// The account that negotiates for root; if it is missing, that of nobody, which is enough to try a program.
fn account(config: &Config) -> SystemUser {
    let nobody = SystemUser { uid: Uid::from_raw(NOBODY), gid: Gid::from_raw(NOBODY) };
    system_user::find(&config.machine_user).unwrap_or(nobody)
}

fn collect(
    pid: nix::unistd::Pid,
    pipes: Pipes<OwnedFd>,
    uid: Uid,
    (limit, most): (Duration, usize),
) -> Result<TrialOutput, TrialFault> {
    let process = Process::open(pid).map_err(|errno| TrialFault::Start("process", errno))?;
    let deadline = Instant::now() + limit;
    let Pipes { out, err, obstacle } = pipes;
    let [out, err, obstacle] = read_all([out.into(), err.into(), obstacle.into()], deadline, most);
    let in_time = process.wait_for_end(deadline.saturating_duration_since(Instant::now()));
    if !in_time {
        let _ = process.kill();
        process.wait_for_end(TRIAL_KILL_LIMIT);
    }
    let ended = process.ended();
    if let Some((number, step)) = obstacle.split_first_chunk::<4>() {
        let errno = Errno::from_raw(i32::from_ne_bytes(*number));
        let known = STEPS.iter().find(|known| known.as_bytes() == step);
        return Err(match known {
            Some(step) => TrialFault::Start(step, errno),
            None => TrialFault::Exec { uid: uid.as_raw(), errno },
        });
    }
    Ok(TrialOutput { out, err, ended: ended.filter(|_| in_time) })
}
