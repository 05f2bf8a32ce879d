//! Values on the command line.

use nix::unistd::getuid;

use crate::creds::cache_name::{Anchor, CacheName};
use crate::gss::initial;
use crate::time;

/// Collection of the session, user, process and thread keyrings.
const COLLECTION: &str = "krb5";

/// A keyring by its name on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyringWord {
    anchor: Anchor,
    /// Of the persistent keyring.
    uid: u32,
}

impl KeyringWord {
    /// Where tickets go unless something else is named.
    pub(super) const SESSION: Self = Self { anchor: Anchor::Session, uid: 0 };

    /// The name of the collection, `KEYRING:anchor:name`.
    pub(super) fn collection(self) -> String {
        match self.anchor {
            Anchor::Thread => format!("KEYRING:thread:{COLLECTION}"),
            Anchor::Process => format!("KEYRING:process:{COLLECTION}"),
            Anchor::Session => format!("KEYRING:session:{COLLECTION}"),
            Anchor::User => format!("KEYRING:user:{COLLECTION}"),
            Anchor::Persistent => format!("KEYRING:persistent:{}", self.uid),
        }
    }
}

pub(super) fn keyring(word: &str) -> Result<KeyringWord, &'static str> {
    let form = "a keyring is session, process, thread, user, persistent or persistent:UID";
    let own = getuid().as_raw();
    let (anchor, uid) = match word.split_once(':') {
        None => (word, own),
        Some((name @ "persistent", uid)) => (name, uid.parse().map_err(|_| form)?),
        Some(_) => return Err(form),
    };
    let anchor = match anchor {
        "session" => Anchor::Session,
        "process" => Anchor::Process,
        "thread" => Anchor::Thread,
        "user" => Anchor::User,
        "persistent" => Anchor::Persistent,
        _ => return Err(form),
    };
    Ok(KeyringWord { anchor, uid })
}

/// The name of a KEYRING cache, unchanged.
pub(super) fn keyring_cache(name: &str) -> Result<String, String> {
    match name.parse() {
        Ok(CacheName::Keyring { .. }) => Ok(name.to_owned()),
        Ok(_) => Err("not a cache in a keyring, KEYRING:…; kinit -c makes the others".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

pub(super) fn duration(text: &str) -> Result<i32, &'static str> {
    let form = "a time is a number of seconds, or such as 10h, 1d2h, 30m, 10:30";
    initial::duration(text).filter(|&seconds| seconds > 0).ok_or(form)
}

/// Seconds from now.
pub(super) fn start(text: &str) -> Result<i32, &'static str> {
    let form = "a start is a time from now, such as 2h, or a date and time to come, such as 20301231235959";
    if let Some(seconds) = initial::duration(text).filter(|&seconds| seconds >= 0) {
        return Ok(seconds);
    }
    let then = initial::time(text).ok_or(form)?;
    let seconds = u64::from(then).checked_sub(time::now()).ok_or(form)?;
    i32::try_from(seconds).map_err(|_| form)
}

/// `NAME=VALUE`, or `NAME`, which means `yes`.
pub(super) fn attribute(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').unwrap_or((text, "yes"));
    if name.is_empty() { Err("an attribute is NAME=VALUE or NAME") } else { Ok((name.into(), value.into())) }
}
