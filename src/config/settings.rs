//! All settings and their defaults.
//!
//! Read by load.rs; choose.rs finds those that apply to a request.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::agent::AgentSettings;
use super::caches::Caches;
use super::canonicalize::Canonicalize;
use super::duration::Seconds;
use super::enctypes::Enctypes;
use super::hooks::Hooks;
use super::lustre::{FileSystem, Lustre, Machine};
use super::namespace::Namespace;
use super::sandbox::WorkerSandbox;
use crate::class::{HasClasses, classes, has_secret};
use crate::sys::jail::MEMORY_MIB;

/// Ceiling of `timeouts.deadline`: the front gives the key this timeout before any setting is read.
pub const CEILING: Duration = Duration::from_secs(200);
/// Ceiling of the wait of a mount, which cannot be killed meanwhile.
pub(crate) const MOUNT_CEILING: Duration = Duration::from_secs(60);

/// All settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// krb5.conf for the worker.
    pub krb5_config: PathBuf,
    /// Directory for what must outlive a process: locks, slots, machine caches.
    pub run_dir: PathBuf,
    /// The program that negotiates.
    pub worker: PathBuf,
    /// How tightly that program is confined.
    pub worker_sandbox: WorkerSandbox,
    /// The account that negotiates for requesters of uid 0: a name in /etc/passwd, or one number for uid and gid.
    pub machine_user: String,
    /// Limits in time.
    pub timeouts: Timeouts,
    /// Limits in number.
    pub limits: Limits,
    /// Pauses for owners whose requests keep failing.
    pub backoff: Backoff,
    /// Which credential caches are used.
    pub caches: Caches,
    /// What is accepted from Kerberos.
    pub kerberos: Kerberos,
    /// The machine's credentials, for Lustre.
    pub machine: Machine,
    /// Other settings for Lustre only.
    pub lustre: Lustre,
    /// Exceptions for file systems, by their names.
    pub file_system: BTreeMap<String, FileSystem>,
    /// Exceptions for requesters in other mount namespaces, by a name that the administrator chooses.
    pub namespace: BTreeMap<String, Namespace>,
    /// The servers of users' credential caches.
    pub agent: AgentSettings,
    /// How the site's hooks run.
    pub hooks: Hooks,
    /// What is logged, and where.
    pub log: Log,
    /// The table of `namespace` that has been applied.
    #[serde(skip)]
    pub(super) within: Option<String>,
}

/// Limits in time: seconds as a number, or text such as `"500ms"` and `"30s"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// A whole upcall, at most [`CEILING`].
    pub deadline: Seconds,
    /// Name resolution and KDC together.
    pub kdc: Seconds,
    /// Connecting to the server.
    pub connect: Seconds,
    /// One round of tokens with the server.
    pub round: Seconds,
    /// How long a mount waits for the machine's credentials, at most [`MOUNT_CEILING`].
    pub mount: Seconds,
    /// How long a failed key stays readable.
    pub negative_cache: Seconds,
}

/// Most negotiations at a time (rule S8); one more fails with EAGAIN.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Of one owner: a user, or the owner of the requester's user namespace.
    pub per_owner: u16,
    /// Of all users.
    pub users: u16,
    /// Of uid 0, and of Lustre for this machine.
    pub machine: u16,
    /// Of Lustre for users.
    pub kernel: u16,
    /// Address space of one negotiation, in MiB (rule S22).
    pub memory: u16,
    /// Memory of all negotiations of one owner, in MiB, where a cgroup can limit it; 0 for no limit. Root and the
    /// machine are not limited.
    pub owner_memory: u32,
    /// The cgroup of negotiations, with one below it for each owner; empty for the cgroup in which the kernel starts
    /// upcalls.
    pub cgroup: String,
}

/// The pause for an owner whose requests fail one after another (rule S8); during it they fail with EAGAIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Backoff {
    /// Failures in a row that cause no pause.
    pub after: u16,
    /// The first pause; each further failure doubles it.
    pub first: Seconds,
    /// The longest pause.
    pub longest: Seconds,
}

/// What is accepted from Kerberos.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct Kerberos {
    /// Encryption types that a context may have.
    pub enctypes: Enctypes,
    /// Renew a user's renewable ticket-granting ticket when less than half of its life is left.
    pub renew: bool,
    /// Whether the name service may replace the host in a program's service.
    pub canonicalize: Canonicalize,
}

/// Logging.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The system log's datagram socket.
    pub socket: PathBuf,
    /// Lowest severity that is logged.
    pub level: LogLevel,
    /// The time that the limits below are for.
    pub window: Seconds,
    /// Most lines for one owner's requests (rule S22).
    pub per_owner: u32,
    /// Most lines for all users' requests.
    pub users: u32,
    /// Most lines for root's requests, and for Lustre's for this machine.
    pub machine: u32,
}

/// Severities, most severe first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Faults of this package only.
    Error,
    /// Also upcalls that failed.
    Warn,
    /// Also upcalls that succeeded.
    Info,
    /// Also details that help to find a fault.
    Debug,
}

classes!(Config {
    krb5_config: public,
    run_dir: public,
    worker: public,
    worker_sandbox: public,
    machine_user: public,
    timeouts: fields(Timeouts),
    limits: fields(Limits),
    backoff: fields(Backoff),
    caches: fields(Caches),
    kerberos: fields(Kerberos),
    machine: fields(Machine),
    lustre: fields(Lustre),
    hooks: fields(Hooks),
    file_system: tables(FileSystem),
    namespace: tables(Namespace),
    agent: fields(AgentSettings),
    log: fields(Log),
    within: unwritten,
});
// lgss.toml is a file.
const _: () = assert!(!has_secret(Config::FIELDS), "a setting must not be secret");

classes!(Timeouts {
    deadline: public,
    kdc: public,
    connect: public,
    round: public,
    mount: public,
    negative_cache: public,
});
classes!(Limits {
    per_owner: public,
    users: public,
    machine: public,
    kernel: public,
    memory: public,
    owner_memory: public,
    cgroup: public,
});
classes!(Backoff { after: public, first: public, longest: public });
classes!(Kerberos { enctypes: public, renew: public, canonicalize: public });
classes!(Log {
    socket: public,
    level: public,
    window: public,
    per_owner: public,
    users: public,
    machine: public,
});

impl Default for Config {
    fn default() -> Self {
        Self {
            krb5_config: "/etc/krb5.conf".into(),
            run_dir: "/run/lgss".into(),
            worker: "/usr/libexec/lgss/lgss_negotiate".into(),
            worker_sandbox: WorkerSandbox::default(),
            machine_user: "lgss".into(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            backoff: Backoff::default(),
            caches: Caches::default(),
            kerberos: Kerberos::default(),
            machine: Machine::default(),
            lustre: Lustre::default(),
            file_system: BTreeMap::new(),
            namespace: BTreeMap::new(),
            agent: AgentSettings::default(),
            hooks: Hooks::default(),
            log: Log::default(),
            within: None,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            deadline: Seconds(CEILING),
            kdc: Seconds::of(20),
            connect: Seconds::of(10),
            round: Seconds::of(15),
            mount: Seconds::of(10),
            negative_cache: Seconds::of(10),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            per_owner: 32,
            users: 512,
            machine: 128,
            kernel: 512,
            memory: MEMORY_MIB,
            owner_memory: 1024,
            cgroup: "lgss.slice".to_owned(),
        }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self { after: 10, first: Seconds::of(1), longest: Seconds::of(30) }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            socket: "/dev/log".into(),
            level: LogLevel::Info,
            window: Seconds::of(60),
            per_owner: 200,
            users: 2000,
            machine: 5000,
        }
    }
}
