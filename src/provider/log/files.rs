//! The log in a file of syslogd's.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use nix::fcntl::OFlag;

use crate::provider::operation::Undone;
use crate::sys::files::{Untrusted, open_trusted};

/// Where distributions put the facility authpriv: Debian, Rocky Linux, SLES.
const FILES: [&str; 4] = ["/var/log/auth.log", "/var/log/secure", "/var/log/messages", "/var/log/syslog"];
/// Bytes at the end of a file that are searched.
const SEARCHED: u64 = 16 * 1024 * 1024;

/// The end of the first of these files that there is, with its name.
///
/// # Errors
/// [`Undone`] if there is none, or it cannot be read.
pub(super) fn text() -> Result<(String, String), Undone> {
    let Some(file) = FILES.into_iter().find(|file| Path::new(file).exists()) else {
        return Err(Undone::new(
            "there is no journal, and no file of a system log in its usual place",
            "start a system log: systemd-journald or rsyslogd",
        ));
    };
    let cannot = |error: &dyn std::fmt::Display| Undone::plain(format!("{file}: {error}"));
    let opened = open_at(Path::new(file)).map_err(|error| cannot(&error))?;
    end_of(opened).map(|text| (file.to_owned(), text)).map_err(|error| cannot(&error))
}

/// The file may belong to syslogd's own user; its directory does not have to be root's alone. It is no link and no fifo.
fn open_at(file: &Path) -> Result<File, Untrusted> {
    let failed = |error: std::io::Error| Untrusted::Open(file.to_owned(), error);
    match open_trusted(file, OFlag::O_RDONLY) {
        Err(Untrusted::Writable(_)) => {}
        other => return other,
    }
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
    let opened =
        nix::fcntl::open(file, flags, nix::sys::stat::Mode::empty()).map_err(|errno| failed(errno.into()))?;
    let opened = File::from(opened);
    if opened.metadata().map_err(failed)?.is_file() {
        Ok(opened)
    } else {
        Err(Untrusted::NotRegular(file.to_owned()))
    }
}

fn end_of(mut file: File) -> std::io::Result<String> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(SEARCHED)))?;
    let mut text = Vec::new();
    file.take(SEARCHED).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
