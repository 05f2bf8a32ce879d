//! Words shared by the commands: for keys, sessions, and where the log is.

use std::path::Path;

use nix::errno::Errno;

use crate::ctx::rings::Session;
use crate::key::KeySerial;
use crate::provider::log::{FILES, LISTENS};
use crate::terminal::person::person;

/// A key as keyctl(1) prints it, and as the log does.
pub(super) fn key(serial: KeySerial) -> String {
    format!("{} ({serial})", serial.raw())
}

/// State of the session keyring, as a sentence for people.
pub(super) fn session(session: Session) -> String {
    match session {
        Session::Own => "the session keyring is your own".to_owned(),
        Session::Anothers(uid) => format!("the session keyring belongs to uid {}", person(uid)),
        Session::Closed => "the session keyring is closed to you".to_owned(),
        Session::Dead(Errno::EKEYEXPIRED) => {
            "your session keyring has expired: EKEYEXPIRED (its login has ended, or somebody gave it a timeout)"
                .to_owned()
        }
        Session::Dead(errno) => {
            format!("your session keyring was revoked: {errno:?} (its login has ended)")
        }
    }
}

/// Remedy for a session that has ended.
pub(super) const NEW_SESSION: &str =
    "log in again, or run the command in a session of its own: keyctl session - CMD";

/// Where the log has the exact reason of a failure: the journal, or the system log's file for facility authpriv.
pub(super) fn where_the_reason_is() -> String {
    reason_below(Path::new("/"))
}

/// Where the log has more details, if it is in a usual place.
pub(super) fn where_more_is() -> Option<String> {
    log_below(Path::new("/")).map(|log| format!("the log of this machine: {log}"))
}

fn reason_below(root: &Path) -> String {
    match log_below(root) {
        Some(log) => format!("the log of this machine: {log}"),
        None => "the log of this machine, wherever that keeps facility authpriv".to_owned(),
    }
}

/// Command that shows the upcall's log lines.
fn log_below(root: &Path) -> Option<String> {
    let there = |name: &str| root.join(name.trim_start_matches('/')).symlink_metadata().is_ok();
    if there(LISTENS) {
        return Some("journalctl -t lgss_keyring".to_owned());
    }
    FILES.iter().find(|name| there(name)).map(|file| format!("grep lgss_keyring {file}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_looked_for_where_this_machine_logs() {
        let root = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            std::fs::create_dir_all(root.path().join(name).parent().unwrap()).unwrap();
            std::fs::write(root.path().join(name), "").unwrap();
            reason_below(root.path())
        };
        assert!(reason_below(root.path()).contains("facility authpriv"));
        assert!(file("var/log/messages").ends_with("grep lgss_keyring /var/log/messages"));
        assert!(file("var/log/secure").ends_with("grep lgss_keyring /var/log/secure"));
        assert!(file("run/systemd/journal/socket").ends_with("journalctl -t lgss_keyring"));
    }
}
