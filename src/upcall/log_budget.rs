//! Limits on the log lines that each owner may cause within a window of time (rule S22). Lines beyond the limit are
//! counted and reported in one line when the window is over: by the next process with a line to write, or by a process
//! that stays for this, see [`super::teller`].
//!
//! Below the run directory: `log/<owner>`, `log/users` for all users together, `log/refused` for all refused requests,
//! so that a flood of them hides nothing else, and `log/machine`, the account of root and of Lustre for this machine,
//! which no user can use up. Nothing here waits for longer than a few system calls of another process; if the run
//! directory cannot be used, every line is written.

use std::cell::Cell;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::{Duration, Instant};

use crate::config::{Config, Log};
use crate::identity::counted_owner::CountedOwner;
use crate::sys::files::{lossy_text, private_directory, subdirectory};
use crate::sys::locks::LockFile;
use crate::time::since_boot;

/// The byte that guards the record.
const LOG_RECORD: std::ops::Range<u16> = 0..1;
/// The byte of the process that stays to report the lines left out.
const TELLER: std::ops::Range<u16> = 1..2;
/// Longest wait for the record, which others hold for a few system calls.
const LOG_RECORD_WAIT: Duration = Duration::from_millis(20);
/// The file of subordinate uids (subuid(5)).
const SUBUID: &str = "/etc/subuid";
/// Names of files; all others are named after owners.
pub(super) const MACHINE_FILE: &str = "machine";
const USERS_FILE: &str = "users";
const REFUSED_FILE: &str = "refused";
const UNKNOWN_FILE: &str = "unknown";
/// The file of the processes that stay to report, and their greatest number.
const TELLERS: &str = "tellers";
const TELLERS_LIMIT: u16 = 32;
/// Longest record in bytes.
const LOG_RECORD_SIZE: usize = 80;

/// Who is charged for a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Payer {
    /// Root, and Lustre for this machine.
    Machine,
    /// A user, or the owner that it is counted by.
    User(CountedOwner),
    /// A refused requester: only its uid is known, which may be one of thousands that a user has.
    Refused(CountedOwner),
    /// Nobody: the program was started with malformed arguments.
    Unknown,
}

impl Payer {
    /// A file name that no other payer has.
    pub(super) fn file_name(self) -> String {
        match self {
            Self::Machine => MACHINE_FILE.to_owned(),
            Self::User(owner) | Self::Refused(owner) => owner.file_name(),
            Self::Unknown => UNKNOWN_FILE.to_owned(),
        }
    }

    /// The payer for a refused request.
    pub(super) fn of_refused(uid: u32) -> Self {
        if uid == 0 {
            return Self::Machine;
        }
        Self::Refused(CountedOwner::by_ranges(&subordinate_ranges(), uid))
    }

    /// The payer for a user whom Lustre asks for, whose namespace is not known.
    pub(super) fn of_lustre_user(uid: u32) -> Self {
        if uid == 0 { Self::Machine } else { Self::of_lustre_user_by(&subordinate_ranges(), uid) }
    }

    fn of_lustre_user_by(ranges: &str, uid: u32) -> Self {
        Self::User(CountedOwner::by_ranges(ranges, uid))
    }
}

fn subordinate_ranges() -> String {
    lossy_text(SUBUID).unwrap_or_default()
}

/// The lines of one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct LineRecord {
    /// Start of the window, in milliseconds since the machine was started.
    start: u64,
    written: u32,
    left_out: u32,
}

/// Whether a line may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineVerdict {
    Write,
    /// The same, and so many lines of the previous window were left out.
    WriteAfter(u32),
    LeaveOut,
}

impl LineRecord {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split_ascii_whitespace();
        let (start, written, left_out) = (numbers.next()?, numbers.next()?, numbers.next()?);
        Some(Self {
            start: start.parse().ok()?,
            written: written.parse().ok()?,
            left_out: left_out.parse().ok()?,
        })
    }

    /// Of a constant length, so that one write replaces it.
    pub(super) fn text(self) -> String {
        let Self { start, written, left_out } = self;
        format!("{start:>20} {written:>10} {left_out:>10}\n")
    }

    /// The record with one more line.
    pub(super) fn next(self, now: u64, window: Duration, limit: u32) -> (Self, LineVerdict) {
        let window = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        let is_over = now < self.start || now - self.start >= window;
        let current = if is_over { Self { start: now, written: 0, left_out: 0 } } else { self };
        if current.written < limit {
            let next = Self { written: current.written + 1, ..current };
            let told = if is_over { self.left_out } else { 0 };
            return (next, if told > 0 { LineVerdict::WriteAfter(told) } else { LineVerdict::Write });
        }
        (Self { left_out: current.left_out.saturating_add(1), ..current }, LineVerdict::LeaveOut)
    }
}

/// The lines of one owner, or of all users together.
struct LineCounter {
    file: LockFile,
    limit: u32,
    window: Duration,
    /// The owner, in words.
    whose: String,
    setting: &'static str,
    name: String,
}

/// Lines left out that nobody stays to report yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Untold {
    /// The file of the account.
    pub(super) name: String,
    /// Start of their window, in milliseconds since the machine was started.
    pub(super) start: u64,
}

/// The accounts that a line is charged to.
pub(super) struct Budget {
    accounts: Vec<LineCounter>,
    /// The account that had no room for a line of ours, by its index, and the start of its window.
    silenced: Cell<Option<(usize, u64)>>,
    directory: OwnedFd,
}

impl Budget {
    /// `None` where the run directory cannot be used.
    pub(super) fn open(config: &Config, payer: Payer) -> Option<Self> {
        let own = payer.file_name();
        let names = match payer {
            Payer::Machine => vec![own.as_str()],
            Payer::User(_) => vec![&own, USERS_FILE],
            Payer::Refused(_) | Payer::Unknown => vec![&own, REFUSED_FILE],
        };
        let directory = directory(config)?;
        let accounts = names.into_iter().map(|name| LineCounter::open(&directory, name, &config.log));
        let accounts = accounts.collect::<Option<_>>()?;
        Some(Self { accounts, silenced: Cell::new(None), directory })
    }

    /// Whether one more line may be written, and a notice of lines left out to write before it.
    pub(super) fn admits(&self) -> (bool, Option<String>) {
        let mut notice = None;
        for (index, account) in self.accounts.iter().enumerate() {
            match account.charge() {
                Some((_, LineVerdict::Write)) | None => {}
                Some((_, LineVerdict::WriteAfter(left_out))) => notice = Some(account.notice(left_out)),
                Some((start, LineVerdict::LeaveOut)) => {
                    self.silenced.set(Some((index, start)));
                    return (false, notice);
                }
            }
        }
        (true, notice)
    }

    /// Lines to report, if one of ours was left out, nobody stays to report it, and one more process may stay.
    pub(super) fn untold(&self) -> Option<Untold> {
        let (index, start) = self.silenced.take()?;
        let account = self.accounts.get(index)?;
        let tellers = account.take_turn_to_tell(&self.directory)?;
        // The process that stays takes these bytes itself.
        account.file.release(&TELLER);
        drop(tellers);
        Some(Untold { name: account.name.clone(), start })
    }
}

/// Waits for the end of the window, unless another process does. Returns the notice to write then, unless it has been
/// written already.
pub(super) fn outstanding(config: &Config, untold: &Untold) -> Option<String> {
    let directory = directory(config)?;
    let account = LineCounter::open(&directory, &untold.name, &config.log)?;
    let turn = account.take_turn_to_tell(&directory)?;
    let end = Duration::from_millis(untold.start).saturating_add(account.window);
    thread::sleep(end.saturating_sub(since_boot()).min(account.window));
    let left_out = account.change(|record| {
        let ours = record.start == untold.start;
        let left_out = if ours { record.left_out } else { 0 };
        (if ours { LineRecord { left_out: 0, ..record } } else { record }, left_out)
    });
    drop(turn);
    left_out.filter(|&count| count > 0).map(|count| account.notice(count))
}

fn directory(config: &Config) -> Option<OwnedFd> {
    let run = private_directory(&config.run_dir).ok()?;
    subdirectory(run.as_fd(), "log").ok()
}

/// The account that a file of that name is for: its owner in words, its limit, and the setting with the limit.
fn terms(name: &str, log: &Log) -> Option<(String, u32, &'static str)> {
    let terms = match name {
        MACHINE_FILE => ("root and the machine".to_owned(), log.machine, "log.machine"),
        USERS_FILE => ("all users".to_owned(), log.users, "log.users"),
        REFUSED_FILE => ("refused requests".to_owned(), log.users, "log.users"),
        UNKNOWN_FILE => ("starts with malformed words".to_owned(), log.per_owner, "log.per_owner"),
        name => (CountedOwner::named(name)?.to_string(), log.per_owner, "log.per_owner"),
    };
    Some(terms)
}

impl LineCounter {
    fn open(directory: &OwnedFd, name: &str, log: &Log) -> Option<Self> {
        let (whose, limit, setting) = terms(name, log)?;
        let file = LockFile::open(directory.as_fd(), name).ok()?;
        Some(Self { file, limit, window: log.window.0, whose, setting, name: name.to_owned() })
    }

    /// The right to report, as long as the result exists; `None` if another process has it, or too many stay already.
    /// Then the next line, or the removal of the record, brings the report.
    fn take_turn_to_tell(&self, directory: &OwnedFd) -> Option<LockFile> {
        let tellers = LockFile::open(directory.as_fd(), TELLERS).ok()?;
        let taken = self.file.try_take(&TELLER).ok()? && tellers.try_take_any(0..TELLERS_LIMIT).ok()?;
        taken.then_some(tellers)
    }

    /// Counts a line. Returns the start of the window and whether the line may be written.
    fn charge(&self) -> Option<(u64, LineVerdict)> {
        let now = u64::try_from(since_boot().as_millis()).ok()?;
        self.change(|record| {
            let (next, verdict) = record.next(now, self.window, self.limit);
            (next, (next.start, verdict))
        })
    }

    fn change<T>(&self, change: impl FnOnce(LineRecord) -> (LineRecord, T)) -> Option<T> {
        self.file.hold(&LOG_RECORD, Instant::now() + LOG_RECORD_WAIT, |file| {
            // A removed record is not written to: its time was over.
            self.file.has_name().ok().filter(|&has_name| has_name)?;
            let (next, result) = change(read(file).unwrap_or_default());
            file.write_all_at(next.text().as_bytes(), 0).ok()?;
            Some(result)
        })?
    }

    fn notice(&self, left_out: u32) -> String {
        notice(left_out, &self.whose, self.window, self.setting)
    }
}

fn notice(left_out: u32, whose: &str, window: Duration, setting: &str) -> String {
    let lines = if left_out == 1 { "line" } else { "lines" };
    let seconds = window.as_secs_f32();
    format!("log: {left_out} more {lines} of {whose} within {seconds} s, not written because of {setting}")
}

/// Whether the record in a file of that name may be removed, and the notice of lines that nobody has reported.
pub(super) fn is_over(file: &LockFile, name: &str, log: &Log) -> (bool, Option<String>) {
    let Some(LineRecord { start, left_out, .. }) = read(file.file()) else { return (true, None) };
    let end = Duration::from_millis(start).saturating_add(log.window.0 * 2);
    // The others are always in use.
    let is_an_owners = ![USERS_FILE, REFUSED_FILE, MACHINE_FILE].contains(&name);
    let line = || terms(name, log).map(|(whose, _, setting)| notice(left_out, &whose, log.window.0, setting));
    (is_an_owners && since_boot() > end, if left_out > 0 { line() } else { None })
}

fn read(file: &File) -> Option<LineRecord> {
    let mut buffer = [0; LOG_RECORD_SIZE];
    let length = file.read_at(&mut buffer, 0).ok()?;
    LineRecord::parse(std::str::from_utf8(buffer.get(..length)?).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    fn lines(mut record: LineRecord, times: impl IntoIterator<Item = u64>) -> (LineRecord, Vec<LineVerdict>) {
        let verdicts = times.into_iter().map(|now| {
            let (next, verdict) = record.next(now, WINDOW, 3);
            record = next;
            verdict
        });
        let verdicts = verdicts.collect();
        (record, verdicts)
    }

    #[test]
    fn what_is_over_the_limit_is_left_out_and_told_of_once() {
        use LineVerdict::{LeaveOut, Write, WriteAfter};
        let (record, verdicts) = lines(LineRecord::default(), [100_000; 8]);
        assert_eq!(verdicts, [Write, Write, Write, LeaveOut, LeaveOut, LeaveOut, LeaveOut, LeaveOut]);
        assert_eq!(record, LineRecord { start: 100_000, written: 3, left_out: 5 });
        let (_, verdicts) = lines(record, [159_999, 160_000, 160_000]);
        assert_eq!(verdicts, [LeaveOut, WriteAfter(6), Write]);
        // A file from before the machine was restarted.
        let (_, verdicts) = lines(record, [5]);
        assert_eq!(verdicts, [WriteAfter(5)]);
    }

    #[test]
    fn two_users_have_an_account_each_and_the_machine_another() {
        let directory = tempfile::Builder::new().prefix("lgss-test").tempdir_in("/var/lib").unwrap();
        let mut config = Config::default();
        config.run_dir = directory.path().to_owned();
        config.log.window = "2s".parse().unwrap();
        (config.log.per_owner, config.log.users) = (2, 5);
        let open = |payer| Budget::open(&config, payer).unwrap();
        let admitted = |budget: &Budget, tries: usize| (0..tries).filter(|_| budget.admits().0).count();
        let one = open(Payer::User(CountedOwner::User(4_000_001)));
        assert_eq!(admitted(&one, 4), 2);
        // The window of all users began a little after the owner's.
        let begun = since_boot();
        assert_eq!(admitted(&open(Payer::User(CountedOwner::User(4_000_001))), 3), 0, "every process counts");
        assert_eq!(admitted(&open(Payer::User(CountedOwner::User(4_000_002))), 3), 2);
        let of_another = admitted(&open(Payer::User(CountedOwner::User(4_000_003))), 3);
        assert_eq!(of_another, 1, "all users have a limit, too");
        assert_eq!(admitted(&open(Payer::Machine), 50), 50);
        let untold = one.untold().unwrap();
        let told = outstanding(&config, &untold).unwrap();
        assert_eq!(told, "log: 5 more lines of uid 4000001 within 2 s, not written because of log.per_owner");
        assert_eq!((one.untold(), outstanding(&config, &untold)), (None, None));
        while since_boot() <= begun + config.log.window.0 {
            thread::sleep(Duration::from_millis(1));
        }
        let others = one.admits().1.unwrap();
        assert!(others.starts_with("log: 1 more line of all users within "), "{others}");
        assert_eq!(one.admits(), (true, None), "told once");
    }

    #[test]
    fn a_flood_of_refused_requests_by_many_uids_hides_no_line_of_others() {
        let directory = tempfile::Builder::new().prefix("lgss-test").tempdir_in("/var/lib").unwrap();
        let mut config = Config::default();
        config.run_dir = directory.path().to_owned();
        (config.log.per_owner, config.log.users) = (3, 10);
        let open = |payer| Budget::open(&config, payer).unwrap();
        let flood = |owner_of: fn(u32) -> CountedOwner| {
            let refused = (4_100_000..4_100_040).map(|uid| open(Payer::Refused(owner_of(uid))));
            refused.filter(|budget| budget.admits().0).count()
        };
        let ranges = |uid| CountedOwner::by_ranges("u:4100000:65536\n", uid);
        assert_eq!(flood(ranges), 3, "they are one owner's");
        assert_eq!(flood(CountedOwner::User), 7, "nobody's ranges: what is left of the account");
        let open_files = std::fs::read_dir(directory.path().join("log")).unwrap().count();
        assert_eq!(open_files, 42);
        let other = open(Payer::User(CountedOwner::User(4_200_000)));
        assert_eq!((0..3).filter(|_| other.admits().0).count(), 3);
    }

    #[test]
    fn users_of_lustre_in_a_range_of_subordinate_uids_are_charged_together() {
        let payer = |uid| Payer::of_lustre_user_by("u:100000:65536\n", uid);
        let range = Payer::User(CountedOwner::Subordinates(100_000));
        assert_eq!([payer(100_000), payer(165_535)], [range, range]);
        assert_eq!(payer(99_999), Payer::User(CountedOwner::User(99_999)));
        assert_eq!(Payer::of_lustre_user(0), Payer::Machine);
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_garbage_is_none() {
        assert_eq!(LineRecord::parse("7 8 9\n"), Some(LineRecord { start: 7, written: 8, left_out: 9 }));
        for garbage in ["", "1 2", "-1 2 3", "x y z"] {
            assert_eq!(LineRecord::parse(garbage), None, "{garbage}");
        }
    }
}
