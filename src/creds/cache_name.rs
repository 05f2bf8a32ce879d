//! Names of credential caches as MIT Kerberos writes them: `TYPE:residual`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::text::quoted;

/// A cache of a type that can be used outside the process that made it (rule S7 allows no other).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CacheName {
    /// `FILE:/path` or a bare path.
    File(PathBuf),
    /// `DIR:/path`: the collection's primary cache.
    Dir(PathBuf),
    /// `DIR::/path/tktname`: one cache of a collection.
    DirMember(PathBuf),
    /// `KCM:` or `KCM:name`, kept by a daemon that knows its peer's uid.
    Kcm(String),
    /// `KEYRING:anchor:name`, kept in kernel keyrings.
    Keyring {
        /// The keyring that the collection hangs below.
        anchor: Anchor,
        /// The residual as given.
        residual: String,
        /// The name of the collection.
        collection: String,
    },
}

/// The keyring that a KEYRING collection hangs below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    /// The thread keyring.
    Thread,
    /// The process keyring.
    Process,
    /// The session keyring.
    Session,
    /// The user keyring.
    User,
    /// The persistent keyring of a uid.
    Persistent,
}

/// Why a name is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CacheNameError {
    /// An unknown type, or one that can be used only inside the process that made the cache.
    #[error("credential cache type {name} cannot be used here (FILE, DIR, KCM and KEYRING can)", name = quoted(.0))]
    Type(String),
    /// FILE and DIR take absolute paths without `..`.
    #[error("{name} is not an absolute path", name = quoted(.0))]
    Path(String),
    /// Caches are not kept in a keyring of that kind.
    #[error("there is no keyring {name} for caches (thread, process, session, user, persistent)", name = quoted(.0))]
    Anchor(String),
}

impl FromStr for CacheName {
    type Err = CacheNameError;

    fn from_str(text: &str) -> Result<Self, CacheNameError> {
        let (kind, residual) = match text.split_once(':') {
            Some((kind, residual)) if !kind.contains('/') => (kind, residual),
            _ => ("FILE", text),
        };
        match kind {
            "FILE" => path(residual).map(Self::File),
            "DIR" => match residual.strip_prefix(':') {
                Some(member) => path(member).map(Self::DirMember),
                None => path(residual).map(Self::Dir),
            },
            "KCM" => Ok(Self::Kcm(residual.to_owned())),
            "KEYRING" => keyring(residual),
            other => Err(CacheNameError::Type(other.to_owned())),
        }
    }
}

fn path(text: &str) -> Result<PathBuf, CacheNameError> {
    let path = PathBuf::from(text);
    let plain = path.is_absolute() && !path.components().any(|c| c == std::path::Component::ParentDir);
    if plain { Ok(path) } else { Err(CacheNameError::Path(text.to_owned())) }
}

/// `anchor:collection[:cache]`; a residual without an anchor is the old form of a session cache.
fn keyring(residual: &str) -> Result<CacheName, CacheNameError> {
    let (anchor, rest) = residual.split_once(':').unwrap_or(("session", residual));
    let anchor = match anchor {
        "thread" => Anchor::Thread,
        "process" => Anchor::Process,
        "session" => Anchor::Session,
        "user" => Anchor::User,
        "persistent" => Anchor::Persistent,
        other => return Err(CacheNameError::Anchor(other.to_owned())),
    };
    let collection = rest.split(':').next().unwrap_or_default().to_owned();
    Ok(CacheName::Keyring { anchor, residual: residual.to_owned(), collection })
}

impl CacheName {
    /// The name as it is shown to people, quoted since the maker of a cache chooses it.
    pub(crate) fn shown(&self) -> String {
        quoted(&self.to_string()).into_owned()
    }
}

impl fmt::Display for CacheName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "FILE:{}", path.display()),
            Self::Dir(path) => write!(f, "DIR:{}", path.display()),
            Self::DirMember(path) => write!(f, "DIR::{}", path.display()),
            Self::Kcm(residual) => write!(f, "KCM:{residual}"),
            Self::Keyring { residual, .. } => write!(f, "KEYRING:{residual}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_printed() {
        for text in ["FILE:/tmp/krb5cc_1000", "DIR:/run/user/1000/krb5cc", "DIR::/x/tkt1", "KCM:", "KCM:1000"]
        {
            assert_eq!(text.parse::<CacheName>().unwrap().to_string(), text);
        }
        assert_eq!("/tmp/a:b".parse::<CacheName>(), Ok(CacheName::File("/tmp/a:b".into())));
        let CacheName::Keyring { anchor, collection, .. } = "KEYRING:session:x:tkt".parse().unwrap() else {
            panic!("not a keyring");
        };
        assert_eq!((anchor, collection.as_str()), (Anchor::Session, "x"));
    }

    #[test]
    fn types_and_paths_that_cannot_be_served_are_refused() {
        for text in ["MEMORY:x", "SRVTAB:/x", "FILE:relative", "FILE:/a/../b", "DIR:", "KEYRING:group:x"] {
            assert!(text.parse::<CacheName>().is_err(), "{text}");
        }
    }
}
