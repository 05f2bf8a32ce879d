//! Answers for a person who runs the program by hand: what it is, its version, and whether it would work here.
//!
//! Invariant: the arguments of an upcall are never taken for a question. A question is the whole command line, and a
//! process that the kernel has started for a key is never asked one.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::config::settings_file;
use crate::key::authority::key_under_construction;
use crate::selftest::finding::{Finding, Severity};
use crate::selftest::trial::{BUILD_VERSION, UPCALL};
use crate::selftest::{account, kernel, run_dir, settings, upcall_file, worker};

const UPCALL_HELP: &str = "\
lgss_keyring: the request_key(2) upcall of lgss, which the kernel starts by way of request-key(8)

A rule in /etc/request-key.d starts it, with its options before the ten words:
  [--config FILE] [-R REALM] %o %k %t %d %c %u %g %T %P %S

By hand:
  --version                     what this is; Lustre's program of the same name does not know the word
  --self-check [--config FILE]  checks its file, settings and worker; lgss config check looks at more
  --help                        this text

See lgss_keyring(8).";

const POINTER: &str = "lgss_keyring is started by the kernel; see lgss_keyring --help";

/// A person's question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Question {
    Version,
    Help,
    /// By the settings in this file, or in the default one.
    SelfCheck(Option<PathBuf>),
    /// No arguments.
    Nothing,
}

/// The question, if the arguments are one.
pub(super) fn question(words: &[OsString]) -> Option<Question> {
    let texts: Vec<&OsStr> = words.iter().map(OsString::as_os_str).collect();
    let is = |word: &OsStr, text: &str| word == text;
    let question = match texts.as_slice() {
        [] => Question::Nothing,
        [word] if is(word, "--version") || is(word, "-V") => Question::Version,
        [word] if is(word, "--help") || is(word, "-h") => Question::Help,
        [word] if is(word, "--self-check") => Question::SelfCheck(None),
        [option, file, word] if is(option, "--config") && is(word, "--self-check") => {
            Question::SelfCheck(Some(file.into()))
        }
        [word, option, file] if is(option, "--config") && is(word, "--self-check") => {
            Question::SelfCheck(Some(file.into()))
        }
        _ => return None,
    };
    key_under_construction().is_none().then_some(question)
}

/// Points a person who has typed unknown arguments to the help.
pub(super) fn point_to_help() {
    if key_under_construction().is_none() {
        let _ = writeln!(std::io::stderr(), "{POINTER}");
    }
}

/// Answers a question. Returns the exit status.
pub(super) fn answer(question: &Question) -> i32 {
    let (text, status) = match question {
        Question::Version => (format!("{UPCALL}{BUILD_VERSION}\n"), 0),
        Question::Help => (format!("{UPCALL_HELP}\n"), 0),
        Question::SelfCheck(file) => self_check(file.as_deref()),
        Question::Nothing => {
            let _ = writeln!(std::io::stderr(), "{POINTER}");
            return 1;
        }
    };
    let mut out = std::io::stdout();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok() { status } else { 1 }
}

/// Checks what would fail every request. The status is 1 if anything is an error.
fn self_check(file: Option<&Path>) -> (String, i32) {
    let findings = findings(file);
    let status = i32::from(findings.iter().any(|finding| finding.severity == Severity::Error));
    (findings.iter().map(|finding| finding.line() + "\n").collect(), status)
}

fn findings(file: Option<&Path>) -> Vec<Finding> {
    let mut findings = vec![upcall_file::own(), kernel::check(), kernel::confinement()];
    if let Some(config) = settings::load(file.map(Path::to_owned), "", &mut findings) {
        findings.extend([run_dir::check(&config.run_dir), account::check(&config.machine_user)]);
        let name = settings_file(file).to_string_lossy();
        findings.extend(worker::check(&config, Vec::new(), &name).0);
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Option<Question> {
        let words: Vec<OsString> = text.split_whitespace().map(OsString::from).collect();
        question(&words)
    }

    #[test]
    fn a_question_is_the_whole_command_line_and_never_a_word_of_a_request() {
        assert_eq!(asked("--version"), Some(Question::Version));
        assert_eq!(asked("--config /c --self-check"), Some(Question::SelfCheck(Some("/c".into()))));
        for request in [
            "create 77 user --version --help 1 2 0 0 5",
            "--version create 77 user d c 1 2 0 0 5",
            "create --version",
            "--help --help",
            "--config --self-check create 77",
        ] {
            assert_eq!(asked(request), None, "{request}");
        }
    }
}
