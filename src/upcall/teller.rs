//! A process that stays until it is time to report how many log lines were left out (rule S22).
//!
//! A monitor whose lines nobody else will report becomes a teller by executing the program anew: an open file, even
//! that of a running program, keeps the keyrings of the process that has opened it. So nothing is kept of a requester
//! that may have logged out: no session, directory, namespace or memory.

use std::ffi::{CString, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::log_budget::{self, Untold};
use super::outcome::Journal;
use crate::config::Config;
use crate::key::authority::key_under_construction;
use crate::sys::jail::{self, OomScore};
use crate::sys::{exec, keyctl, process};

/// Its first argument. The others are the account, the start of the window, and the settings' file unless it is the
/// default one.
const WORD: &str = "--tell-left-out";

/// Becomes a teller. Returns only on failure; then the next line makes the report.
pub(super) fn become_teller(Untold { name, start }: &Untold, settings: Option<&Path>) {
    // The monitor of a front without a verdict has set one.
    nix::unistd::alarm::cancel();
    process::disown_children();
    let_go_of_keys();
    let _ = jail::set_supplementary_group(None);
    let _ = jail::keep_only_kill();
    jail::set_oom_score(OomScore::Normal);
    let words = ["lgss_keyring", WORD, name, &start.to_string()].map(|word| word.as_bytes().to_vec());
    let settings = settings.map(|path| path.as_os_str().as_bytes().to_vec());
    let words: Result<Vec<_>, _> = words.into_iter().chain(settings).map(CString::new).collect();
    let program = open("/proc/self/exe", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty());
    if let (Ok(words), Ok(program)) = (words, program) {
        let words: Vec<_> = words.iter().map(CString::as_c_str).collect();
        let _ = exec::without_descriptors(program.as_fd(), &words);
    }
}

/// Leaves the process an empty session keyring and no authority, so that it keeps no key alive: it has no other
/// keyrings.
fn let_go_of_keys() {
    // Without the quota for a new keyring, the old one can at least be emptied.
    if keyctl::join_anonymous_session().is_err() {
        let _ = keyctl::clear(keyctl::SESSION_KEYRING);
    }
    let _ = keyctl::divest_authority();
}

/// A teller's task.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TellerTask {
    untold: Untold,
    settings: Option<PathBuf>,
}

/// The task, if the arguments are one; never in a process that the kernel has started for a key.
pub(super) fn task(words: &[OsString]) -> Option<TellerTask> {
    let (word, name, start, settings) = match words {
        [word, name, start] => (word, name, start, None),
        [word, name, start, settings] => (word, name, start, Some(settings)),
        _ => return None,
    };
    let untold = Untold { name: name.to_str()?.to_owned(), start: start.to_str()?.parse().ok()? };
    let task = TellerTask { untold, settings: settings.map(PathBuf::from) };
    (word == WORD && key_under_construction().is_none()).then_some(task)
}

/// Carries out the task. Returns the exit status.
pub(super) fn tell(task: &TellerTask) -> i32 {
    let Ok(config) = Config::load(task.settings.as_deref()) else { return 1 };
    if let Some(notice) = log_budget::outstanding(&config, &task.untold) {
        Journal::notice(&config, &notice);
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_request_are_no_task() {
        let asked = |text: &str| task(&text.split(' ').map(OsString::from).collect::<Vec<_>>());
        let untold = || Untold { name: "uid-1000".to_owned(), start: 77 };
        let settings = Some(PathBuf::from("/etc/lgss/other.toml"));
        assert_eq!(
            asked("--tell-left-out uid-1000 77"),
            Some(TellerTask { untold: untold(), settings: None })
        );
        assert_eq!(
            asked("--tell-left-out uid-1000 77 /etc/lgss/other.toml"),
            Some(TellerTask { untold: untold(), settings })
        );
        for other in
            ["--tell-left-out", "--tell-left-out users x", "create 77 user", "create 77 user d c 1 2 0 0 5"]
        {
            assert_eq!(asked(other), None, "{other}");
        }
    }
}
