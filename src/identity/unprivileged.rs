//! Proof that this process has no privileges left and cannot get any back (rule S13).
//!
//! Made by the worker before anything else, and required by what it does next. Invariant: the only constructor is the
//! verification, which changes no ids.

use std::fs;
use std::io;

use nix::unistd::{Gid, Uid, setgroups, setresuid};

/// Proof that this process is an ordinary user's for good.
#[derive(Debug)]
pub(crate) struct Unprivileged(());

/// A privilege that is left, or could not be checked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrivilegeError {
    /// The process's status cannot be read.
    #[error("worker: /proc/self/status: {0}")]
    Unreadable(io::Error),
    /// A field is missing or has another form.
    #[error("worker: /proc/self/status: field {0}")]
    Field(&'static str),
    /// One of the four uids is 0, or they differ.
    #[error("worker: user ids {0:?}")]
    Ids(Vec<u32>),
    /// There are supplementary groups.
    #[error("worker: has supplementary groups")]
    Groups,
    /// A capability in this set.
    #[error("worker: capabilities in {0}")]
    Capabilities(&'static str),
    /// A setuid file could give rights back.
    #[error("worker: no_new_privs is not set")]
    NewPrivileges,
    /// Becoming root, or joining a group, succeeded.
    #[error("worker: could take privileges back")]
    Regained,
}

impl Unprivileged {
    /// Verifies it, by the process's status and by trying to regain privileges.
    ///
    /// # Errors
    /// [`PrivilegeError`]. The process must then end: an attempt may have succeeded.
    pub(crate) fn prove() -> Result<Self, PrivilegeError> {
        check(&status()?)?;
        Self::prove_powerless()
    }

    /// The same for a process that its user has started: it has that user's groups, and a bounding set, which means nothing
    /// where exec gives no capability (no_new_privs).
    ///
    /// # Errors
    /// As for [`Unprivileged::prove`].
    #[cfg(feature = "gss")]
    pub(crate) fn prove_of_a_user() -> Result<Self, PrivilegeError> {
        check_with(&status()?, &CAPABILITIES_HELD)?;
        Self::prove_powerless()
    }

    fn prove_powerless() -> Result<Self, PrivilegeError> {
        let root = Uid::from_raw(0);
        if setresuid(root, root, root).is_ok() || setgroups(&[Gid::from_raw(0)]).is_ok() {
            return Err(PrivilegeError::Regained);
        }
        Ok(Self(()))
    }
}

/// Capabilities that a process has, or passes on by exec.
const CAPABILITIES_HELD: [&str; 4] = ["CapInh", "CapPrm", "CapEff", "CapAmb"];

fn status() -> Result<String, PrivilegeError> {
    fs::read_to_string("/proc/self/status").map_err(PrivilegeError::Unreadable)
}

/// Checks the text of /proc/self/status (proc(5)).
pub(super) fn check(text: &str) -> Result<(), PrivilegeError> {
    if !field(text, "Groups")?.is_empty() {
        return Err(PrivilegeError::Groups);
    }
    check_with(text, &["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"])
}

fn field<'a>(text: &'a str, name: &'static str) -> Result<&'a str, PrivilegeError> {
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.map(str::trim).ok_or(PrivilegeError::Field(name))
}

/// Checks all but the groups; `sets` are those of capabilities that must be empty.
fn check_with(text: &str, sets: &[&'static str]) -> Result<(), PrivilegeError> {
    let field = |name| field(text, name);
    check_ids(field("Uid")?)?;
    for &set in sets {
        match u64::from_str_radix(field(set)?, 16) {
            Ok(0) => {}
            Ok(_) => return Err(PrivilegeError::Capabilities(set)),
            Err(_) => return Err(PrivilegeError::Field(set)),
        }
    }
    if field("NoNewPrivs")? == "1" { Ok(()) } else { Err(PrivilegeError::NewPrivileges) }
}

/// Checks the real, effective, saved and file system uid.
fn check_ids(field: &str) -> Result<(), PrivilegeError> {
    let ids: Result<Vec<u32>, _> = field.split_ascii_whitespace().map(str::parse).collect();
    match ids.map_err(|_| PrivilegeError::Field("Uid"))?.as_slice() {
        [real, others @ ..] if *real != 0 && others.len() == 3 && others.iter().all(|id| id == real) => {
            Ok(())
        }
        ids => Err(PrivilegeError::Ids(ids.to_vec())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DROPPED: &str = "Name:\tlgss_negotiate\nUid:\t1000\t1000\t1000\t1000\nGid:\t100\t100\t100\t100\n\
        Groups:\t \nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n\
        CapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\n";

    #[test]
    fn only_a_status_without_any_privilege_passes() {
        assert!(check(DROPPED).is_ok());
        for (from, to) in [
            ("Uid:\t1000\t1000\t1000\t1000", "Uid:\t0\t0\t0\t0"),
            ("Uid:\t1000\t1000\t1000\t1000", "Uid:\t1000\t1000\t0\t1000"),
            ("Uid:\t1000\t1000\t1000\t1000", "Uid:\t1000\t1000\t1000"),
            ("Groups:\t ", "Groups:\t4 "),
            ("CapBnd:\t0000000000000000", "CapBnd:\t000001ffffffffff"),
            ("CapAmb:\t0000000000000000", "CapAmb:\t0000000000000400"),
            ("CapInh:\t0000000000000000", "CapInh:\tx"),
            ("NoNewPrivs:\t1", "NoNewPrivs:\t0"),
            ("NoNewPrivs:\t1\n", ""),
        ] {
            let changed = DROPPED.replace(from, to);
            assert_ne!(changed, DROPPED);
            assert!(check(&changed).is_err(), "{to}");
            // A user's own process has groups and a bounding set.
            let of_a_user = to.starts_with("Groups") || to.starts_with("CapBnd");
            assert_eq!(check_with(&changed, &CAPABILITIES_HELD).is_ok(), of_a_user, "{to}");
        }
    }
}
