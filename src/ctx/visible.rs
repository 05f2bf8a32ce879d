//! Which contexts the caller can see: those in its keyrings, and those that /proc/keys shows it.
//!
//! Called by `lgss list`, `lgss flush` and programs that keep many contexts. Invariant: what a key is, only
//! KEYCTL_DESCRIBE says; of /proc/keys, whose lines other users can forge, nothing but numbers of keys is taken. Keys
//! come and go while we look: one that has gone is left out.

use std::collections::{HashMap, HashSet};
use std::ffi::CStr;
use std::fs::File;
use std::io::{BufRead, BufReader};

use nix::errno::Errno;
use nix::unistd::geteuid;

use super::client::{ClientError, ContextKey};
use super::no_context::NoContext;
use super::os_error::OsError;
use super::payload::user::State;
use super::request::Description;
use super::rings::{self, Session};
use crate::key::{KeyDescription, KeySerial};
use crate::sys::keyctl;

/// The keyring of a program's own contexts, in the thread keyring of a thread of its own (src/security/held.rs).
pub(crate) const PROGRAMS_RING: &CStr = c"_lgss";
/// Possessor and owner may read, in a key's permissions (keyrings(7)).
const READ: u32 = 0x0202_0000;
/// They may find it, which is what ending it needs.
const SEARCH: u32 = 0x0808_0000;
/// They may change it, or of a keyring what is in it.
const WRITE: u32 = 0x0404_0000;
const POSSESSOR: u32 = 0x3f00_0000;
const OWNER: u32 = 0x003f_0000;

/// A context's key that the caller can see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visible {
    /// The key.
    pub key: ContextKey,
    /// Its owner in our user namespace.
    pub owner: u32,
    /// Which context it is.
    pub description: Description,
    readable: bool,
    endable: bool,
    holders: Vec<KeySerial>,
    elsewhere: Option<Elsewhere>,
}

/// Where a context of the caller's is, if none of its keyrings leads to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Elsewhere {
    /// In another session of the caller's.
    Session,
    /// In a keyring of a program of the caller's that uses `lgss::security`; whoever ends the context ends it for that
    /// program.
    Program,
    /// In no keyring any more: its session or process has ended. The kernel lets go of it in a moment, or when its
    /// negotiation ends.
    Nowhere,
}

/// The contexts that the caller sees, in the order of their keys' numbers.
pub fn contexts() -> Vec<Visible> {
    let mut found = KeyringWalk::default();
    found.walk(keyctl::THREAD_KEYRING, Access::Possessed);
    found.walk(keyctl::PROCESS_KEYRING, Access::Possessed);
    // A key in another's keyring is another's, whatever its name (rule S20).
    if rings::session() == Session::Own {
        found.walk(keyctl::SESSION_KEYRING, Access::Possessed);
    }
    found.walk(keyctl::USER_KEYRING, Access::Seen);
    // Without /proc, the list ends with the keyrings.
    if let Ok(file) = File::open("/proc/keys") {
        serials(BufReader::new(file)).for_each(|serial| found.look_at(serial, Access::Seen));
    }
    found.locate();
    let mut contexts: Vec<Visible> = found.contexts.into_values().collect();
    contexts.sort_by_key(|context| context.key.serial().raw());
    contexts
}

impl Visible {
    /// What the key says now. A key that the upcall has rejected is [`State::Failed`] with
    /// the errno of the rejection; so is one that the kernel negated because no upcall answered.
    ///
    /// # Errors
    /// As [`ContextKey::state`]; `Read(EACCES)` if the caller may not read it, `Read(ENOKEY)` if it has gone.
    pub fn state(&self) -> Result<State, ClientError> {
        match self.key.state() {
            // A negative key answers with its own error, and can be described unlike one that has ended.
            Err(ClientError::Read(errno))
                if (self.readable || errno.0 != Errno::EACCES) && self.is_there() =>
            {
                Ok(State::Failed(NoContext::negated(errno)))
            }
            other => other,
        }
    }

    /// Where the key is, for one of the caller's that none of its keyrings leads to; `None` if unknown.
    pub fn elsewhere(&self) -> Option<Elsewhere> {
        self.elsewhere
    }

    /// Whether [`Visible::end`] can be expected to work.
    pub fn can_be_ended(&self) -> bool {
        self.endable
    }

    /// Ends the context: the next request of it negotiates anew, and reading the key fails for everybody who has it.
    ///
    /// The key is invalidated rather than revoked: a revoked key would stay and be the answer to further requests. It is
    /// also taken out of the keyrings it was found in: the kernel removes it from the others a moment later, and a
    /// negative key, which cannot be invalidated, is gone by that.
    ///
    /// # Errors
    /// EACCES if the caller may not; a context that has ended by itself is no error.
    pub fn end(&self) -> Result<(), OsError> {
        let raw = self.key.serial().raw();
        let invalidated = keyctl::invalidate(raw);
        let unlinked = self.holders.iter().filter(|ring| keyctl::unlink(raw, ring.raw()).is_ok()).count();
        match invalidated {
            Err(errno) if self.is_there() && unlinked < self.holders.len().max(1) => Err(OsError(errno)),
            _ => Ok(()),
        }
    }

    fn is_there(&self) -> bool {
        keyctl::describe(self.key.serial().raw()).is_ok()
    }
}

/// How the caller reaches a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// From the thread, process or session keyring: the caller possesses it.
    Possessed,
    /// Any other way.
    Seen,
}

/// The keyrings walked and the keys found so far.
#[derive(Debug, Default)]
struct KeyringWalk {
    contexts: HashMap<KeySerial, Visible>,
    /// Keys that have been described, whatever they are, with what is to be done about keyrings.
    known: HashMap<KeySerial, Kind>,
    walked: HashSet<KeySerial>,
    /// Keyrings of the caller's, but those of requests under way.
    own_rings: HashMap<KeySerial, Outsiders>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Context,
    Keyring,
    Other,
}

/// What their owner may do with the keys of a keyring that nothing leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outsiders {
    /// Nothing but look at them, if that.
    Look,
    /// Take them out, too: so it is in keyrings of programs' contexts.
    TakeOut,
}

impl KeyringWalk {
    /// Everything below a keyring, each keyring once: a keyring may be reached in many ways.
    fn walk(&mut self, special: keyctl::RawSerial, access: Access) {
        let mut rings: Vec<KeySerial> =
            keyctl::keyring_id(special).ok().and_then(KeySerial::new).into_iter().collect();
        while let Some(ring) = rings.pop() {
            if !self.walked.insert(ring) {
                continue;
            }
            for serial in keyctl::links(ring.raw()).unwrap_or_default().into_iter().filter_map(KeySerial::new)
            {
                self.look_at(serial, access);
                match self.known.get(&serial) {
                    Some(Kind::Keyring) => rings.push(serial),
                    Some(Kind::Context) => self.held(serial, ring),
                    _ => {}
                }
            }
        }
    }

    fn look_at(&mut self, serial: KeySerial, access: Access) {
        if self.known.contains_key(&serial) {
            return;
        }
        let Ok(key) = KeyDescription::of(serial) else { return };
        let kind = match key.key_type.as_str() {
            "keyring" => {
                if key.uid == geteuid().as_raw() && !key.description.starts_with(b"_req.") {
                    let is_programs = key.description == PROGRAMS_RING.to_bytes();
                    let may = match is_programs && key.permissions & WRITE & OWNER != 0 {
                        true => Outsiders::TakeOut,
                        false => Outsiders::Look,
                    };
                    self.own_rings.insert(serial, may);
                }
                Kind::Keyring
            }
            "user" => self.context(serial, &key, access),
            _ => Kind::Other,
        };
        self.known.insert(serial, kind);
    }

    fn context(&mut self, serial: KeySerial, key: &KeyDescription, access: Access) -> Kind {
        let Some(description) = std::str::from_utf8(&key.description).ok().and_then(|text| text.parse().ok())
        else {
            return Kind::Other;
        };
        let possessors = if access == Access::Possessed { POSSESSOR } else { 0 };
        let owners = if key.uid == geteuid().as_raw() { OWNER } else { 0 };
        let allowed = |permission| key.permissions & (possessors | owners) & permission != 0;
        let context = Visible {
            key: ContextKey::of(serial),
            owner: key.uid,
            description,
            readable: allowed(READ),
            endable: allowed(SEARCH),
            holders: Vec::new(),
            elsewhere: None,
        };
        self.contexts.insert(serial, context);
        Kind::Context
    }

    /// Finds contexts that were only seen in the caller's other keyrings, which their owner may read. Those of processes
    /// and threads cannot be read: if there is one, the place of a context stays unknown.
    fn locate(&mut self) {
        let (mut places, mut hidden) = (HashMap::<KeySerial, Vec<_>>::new(), false);
        for (ring, may) in self.own_rings.iter().filter(|(ring, _)| !self.walked.contains(ring)) {
            match keyctl::links(ring.raw()) {
                Ok(links) => {
                    for serial in links.into_iter().filter_map(KeySerial::new) {
                        places.entry(serial).or_default().push((*ring, *may));
                    }
                }
                Err(Errno::EACCES) => hidden = true,
                Err(_) => {}
            }
        }
        let own = geteuid().as_raw();
        let seen =
            self.contexts.values_mut().filter(|context| context.owner == own && context.holders.is_empty());
        for context in seen {
            let places = places.remove(&context.key.serial()).unwrap_or_default();
            let of_programs = places.iter().filter(|(_, may)| *may == Outsiders::TakeOut);
            context.holders.extend(of_programs.map(|(ring, _)| *ring));
            context.elsewhere = match (places.is_empty(), context.holders.is_empty()) {
                (false, false) => Some(Elsewhere::Program),
                (false, true) => Some(Elsewhere::Session),
                (true, _) if hidden => None,
                (true, _) => Some(Elsewhere::Nowhere),
            };
            context.endable |= context.elsewhere == Some(Elsewhere::Program);
        }
    }

    fn held(&mut self, serial: KeySerial, ring: KeySerial) {
        self.contexts.entry(serial).and_modify(|context| context.holders.push(ring));
    }
}

/// The first word of every line, if it can be a key's number. A description may hold line breaks, so that any number can
/// come up here; it only means that the key of this number is looked at.
pub(super) fn serials(lines: impl BufRead) -> impl Iterator<Item = KeySerial> {
    lines.split(b'\n').map_while(Result::ok).filter_map(|line| {
        let digits = std::str::from_utf8(line.get(..8)?).ok()?;
        KeySerial::new(i32::from_str_radix(digits, 16).ok()?)
    })
}

#[cfg(test)]
#[cfg(feature = "upcall")]
mod tests {
    use super::*;
    use std::ffi::CString;
    use std::time::{Duration, Instant};

    const LABEL: &str = "lgss:4711:nfs@visible.example.test";

    fn add(description: &str, ring: keyctl::RawSerial) -> KeySerial {
        let payload = crate::ctx::payload::user::in_progress();
        let text = CString::new(description).unwrap();
        KeySerial::new(keyctl::add(c"user", &text, payload.as_slice(), ring).unwrap()).unwrap()
    }

    fn ring(name: &str, ring: keyctl::RawSerial) -> keyctl::RawSerial {
        keyctl::add(c"keyring", &CString::new(name).unwrap(), b"", ring).unwrap()
    }

    /// Of the fresh session keyring of this thread.
    fn seen(serial: KeySerial) -> Option<Visible> {
        contexts().into_iter().find(|context| context.key.serial() == serial)
    }

    #[test]
    fn numbers_of_keys_are_all_that_is_taken_from_a_list_with_forged_lines() {
        let list = b"2f81a3c0 I--Q---     1 perm 3f010000     0     0 user      a\nshort\nzzzzzzzz x\n\xff\xff\n-0000001 y\n00000000\n0000000a";
        let numbers: Vec<i32> = serials(&list[..]).map(KeySerial::raw).collect();
        assert_eq!(numbers, [0x2f81_a3c0, 10]);
    }

    /// Needs a kernel with keys, as the whole package does.
    #[test]
    fn a_context_is_found_below_keyrings_that_hold_each_other_and_many_other_keys() {
        let session = keyctl::join_anonymous_session().unwrap();
        let (outer, other) = (ring("outer", session), ring("other", session));
        let inner = ring("inner", outer);
        keyctl::link(inner, other).unwrap();
        (0..40).for_each(|i| _ = add(&format!("lgss:no context {i}"), inner));
        let context = add(LABEL, inner);
        keyctl::link(context.raw(), other).unwrap();
        let found = seen(context).unwrap();
        assert_eq!(found.description.to_string(), LABEL);
        assert_eq!(found.holders.len(), 2, "{found:?}");
        assert!(matches!(found.state(), Ok(State::InProgress)));
        assert!(contexts().iter().all(|context| context.description.to_string().starts_with("lgss:")));
    }

    /// By another user's uid the kernel would not show it.
    #[test]
    fn a_context_of_another_session_is_told_from_one_that_is_possessed() {
        let here = |serial| seen(serial).map(|context| context.elsewhere());
        let (tell, told) = std::sync::mpsc::channel();
        let (end, wait) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || {
            let session = keyctl::join_anonymous_session().unwrap();
            let context = add(LABEL, session);
            tell.send((context, here(context))).unwrap();
            let _ = wait.recv();
        });
        let (context, there) = told.recv().unwrap();
        assert_eq!(there, Some(None), "it is possessed there");
        keyctl::join_anonymous_session().unwrap();
        assert_eq!(here(context), Some(Some(Elsewhere::Session)));
        drop(end);
        other.join().unwrap();
    }

    #[test]
    fn an_ended_context_is_gone_at_once() {
        let session = keyctl::join_anonymous_session().unwrap();
        let context = add(LABEL, session);
        let found = seen(context).unwrap();
        assert!(found.can_be_ended());
        found.end().unwrap();
        assert_eq!(keyctl::find(c"user", &CString::new(LABEL).unwrap()), Err(Errno::ENOKEY));
        assert_eq!(seen(context), None);
        assert!(found.state().is_err());
        assert_eq!(found.end(), Ok(()), "what has gone is ended");
    }

    #[test]
    fn a_context_that_expires_meanwhile_is_left_out() {
        let session = keyctl::join_anonymous_session().unwrap();
        let context = add(LABEL, session);
        keyctl::set_timeout(context.raw(), Duration::from_secs(1)).unwrap();
        let found = seen(context).unwrap();
        let start = Instant::now();
        while seen(context).is_some() {
            assert!(start.elapsed() < Duration::from_secs(5), "it does not expire");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(found.state().unwrap_err(), ClientError::Read(OsError(Errno::EKEYEXPIRED)));
        assert_eq!(found.end(), Ok(()));
    }
}
