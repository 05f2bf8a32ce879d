//! Caches and tickets in the keyrings of a requester.
//!
//! What hangs below its thread, process and session keyring is looked at by whoever has been lent these; what hangs
//! below its user and persistent keyring by a process of that user. A cache in a session keyring is reached by the
//! library if its collection is linked to the reader's session; those of thread and process, and keyrings of another
//! user namespace, cannot be named there and are handed over as copies. A ticket-granting ticket that is stored as one
//! key of type `user` or `big_key`, called `krbtgt/REALM@REALM`, becomes a cache with nothing else in it.

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
const LINKS_LIMIT: usize = 512;
/// Most caches and tickets in keyrings.
const FOUND_LIMIT: usize = 64;

/// A requester's keyrings by their serials, 0 for what it does not have.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rings {
    /// Of the thread that asks.
    pub thread: i32,
    /// Of its process.
    pub process: i32,
    /// Of its session.
    pub session: i32,
    /// Of its user in its user namespace, if the kernel says which that is.
    pub user: i32,
    /// Why there are others that we were not given in time (rule S21).
    pub late: Option<Late>,
}

impl Rings {
    /// Those of the calling process, of that user. None is made by that: the kernel gives a process without a session
    /// keyring its user's default one when that is asked for.
    #[cfg(feature = "tools")]
    pub(crate) fn of_caller(uid: u32) -> Self {
        let ring = |special| match keyctl::keyring_id(special) {
            Ok(serial) => serial,
            // Looking into it reports the same.
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

/// Whether the calling process, of that user, has a session keyring; none is made by asking. Nothing tells one with a
/// name of its own from none; who has one has used keys before.
#[cfg(feature = "tools")]
pub(crate) fn has_session(uid: u32) -> bool {
    visible_ring::which_exist([&visible_ring::of_user(uid)]) == [true]
        || keyctl::find(c"keyring", c"_ses") != Err(Errno::ENOKEY)
}

/// A fresh session keyring for the calling process, with nothing in it but these collections of the one before.
///
/// # Errors
/// The kernel's, with the keyring that it is about.
pub(crate) fn isolate(collections: &[i32]) -> Result<(), (&'static str, Errno)> {
    let failed = |ring| move |errno| (ring, errno);
    // Across the change of session, possession is kept by way of the process keyring.
    // One that its owner has revoked meanwhile will not be found.
    let mut kept = collections.to_vec();
    kept.retain(|&ring| keyctl::link(ring, keyctl::PROCESS_KEYRING).is_ok());
    let session = keyctl::join_anonymous_session().map_err(failed("session keyring"))?;
    kept.retain(|&ring| keyctl::link(ring, session).is_ok());
    if !collections.is_empty() {
        keyctl::clear(keyctl::PROCESS_KEYRING).map_err(failed("process keyring"))?;
    }
    Ok(())
}

/// What was found in keyrings.
#[derive(Debug, Default)]
pub(super) struct InRings {
    sources: Vec<Source>,
    /// Names of the primary caches of collections.
    primaries: BTreeSet<String>,
    /// Collections that the reader's session must lead to.
    pub(super) lent: Vec<i32>,
    /// For copies.
    budget: KeyBudget,
    /// Keyrings and tickets that have been looked at.
    looked_at: BTreeSet<(i32, Place)>,
}

/// The role of a keyring for its requester; the word is the one in cache names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Thread,
    Process,
    Session,
    User,
    Persistent,
}

/// How the library gets at what is in a keyring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Name,
    Copy,
}

/// Whether a requester's user and persistent keyrings are those that a process of ours with its uid has: every user
/// namespace has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UserRings {
    /// They are.
    Ours,
    /// They can be reached only as far as the rings lead there that we have been lent.
    Foreign,
}

impl InRings {
    /// In the keyrings of a requester, which the caller must possess.
    pub(super) fn of_requester(rings: Rings, owner: u32, user_rings: UserRings) -> Self {
        let mut found = Self::default();
        // Ours is reached as by any process of that user.
        let user = if user_rings == UserRings::Foreign { rings.user } else { 0 };
        for (ring, place, way) in [
            (rings.thread, Place::Thread, Way::Copy),
            (rings.process, Place::Process, Way::Copy),
            (rings.session, Place::Session, Way::Name),
            (user, Place::User, Way::Copy),
        ] {
            if ring != 0 {
                found.look_into(ring, (place, way), owner, user_rings);
            }
        }
        found
    }

    /// In the caller's own keyrings, but session, process and thread.
    pub(super) fn of_caller(&mut self, uid: u32) {
        // Only what a keyring of the process leads to can be read. Asking for those that are not there would make them,
        // the persistent one for days.
        let names = [visible_ring::of_user(uid), visible_ring::persistent(uid)];
        let [has_user, has_persistent] = visible_ring::which_exist(names.each_ref().map(String::as_str));
        // Its owner may see whether it is empty without that.
        let is_empty = || keyctl::links(keyctl::USER_KEYRING).is_ok_and(|links| links.is_empty());
        if has_user && !is_empty() && keyctl::link(keyctl::USER_KEYRING, keyctl::PROCESS_KEYRING).is_ok() {
            self.look_into(keyctl::USER_KEYRING, (Place::User, Way::Name), uid, UserRings::Ours);
        }
        if has_persistent && let Ok(ring) = keyctl::own_persistent_keyring(keyctl::PROCESS_KEYRING) {
            self.look_into(ring, (Place::Persistent, Way::Name), uid, UserRings::Ours);
        }
    }

    /// Whether anything of the collection or cache `name` was found.
    pub(super) fn has(&self, name: &CacheName) -> bool {
        let name = name.to_string();
        self.sources.iter().any(|source| is_of(&source.display, &name))
    }

    /// Gives what was found of that collection or cache its standing, unless another name has done so; whether there is
    /// something.
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

    /// All of it.
    pub(super) fn into_sources(self) -> Vec<Source> {
        self.sources
    }

    fn look_into(&mut self, ring: i32, (place, way): (Place, Way), owner: u32, user_rings: UserRings) {
        let links = match links(ring) {
            Ok(links) => links,
            Err(errno) => return self.sources.push(trouble(place, errno)),
        };
        for key in links.into_iter().take(LINKS_LIMIT) {
            if self.sources.len() >= FOUND_LIMIT {
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
                    self.add_collection(key, name.strip_prefix("_krb_"), (place, way), owner);
                }
                "keyring" if place == Place::Session && user_rings == UserRings::Foreign => {
                    let inner = match name.split_once('.') {
                        Some(("_uid" | "_uid_ses", _)) => Place::User,
                        Some(("_persistent", _)) => Place::Persistent,
                        _ => continue,
                    };
                    self.look_into(key, (inner, Way::Copy), owner, user_rings);
                }
                "user" | "big_key" if is_ticket_granting(name) => self.add_ticket(key, name, place),
                _ => {}
            }
        }
    }

    /// Each cache of a collection. That of a persistent keyring has no name, but its user's number.
    fn add_collection(&mut self, ring: i32, name: Option<&str>, (place, way): (Place, Way), owner: u32) {
        let name = name.map_or_else(|| owner.to_string(), str::to_owned);
        let caches = keyctl::links(ring).unwrap_or_default().into_iter().take(LINKS_LIMIT);
        let mut expired = false;
        let caches = caches.filter_map(|cache| match KeyDescription::of(KeySerial::new(cache)?) {
            // The library lets the kernel end a cache with its last ticket. Its name is gone then.
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
        if way == Way::Name && place == Place::Session {
            self.lent.push(ring);
        }
        if let Ok(primary) = primary_of(ring) {
            self.primaries.insert(format!("KEYRING:{}:{name}:{primary}", place.word()));
        }
        for cache in caches.into_iter().filter(|cache| cache.key_type == "keyring") {
            if self.sources.len() >= FOUND_LIMIT {
                return;
            }
            let Ok(member) = String::from_utf8(cache.description) else { continue };
            let display = format!("KEYRING:{}:{name}:{member}", place.word());
            let source = match way {
                Way::Name => Ok(Source::named(display.clone())),
                Way::Copy => copy_member(ring, &member, &mut self.budget)
                    .and_then(|content| files::sealed_memory(&content))
                    .map(|content| Source::opened(display.clone(), content)),
            };
            self.sources.push(source.unwrap_or_else(|errno| unreadable(&display, errno)));
        }
    }

    fn add_ticket(&mut self, key: i32, name: &str, place: Place) {
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

impl Place {
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

/// Whether a cache is the one of that name, or of the collection of that name.
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

/// Why a session keyring is useless, if it is.
pub(super) fn session_trouble(ring: i32) -> Option<Source> {
    links(ring).err().map(|errno| trouble(Place::Session, errno))
}

fn trouble(place: Place, errno: Errno) -> Source {
    let why = match (place, errno) {
        (Place::Session, Errno::EKEYREVOKED | Errno::EKEYEXPIRED) => format!(
            "{}: the session keyring's login has ended; log in anew, or use a session of its own: keyctl session - CMD",
            errno.desc()
        ),
        _ => errno.desc().to_owned(),
    };
    objection(&format!("KEYRING:{}", place.word()), &why)
}

/// The links of a keyring. One that is revoked or expired is told from one that may not be read.
fn links(ring: i32) -> Result<Vec<i32>, Errno> {
    keyctl::links(ring).map_err(|errno| match keyctl::search(ring, c"keyring", c"_krb") {
        Err(known @ (Errno::EKEYREVOKED | Errno::EKEYEXPIRED)) => known,
        _ => errno,
    })
}

/// The owner's keyring of a collection below the requester's session keyring, which may have been inherited from a
/// process of another user's; collections are called `_krb_<name>`, those of the oldest form just by their name (krb5
/// ccache types, "KEYRING").
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
