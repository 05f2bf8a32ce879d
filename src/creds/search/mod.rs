//! Searches every place where a requester may have credentials; each is opened, or returned with the reason why not
//! (rules S4, S7, S9).
//!
//! Three steps with different rights: [`Search::for_best`] reads the host's configuration, [`Search::look_into`]
//! keyrings that were lent to the caller, [`Search::finish`] everything else, as the user. Called by the launcher and
//! by `lgss caches`. Decides nothing: ranking.rs finds the best credentials.

mod environment;
mod files;
#[cfg(feature = "test-programs")]
pub(super) mod fuzz;
mod home;
mod keyrings;
mod own_tmp;
mod progress;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, fstat};

pub(crate) use environment::Environment;
#[cfg(feature = "tools")]
pub(crate) use keyrings::has_session;
pub(crate) use keyrings::{Rings, UserRings, collection as session_collection, isolate};
pub(crate) use progress::SearchProgress;

use super::cache_name::{Anchor, CacheName, CacheNameError};
use super::default_cache::{TokenValues, client_keytab_name, default_cache_name, kcm_socket};
use super::open::{CachePolicy, OpenedCache, not_found};
use super::source::{Defect, Source, SourceRole, Standing};
use crate::config::{CacheChoice, Caches, Config, Krb5CcName};
use crate::event::{Cause, Failure, Stage};
use crate::sys::files::{locate_below, our_root};
use crate::sys::lending::Late;
use crate::text::quoted;
use files::Files;
use keyrings::InRings;

/// The user for whom caches are searched.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CacheOwner<'a> {
    /// The user's uid.
    pub uid: u32,
    /// The same uid inside the user's own user namespace, which appears in the names of caches.
    pub inside: u32,
    /// The user's root directory.
    pub root: BorrowedFd<'a>,
    /// Which daemon keeps the user's KCM caches.
    pub daemon: Daemon,
    /// Which user and persistent keyrings the user has.
    pub user_rings: UserRings,
}

/// Which KCM daemon a requester reaches; the worker asks the host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Daemon {
    /// The host's: the requester sees the host's file system.
    Hosts,
    /// The host's if the socket below the requester's root is the host's own.
    BySocket,
    /// Another daemon.
    #[cfg(feature = "tools")]
    Another,
}

/// Reads the environment of a process from its open `/proc/<pid>/environ`.
pub(crate) fn environment_of(environment: BorrowedFd<'_>, progress: &mut SearchProgress<'_>) -> Environment {
    if progress.begin() { Environment::read(environment) } else { Environment::default() }
}

/// A search that has begun.
pub(crate) struct Search<'a> {
    config: &'a Config,
    owner: CacheOwner<'a>,
    environment: Environment,
    /// Caches that were named, with their standings.
    named: Vec<(CacheName, Standing)>,
    /// Whether everything else is searched too.
    everywhere: bool,
    in_rings: InRings,
    sources: Vec<Source>,
}

impl<'a> Search<'a> {
    fn new(config: &'a Config, owner: CacheOwner<'a>, environment: Environment) -> Self {
        Self {
            config,
            owner,
            environment,
            named: Vec::new(),
            everywhere: true,
            in_rings: InRings::default(),
            sources: Vec::new(),
        }
    }

    /// A search for one cache only; in a collection, for the primary one.
    pub(crate) fn for_one(config: &'a Config, owner: CacheOwner<'a>, name: CacheName) -> Self {
        let search = Self::new(config, owner, Environment::default());
        Self { named: vec![(name, Standing::Found)], everywhere: false, ..search }
    }

    /// A search for every cache: the one that the requester's environment names, the default ones, and all that lie
    /// in the usual places.
    pub(crate) fn for_best(config: &'a Config, owner: CacheOwner<'a>, environment: Environment) -> Self {
        let mut search = Self::new(config, owner, environment);
        let Caches { choice, krb5ccname, .. } = config.caches;
        let of_environment = match (krb5ccname, choice) {
            (Krb5CcName::Ignored, _) => None,
            (Krb5CcName::First, _) | (Krb5CcName::Considered, CacheChoice::Wish) => Some(Standing::Wished),
            (Krb5CcName::Ranked, _) | (Krb5CcName::Considered, CacheChoice::Longest) => Some(Standing::Found),
        };
        if let (Some(name), Some(standing)) = (search.environment.cache.clone(), of_environment) {
            search.name(&name, standing, "KRB5CCNAME");
        }
        let of_default = match choice {
            CacheChoice::Wish => Standing::Default,
            CacheChoice::Longest => Standing::Found,
        };
        let mut uids = vec![owner.inside, owner.uid];
        uids.dedup();
        for uid in uids {
            let Environment { user, temporary, .. } = search.environment.clone();
            let values = TokenValues { uid, name: user.as_deref(), temporary: temporary.as_deref() };
            match default_cache_name(&config.krb5_config, values) {
                Ok(name) => search.name(&name, of_default, "default cache"),
                Err(error) => search.object(&"default_ccache_name", &error, Standing::Found),
            }
        }
        search
    }

    fn name(&mut self, name: &str, standing: Standing, by: &str) {
        match name.parse::<CacheName>() {
            Ok(name) if self.named.iter().any(|(known, _)| *known == name) => {}
            Ok(name) => self.named.push((name, standing)),
            Err(error @ CacheNameError::Type(_)) => {
                let what = format!("{by} {}: {error}", quoted(name));
                self.object(&format_args!("{by} {name}"), &what, standing);
            }
            Err(error) => self.object(&by, &format_args!("{by}: {error}"), standing),
        }
    }

    fn object(&mut self, place: &impl Display, what: &dyn Display, standing: Standing) {
        let failure = Failure::new(Stage::Credentials, Cause::BadCache, what);
        self.sources.push(Source { standing, ..Source::objection(place, &failure) });
    }

    /// Searches the requester's keyrings, which were lent to the caller and which it possesses.
    pub(crate) fn look_into(&mut self, rings: Rings) {
        let CacheOwner { uid, user_rings, .. } = self.owner;
        let anchors = self.named.iter().filter_map(|(name, _)| match name {
            CacheName::Keyring { anchor, .. } => Some(*anchor),
            _ => None,
        });
        let anchors: Vec<_> = anchors.collect();
        let short_lived = anchors.iter().any(|anchor| matches!(anchor, Anchor::Thread | Anchor::Process));
        if self.everywhere || short_lived {
            self.in_rings = InRings::of_requester(rings, uid, user_rings);
        }
        if let Some(late) = rings.late
            && (self.everywhere || short_lived || anchors.contains(&Anchor::Session))
        {
            self.object(&"keyrings", &format_args!("keyrings: {late}"), Standing::Found);
        }
        for (name, _) in &self.named {
            if let CacheName::Keyring { anchor: Anchor::Session, collection, .. } = name
                && rings.session != 0
                && !self.in_rings.has(name)
            {
                let found = keyrings::collection(rings.session, collection, uid);
                if found.is_none() && !self.everywhere {
                    self.sources.extend(keyrings::session_trouble(rings.session));
                }
                self.in_rings.lent.extend(found);
            }
        }
    }

    /// Collections in the requester's session that the reader's session must lead to.
    pub(crate) fn lent(&self) -> &[i32] {
        &self.in_rings.lent
    }

    /// Searches everything else, as the user.
    pub(crate) fn finish(&mut self, progress: &mut SearchProgress<'_>) -> Vec<Source> {
        let CacheOwner { uid, root, user_rings, .. } = self.owner;
        if self.everywhere && user_rings == UserRings::Ours {
            if progress.begin() {
                self.in_rings.of_caller(uid);
            } else {
                let what = format!("keyrings of the user: {}", Late::Held);
                self.object(&"keyrings of the user", &what, Standing::Found);
            }
        }
        let mut files = Files::new(CachePolicy { root, owner: uid, allowed: &self.config.caches });
        for (name, standing) in std::mem::take(&mut self.named) {
            if !self.everywhere {
                self.in_rings.keep_only(&name);
            }
            if progress.begin() {
                self.add_named(&name, standing, &mut files);
            } else {
                let what = format!("{}: its file system does not answer", name.shown());
                self.object(&name, &what, standing);
            }
        }
        if self.everywhere {
            self.add_found(&mut files, progress);
        }
        let mut sources = files.into_sources();
        sources.append(&mut self.sources);
        sources.extend(std::mem::take(&mut self.in_rings).into_sources());
        let mut seen = BTreeSet::new();
        sources.retain(|source| seen.insert(source.display.clone()));
        if sources.iter().any(own_tmp::is_missing_there) && progress.begin() {
            own_tmp::add_note(root, &mut sources);
        }
        sources
    }

    fn add_named(&mut self, name: &CacheName, standing: Standing, files: &mut Files<'_>) {
        match name {
            CacheName::File(_) | CacheName::DirMember(_) => files.add_named(name, standing),
            CacheName::Dir(_) if self.everywhere => files.add_collection(name, standing),
            CacheName::Dir(_) => files.add_named(name, standing),
            CacheName::Kcm(_) if !self.reaches_daemon() => {
                let why = "the requester is in another mount namespace, the KCM daemon is not";
                self.object(name, &format_args!("{}: {why}", name.shown()), standing);
            }
            CacheName::Kcm(cache) => {
                let collection = self.everywhere && cache.is_empty();
                let role = if collection { SourceRole::Collection } else { SourceRole::Cache };
                self.sources.push(Source { role, standing, ..Source::named(name.to_string()) });
            }
            CacheName::Keyring { .. } => self.add_keyring(name, standing),
        }
    }

    /// Whether there is a daemon for the worker to ask. Only for that may it open local sockets.
    fn daemon_is_there(&self) -> bool {
        kcm_socket(&self.config.krb5_config).is_some_and(|socket| socket.exists())
    }

    /// Whether the daemon that the worker will ask is the requester's.
    fn reaches_daemon(&self) -> bool {
        match self.owner.daemon {
            Daemon::Hosts => true,
            #[cfg(feature = "tools")]
            Daemon::Another => false,
            Daemon::BySocket => {
                kcm_socket(&self.config.krb5_config).is_some_and(|path| is_ours(self.owner.root, &path))
            }
        }
    }

    /// The user's keytab, by our settings, else by krb5.conf where that names one.
    fn client_keytab(&self) -> Option<Result<PathBuf, String>> {
        let Config { caches, krb5_config, .. } = self.config;
        let uid = self.owner.uid;
        let set = caches.client_keytab(uid).map(Ok);
        let named = || {
            // The file is the host's, so nothing in the requester's environment counts.
            let name = client_keytab_name(krb5_config, TokenValues::numbered(uid))?
                .map_err(|error| error.to_string());
            Some(name.and_then(|name| match Path::new(name.strip_prefix("FILE:").unwrap_or(&name)) {
                path if path.is_absolute() => Ok(path.to_owned()),
                _ => Err(format!("default_client_keytab_name {}: not the path of a file", quoted(&name))),
            }))
        };
        set.or_else(named)
    }

    fn add_keyring(&mut self, name: &CacheName, standing: Standing) {
        let CacheName::Keyring { anchor, .. } = name else { return };
        let by_name = match anchor {
            Anchor::Thread | Anchor::Process => false,
            // A cache of the oldest form, or the primary one of a collection.
            Anchor::Session => !self.in_rings.has(name) && !self.in_rings.lent.is_empty(),
            Anchor::User | Anchor::Persistent => !self.everywhere && self.owner.user_rings == UserRings::Ours,
        };
        if by_name {
            self.sources.push(Source { standing, ..Source::named(name.to_string()) });
        } else if !self.in_rings.choose(name, standing) {
            let absent = Failure::new(
                Stage::Credentials,
                Cause::NoTicket,
                format_args!("{}: there is no such cache", name.shown()),
            );
            self.sources.push(Source { standing, ..Source::objection(name, &absent) });
        }
    }

    /// Adds caches that nobody has named.
    fn add_found(&mut self, files: &mut Files<'_>, progress: &mut SearchProgress<'_>) {
        let CacheOwner { uid, inside, .. } = self.owner;
        let mut directories = vec!["/tmp".to_owned(), format!("/run/user/{inside}")];
        if inside != uid {
            directories.push(format!("/run/user/{uid}"));
        }
        for directory in directories {
            if progress.begin() {
                files.add_found(Path::new(&directory));
            } else {
                let what = format!("{directory}: its file system does not answer");
                self.object(&directory, &what, Standing::Found);
            }
        }
        if self.config.caches.choice == CacheChoice::Wish {
            if progress.begin() {
                self.sources.extend(home::identities(files.policy, &self.environment, inside));
            } else {
                let what = "home directory: its file system does not answer";
                self.sources.push(Source::foreign(&"home directory", what));
            }
        }
        let kcm = self.sources.iter().any(|source| source.role == SourceRole::Collection);
        let asked = !kcm && (self.owner.daemon != Daemon::BySocket || progress.begin());
        if asked && self.daemon_is_there() && self.reaches_daemon() {
            self.sources
                .push(Source { role: SourceRole::PossibleCollection, ..Source::named("KCM:".to_owned()) });
        }
        match self.client_keytab() {
            Some(Ok(keytab)) => self.sources.push(client_keytab(&keytab, uid)),
            Some(Err(why)) => {
                self.sources.push(Source::foreign(&"default_client_keytab_name", &why));
            }
            None => {}
        }
    }
}

/// Whether a path names the same file below the root as here.
fn is_ours(root: BorrowedFd<'_>, path: &Path) -> bool {
    let identity = |root: BorrowedFd<'_>| {
        let status = fstat(locate_below(root, path)?)?;
        Ok::<_, Errno>((status.st_dev, status.st_ino))
    };
    our_root().is_ok_and(|ours| matches!((identity(ours.as_fd()), identity(root)), (Ok(a), Ok(b)) if a == b))
}

/// The user's keytab in the host's file system.
fn client_keytab(keytab: &Path, uid: u32) -> Source {
    let name = CacheName::File(keytab.to_owned());
    // Root is responsible for the paths in its settings.
    let anywhere = Caches { allow_fuse: true, allow_network: true, ..Caches::DEFAULT };
    let located = open("/", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(|errno| not_found(&name, errno))
        .and_then(|root| CachePolicy { root: root.as_fd(), owner: uid, allowed: &anywhere }.open(&name));
    match located {
        Ok(OpenedCache::File(file)) => {
            Source { role: SourceRole::ClientKeytab, ..Source::opened(name.to_string(), file) }
        }
        Ok(OpenedCache::Named(_)) => Source::foreign(&name, &format!("{}: not a file", name.shown())),
        Err(failure) => {
            Source { role: SourceRole::Unfit(Defect::Foreign), ..Source::objection(&name, &failure) }
        }
    }
}
