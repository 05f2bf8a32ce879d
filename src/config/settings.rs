//! All settings and their defaults.
//!
//! Read by load.rs; which of them hold for a request is found by choose.rs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::caches::Caches;
use super::canonicalize::Canonicalize;
use super::duration::Seconds;
use super::enctypes::Enctypes;
use super::lustre::{FileSystem, Lustre, Machine};
use super::namespace::Namespace;
use crate::sys::jail::MEMORY_MIB;

/// The front sets this timeout before anything is configured; no setting reaches beyond it.
pub const CEILING: Duration = Duration::from_secs(200);
/// No mount is kept waiting for longer, by no setting: it cannot be killed meanwhile.
pub(crate) const MOUNT_CEILING: Duration = Duration::from_secs(60);

/// All settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// krb5.conf for the worker.
    pub krb5_config: PathBuf,
    /// Directory for what must outlive a process: locks, slots, machine caches.
    pub run_dir: PathBuf,
    /// The negotiating program.
    pub worker: PathBuf,
    /// Who negotiates for requesters of uid 0: a name in /etc/passwd, or one number for uid and gid.
    pub machine_user: String,
    /// Limits in time.
    pub timeouts: Timeouts,
    /// Limits in number.
    pub limits: Limits,
    /// What becomes of owners whose requests keep failing.
    pub backoff: Backoff,
    /// Which credential caches are used.
    pub caches: Caches,
    /// What is accepted of Kerberos.
    pub kerberos: Kerberos,
    /// Credentials of the node, for Lustre.
    pub machine: Machine,
    /// What else concerns Lustre only.
    pub lustre: Lustre,
    /// What differs for a file system, by its name.
    pub file_system: BTreeMap<String, FileSystem>,
    /// What differs for requesters in other mount namespaces, by a name of the administrator's choice.
    pub namespace: BTreeMap<String, Namespace>,
    /// What is logged and where to.
    pub log: Log,
    /// Which table of `namespace` has been applied.
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
    /// How long a mount waits for credentials of the node, at most [`MOUNT_CEILING`].
    pub mount: Seconds,
    /// How long a failed key stays readable.
    pub negative_cache: Seconds,
}

/// Most negotiations that are alive at a time (rule S8); one more fails with EAGAIN.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Of one owner: a user, or whoever owns the user namespace that the requester is in.
    pub per_owner: u16,
    /// Of all users.
    pub users: u16,
    /// Of uid 0, and of Lustre for this machine.
    pub machine: u16,
    /// Of Lustre for users.
    pub kernel: u16,
    /// MiB of address space that one of them may have (rule S22).
    pub memory: u16,
    /// MiB of memory of all of one owner but root and the node, where there is a cgroup that can limit it; 0 for no
    /// limit.
    pub owner_memory: u32,
    /// The cgroup that they are in, each owner's in one of its own below; empty for the one that the kernel starts
    /// upcalls in.
    pub cgroup: String,
}

/// The pause that an owner gets whose requests fail one after another (rule S8); meanwhile they fail with EAGAIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Backoff {
    /// Failures in a row that are free.
    pub after: u16,
    /// The first pause; each further failure doubles it.
    pub first: Seconds,
    /// The longest pause.
    pub longest: Seconds,
}

/// What is accepted of Kerberos.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct Kerberos {
    /// Encryption types that a context may have.
    pub enctypes: Enctypes,
    /// Renew a user's renewable ticket-granting ticket when less than half of its life is left.
    pub renew: bool,
    /// Whether the name service may choose the principal of a program's service.
    pub canonicalize: Canonicalize,
}

/// Logging.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The system log's datagram socket.
    pub socket: PathBuf,
    /// Least severity that is logged.
    pub level: Level,
    /// The while that the limits below are for.
    pub window: Seconds,
    /// Most lines of one owner's requests (rule S22).
    pub per_owner: u32,
    /// Of all users'.
    pub users: u32,
    /// Of root's, and of Lustre's for this machine.
    pub machine: u32,
}

/// Severities, most severe first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Our own faults only.
    Error,
    /// Also upcalls that failed.
    Warn,
    /// Also upcalls that succeeded.
    Info,
    /// Also what is only of interest when hunting a fault.
    Debug,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            krb5_config: "/etc/krb5.conf".into(),
            run_dir: "/run/lgss".into(),
            worker: "/usr/libexec/lgss/lgss_negotiate".into(),
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
            level: Level::Info,
            window: Seconds::of(60),
            per_owner: 200,
            users: 2000,
            machine: 5000,
        }
    }
}
