//! Where credentials are looked for: named and opened by the launcher, handed to the worker (rules S4, S7, S9).

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use zeroize::Zeroizing;

use super::front::Served;
use super::launcher::{Assignment, launch_failed};
use super::machine_cache;
use super::order::Order;
use crate::creds::cache_name::{Anchor, CacheName, CacheNameError};
use crate::creds::default_cache::default_cache_name;
use crate::creds::keyring_copy;
use crate::creds::open::{Opened, open_cache};
use crate::event::{Cause, Failure, Stage};
use crate::negotiate::messages::Role;
use crate::sys::files::{self, Untrusted, open_trusted};

/// Largest cache that is copied for the machine user, in bytes.
const COPY_LIMIT: usize = 16 * 1024 * 1024;
/// Largest keytab, in bytes.
const KEYTAB_LIMIT: u64 = 4 * 1024 * 1024;
/// Most caches that are tried for one request.
const CANDIDATES: usize = 12;
/// Most names that are looked at in a directory.
const NAMES_LIMIT: usize = 20_000;
/// So much of a requester's environment is searched, in bytes.
const ENVIRONMENT_LIMIT: usize = 256 * 1024;

/// One place for the worker to look at.
pub(super) struct Source {
    /// What it is.
    pub(super) role: Role,
    /// How a person knows it.
    pub(super) display: String,
    /// The thing itself.
    pub(super) held: Held,
}

/// How the worker gets at a source.
pub(super) enum Held {
    /// By a descriptor.
    Descriptor(OwnedFd),
    /// By its name.
    Name(String),
    /// It is not there; what a person is told is why.
    Nothing,
}

/// What shall be looked at, in this order.
pub(super) struct Wanted {
    names: Vec<CacheName>,
    /// The machine's: default cache, own cache, keytab.
    machines: bool,
    /// Whether the user's other caches shall be looked for where the named ones will not do.
    search: bool,
    roots: bool,
}

impl Wanted {
    /// By the request: the cache that it names, or the default one; for a user whom Lustre asks for, what its environment
    /// names, the default one, and whatever lies where caches use to be.
    pub(super) fn of(assignment: &Assignment<'_>, served: &Served) -> Result<Self, Failure> {
        let bad = |error: &dyn std::fmt::Display| Failure::new(Stage::Credentials, Cause::BadCache, error);
        let default = || {
            default_cache_name(&assignment.config.krb5_config, assignment.uid)
                .map_err(|e| bad(&e))?
                .parse()
                .map_err(|e: CacheNameError| bad(&e))
        };
        let roots = assignment.uid == 0;
        match assignment.order {
            Order::Program(callout) => {
                let name = match &callout.cache {
                    Some(name) => name.parse().map_err(|e: CacheNameError| bad(&e))?,
                    None => default()?,
                };
                Ok(Self { names: vec![name], machines: false, search: false, roots })
            }
            Order::Lustre(callout) if callout.roles.any() => {
                // Root's default cache is the host's.
                if assignment.config.within().is_some() {
                    return Ok(Self { names: Vec::new(), machines: true, search: false, roots: true });
                }
                let name = default_cache_name(&assignment.config.krb5_config, 0)
                    .map_err(|e| bad(&e))?
                    .parse()
                    .map_err(|e: CacheNameError| bad(&e))?;
                Ok(Self { names: vec![name], machines: true, search: false, roots: true })
            }
            Order::Lustre(_) => {
                let environment = served.places.environment.as_ref().filter(|_| !roots).and_then(named_cache);
                let mut names: Vec<CacheName> = environment.into_iter().collect();
                let default: CacheName = default()?;
                if !names.contains(&default) {
                    names.push(default);
                }
                Ok(Self { names, machines: false, search: !roots, roots })
            }
        }
    }

    /// Whether they are root's, to be handed over as copies.
    pub(super) fn are_roots(&self) -> bool {
        self.roots
    }

    /// The collection in the requester's session keyring that one of them is in.
    pub(super) fn session_collection(&self) -> Option<&str> {
        self.names.iter().find_map(|name| match name {
            CacheName::Keyring { anchor: Anchor::Session, collection, .. } => Some(collection.as_str()),
            _ => None,
        })
    }

    /// Copies root's cache into sealed memory.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn seal(&self, assignment: &Assignment<'_>, served: &Served) -> Result<Vec<Source>, Failure> {
        if self.machines {
            return self.seal_machines(assignment, served);
        }
        self.names
            .iter()
            .map(|name| {
                let sealed = seal(open_as_owner(assignment, served, name)?, name)?;
                Ok(Source { role: Role::Cache, display: name.to_string(), held: Held::Descriptor(sealed) })
            })
            .collect()
    }

    /// The machine's three sources; what is missing is told to the worker, who knows whether it is needed.
    fn seal_machines(&self, assignment: &Assignment<'_>, served: &Served) -> Result<Vec<Source>, Failure> {
        let config = assignment.config;
        let mut sources = Vec::new();
        let mut add = |role, display: String, content: Result<Zeroizing<Vec<u8>>, String>| {
            let (display, held) = match content {
                Ok(content) => {
                    let sealed =
                        files::sealed_memory(&content).map_err(|e| launch_failed("sealed memory", e))?;
                    (display, Held::Descriptor(sealed))
                }
                Err(why) => (why, Held::Nothing),
            };
            sources.push(Source { role, display, held });
            Ok(())
        };
        for name in &self.names {
            let content = open_as_owner(assignment, served, name).and_then(|opened| copy(opened, name));
            add(Role::DefaultCache, name.to_string(), content.map_err(|failure| failure.detail))?;
        }
        let own = assignment.stamp.and_then(|stamp| machine_cache::contents(config, stamp));
        let missing = || "own cache: none yet".to_owned();
        add(Role::OwnCache, "own cache".to_owned(), own.ok_or_else(missing))?;
        if let Some(keytab) = assignment.order.keytab(config) {
            let display = format!("FILE:{}", keytab.display());
            let content = machine_keys(keytab).map_err(|why| format!("{display}: {why}"));
            add(Role::Keytab, display, content)?;
        }
        Ok(sources)
    }

    /// Opens a user's caches, as that user.
    ///
    /// # Errors
    /// What is wrong with the first of them, if none can be opened.
    pub(super) fn open(&self, assignment: &Assignment<'_>, served: &Served) -> Result<Vec<Source>, Failure> {
        let mut names = self.names.clone();
        if self.search {
            let directories = ["/tmp".to_owned(), format!("/run/user/{}", assignment.uid)];
            let found = directories.iter().flat_map(|directory| caches_in(Path::new(directory), served));
            for name in found {
                if !names.contains(&name) && names.len() < CANDIDATES {
                    names.push(name);
                }
            }
        }
        let mut failure = None;
        let mut sources = Vec::new();
        for name in names {
            match open_as_owner(assignment, served, &name) {
                Ok(opened) => {
                    let display = name.to_string();
                    let held = match opened {
                        Opened::File(located) => Held::Descriptor(located),
                        Opened::Named(name) => Held::Name(name.to_string()),
                    };
                    sources.push(Source { role: Role::Cache, display, held });
                }
                Err(why) => drop(failure.get_or_insert(why)),
            }
        }
        match failure {
            Some(failure) if sources.is_empty() => Err(failure),
            _ => Ok(sources),
        }
    }
}

/// The value of KRB5CCNAME, if that is the name of a cache that may be used.
fn named_cache(environment: &OwnedFd) -> Option<CacheName> {
    const VARIABLE: &[u8] = b"KRB5CCNAME=";
    let file = File::from(environment.try_clone().ok()?);
    let mut content = vec![0; ENVIRONMENT_LIMIT];
    let mut length = 0;
    // A read of such a file gives a page at most.
    while let Some(rest) = content.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, length as u64) {
            Ok(0) | Err(_) => break,
            Ok(read) => length += read,
        }
    }
    let variables = content.get(..length)?.split(|&byte| byte == 0);
    let value = variables.filter_map(|variable| variable.strip_prefix(VARIABLE)).next()?;
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Names of what could be caches in a directory of the requester's; whether they are is seen when they are opened.
fn caches_in(directory: &Path, served: &Served) -> Vec<CacheName> {
    let Ok(located) = files::locate_below(served.places.root.as_fd(), directory) else { return Vec::new() };
    let Ok(entries) = std::fs::read_dir(format!("/proc/self/fd/{}", located.as_raw_fd())) else {
        return Vec::new();
    };
    let is_named_like_one =
        |name: &OsStr| name.as_bytes().windows(6).any(|part| part == b"krb5cc") && name.to_str().is_some();
    let mut paths: Vec<PathBuf> = entries
        .take(NAMES_LIMIT)
        .filter_map(Result::ok)
        .map(|entry| entry.file_name())
        .filter(|name| is_named_like_one(name))
        .map(|name| directory.join(name))
        .collect();
    paths.sort();
    paths.into_iter().map(CacheName::File).collect()
}

/// Opens the cache below the requester's root. A daemon's caches are only for requesters in our own file system: the
/// daemon that another one would reach there is not the host's.
fn open_as_owner(assignment: &Assignment<'_>, served: &Served, name: &CacheName) -> Result<Opened, Failure> {
    let opened = open_cache(served.places.root.as_fd(), name, assignment.uid, &assignment.config.caches)?;
    if matches!(name, CacheName::Kcm(_)) {
        let root = open("/", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|e| launch_failed("root", e))?;
        let same = files::same_place(root.as_fd(), served.places.root.as_fd())
            .map_err(|e| launch_failed("root", e))?;
        if !same {
            let detail =
                format_args!("{name}: the requester is in another mount namespace, the KCM daemon is not");
            return Err(Failure::new(Stage::Credentials, Cause::BadCache, detail));
        }
    }
    Ok(opened)
}

/// Root's cache as sealed memory.
fn seal(opened: Opened, name: &CacheName) -> Result<OwnedFd, Failure> {
    files::sealed_memory(&copy(opened, name)?).map_err(|errno| launch_failed("sealed memory", errno))
}

/// The contents of root's cache. A daemon's cannot be had that way: it answers root itself only.
fn copy(opened: Opened, name: &CacheName) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let failed = |cause, errno: Errno| {
        Failure::new(Stage::Credentials, cause, format_args!("{name}: {}", errno.desc()))
    };
    match opened {
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
    }
}

/// The contents of a keytab, which nobody but root may be able to write.
pub(super) fn machine_keys(keytab: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let file = open_trusted(keytab, OFlag::O_RDONLY).map_err(|error| match error {
        Untrusted::Open(_, error) => error.to_string(),
        other => other.to_string(),
    })?;
    let mut content = Zeroizing::new(Vec::new());
    file.take(KEYTAB_LIMIT).read_to_end(&mut content).map_err(|error| error.to_string())?;
    Ok(content)
}
