//! Searches caches and tickets in a requester's keyrings.
//!
//! Its thread, process and session keyrings are searched by the process to which they were lent, its user and
//! persistent keyrings by a process of that user. The library reaches a cache in a session keyring if its collection
//! is linked to the reader's session. Caches in thread and process keyrings and in those of another user namespace
//! cannot be named there and are copied. A ticket-granting ticket stored as a single key of type `user` or `big_key`
//! with the name `krbtgt/REALM@REALM` becomes a cache with nothing else in it.

use std::collections::BTreeSet;
use std::ffi::CString;

use nix::errno::Errno;

use crate::creds::budget::KeyBudget;
use crate::creds::cache_name::CacheName;
use crate::creds::keyring_copy::{copy_member, file_of_credential, primary_of};
use crate::creds::source::{Source, Standing};
use crate::creds::visible_ring;
use crate::event::{Cause, Failure, Stage};
use crate::key::{KeyDescription, KeySerial};
use crate::sys::lending::Late;
use crate::sys::{files, keyctl};
use crate::text::quoted;

/// Most links of a keyring that are followed.
const RING_LINKS_LIMIT: usize = 512;
/// Most caches and tickets that are taken from keyrings.
const RING_CACHES_LIMIT: usize = 64;

/// Serials of a requester's keyrings, 0 for one that it does not have.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rings {
    /// The keyring of the requesting thread.
    pub thread: i32,
    /// The keyring of its process.
    pub process: i32,
    /// The keyring of its session.
    pub session: i32,
    /// The keyring of its user in its user namespace, if the kernel says which that is.
    pub user: i32,
    /// Why keyrings may be missing that were not lent in time (rule S21).
    pub late: Option<Late>,
}

impl Rings {
    /// The keyrings of the calling process, which is that user's. A session keyring is asked for only if there is
    /// one, since the kernel would create the user's default one.
    #[cfg(feature = "tools")]
    pub(crate) fn of_caller(uid: u32) -> Self {
        let ring = |special| match keyctl::keyring_id(special) {
            Ok(serial) => serial,
            // Searching it will report the same error.
            Err(Errno::EKEYREVOKED | Errno::EKEYEXPIRED) => special,
            Err(_) => 0,
        };
        Self {
            thread: ring(keyctl::THREAD_KEYRING),
            process: ring(keyctl::PROCESS_KEYRING),
            session: if has_session(uid) { ring(keyctl::SESSION_KEYRING) } else { 0 },
            user: 0,
            late: None,
        }
    }
}

/// Whether the calling process, which is that user's, has a session keyring, without creating one. A session keyring
/// with another name than `_ses` cannot be recognised; but who has one has used keys before, so that the user keyring
/// exists.
#[cfg(feature = "tools")]
pub(crate) fn has_session(uid: u32) -> bool {
    visible_ring::which_exist([&visible_ring::of_user(uid)]) == [true]
        || keyctl::find(c"keyring", c"_ses") != Err(Errno::ENOKEY)
}

/// Gives the calling process a new session keyring with only these collections from the previous one.
///
/// # Errors
/// The kernel's, with the keyring that caused it.
pub(crate) fn isolate(collections: &[i32]) -> Result<(), (&'static str, Errno)> {
    let failed = |ring| move |errno| (ring, errno);
    // The process keyring keeps them possessed while the session changes. A collection that its owner has revoked
    // meanwhile is dropped.
    let mut kept = collections.to_vec();
    kept.retain(|&ring| keyctl::link(ring, keyctl::PROCESS_KEYRING).is_ok());
    let session = keyctl::join_anonymous_session().map_err(failed("session keyring"))?;
    kept.retain(|&ring| keyctl::link(ring, session).is_ok());
    if !collections.is_empty() {
        keyctl::clear(keyctl::PROCESS_KEYRING).map_err(failed("process keyring"))?;
    }
    Ok(())
}

/// The caches and tickets found in keyrings.
#[derive(Debug, Default)]
pub(super) struct InRings {
    sources: Vec<Source>,
    /// Names of the primary caches of collections.
    primaries: BTreeSet<String>,
    /// Collections that the reader's session must lead to.
    pub(super) lent: Vec<i32>,
    /// The budget for copies.
    budget: KeyBudget,
    /// Keyrings and tickets that have been examined.
    looked_at: BTreeSet<(i32, RingPlace)>,
}

/// The kind of a keyring, as in cache names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum RingPlace {
    Thread,
    Process,
    Session,
    User,
    Persistent,
}

/// How the library gets at a cache in a keyring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RingAccess {
    Name,
    Copy,
}

/// A keyring to search.
#[derive(Debug, Clone, Copy)]
struct Ring {
    id: i32,
    place: RingPlace,
    access: RingAccess,
}

/// Whether a requester's user and persistent keyrings are those of our processes with its uid; every user namespace
/// has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UserRings {
    /// They are.
    Ours,
    /// They can be reached only through keyrings that were lent to us.
    Foreign,
}

impl InRings {
    /// Searches the keyrings of a requester, which the caller must possess.
    pub(super) fn of_requester(rings: Rings, owner: u32, user_rings: UserRings) -> Self {
        let mut found = Self::default();
        // A user keyring of ours is searched later, by a process of that user.
        let user = if user_rings == UserRings::Foreign { rings.user } else { 0 };
        for (id, place, access) in [
            (rings.thread, RingPlace::Thread, RingAccess::Copy),
            (rings.process, RingPlace::Process, RingAccess::Copy),
            (rings.session, RingPlace::Session, RingAccess::Name),
            (user, RingPlace::User, RingAccess::Copy),
        ] {
            if id != 0 {
                found.look_into(Ring { id, place, access }, owner, user_rings);
            }
        }
        found
    }

    /// Searches the caller's user and persistent keyrings.
    pub(super) fn of_caller(&mut self, uid: u32) {
        // A keyring can be read only if a keyring of the process leads to it. Asking for missing ones would create
        // them, the persistent one for days.
        let names = [visible_ring::of_user(uid), visible_ring::persistent(uid)];
        let [has_user, has_persistent] = visible_ring::which_exist(names.each_ref().map(String::as_str));
        // Its owner can see whether it is empty without a link.
        let is_empty = || keyctl::links(keyctl::USER_KEYRING).is_ok_and(|links| links.is_empty());
        if has_user && !is_empty() && keyctl::link(keyctl::USER_KEYRING, keyctl::PROCESS_KEYRING).is_ok() {
            let ring = Ring { id: keyctl::USER_KEYRING, place: RingPlace::User, access: RingAccess::Name };
            self.look_into(ring, uid, UserRings::Ours);
        }
        if has_persistent && let Ok(ring) = keyctl::own_persistent_keyring(keyctl::PROCESS_KEYRING) {
            let ring = Ring { id: ring, place: RingPlace::Persistent, access: RingAccess::Name };
            self.look_into(ring, uid, UserRings::Ours);
        }
    }

    /// Whether anything of the collection or cache `name` was found.
    pub(super) fn has(&self, name: &CacheName) -> bool {
        let name = name.to_string();
        self.sources.iter().any(|source| is_of(&source.display, &name))
    }

    /// Sets the standing of that collection or cache, unless another name has set it; returns whether it was found.
    pub(super) fn choose(&mut self, name: &CacheName, standing: Standing) -> bool {
        let text = name.to_string();
        let mut found = false;
        for source in self.sources.iter_mut().filter(|source| is_of(&source.display, &text)) {
            found = true;
            let itself = source.display == text || self.primaries.contains(&source.display);
            if source.standing == Standing::Found {
                source.standing = if itself { standing } else { standing.of_member() };
            }
        }
        found
    }

    /// Keeps only what belongs to that collection or cache.
    pub(super) fn keep_only(&mut self, name: &CacheName) {
        let name = name.to_string();
        self.sources.retain(|source| is_of(&source.display, &name));
    }

    /// Everything that was found.
    pub(super) fn into_sources(self) -> Vec<Source> {
        self.sources
    }

    fn look_into(&mut self, ring: Ring, owner: u32, user_rings: UserRings) {
        let place = ring.place;
        let links = match links(ring.id) {
            Ok(links) => links,
            Err(errno) => return self.sources.push(trouble(place, errno)),
        };
        for key in links.into_iter().take(RING_LINKS_LIMIT) {
            if self.sources.len() >= RING_CACHES_LIMIT {
                return;
            }
            let Some(description) = KeySerial::new(key).and_then(|key| KeyDescription::of(key).ok()) else {
                continue;
            };
            let Ok(name) = std::str::from_utf8(&description.description) else { continue };
            if !self.looked_at.insert((key, place)) {
                continue;
            }
            match description.key_type.as_str() {
                _ if description.uid != owner => {}
                "keyring" if name == "_krb" || name.starts_with("_krb_") => {
                    self.add_collection(Ring { id: key, ..ring }, name.strip_prefix("_krb_"), owner);
                }
                "keyring" if place == RingPlace::Session && user_rings == UserRings::Foreign => {
                    let inner = match name.split_once('.') {
                        Some(("_uid" | "_uid_ses", _)) => RingPlace::User,
                        Some(("_persistent", _)) => RingPlace::Persistent,
                        _ => continue,
                    };
                    let inner = Ring { id: key, place: inner, access: RingAccess::Copy };
                    self.look_into(inner, owner, user_rings);
                }
                "user" | "big_key" if is_ticket_granting(name) => self.add_ticket(key, name, place),
                _ => {}
            }
        }
    }

    /// Adds each cache of a collection. The collection of a persistent keyring is named by its user's uid.
    fn add_collection(&mut self, ring: Ring, name: Option<&str>, owner: u32) {
        let Ring { id, place, access } = ring;
        let name = name.map_or_else(|| owner.to_string(), str::to_owned);
        let caches = keyctl::links(id).unwrap_or_default().into_iter().take(RING_LINKS_LIMIT);
        let mut expired = false;
        let caches = caches.filter_map(|cache| match KeyDescription::of(KeySerial::new(cache)?) {
            // The library lets a cache expire with its last ticket. Its name is gone then.
            Err(Errno::EKEYEXPIRED) => {
                expired = true;
                None
            }
            described => described.ok(),
        });
        let caches: Vec<_> = caches.collect();
        if expired {
            self.sources.push(Source::expired(&format_args!("KEYRING:{}:{name}", place.word())));
        }
        if access == RingAccess::Name && place == RingPlace::Session {
            self.lent.push(id);
        }
        if let Ok(primary) = primary_of(id) {
            self.primaries.insert(format!("KEYRING:{}:{name}:{primary}", place.word()));
        }
        for cache in caches.into_iter().filter(|cache| cache.key_type == "keyring") {
            if self.sources.len() >= RING_CACHES_LIMIT {
                return;
            }
            let Ok(member) = String::from_utf8(cache.description) else { continue };
            let display = format!("KEYRING:{}:{name}:{member}", place.word());
            let source = match access {
                RingAccess::Name => Ok(Source::named(display.clone())),
                RingAccess::Copy => copy_member(id, &member, &mut self.budget)
                    .and_then(|content| files::sealed_memory(&content))
                    .map(|content| Source::opened(display.clone(), content)),
            };
            self.sources.push(source.unwrap_or_else(|errno| unreadable(&display, errno)));
        }
    }

    fn add_ticket(&mut self, key: i32, name: &str, place: RingPlace) {
        let display = format!("key {name} in the {} keyring", place.word());
        let source = self
            .budget
            .read(key)
            .and_then(|payload| file_of_credential(&payload))
            .and_then(|file| files::sealed_memory(&file))
            .map(|file| Source::opened(display.clone(), file));
        self.sources.push(source.unwrap_or_else(|errno| unreadable(&display, errno)));
    }
}

impl RingPlace {
    fn word(self) -> &'static str {
        match self {
            Self::Thread => "thread",
            Self::Process => "process",
            Self::Session => "session",
            Self::User => "user",
            Self::Persistent => "persistent",
        }
    }
}

/// Whether a cache has that name or is in the collection with that name.
pub(super) fn is_of(cache: &str, name: &str) -> bool {
    cache.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
}

fn unreadable(display: &str, errno: Errno) -> Source {
    let why = match errno {
        Errno::EPROTO => "not the form of a cache that is known",
        Errno::E2BIG => "not copied: the requester's keyrings hold more than is copied for one request",
        other => other.desc(),
    };
    objection(display, why)
}

fn objection(place: &str, why: &str) -> Source {
    let failure = Failure::new(Stage::Credentials, Cause::BadCache, format_args!("{}: {why}", quoted(place)));
    Source::objection(&place, &failure)
}

/// `krbtgt/REALM@REALM`, in one line.
fn is_ticket_granting(name: &str) -> bool {
    let realms = name.strip_prefix("krbtgt/").and_then(|rest| rest.split_once('@'));
    realms.is_some_and(|(of, at)| !of.is_empty() && of == at && !name.contains(char::is_control))
}

/// Why a session keyring cannot be used, if it cannot.
pub(super) fn session_trouble(ring: i32) -> Option<Source> {
    links(ring).err().map(|errno| trouble(RingPlace::Session, errno))
}

fn trouble(place: RingPlace, errno: Errno) -> Source {
    let why = match (place, errno) {
        (RingPlace::Session, Errno::EKEYREVOKED | Errno::EKEYEXPIRED) => format!(
            "{}: the session keyring's login has ended; log in again, or use a session of its own: keyctl session - CMD",
            errno.desc()
        ),
        _ => errno.desc().to_owned(),
    };
    objection(&format!("KEYRING:{}", place.word()), &why)
}

/// The links of a keyring. The error says whether it is revoked or expired, or just not readable.
fn links(ring: i32) -> Result<Vec<i32>, Errno> {
    keyctl::links(ring).map_err(|errno| match keyctl::search(ring, c"keyring", c"_krb") {
        Err(known @ (Errno::EKEYREVOKED | Errno::EKEYEXPIRED)) => known,
        _ => errno,
    })
}

/// The keyring of a collection below the requester's session keyring, if it is the owner's: a session may be
/// inherited from another user's process. Collections are called `_krb_<name>`, in the oldest form just `<name>`
/// (krb5 ccache types, "KEYRING").
pub(crate) fn collection(session: i32, collection: &str, owner: u32) -> Option<i32> {
    let search = |name: String| {
        let name = CString::new(name).ok()?;
        let ring = keyctl::search(session, c"keyring", &name).ok()?;
        let description = KeyDescription::of(KeySerial::new(ring)?).ok()?;
        (description.uid == owner).then_some(ring)
    };
    search(format!("_krb_{collection}")).or_else(|| search(collection.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_granting_ticket_is_told_by_the_name_of_its_key() {
        assert!(is_ticket_granting("krbtgt/A.TEST@A.TEST"));
        for name in ["krbtgt/A@B", "krbtgt/@", "krbtgt/A", "nfs/A@A", "krbtgt/A\n@A\n"] {
            assert!(!is_ticket_granting(name), "{name:?}");
        }
    }

    #[test]
    fn a_cache_is_of_its_collection_and_of_no_other() {
        assert!(is_of("KEYRING:session:x:tkt", "KEYRING:session:x"));
        assert!(is_of("KEYRING:session:x:tkt", "KEYRING:session:x:tkt"));
        assert!(!is_of("KEYRING:session:xy:tkt", "KEYRING:session:x"));
        assert!(!is_of("KEYRING:session:x", "KEYRING:session:x:tkt"));
    }
}
