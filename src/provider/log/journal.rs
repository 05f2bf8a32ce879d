//! The log in the journal, read by journalctl(1) without rights but for those of the group that the journal belongs to.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use nix::unistd::{Gid, Uid};

use crate::identity::system_user::SystemUser;
use crate::provider::operation::Undone;
use crate::selftest::trial::{ProgramRun, output_of};

/// Where journald listens, and where it keeps the journal, over restarts or not.
pub(crate) const LISTENS: &str = "/run/systemd/journal/socket";
const KEPT: [&str; 2] = ["/var/log/journal", "/run/log/journal"];
const JOURNALCTL: &str = "/usr/bin/journalctl";
const JOURNAL_LIMIT: Duration = Duration::from_secs(30);
/// Most that is read of it.
const JOURNAL_BYTES: usize = 16 * 1024 * 1024;
const NOBODY: u32 = 65534;

/// The last lines of these programs, as `journalctl -o short-iso` writes them; `None` where there is no journal.
///
/// # Errors
/// [`Undone`] if it cannot be read.
pub(super) fn text(lines: u32, programs: &[&str]) -> Result<Option<String>, Undone> {
    if !Path::new(LISTENS).exists() || !Path::new(JOURNALCTL).exists() {
        return Ok(None);
    }
    let group = KEPT.iter().find_map(|kept| fs::metadata(kept).ok()).map_or(NOBODY, |kept| kept.gid());
    // Root's group would be a right.
    let group = if group == 0 { NOBODY } else { group };
    let account = SystemUser { uid: Uid::from_raw(NOBODY), gid: Gid::from_raw(group) };
    let fixed = ["journalctl", "--quiet", "--no-pager", "--output=short-iso"].map(str::to_owned);
    let of_programs = programs.iter().flat_map(|program| ["-t".to_owned(), (*program).to_owned()]);
    let words = fixed.into_iter().chain([format!("--lines={lines}")]).chain(of_programs);
    let run = ProgramRun {
        program: JOURNALCTL.into(),
        words: words.collect(),
        environment: Vec::new(),
        account: Some(account),
        limit: JOURNAL_LIMIT,
        most: JOURNAL_BYTES,
    };
    match output_of(run) {
        Ok(said) => Ok(Some(String::from_utf8_lossy(&said).into_owned())),
        Err(error) => Err(Undone::plain(format!("{JOURNALCTL}: {error}"))),
    }
}
