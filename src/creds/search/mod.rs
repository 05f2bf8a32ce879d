//! Every place where a requester may have credentials, each opened or with the reason why it is not (rules S4, S7, S9).
//!
//! In three steps, each by somebody with other rights: [`Search::for_best`] reads configuration of the host's,
//! [`Search::look_into`] keyrings that the caller has been lent, [`Search::finish`] everything else, as the user.
//! Called by the launcher and by `lgss caches`. Nothing is decided here: what is best is found in ranking.rs.

mod environment;
mod files;
mod keyrings;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

pub use keyrings::{Rings, UserRings, collection as session_collection, isolate};

use super::cache_name::{Anchor, CacheName, CacheNameError};
use super::default_cache::default_cache_name;
use super::open::{Ground, Opened, not_found};
use super::source::{Role, Source};
use crate::config::{Caches, Config, Krb5CcName};
use crate::event::{Cause, Failure, Stage};
use crate::text::quoted;
use files::Files;
use keyrings::InRings;

/// For whom credentials are looked for.
#[derive(Debug, Clone, Copy)]
pub struct Requester<'a> {
    /// Who it is.
    pub uid: u32,
    /// The same as its own user namespace counts, which is in the names of its caches.
    pub inside: u32,
    /// Its root directory.
    pub root: BorrowedFd<'a>,
    /// Whether that is ours: a daemon's caches are only for requesters in our own file system, since the daemon that another
    /// one would reach by the same path is not the host's.
    pub root_is_ours: bool,
    /// Whose keyrings it has.
    pub user_rings: UserRings,
}

/// Counts the places, so that whoever watches can tell which of them holds the search up, and passes over those that have
/// done so before.
#[derive(Debug, Default)]
pub struct Pace<'a> {
    /// Gets a byte for each place that is begun.
    pub watcher: Option<BorrowedFd<'a>>,
    /// Places that do not answer, by their order.
    pub held_up: &'a [usize],
    /// Places that have been begun.
    begun: usize,
}

impl<'a> Pace<'a> {
    /// From the beginning.
    pub fn new(watcher: Option<BorrowedFd<'a>>, held_up: &'a [usize]) -> Self {
        Self { watcher, held_up, begun: 0 }
    }

    /// Begins with the next place; whether it may be looked at.
    pub fn begin(&mut self) -> bool {
        let place = self.begun;
        self.begun += 1;
        if let Some(watcher) = self.watcher {
            let _ = nix::unistd::write(watcher, &[0]);
        }
        !self.held_up.contains(&place)
    }
}

/// KRB5CCNAME of a process, by its open `/proc/<pid>/environ`.
pub fn named_by(environment: BorrowedFd<'_>, pace: &mut Pace<'_>) -> Option<String> {
    pace.begin().then(|| environment::cache_name(environment))?
}

/// A search that has begun.
pub struct Search<'a> {
    config: &'a Config,
    requester: Requester<'a>,
    /// Caches that were named, with the role that they have.
    named: Vec<(CacheName, Role)>,
    /// Whether everything else is looked at, too.
    everywhere: bool,
    in_rings: InRings,
    sources: Vec<Source>,
}

impl<'a> Search<'a> {
    /// For one cache, and no other; of a collection the primary one.
    pub fn for_one(config: &'a Config, requester: Requester<'a>, name: CacheName) -> Self {
        Self {
            config,
            requester,
            named: vec![(name, Role::Cache)],
            everywhere: false,
            in_rings: InRings::default(),
            sources: Vec::new(),
        }
    }

    /// For every cache: the one that the requester's environment names, the default ones, and whatever lies where caches
    /// use to be.
    pub fn for_best(config: &'a Config, requester: Requester<'a>, environment: Option<String>) -> Self {
        let mut search = Self {
            config,
            requester,
            named: Vec::new(),
            everywhere: true,
            in_rings: InRings::default(),
            sources: Vec::new(),
        };
        let role = match config.caches.krb5ccname {
            Krb5CcName::Ranked => Some(Role::Cache),
            Krb5CcName::First => Some(Role::First),
            Krb5CcName::Ignored => None,
        };
        if let (Some(name), Some(role)) = (environment, role) {
            search.name(&name, role, "KRB5CCNAME");
        }
        let mut uids = vec![requester.inside, requester.uid];
        uids.dedup();
        for uid in uids {
            match default_cache_name(&config.krb5_config, uid) {
                Ok(name) => search.name(&name, Role::Cache, "default cache"),
                Err(error) => search.object(&"default_ccache_name", &error),
            }
        }
        search
    }

    fn name(&mut self, name: &str, role: Role, whence: &str) {
        match name.parse::<CacheName>() {
            Ok(name) if self.named.iter().any(|(known, _)| *known == name) => {}
            Ok(name) => self.named.push((name, role)),
            Err(error @ CacheNameError::Type(_)) => {
                let shown = quoted(name);
                self.object(&format_args!("{whence} {name}"), &format_args!("{whence} {shown}: {error}"));
            }
            Err(error) => self.object(&whence, &format_args!("{whence}: {error}")),
        }
    }

    fn object(&mut self, place: &impl Display, what: &dyn Display) {
        let failure = Failure::new(Stage::Credentials, Cause::BadCache, what);
        self.sources.push(Source::objection(place, &failure));
    }

    /// Looks into the keyrings of the requester, which the caller has been lent and possesses.
    pub fn look_into(&mut self, rings: Rings) {
        let Requester { uid, user_rings, .. } = self.requester;
        let anchors = self.named.iter().filter_map(|(name, _)| match name {
            CacheName::Keyring { anchor, .. } => Some(*anchor),
            _ => None,
        });
        let short_lived =
            anchors.into_iter().any(|anchor| matches!(anchor, Anchor::Thread | Anchor::Process));
        if self.everywhere || short_lived {
            self.in_rings = InRings::of_requester(rings, uid, user_rings);
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
    pub fn lent(&self) -> &[i32] {
        &self.in_rings.lent
    }

    /// Looks at everything else, as the user.
    pub fn finish(&mut self, pace: &mut Pace<'_>) -> Vec<Source> {
        let Requester { uid, root, user_rings, .. } = self.requester;
        if self.everywhere && user_rings == UserRings::Ours {
            self.in_rings.of_caller(uid);
        }
        let mut files = Files::new(Ground { root, owner: uid, allowed: &self.config.caches });
        for (name, role) in std::mem::take(&mut self.named) {
            if !self.everywhere {
                self.in_rings.keep_only(&name);
            }
            if pace.begin() {
                self.add_named(&name, role, &mut files);
            } else {
                self.object(&name, &format_args!("{}: its file system does not answer", name.shown()));
            }
        }
        if self.everywhere {
            self.add_found(&mut files, pace);
        }
        let mut sources = files.into_sources();
        sources.append(&mut self.sources);
        sources.extend(std::mem::take(&mut self.in_rings).into_sources());
        let mut seen = BTreeSet::new();
        sources.retain(|source| seen.insert(source.display.clone()));
        sources
    }

    fn add_named(&mut self, name: &CacheName, role: Role, files: &mut Files<'_>) {
        match name {
            CacheName::File(_) | CacheName::DirMember(_) => files.add_named(name, role),
            CacheName::Dir(_) if self.everywhere => files.add_collection(name, role),
            CacheName::Dir(_) => files.add_named(name, role),
            CacheName::Kcm(_) if !self.requester.root_is_ours => {
                let why = "the requester is in another mount namespace, the KCM daemon is not";
                self.object(name, &format_args!("{}: {why}", name.shown()));
            }
            CacheName::Kcm(cache) => {
                let role = match role {
                    Role::First if cache.is_empty() => Role::FirstCollection,
                    _ if self.everywhere && cache.is_empty() => Role::Collection,
                    role => role,
                };
                self.sources.push(Source { role, ..Source::named(name.to_string()) });
            }
            CacheName::Keyring { .. } => self.add_keyring(name, role),
        }
    }

    fn add_keyring(&mut self, name: &CacheName, role: Role) {
        let CacheName::Keyring { anchor, .. } = name else { return };
        let by_name = match anchor {
            Anchor::Thread | Anchor::Process => false,
            // Of the oldest form, or the primary one of a collection.
            Anchor::Session => !self.in_rings.has(name) && !self.in_rings.lent.is_empty(),
            Anchor::User | Anchor::Persistent => {
                !self.everywhere && self.requester.user_rings == UserRings::Ours
            }
        };
        if by_name {
            self.sources.push(Source { role, ..Source::named(name.to_string()) });
        } else if !self.in_rings.choose(name, role) {
            let absent = Failure::new(
                Stage::Credentials,
                Cause::NoTicket,
                format_args!("{}: there is no such cache", name.shown()),
            );
            self.sources.push(Source::objection(name, &absent));
        }
    }

    /// What nobody has named.
    fn add_found(&mut self, files: &mut Files<'_>, pace: &mut Pace<'_>) {
        let Requester { uid, inside, root_is_ours, .. } = self.requester;
        let mut directories = vec!["/tmp".to_owned(), format!("/run/user/{inside}")];
        if inside != uid {
            directories.push(format!("/run/user/{uid}"));
        }
        for directory in directories {
            if pace.begin() {
                files.add_found(Path::new(&directory));
            } else {
                self.object(&directory, &format_args!("{directory}: its file system does not answer"));
            }
        }
        let is_kcm = |source: &Source| matches!(source.role, Role::Collection | Role::FirstCollection);
        let kcm = self.sources.iter().any(is_kcm);
        if root_is_ours && !kcm {
            self.sources.push(Source { role: Role::PossibleCollection, ..Source::named("KCM:".to_owned()) });
        }
        if let Some(keytab) = self.config.caches.client_keytab(uid) {
            self.sources.push(client_keytab(&keytab, uid));
        }
    }
}

/// A keytab of the user's in the host's file system.
fn client_keytab(keytab: &Path, uid: u32) -> Source {
    let name = CacheName::File(keytab.to_owned());
    // Where a setting of root's leads is root's concern.
    let anywhere = Caches { allow_fuse: true, allow_network: true, ..Caches::DEFAULT };
    let located = open("/", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(|errno| not_found(&name, errno))
        .and_then(|root| Ground { root: root.as_fd(), owner: uid, allowed: &anywhere }.open(&name));
    match located {
        Ok(Opened::File(file)) => {
            Source { role: Role::ClientKeytab, ..Source::opened(name.to_string(), file) }
        }
        Ok(Opened::Named(_)) => Source::foreign(&name, &format!("{}: not a file", name.shown())),
        Err(failure) => Source { role: Role::Foreign, ..Source::objection(&name, &failure) },
    }
}
