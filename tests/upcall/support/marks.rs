//! Secrets that can be recognised wherever they turn up: in logs, outputs, files, command lines, environments and memory; as they
//! are, in hexadecimal, in base64 and as numbers.

use super::process::{Process, command};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Fewest bytes of a mark: half of it is searched for, too, and must not turn up by chance.
const LEAST: usize = 16;
/// Interval at which the watch looks at all processes.
const INTERVAL: Duration = Duration::from_millis(10);

/// Secrets, each in all forms.
#[derive(Debug, Clone, Default)]
pub(crate) struct Marks {
    /// What a form is of, and its bytes.
    forms: Vec<(String, Vec<u8>)>,
}

impl Marks {
    /// Adds a secret.
    #[track_caller]
    pub(crate) fn add(&mut self, what: &str, secret: &[u8]) {
        assert!(secret.len() >= LEAST, "{what} has {} bytes", secret.len());
        let (first, second) = secret.split_at(secret.len() / 2);
        let raw = [first.to_vec(), second.to_vec()];
        let hexadecimal = raw.iter().map(|half| half.iter().map(|byte| format!("{byte:02x}")).collect());
        let hexadecimal: Vec<String> = hexadecimal.collect();
        let upper = hexadecimal.iter().map(|text: &String| text.to_uppercase());
        let numbers = [first, second].map(|half| {
            let numbers: Vec<_> = half.iter().map(u8::to_string).collect();
            numbers.join(",")
        });
        // Where it begins in a group of three bytes is not known.
        let base64 = (0..3).flat_map(|skipped| {
            let whole = &secret[skipped..];
            let whole = &whole[..whole.len() / 3 * 3];
            [STANDARD_NO_PAD.encode(whole), URL_SAFE_NO_PAD.encode(whole)]
        });
        let texts = upper.chain(numbers).chain(base64).chain(hexadecimal.clone()).map(String::into_bytes);
        self.forms.extend(raw.into_iter().chain(texts).map(|form| (what.to_owned(), form)));
    }

    /// Those that are not of one of these secrets.
    pub(crate) fn without(&self, others: &[&str]) -> Self {
        let kept = self.forms.iter().filter(|(what, _)| !others.contains(&what.as_str()));
        Self { forms: kept.cloned().collect() }
    }

    /// What is in these bytes, with the place of the first of each.
    pub(crate) fn found_in(&self, bytes: &[u8]) -> BTreeSet<(&str, usize)> {
        // Two bytes decide for most places, also in a build without optimisation.
        let mut begins = vec![false; 1 << 16];
        let start = |pair: &[u8]| usize::from(pair[0]) << 8 | usize::from(pair[1]);
        self.forms.iter().for_each(|(_, form)| begins[start(form)] = true);
        let mut found: BTreeSet<(&str, usize)> = BTreeSet::new();
        for (at, pair) in bytes.windows(2).enumerate() {
            if begins[start(pair)] {
                let here = self.forms.iter().filter(|(_, form)| bytes[at..].starts_with(form));
                found.extend(here.map(|(what, _)| (what.as_str(), at)));
            }
        }
        found
    }

    /// Names of what is in these bytes.
    pub(crate) fn named_in(&self, bytes: &[u8]) -> BTreeSet<String> {
        self.found_in(bytes).into_iter().map(|(what, _)| what.to_owned()).collect()
    }

    /// What files below a directory have, except for those that may.
    pub(crate) fn in_files(&self, below: &Path, may: impl Fn(&Path) -> bool + Copy) -> Vec<String> {
        let Ok(entries) = fs::read_dir(below) else { return self.in_file(below, may) };
        entries.flatten().flat_map(|entry| self.in_entry(&entry.path(), may)).collect()
    }

    fn in_entry(&self, path: &Path, may: impl Fn(&Path) -> bool + Copy) -> Vec<String> {
        let Ok(metadata) = path.symlink_metadata() else { return Vec::new() };
        let kind = metadata.file_type();
        if kind.is_dir() {
            self.in_files(path, may)
        } else if kind.is_symlink() || kind.is_socket() || kind.is_fifo() {
            Vec::new()
        } else {
            self.in_file(path, may)
        }
    }

    fn in_file(&self, path: &Path, may: impl Fn(&Path) -> bool) -> Vec<String> {
        let content = fs::read(path).unwrap_or_default();
        // A name can tell, too.
        let told = [content.as_slice(), path.as_os_str().as_encoded_bytes()].concat();
        let found = self.named_in(&told).into_iter().filter(|_| !may(path));
        found.map(|what| format!("{what} in {}", path.display())).collect()
    }

    /// What the memory of a process has that could be changed; and whether all of that stays out of swap.
    pub(crate) fn in_memory(&self, pid: Pid) -> BTreeSet<(String, Swap)> {
        let file = File::open(format!("/proc/{pid}/mem")).unwrap();
        let mut found = BTreeSet::new();
        for (range, swap) in changeable(pid) {
            let mut part = vec![0; range.len()];
            // What is only reserved cannot be read.
            if file.read_exact_at(&mut part, u64::try_from(range.start).unwrap()).is_ok() {
                found.extend(self.named_in(&part).into_iter().map(|what| (what, swap)));
            }
        }
        found
    }

    /// What command line and environment of any process have now.
    fn in_words(&self) -> (BTreeSet<String>, Vec<String>) {
        let (mut programs, mut found) = (BTreeSet::new(), Vec::new());
        for process in Process::all() {
            let read = |name: &str| fs::read(format!("/proc/{}/{name}", process.pid)).unwrap_or_default();
            let words = [read("cmdline"), read("environ"), read("comm")].concat();
            let name = process.exe.file_name().unwrap_or_default().to_string_lossy().into_owned();
            found.extend(
                self.named_in(&words).into_iter().map(|what| format!("{what} in the words of {name}")),
            );
            programs.insert(name);
        }
        (programs, found)
    }
}

/// Whether memory can be written to swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Swap {
    Possible,
    Locked,
}

/// Private memory that the process may write to (proc_pid_smaps(5)).
fn changeable(pid: Pid) -> Vec<(std::ops::Range<usize>, Swap)> {
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
    let mut areas = Vec::new();
    let mut range = None;
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        if let Some((from, to)) = first.split_once('-') {
            let [from, to] = [from, to].map(|number| usize::from_str_radix(number, 16).unwrap());
            range = words.next().is_some_and(|mode| mode.starts_with("rw")).then_some(from..to);
        } else if first == "VmFlags:"
            && let Some(range) = range.take()
        {
            areas.push((range, if words.any(|flag| flag == "lo") { Swap::Locked } else { Swap::Possible }));
        }
    }
    areas
}

/// Looks again and again at the command lines and environments of all processes.
#[derive(Debug)]
pub(crate) struct Watch {
    marks: Arc<Mutex<Marks>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<(BTreeSet<String>, BTreeSet<String>)>>,
}

impl Watch {
    pub(crate) fn start(marks: &Marks) -> Self {
        let (marks, stop) = (Arc::new(Mutex::new(marks.clone())), Arc::<AtomicBool>::default());
        let (shared, stopped) = (Arc::clone(&marks), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let (mut programs, mut found) = (BTreeSet::new(), BTreeSet::new());
            while !stopped.load(Ordering::Relaxed) {
                let marks = shared.lock().unwrap().clone();
                let (seen, told) = marks.in_words();
                programs.extend(seen);
                found.extend(told);
                std::thread::sleep(INTERVAL);
            }
            (programs, found)
        });
        Self { marks, stop, thread: Some(thread) }
    }

    /// Looks for these from now on.
    pub(crate) fn update(&self, marks: &Marks) {
        *self.marks.lock().unwrap() = marks.clone();
    }

    /// The programs that were seen, and what was found.
    pub(crate) fn end(mut self) -> (BTreeSet<String>, BTreeSet<String>) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Entries of this directory that belong to a user, or have its number in their names.
pub(crate) fn entries_of(uid: u32, directory: &str) -> Vec<PathBuf> {
    use std::os::unix::fs::MetadataExt;
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let of_user = entries.filter(|entry| {
        let owned = entry.metadata().is_ok_and(|metadata| metadata.uid() == uid);
        owned || entry.file_name().to_string_lossy().contains(&uid.to_string())
    });
    of_user.map(|entry| entry.path()).collect()
}

/// What the machine's own logs have of late.
pub(crate) fn system_logs() -> Vec<u8> {
    let mut journal = command("journalctl");
    journal.args(["--no-pager", "--all", "--output=cat", "--since=-10min"]);
    let mut logs = journal.output().unwrap().stdout;
    for name in ["syslog", "auth.log", "messages", "kern.log"] {
        let Ok(mut file) = File::open(Path::new("/var/log").join(name)) else { continue };
        let length = file.seek(SeekFrom::End(0)).unwrap();
        file.seek(SeekFrom::Start(length.saturating_sub(1 << 20))).unwrap();
        file.read_to_end(&mut logs).unwrap();
    }
    logs
}
