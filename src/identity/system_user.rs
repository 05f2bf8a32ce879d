//! The system user that negotiates in place of root. Looked up in /etc/passwd alone, without the name service.

use nix::unistd::{Gid, Uid};

use crate::sys::files::lossy_text;

/// A user's ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SystemUser {
    /// Never 0.
    pub uid: Uid,
    /// Its primary group.
    pub gid: Gid,
}

/// Why there is no such user.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SystemUserError {
    /// /etc/passwd has no such name.
    #[error("the system user {0} does not exist")]
    Unknown(String),
    /// The user is root.
    #[error("the system user {0} has uid 0")]
    Root(String),
    /// /etc/passwd cannot be read.
    #[error("/etc/passwd: {0}")]
    Read(#[from] std::io::Error),
}

/// Finds a user by name; a number is taken as both uid and gid.
///
/// # Errors
/// [`SystemUserError`].
pub(crate) fn find(name: &str) -> Result<SystemUser, SystemUserError> {
    let found = match name.parse() {
        Ok(number) => Some((number, number)),
        // Users write what they like into their own lines (chfn(1)).
        Err(_) => ids_of(&lossy_text("/etc/passwd")?, name),
    };
    match found {
        None => Err(SystemUserError::Unknown(name.to_owned())),
        Some((0, _)) => Err(SystemUserError::Root(name.to_owned())),
        Some((uid, gid)) => Ok(SystemUser { uid: Uid::from_raw(uid), gid: Gid::from_raw(gid) }),
    }
}

/// `name:password:uid:gid:…` (passwd(5)).
pub(super) fn ids_of(passwd: &str, name: &str) -> Option<(u32, u32)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        Some((uid, gid))
    })
}

/// The primary group of the first user with this uid in /etc/passwd.
pub(crate) fn group_of(uid: u32) -> Option<Gid> {
    group_in(&lossy_text("/etc/passwd").ok()?, uid)
}

fn group_in(passwd: &str, uid: u32) -> Option<Gid> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':').skip(2);
        (fields.next()?.parse() == Ok(uid)).then_some(())?;
        fields.next()?.parse().ok().map(Gid::from_raw)
    })
}

/// The user that lgss_kcm and root's agent run as, unless told otherwise.
pub(crate) const KCM_USER: &str = "lgss-kcm";

/// The command that makes such a user.
pub(crate) fn how_to_make(name: &str) -> String {
    format!("useradd --system --user-group --no-create-home --home-dir / --shell /usr/sbin/nologin {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_name_or_number_and_never_root() {
        assert_eq!(ids_of("root:x:0:0::/:\nlgss:x:987:986::/:/nologin\n", "lgss"), Some((987, 986)));
        assert_eq!(group_in("root:x:0:0::/:\nlgss:x:987:986::/:/nologin\n", 987), Some(Gid::from_raw(986)));
        assert_eq!(group_in("lgss2:x:987", 987), None);
        assert_eq!(ids_of("lgss2:x:987:986::/:\n", "lgss"), None);
        let passwd = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(passwd.path(), b"alice:x:2001:2001:b\xfcro:/:\nlgss:x:987:986::/:\n").unwrap();
        assert_eq!(ids_of(&lossy_text(passwd.path()).unwrap(), "lgss"), Some((987, 986)));
        assert!(matches!(find("0"), Err(SystemUserError::Root(_))));
        assert!(matches!(find("root"), Err(SystemUserError::Root(_))));
        assert_eq!(find("4711").unwrap().uid, Uid::from_raw(4711));
    }
}
