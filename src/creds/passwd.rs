//! Names and home directories of users by a file of passwd(5), for processes that must not ask a name service.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, SFlag, fstat};

use super::file_system::kind;
use crate::sys::files::read_located;

/// Largest file that is read, in bytes.
const PASSWD_BYTES: usize = 4 * 1024 * 1024;

/// The text of the file.
#[derive(Debug)]
pub(super) struct Passwd(pub(super) String);

/// A user.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PasswdEntry<'a> {
    pub(super) name: &'a str,
    pub(super) home: &'a str,
}

/// Reads a file that was located.
pub(super) fn read(file: &OwnedFd) -> Result<Passwd, Errno> {
    if kind(&fstat(file)?) != SFlag::S_IFREG {
        return Err(Errno::EINVAL);
    }
    let content = read_located(file.as_fd(), PASSWD_BYTES)?;
    Ok(Passwd(String::from_utf8_lossy(&content).into_owned()))
}

/// Reads the host's file.
pub(super) fn hosts() -> Result<Passwd, Errno> {
    read(&open("/etc/passwd", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?)
}

impl Passwd {
    /// The first entry with that uid.
    pub(super) fn of_uid(&self, uid: u32) -> Option<PasswdEntry<'_>> {
        let uid = uid.to_string();
        self.0.lines().find_map(|line| {
            let mut fields = line.split(':');
            let (name, number, home) = (fields.next()?, fields.nth(1)?, fields.nth(2)?);
            (number == uid && !name.is_empty()).then_some(PasswdEntry { name, home })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_number() {
        let passwd =
            Passwd("root:x:0:0:r:/root:/bin/sh\nbad\nu:x:10:10:a,b:/home/u:/bin/sh\nv:x:10:1::/v:\n".into());
        assert_eq!(passwd.of_uid(10), Some(PasswdEntry { name: "u", home: "/home/u" }));
        assert_eq!(passwd.of_uid(1), None);
        assert_eq!(hosts().unwrap().of_uid(0).unwrap().name, "root");
    }
}
