//! `lgss_sk rotate`: makes the successors of keys, beside their files.
//!
//! Invariant: either every file gets its successor or none does. The files themselves stay as they are.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::failure::SkFailure;
use super::file_trouble::KeyFileError;
use super::files::{FileOfKey, KeyFile, NewFile};
use super::place::LastLink;
use super::{make, secrets};
use crate::creds::shared_key::{KeyParts, KeyTypes, SharedKey};
use crate::provider::shared_keys::PREVIOUS_LIFE;
use crate::secret::Secret;
use crate::sys::signals::SignalsBlocked;
use crate::terminal::Terminal;
use crate::text::{quoted_path, shell_word};
use crate::time::Span;

/// What the name of a successor has at its end.
const SUCCESSOR: &str = ".new";

/// Files with one secret, which their successors share, too.
struct Family {
    former: Secret,
    members: Vec<(KeyFile, NewFile)>,
}

/// A key that is to be written beside the file that it succeeds.
struct SucceedingKey {
    of: FileOfKey,
    file: NewFile,
    key: SharedKey,
}

pub(super) fn run(paths: &[PathBuf], terminal: &mut Terminal<'_>) -> Result<(), SkFailure> {
    let families = families(paths)?;
    let mut successors = Vec::new();
    for family in families {
        successors.push(succeed(family, terminal)?);
    }
    write(&successors)?;
    for family in &successors {
        instruct(family, terminal.out)?;
    }
    Ok(())
}

fn families(paths: &[PathBuf]) -> Result<Vec<Family>, SkFailure> {
    let mut families: Vec<Family> = Vec::new();
    let mut named = HashSet::new();
    for path in paths {
        let file = KeyFile::read(path, LastLink::Refused)?;
        // Its name where it is, since `one` and `./one` would have one successor.
        if !named.insert(path.canonicalize().unwrap_or_else(|_| path.clone())) {
            return Err(SkFailure::NamedTwice(path.clone()));
        }
        let successor = file.origin.beside(SUCCESSOR).map_err(|error| no_successor(path, error))?;
        let secret = file.key.secret.expose();
        match families.iter_mut().find(|family| family.former.expose() == secret) {
            Some(family) => family.members.push((file, successor)),
            None => {
                let former = Secret::new(secret.to_vec());
                families.push(Family { former, members: vec![(file, successor)] });
            }
        }
    }
    Ok(families)
}

/// Why there is no successor of a file: most often, because a former rotation has made one.
fn no_successor(path: &Path, error: KeyFileError) -> SkFailure {
    match error.is_there_already() {
        true => SkFailure::SuccessorExists { file: path.to_owned(), successor: successor_path(path) },
        false => error.into(),
    }
}

fn successor_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(SUCCESSOR);
    name.into()
}

fn succeed(family: Family, terminal: &mut Terminal<'_>) -> Result<Vec<SucceedingKey>, SkFailure> {
    let secret = secrets::random(family.former.len())?;
    let mut successors = Vec::new();
    for (KeyFile { key, origin }, file) in family.members {
        let secret = Secret::new(secret.expose().to_vec());
        let key = make::complete(KeyParts { secret, prime: None, ..key.into_parts() }, terminal)?;
        successors.push(SucceedingKey { of: origin, file, key });
    }
    Ok(successors)
}

fn write(families: &[Vec<SucceedingKey>]) -> Result<(), SkFailure> {
    // Not between two files either.
    let _blocked = SignalsBlocked::now();
    let mut written: Vec<&NewFile> = Vec::new();
    for successor in families.iter().flatten() {
        let SucceedingKey { of, file, key } = successor;
        if let Err(error) = file.write(key, of.form, Some(of.owner)) {
            // Half a rotation would only be in the way of the next one.
            written.into_iter().for_each(NewFile::remove);
            return Err(no_successor(&of.path, error));
        }
        written.push(file);
    }
    Ok(())
}

/// Who loads a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LoadingSide {
    Server,
    Client,
}

impl LoadingSide {
    fn loads(self, types: KeyTypes) -> bool {
        match self {
            Self::Server => types.server || types.mgs,
            Self::Client => types.client,
        }
    }

    /// As `--type` has it.
    fn word(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }

    /// The options that load its key.
    fn load(self) -> &'static str {
        match self {
            Self::Server => "-s -l",
            Self::Client => "-l",
        }
    }
}

/// Says who loads what, and when.
fn instruct(family: &[SucceedingKey], out: &mut dyn Write) -> io::Result<()> {
    for successor in family {
        let (old, new) = (quoted_path(&successor.of.path), quoted_path(&successor.file.path));
        writeln!(out, "{old}: successor in {new} ({})", successor.key.types)?;
    }
    let life = Span(PREVIOUS_LIFE.into());
    writeln!(
        out,
        "Existing contexts are not affected. Copy the new files to their nodes, then load them in this order:"
    )?;
    writeln!(out, "  1. on every server, where the former key stays usable for {life} (--timeout):")?;
    load(LoadingSide::Server, family, out)?;
    writeln!(out, "  2. then on every client, within that time; nothing has to be unmounted:")?;
    load(LoadingSide::Client, family, out)?;
    writeln!(out, "  3. finally, on every node, replace the old files:")?;
    for successor in family {
        writeln!(out, "       mv {} {}", shell_word(&successor.file.path), shell_word(&successor.of.path))?;
    }
    writeln!(out, "If the former key has leaked, it must stop working. Instead of 1. and 2.:")?;
    writeln!(out, "  on every server, which refuses clients from then on until they have the new key:")?;
    replace(LoadingSide::Server, family, out)?;
    writeln!(out, "  then on every client:")?;
    replace(LoadingSide::Client, family, out)?;
    let longest = family.iter().map(|successor| successor.key.expire).max().unwrap_or_default();
    writeln!(
        out,
        "  Contexts that somebody else has made with it last for {} at most.",
        Span(longest.into())
    )?;
    Ok(())
}

/// The commands that load this side's keys; without any, how to make one of what there is.
fn load(side: LoadingSide, family: &[SucceedingKey], out: &mut dyn Write) -> io::Result<()> {
    let options = side.load();
    let mut none = true;
    for new in of(side, family).map(|successor| shell_word(&successor.file.path)) {
        none = false;
        writeln!(out, "       lgss_sk {options} {new}")?;
        if side == LoadingSide::Client {
            writeln!(out, "     and for each mount whose key was loaded with -u, at DIR:")?;
            writeln!(out, "       lgss_sk -l -u DIR {new}")?;
        }
    }
    if let (true, Some(other)) = (none, family.first()) {
        let (other, word) = (shell_word(&other.file.path), side.word());
        writeln!(
            out,
            "     none of the files is for them; make one with the same secret, and load it ({options}):"
        )?;
        writeln!(out, "       cp {other} FILE && lgss_sk -t {word} -m FILE")?;
        if side == LoadingSide::Client {
            writeln!(out, "     with -g NIDS, if the clients have one for the management server, too")?;
            writeln!(out, "     and with -l -u DIR for each mount whose key was loaded with -u")?;
        }
    }
    Ok(())
}

/// The commands that end this side's former keys and load the new ones. The old file names them: `-R` ends the keys with a
/// time in their names and those of single mounts by the secret.
fn replace(side: LoadingSide, family: &[SucceedingKey], out: &mut dyn Write) -> io::Result<()> {
    let mut none = true;
    for successor in of(side, family) {
        none = false;
        writeln!(out, "       lgss_sk -R {}", shell_word(&successor.of.path))?;
        writeln!(out, "       lgss_sk -l {}", shell_word(&successor.file.path))?;
    }
    if none {
        writeln!(out, "     lgss_sk -R with the old file that they have loaded, then -l with the new one")?;
    }
    Ok(())
}

fn of(side: LoadingSide, family: &[SucceedingKey]) -> impl Iterator<Item = &SucceedingKey> {
    family.iter().filter(move |successor| side.loads(successor.key.types))
}
