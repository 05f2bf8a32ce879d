//! The user whose credentials or contexts a command looks for.

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, User, geteuid};

use crate::text::quoted;

/// A user, and whether it is the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// The calling user.
    Caller(u32),
    /// Another user.
    User(Uid, Gid),
}

impl Whose {
    /// The caller.
    pub(super) fn caller() -> Self {
        Self::Caller(geteuid().as_raw())
    }

    /// The user with this name or number.
    pub(super) fn of(named: &str) -> Result<Self, String> {
        let (uid, gid) = find(named)?;
        Ok(if uid == geteuid() { Self::Caller(uid.as_raw()) } else { Self::User(uid, gid) })
    }

    pub(super) fn uid(self) -> u32 {
        match self {
            Self::Caller(uid) => uid,
            Self::User(uid, _) => uid.as_raw(),
        }
    }

    pub(super) fn is_caller(self) -> bool {
        matches!(self, Self::Caller(_))
    }
}

/// Finds uid and primary group; a uid without a user gets the gid of the same number.
fn find(named: &str) -> Result<(Uid, Gid), String> {
    let user = match named.parse() {
        Ok(uid) => {
            // Some name services report an unknown uid as an error.
            let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
            Ok(Some((Uid::from_raw(uid), user.map_or(Gid::from_raw(uid), |user| user.gid))))
        }
        Err(_) => User::from_name(named).map(|user| user.map(|user| (user.uid, user.gid))),
    };
    let named = quoted(named);
    match user {
        Ok(Some(user)) => Ok(user),
        Ok(None) | Err(Errno::ENOENT | Errno::ESRCH) => Err(format!("there is no user {named}")),
        Err(errno) => Err(format!("user {named}: {}", errno.desc())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_named_or_numbered_and_the_caller_is_no_other() {
        assert_eq!(find("root"), Ok((Uid::from_raw(0), Gid::from_raw(0))));
        assert_eq!(find("4000123"), Ok((Uid::from_raw(4_000_123), Gid::from_raw(4_000_123))));
        assert_eq!(find("no such\x1b[2J"), Err("there is no user \"no such\\u{1b}[2J\"".to_owned()));
        let own = geteuid().as_raw();
        assert_eq!(Whose::of(&own.to_string()), Ok(Whose::Caller(own)));
    }
}
