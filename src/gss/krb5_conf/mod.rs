//! Finds faults in the structure of krb5.conf. For most of them libkrb5 has no more than a number, for some nothing at all.
//!
//! Used when the library gives no context, when a request fails for want of a realm or a KDC, and by `lgss config check`.
//! Invariant: a [`ConfFault`] is fatal if and only if the library refuses the configuration for it (the tests compare). The
//! meaning of relations is not checked.
#![forbid(unsafe_code)]

mod line;
mod reach;

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use line::{ConfLine, LinePlace, Syntax};
pub(crate) use reach::ConfReach;

use crate::sys::errno::errno_of;

/// Longest file that is read, in bytes.
const CONF_SIZE_LIMIT: u64 = 1024 * 1024;
/// How deep includes may nest. The library's only limit is that of descriptors.
const CONF_DEPTH_LIMIT: usize = 24;
/// Most files that are read.
const CONF_FILES_LIMIT: usize = 512;
/// The library reads long lines in pieces of this many bytes, and takes each piece for a line.
const CONF_PIECE: usize = 2047;

/// What the library makes of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It refuses the configuration as a whole.
    Fatal,
    /// It silently goes on without the faulty part.
    Ignored,
}

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfFault {
    /// The file.
    pub file: PathBuf,
    /// The line, counted from 1.
    pub line: Option<usize>,
    /// In words.
    pub what: String,
    /// What the library makes of it.
    pub effect: Effect,
}

impl fmt::Display for ConfFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        self.line.map_or(Ok(()), |line| write!(f, ", line {line}"))?;
        write!(f, ": {}", self.what)?;
        let passed_over = self.line.is_none() && self.effect == Effect::Ignored;
        f.write_str(if passed_over { "; it counts as empty" } else { "" })
    }
}

/// Who must be able to read the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConfReader {
    /// This process.
    Ourselves,
    /// Any user, as workers are.
    #[cfg(any(feature = "tools", test))]
    AnyUser,
}

/// The faults of a configuration, `FILE[:FILE…]` in the syntax of KRB5_CONFIG. Of the fatal ones, the first in each file.
pub(crate) fn faults(configuration: &Path, reader: ConfReader) -> Vec<ConfFault> {
    Reading::of(configuration, reader).faults
}

/// What the library may open or connect to because of a configuration, in the same syntax.
pub(crate) fn reach(configuration: &Path) -> ConfReach {
    Reading::of(configuration, ConfReader::Ourselves).reach
}

struct Reading {
    reader: ConfReader,
    files: usize,
    faults: Vec<ConfFault>,
    reach: ConfReach,
}

impl Reading {
    fn of(configuration: &Path, reader: ConfReader) -> Self {
        let mut reading = Self { reader, files: 0, faults: Vec::new(), reach: ConfReach::default() };
        reading.configuration(configuration);
        reading
    }

    fn configuration(&mut self, configuration: &Path) {
        for name in configuration.as_os_str().as_bytes().split(|&byte| byte == b':') {
            let file = Path::new(std::ffi::OsStr::from_bytes(name));
            if let Err(fault) = self.named(file) {
                self.faults.push(fault);
            }
        }
    }
}

/// The parser's state between two lines of a file.
#[derive(Debug, Default)]
struct FileState {
    /// The number of the line.
    number: usize,
    /// Whether a section has begun.
    place: LinePlace,
    /// Line numbers of the open braces.
    open: Vec<usize>,
    /// The line that ended with `=`, after which a brace must come.
    awaiting: Option<usize>,
    /// A line before the first section has been reported.
    told: bool,
}

impl Reading {
    /// Reads a file that the configuration names. One that cannot be opened counts as empty.
    fn named(&mut self, file: &Path) -> Result<(), ConfFault> {
        let ignored =
            |what: String| ConfFault { file: file.to_owned(), line: None, what, effect: Effect::Ignored };
        match self.open(file) {
            Ok(OpenedConf::Text(text)) => self.text(file, &text, 0),
            Ok(OpenedConf::Directory) => {
                self.faults.push(ignored("is a directory".to_owned()));
                Ok(())
            }
            Err(error) => {
                self.faults.push(ignored(in_words(&error)));
                Ok(())
            }
        }
    }

    fn text(&mut self, file: &Path, text: &[u8], depth: usize) -> Result<(), ConfFault> {
        let mut state = FileState::default();
        for whole in text.split_inclusive(|&byte| byte == b'\n') {
            state.number += 1;
            if whole.len() > CONF_PIECE {
                let what =
                    format!("is longer than {CONF_PIECE} bytes; the library takes the rest for another line");
                self.ignore(file, state.number, what);
            }
            for piece in whole.chunks(CONF_PIECE) {
                // The library's strings end at a NUL.
                let piece = piece.split(|&byte| byte == 0).next().unwrap_or_default();
                self.line(file, piece, &mut state, depth)?;
            }
        }
        if let Some(line) = state.awaiting.or(state.open.last().copied()) {
            self.ignore(file, line, "the { that begins here, or is to begin, is never closed".to_owned());
        }
        Ok(())
    }

    fn line(
        &mut self,
        file: &Path,
        line: &[u8],
        state: &mut FileState,
        depth: usize,
    ) -> Result<(), ConfFault> {
        let number = state.number;
        let fatal = |what: String| ConfFault {
            file: file.to_owned(),
            line: Some(number),
            what,
            effect: Effect::Fatal,
        };
        match line::parse(line, state.place) {
            ConfLine::Include(name) => return self.include(&name, depth, fatal),
            ConfLine::IncludeDirectory(name) => return self.include_directory(&name, depth, fatal),
            ConfLine::Module(_) if depth > 0 => {
                return Err(fatal(
                    "a module can be named in krb5.conf itself only, not in what it includes".into(),
                ));
            }
            // The module provides everything else.
            ConfLine::Module(file) => {
                self.reach.take_module(file);
                return Ok(());
            }
            ConfLine::Before(text) if !state.told => {
                state.told = true;
                self.ignore(
                    file,
                    number,
                    format!("{text} stands before the first [section], and is ignored"),
                );
            }
            ConfLine::Before(_) | ConfLine::Nothing => {}
            ConfLine::In(rest) => {
                state.place = LinePlace::Within;
                self.reach.take(rest);
                state.take(rest).map_err(fatal)?;
            }
        }
        Ok(())
    }

    fn include(
        &mut self,
        name: &Path,
        depth: usize,
        fatal: impl Fn(String) -> ConfFault,
    ) -> Result<(), ConfFault> {
        if depth >= CONF_DEPTH_LIMIT {
            return Err(fatal(format!("include {}: files include each other in a circle", name.display())));
        }
        match self.open(name) {
            Ok(OpenedConf::Text(text)) => self.text(name, &text, depth + 1),
            Ok(OpenedConf::Directory) => {
                let fault =
                    fatal(format!("include {}: is a directory (includedir is for these)", name.display()));
                self.faults.push(ConfFault { effect: Effect::Ignored, ..fault });
                Ok(())
            }
            Err(error) => Err(fatal(format!("include {}: {}", name.display(), in_words(&error)))),
        }
    }

    fn include_directory(
        &mut self,
        name: &Path,
        depth: usize,
        fatal: impl Fn(String) -> ConfFault,
    ) -> Result<(), ConfFault> {
        let failed = |error: io::Error| fatal(format!("includedir {}: {}", name.display(), in_words(&error)));
        self.reach.paths.push(name.to_owned());
        self.allow(name).map_err(failed)?;
        let entries = fs::read_dir(name).map_err(failed)?;
        let mut names: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.file_name()).collect();
        names.sort();
        for file in names.iter().filter(|file| line::is_included(file.as_bytes())) {
            self.include(&name.join(file), depth, &fatal)?;
        }
        Ok(())
    }

    fn ignore(&mut self, file: &Path, line: usize, what: String) {
        let file = file.to_owned();
        self.faults.push(ConfFault { file, line: Some(line), what, effect: Effect::Ignored });
    }

    fn open(&mut self, path: &Path) -> io::Result<OpenedConf> {
        self.files += 1;
        self.reach.paths.push(path.to_owned());
        if self.files > CONF_FILES_LIMIT {
            return Err(io::Error::other("more files than this looks at"));
        }
        self.allow(path)?;
        let metadata = fs::metadata(path)?;
        if metadata.is_dir() {
            return Ok(OpenedConf::Directory);
        }
        if !metadata.is_file() {
            // Reading a pipe would wait for a writer.
            return Err(io::Error::other("is neither a file nor a directory"));
        }
        let mut text = Vec::new();
        fs::File::open(path)?.take(CONF_SIZE_LIMIT).read_to_end(&mut text)?;
        Ok(OpenedConf::Text(text))
    }

    /// Checks by the mode that those who must read the file can.
    fn allow(&self, path: &Path) -> io::Result<()> {
        if self.reader == ConfReader::Ourselves {
            return Ok(());
        }
        let denied = |what: String| Err(io::Error::new(ErrorKind::PermissionDenied, what));
        for directory in path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
            let mode = fs::metadata(directory)?.mode() & 0o7777;
            if mode & 0o001 == 0 {
                let what = format!("{} has mode {mode:04o}: users cannot look into it", directory.display());
                return denied(what);
            }
        }
        let mode = fs::metadata(path)?.mode() & 0o7777;
        if mode & 0o004 == 0 {
            return denied(format!("has mode {mode:04o}: users, as workers are, cannot read it"));
        }
        Ok(())
    }
}

enum OpenedConf {
    Text(Vec<u8>),
    Directory,
}

impl FileState {
    fn take(&mut self, line: &[u8]) -> Result<(), String> {
        if let Some(begun) = self.awaiting.take() {
            self.open.push(begun);
            let missing = || format!("{{ is missing: line {begun} ends with =");
            return line::is_brace(line).then_some(()).ok_or_else(missing);
        }
        match line::syntax(line)? {
            Syntax::Section => {
                let open = self.open.last();
                return open.map_or(Ok(()), |open| {
                    Err(format!("a section begins while the {{ of line {open} is open"))
                });
            }
            Syntax::Close if self.open.pop().is_none() => return Err("} without {".to_owned()),
            Syntax::Subsection => self.open.push(self.number),
            Syntax::Awaiting => self.awaiting = Some(self.number),
            Syntax::Close | Syntax::Relation | Syntax::Nothing => {}
        }
        Ok(())
    }
}

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "does not exist".to_owned(),
        _ if error.raw_os_error().is_none() => error.to_string(),
        _ => errno_of(error).desc().to_owned(),
    }
}

#[cfg(test)]
mod tests;
