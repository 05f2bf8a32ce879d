//! lgss.toml: the settings, their defaults, and the rule that only root may have written the file.
//!
//! Read by the monitor and the tools, never by the front. Absent means the defaults; an unknown key is an error, so
//! that a mistyped setting is not silently without effect. Every key is described in lgss.toml(5).
#![forbid(unsafe_code)]

mod caches;
mod canonicalize;
mod duration;
mod enctypes;
mod lustre;
mod namespace;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use nix::fcntl::OFlag;
use serde::{Deserialize, Serialize};

pub use caches::{Caches, Choice, Krb5CcName};
pub use canonicalize::Canonicalize;
pub use duration::Seconds;
pub use enctypes::Enctypes;
pub use lustre::{FileSystem, Lustre, Machine, MachineCache, MachineSettings};
pub use namespace::{Namespace, NamespaceTraits};

use crate::sys::files::{Untrusted, open_trusted};
use crate::sys::jail::MEMORY_MIB;

/// Where the configuration is unless `--config` names another file.
pub const DEFAULT_PATH: &str = "/etc/lgss/lgss.toml";
/// Longest configuration read, in bytes.
const SIZE_LIMIT: u64 = 256 * 1024;
/// Least address space of a worker, in MiB.
const LEAST_MEMORY: u16 = 64;
/// The front sets this timeout before anything is configured; no setting reaches beyond it.
pub const CEILING: Duration = Duration::from_secs(200);
/// No mount is kept waiting for longer, by no setting: it cannot be killed meanwhile.
pub const MOUNT_CEILING: Duration = Duration::from_secs(60);

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
    within: Option<String>,
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

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Others than root could have written it, or it is no file.
    #[error("configuration: {0}")]
    Untrusted(#[from] Untrusted),
    /// It cannot be read.
    #[error("configuration {0}: {1}")]
    Read(PathBuf, #[source] std::io::Error),
    /// It is not what lgss.toml(5) describes.
    #[error("configuration {0}: {1}")]
    Syntax(PathBuf, String),
    /// A value out of its range.
    #[error("configuration {0}: {1}")]
    Value(PathBuf, &'static str),
}

impl Config {
    /// Reads the file at `path`, or gives the defaults if none was named and the default one does not exist.
    ///
    /// # Errors
    /// [`ConfigError`]; for a mistake in the file it tells the line.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let default = Path::new(DEFAULT_PATH);
        let file = match open_trusted(path.unwrap_or(default), OFlag::O_RDONLY) {
            Err(Untrusted::Open(_, error))
                if path.is_none() && error.kind() == std::io::ErrorKind::NotFound =>
            {
                return Ok(Self::default());
            }
            other => other?,
        };
        let path = path.unwrap_or(default);
        let mut text = String::new();
        file.take(SIZE_LIMIT)
            .read_to_string(&mut text)
            .map_err(|error| ConfigError::Read(path.to_owned(), error))?;
        Self::parse(&text, path)
    }

    /// Reads the text of a file, which the messages name `path`. It says nothing of who has written it.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`], [`ConfigError::Value`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| {
            let line = error
                .span()
                .and_then(|span| text.get(..span.start))
                .map(|before| before.matches('\n').count() + 1);
            let line = line.map_or(String::new(), |line| format!("line {line}: "));
            ConfigError::Syntax(path.to_owned(), format!("{line}{}", error.message()))
        })?;
        if config.timeouts.deadline.0 > CEILING {
            return Err(ConfigError::Value(
                path.to_owned(),
                "timeouts.deadline is over the ceiling of 200 s",
            ));
        }
        if config.timeouts.mount.0 > MOUNT_CEILING {
            return Err(ConfigError::Value(path.to_owned(), "timeouts.mount is over the ceiling of 60 s"));
        }
        let Limits { per_owner, users, machine, kernel, memory, .. } = config.limits;
        let lines = [config.log.per_owner, config.log.users, config.log.machine];
        if [per_owner, users, machine, kernel].contains(&0) || lines.contains(&0) {
            return Err(ConfigError::Value(path.to_owned(), "a limit must not be zero"));
        }
        if memory < LEAST_MEMORY {
            return Err(ConfigError::Value(
                path.to_owned(),
                "limits.memory is below the 64 MiB that a worker needs",
            ));
        }
        let cgroup = Path::new(&config.limits.cgroup);
        if !cgroup.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(ConfigError::Value(
                path.to_owned(),
                "limits.cgroup must be a path below that of all cgroups",
            ));
        }
        if config.backoff.first > config.backoff.longest {
            return Err(ConfigError::Value(path.to_owned(), "backoff.first is over backoff.longest"));
        }
        if let Some(mistake) = config.lustre_mistake().or_else(|| config.namespace_mistake()) {
            return Err(ConfigError::Value(path.to_owned(), mistake));
        }
        if let Some(mistake) = config.caches.mistake() {
            return Err(ConfigError::Value(path.to_owned(), mistake));
        }
        let general = [&config.krb5_config, &config.run_dir, &config.worker, &config.log.socket];
        let relative = |path: &Path| !path.is_absolute();
        let special = config.lustre_paths().chain(config.namespace_paths());
        if general.into_iter().map(PathBuf::as_path).chain(special).any(relative) {
            return Err(ConfigError::Value(path.to_owned(), "paths must be absolute"));
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests;
