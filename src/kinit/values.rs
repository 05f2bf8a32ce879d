//! Values on the command line.

use clap_complete::CompletionCandidate;
use nix::unistd::getuid;

use crate::creds::cache_name::{Anchor, CacheName};
use crate::gss::initial;
use crate::time;

/// Collection of the session, user, process and thread keyrings.
const COLLECTION: &str = "krb5";

/// A keyring by its name on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyringWord {
    Session,
    User,
    /// That of this uid.
    Persistent(u32),
    Process,
    Thread,
}

impl KeyringWord {
    /// The name of the collection, `KEYRING:anchor:name`.
    pub(super) fn collection(self) -> String {
        match self {
            Self::Session => format!("KEYRING:session:{COLLECTION}"),
            Self::User => format!("KEYRING:user:{COLLECTION}"),
            Self::Persistent(uid) => format!("KEYRING:persistent:{uid}"),
            Self::Process => format!("KEYRING:process:{COLLECTION}"),
            Self::Thread => format!("KEYRING:thread:{COLLECTION}"),
        }
    }

    /// Whether a ticket that is one key would be found there.
    pub(super) fn takes_a_single_key(self) -> bool {
        matches!(self, Self::Session | Self::User)
    }

    /// Which keyring that is.
    pub(super) fn anchor(self) -> Anchor {
        match self {
            Self::Session => Anchor::Session,
            Self::User => Anchor::User,
            Self::Persistent(_) => Anchor::Persistent,
            Self::Process => Anchor::Process,
            Self::Thread => Anchor::Thread,
        }
    }
}

pub(super) fn keyring(word: &str) -> Result<KeyringWord, &'static str> {
    let form = "a keyring is session, user, persistent, persistent:UID, process or thread";
    match (word, word.strip_prefix("persistent:")) {
        (_, Some(uid)) => uid.parse().map(KeyringWord::Persistent).map_err(|_| form),
        ("session", _) => Ok(KeyringWord::Session),
        ("user", _) => Ok(KeyringWord::User),
        ("persistent", _) => Ok(KeyringWord::Persistent(getuid().as_raw())),
        ("process", _) => Ok(KeyringWord::Process),
        ("thread", _) => Ok(KeyringWord::Thread),
        _ => Err(form),
    }
}

/// What a shell completes.
pub(super) fn keyrings() -> Vec<CompletionCandidate> {
    ["session", "user", "persistent"].into_iter().map(CompletionCandidate::new).collect()
}

/// The name of a KEYRING cache, unchanged.
pub(super) fn keyring_cache(name: &str) -> Result<String, &'static str> {
    let form = "a cache here is KEYRING:session:NAME, or with user, process or thread for session, or \
                KEYRING:persistent:UID; kinit has other types";
    match name.parse() {
        Ok(CacheName::Keyring { .. }) => Ok(name.to_owned()),
        Ok(_) | Err(_) => Err(form),
    }
}

pub(super) fn duration(text: &str) -> Result<i32, &'static str> {
    let form = "a time is a number of seconds, or such as 10h, 1d2h, 30m, 10:30";
    initial::duration(text).filter(|&seconds| seconds > 0).ok_or(form)
}

/// What stands after `--renew-while`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WatchedWord {
    /// A process by its number.
    Process(i32),
    /// A principal, since the command after `--` is what counts.
    Principal(String),
}

pub(super) fn watched(text: &str) -> Result<WatchedWord, &'static str> {
    let form = "a process is named by its number, such as 1234 or $$";
    match text.parse::<i64>() {
        Ok(pid) => i32::try_from(pid).ok().filter(|&pid| pid > 0).map(WatchedWord::Process).ok_or(form),
        Err(_) if text.is_empty() => Err(form),
        Err(_) => Ok(WatchedWord::Principal(text.to_owned())),
    }
}

/// Whether a path, `TYPE:path` or a list of paths has one that does not begin at the root.
pub(super) fn is_relative(name: &str) -> bool {
    let of_a_file = |name: &str| match name.split_once(':') {
        Some(("FILE" | "WRFILE" | "DIR", path)) => !path.trim_start_matches(':').starts_with('/'),
        // Of another type, or the next of a list.
        Some((first, rest)) if first.starts_with('/') => rest.split(':').any(|path| !path.starts_with('/')),
        Some(_) => false,
        None => !name.starts_with('/'),
    };
    !name.is_empty() && of_a_file(name)
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

#[cfg(test)]
mod tests {
    use super::is_relative;

    #[test]
    fn names_that_depend_on_the_directory_are_known() {
        for name in ["x.keytab", "FILE:x", "DIR:x", "DIR::x/tkt", "/etc/krb5.conf:own.conf"] {
            assert!(is_relative(name), "{name}");
        }
        for name in ["", "/x", "FILE:/x", "DIR::/x/tkt", "/etc/krb5.conf:/x", "KEYRING:session:x", "MEMORY:x"]
        {
            assert!(!is_relative(name), "{name}");
        }
    }
}
