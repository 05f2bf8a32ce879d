//! This machine's log lines about upcalls and caches: from the journal, or from the file of the facility authpriv.
//!
//! Called by `lgss log` and by lgss_helper. Invariant: only lines with the names of our programs leave this module, each on one
//! line and printable; the names are what the log says, which for a file are what some process has said of itself.

use serde::{Deserialize, Serialize};

use super::{files, journal};
use crate::class::classes;
use crate::provider::operation::{Delegable, RootRights, Undone};
use crate::text::{counted, cut, escaped};

/// Most lines of one answer.
pub(crate) const LINES_LIMIT: u32 = 10_000;
/// Longest line that is passed on, in bytes.
const LINE: usize = 4096;
/// Programs whose lines these are.
const PROGRAMS: [&str; 7] =
    ["lgss_keyring", "lgss_negotiate", "lgss_kcm", "lgss_agent", "lgss_kinit", HELPER, COMMAND];
/// Says what operators have asked for.
const HELPER: &str = "lgss_helper";
/// Says what became of hooks.
const COMMAND: &str = "lgss";

/// Reads the log.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadLog {
    /// Only lines about this user.
    pub uid: Option<u32>,
    /// Most lines; the last ones count.
    pub lines: u32,
}

/// What was found.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogLines {
    /// Where: `journal`, or the file's name.
    pub place: String,
    /// The lines, the latest last.
    pub lines: Vec<String>,
}

classes!(ReadLog { uid: public, lines: public });

impl Delegable for ReadLog {
    const METHOD: &'static str = "log";
    type Answer = LogLines;

    fn act(self, rights: &RootRights) -> Result<LogLines, Undone> {
        let reader = if rights.asked_by() == 0 { LogReader::Root } else { LogReader::Member };
        let wanted = usize::try_from(self.lines.min(LINES_LIMIT)).unwrap_or(usize::MAX);
        let (place, text) = match journal::text(LINES_LIMIT, &PROGRAMS)? {
            Some(text) => ("journal".to_owned(), text),
            None => files::text()?,
        };
        let mut lines: Vec<String> =
            text.lines().rev().filter(|line| self.wants(line, reader)).take(wanted).map(shown).collect();
        lines.reverse();
        Ok(LogLines { place, lines })
    }

    fn words(&self) -> String {
        match self.uid {
            Some(uid) => format!("log lines about uid {uid}"),
            None => "log lines about all users".to_owned(),
        }
    }

    fn outcome(answer: &LogLines) -> String {
        counted(answer.lines.len(), "line")
    }

    fn as_root(&self) -> String {
        match self.uid {
            Some(uid) => format!("sudo lgss log --user {uid}"),
            None => "sudo lgss log".to_owned(),
        }
    }
}

impl ReadLog {
    fn wants(&self, line: &str, reader: LogReader) -> bool {
        said(line).is_some_and(|(program, text)| {
            let is_theirs = reader == LogReader::Root || !is_about_hooks(program, text);
            let uids = if program == HELPER { NamedUids::Anywhere } else { NamedUids::First };
            is_theirs && self.uid.is_none_or(|uid| is_about(text, uid, uids))
        })
    }
}

/// Who reads. Members do not learn the names of hooks, nor why one failed (rule S14).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LogReader {
    Root,
    Member,
}

fn is_about_hooks(program: &str, text: &str) -> bool {
    program == COMMAND || text.split([' ', ':']).any(|word| word == "hook")
}

/// The lines of ours in a log, as they are shown.
#[cfg(feature = "test-programs")]
pub(crate) fn shown_lines(log: &str) -> Vec<String> {
    log.lines().filter(|line| said(line).is_some()).map(shown).collect()
}

/// What one of our programs said in this line, as syslogd and journalctl write it: `… lgss_keyring[4711]: TEXT`. The first colon with a
/// blank after it ends the program's name, so that nothing in another program's text can be taken for one.
fn said(line: &str) -> Option<(&str, &str)> {
    let (head, text) = line.split_once(": ")?;
    let (program, id) = head.rsplit(' ').next()?.strip_suffix(']')?.split_once('[')?;
    let is_number = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
    (PROGRAMS.contains(&program) && is_number).then_some((program, text))
}

/// Where a line names the user that it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NamedUids {
    /// At its beginning or after the key: later words may be somebody's own.
    First,
    /// Who asked, and about whom.
    Anywhere,
}

/// Whether the text has the words `uid N`.
fn is_about(text: &str, uid: u32, uids: NamedUids) -> bool {
    let words: Vec<&str> = text.split([' ', ':', ',']).collect();
    let pairs = words.windows(2).filter(|pair| matches!(pair, ["uid", _]));
    let named = pairs.filter_map(|pair| pair.last()?.parse::<u32>().ok());
    match uids {
        NamedUids::Anywhere => named.into_iter().any(|named| named == uid),
        NamedUids::First => words.iter().take(4).any(|word| *word == "uid") && named.take(1).eq([uid]),
    }
}

fn shown(line: &str) -> String {
    cut(&escaped(line), LINE).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = "\
2026-11-30T21:00:00+00:00 node sshd[12]: lgss_keyring[1]: key 1 uid 1000 no line of ours
Nov 30 21:00:01 node lgss_keyring[4711]: key 2f81a3c0 uid 1000 krb5 nfs@srv: credentials: ticket expired
Nov 30 21:00:02 node lgss_keyring[4712]: key 2f81a3c1 uid 10001 krb5 nfs@srv: uid 1000: no ticket
Nov 30 21:00:03 node lgss_agent[99]: uid 1000: \u{1b}[31mstored
Nov 30 21:00:04 node lgss_keyring: not with a number
Nov 30 21:00:06 node lgss_helper[1]: uid 5: 1 context, 0 of them kept: flush of all contexts of uid 77
Nov 30 21:00:07 node lgss[1]: hook check asked for by uid 5: S14: its mode
Nov 30 21:00:08 node lgss_keyring[1]: key 1 uid 5 krb5 nfs@srv: hook fetch: it is not there
Nov 30 21:00:05 node kernel: x lgss_keyring[1]: key 1 uid 1000 not ours either
";

    #[test]
    fn lines_are_ours_and_about_the_user_and_cannot_act_on_a_terminal() {
        let of = |uid| {
            let read = ReadLog { uid, lines: 10 };
            LINES.lines().filter(|line| read.wants(line, LogReader::Member)).map(shown).collect::<Vec<_>>()
        };
        let of_user = of(Some(1000));
        assert_eq!(of_user.len(), 2, "{of_user:?}");
        assert!(of_user[0].contains("2f81a3c0") && !of_user[1].contains('\u{1b}'), "{of_user:?}");
        assert_eq!((of(None).len(), of(Some(1)).len()), (4, 0));
        assert_eq!(of(Some(77)).len(), 1, "what an operator did to a user is about both");
        let all = ReadLog { uid: None, lines: 10 };
        let seen = |reader| LINES.lines().filter(|line| all.wants(line, reader)).count();
        assert_eq!((seen(LogReader::Member), seen(LogReader::Root)), (4, 6), "hooks are for root");
    }
}
