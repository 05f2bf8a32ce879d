//! Reads lgss.toml and finds the mistakes in it.

use std::io::Read;
use std::path::{Component, Path, PathBuf};

use nix::fcntl::OFlag;

use super::settings::{Backoff, CEILING, Config, Limits, Log, MOUNT_CEILING, Timeouts};
use crate::sys::files::{Untrusted, open_trusted};

/// The configuration file, unless `--config` names another one.
const DEFAULT_PATH: &str = "/etc/lgss/lgss.toml";

/// The settings that a rule or an option names, or else the default file.
pub(crate) fn settings_file(named: Option<&Path>) -> &Path {
    named.unwrap_or(Path::new(DEFAULT_PATH))
}
/// Largest configuration that is read, in bytes.
const CONFIG_BYTES: u64 = 256 * 1024;
/// Smallest address space of a worker, in MiB.
const LEAST_MEMORY: u16 = 64;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Somebody other than root could have written it, or it is not a file.
    #[error("configuration: {0}")]
    Untrusted(#[from] Untrusted),
    /// It cannot be read.
    #[error("configuration {0}: {1}")]
    Read(PathBuf, #[source] std::io::Error),
    /// It is not what lgss.toml(5) describes.
    #[error("configuration {0}: {1}")]
    Syntax(PathBuf, String),
    /// A value is out of range.
    #[error("configuration {0}: {1}")]
    Value(PathBuf, String),
}

impl Config {
    /// Reads the file at `path`, or without one the default file. If that does not exist, returns the defaults.
    ///
    /// # Errors
    /// [`ConfigError`], with the line of a mistake in the file.
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
        file.take(CONFIG_BYTES)
            .read_to_string(&mut text)
            .map_err(|error| ConfigError::Read(path.to_owned(), error))?;
        Self::parse(&text, path)
    }

    /// Parses the text of a file, which messages call `path`. Who has written it is not checked here.
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
            ConfigError::Syntax(path.to_owned(), format!("{line}{}", in_words(error.message())))
        })?;
        check(&config).map_err(|mistake| ConfigError::Value(path.to_owned(), mistake))?;
        Ok(config)
    }
}

/// A message of the parser's, with ranges in place of the names of Rust's types.
fn in_words(message: &str) -> String {
    message
        .replace("expected u16", &format!("expected a whole number of at most {}", u16::MAX))
        .replace("expected u32", &format!("expected a whole number of at most {}", u32::MAX))
}

/// The first mistake in values that are each well-formed.
fn check(config: &Config) -> Result<(), String> {
    let Timeouts { deadline, mount, .. } = config.timeouts;
    for (name, set, ceiling) in [("deadline", deadline, CEILING), ("mount", mount, MOUNT_CEILING)] {
        if set.0 > ceiling {
            return Err(format!("timeouts.{name} exceeds the maximum of {} s", ceiling.as_secs()));
        }
    }
    if let Some(mistake) = config.limits.mistake() {
        return Err(mistake);
    }
    if let Some(mistake) = config.log.mistake() {
        return Err(mistake);
    }
    let mistake =
        config.backoff.mistake().or_else(|| config.lustre.mistake()).or_else(|| config.caches.mistake());
    let mistake = mistake.or_else(|| config.agent.mistake()).or_else(|| config.hooks.mistake());
    if let Some(mistake) = mistake {
        return Err(mistake.to_owned());
    }
    let file_systems =
        config.file_system.iter().filter_map(|(name, table)| Some(("file_system", name, table.mistake()?)));
    let namespaces =
        config.namespace.iter().filter_map(|(name, table)| Some(("namespace", name, table.mistake()?)));
    if let Some((kind, name, mistake)) = file_systems.chain(namespaces).next() {
        return Err(format!("{kind}.{name}: {mistake}"));
    }
    match paths(config).find(|(_, path)| !path.is_absolute()) {
        Some((name, path)) => Err(format!("{name}: {path:?} is not an absolute path")),
        None => Ok(()),
    }
}

/// The first of these settings that is zero.
fn zero(settings: &[(&str, u32)]) -> Option<String> {
    let (name, _) = settings.iter().find(|(_, value)| *value == 0)?;
    Some(format!("{name} must not be zero"))
}

impl Limits {
    fn mistake(&self) -> Option<String> {
        let Self { per_owner, users, machine, kernel, memory, .. } = *self;
        let below =
            |path: &str| Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        let counts = [
            ("limits.per_owner", per_owner.into()),
            ("limits.users", users.into()),
            ("limits.machine", machine.into()),
            ("limits.kernel", kernel.into()),
        ];
        if let Some(mistake) = zero(&counts) {
            Some(mistake)
        } else if memory < LEAST_MEMORY {
            Some(format!("limits.memory is below the {LEAST_MEMORY} MiB that a worker needs"))
        } else if !below(&self.cgroup) {
            Some("limits.cgroup must be a path below the root cgroup".to_owned())
        } else {
            None
        }
    }
}

impl Log {
    fn mistake(&self) -> Option<String> {
        let counts =
            [("log.per_owner", self.per_owner), ("log.users", self.users), ("log.machine", self.machine)];
        zero(&counts)
    }
}

impl Backoff {
    fn mistake(&self) -> Option<&'static str> {
        (self.first > self.longest).then_some("backoff.first is over backoff.longest")
    }
}

/// All settings that are paths, by their names.
fn paths(config: &Config) -> impl Iterator<Item = (String, &Path)> {
    let general = [
        ("krb5_config", &config.krb5_config),
        ("run_dir", &config.run_dir),
        ("worker", &config.worker),
        ("log.socket", &config.log.socket),
        ("machine.keytab", &config.machine.keytab),
        ("lustre.nid2hostname", &config.lustre.nid2hostname),
        ("hooks.directory", &config.hooks.directory),
    ];
    let general = general.map(|(name, path)| (name.to_owned(), path));
    let file_systems = config
        .file_system
        .iter()
        .filter_map(|(name, table)| Some((format!("file_system.{name}.keytab"), table.keytab.as_ref()?)));
    let namespaces = config.namespace.iter().flat_map(|(name, table)| {
        let set = [("krb5_config", &table.krb5_config), ("keytab", &table.keytab)];
        set.into_iter()
            .filter_map(move |(setting, path)| Some((format!("namespace.{name}.{setting}"), path.as_ref()?)))
    });
    general.into_iter().chain(file_systems).chain(namespaces).map(|(name, path)| (name, path.as_path()))
}

#[cfg(test)]
mod tests;
