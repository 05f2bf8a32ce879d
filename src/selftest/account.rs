//! The system user that negotiates in place of root.

use super::finding::Finding;
use crate::identity::system_user;

/// Checks that there is such a user, and that it is not root.
pub(crate) fn check(name: &str) -> Finding {
    match system_user::find(name) {
        Ok(user) => Finding::ok("machine_user", format_args!("{name}, uid {}", user.uid)),
        Err(error) => Finding::error(
            "machine_user",
            format_args!("{error}: requests of root fail, and Lustre's for this machine"),
            system_user::how_to_make(name),
        ),
    }
}
