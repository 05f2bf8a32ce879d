//! The log in a file of syslogd's.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use crate::provider::operation::Undone;

/// Where distributions put the facility authpriv: Debian, Rocky Linux, SLES.
pub(crate) const FILES: [&str; 4] =
    ["/var/log/auth.log", "/var/log/secure", "/var/log/messages", "/var/log/syslog"];
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
    let opened = open_at(file).map_err(|error| cannot(&error))?;
    end_of(opened).map(|text| (file.to_owned(), text)).map_err(|error| cannot(&error))
}

/// The file and its directory may belong to syslogd's own user. It is no link, no fifo and no device, and of its content only lines of
/// our programs are used.
fn open_at(file: &str) -> std::io::Result<File> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
    let opened = File::from(open(file, flags, Mode::empty())?);
    if opened.metadata()?.is_file() { Ok(opened) } else { Err(Errno::EINVAL.into()) }
}

fn end_of(mut file: File) -> std::io::Result<String> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(SEARCHED)))?;
    let mut text = Vec::new();
    file.take(SEARCHED).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
