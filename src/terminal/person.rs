//! How commands name a user.

use nix::unistd::{Uid, User};

use crate::text::quoted;

/// A uid and its name.
pub(crate) fn person(uid: u32) -> String {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => format!("{uid} ({})", quoted(&user.name)),
        _ => uid.to_string(),
    }
}
