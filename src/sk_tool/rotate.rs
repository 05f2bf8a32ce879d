//! `lgss_sk rotate`: makes the successors of keys, beside their files.
//!
//! Invariant: either every file gets its successor or none does. The files themselves stay as they are.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::failure::SkFailure;
use super::files::{self, FileOfKey, KeyFile, KeyFileError, LastLink};
use super::values::PREVIOUS_LIFE;
use super::{make, secrets};
use crate::creds::shared_key::{KeyParts, KeyTypes, SharedKey};
use crate::secret::Secret;
use crate::terminal::Terminal;
use crate::text::quoted_path;
use crate::time::Span;

/// What the name of a successor has at its end.
const SUCCESSOR: &str = ".new";

/// Files with one secret, which their successors share, too.
struct Family {
    former: Secret,
    members: Vec<KeyFile>,
}

/// A key that is to be written beside the file that it succeeds.
struct SucceedingKey {
    of: FileOfKey,
    path: PathBuf,
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
        files::check_new(&successor_path(path)).map_err(|error| no_successor(path, error))?;
        let secret = file.key.secret.expose();
        match families.iter_mut().find(|family| family.former.expose() == secret) {
            Some(family) => family.members.push(file),
            None => families.push(Family { former: Secret::new(secret.to_vec()), members: vec![file] }),
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
    for KeyFile { key, origin } in family.members {
        let secret = Secret::new(secret.expose().to_vec());
        let key = make::complete(KeyParts { secret, prime: None, ..key.into_parts() }, terminal)?;
        successors.push(SucceedingKey { path: successor_path(&origin.path), of: origin, key });
    }
    Ok(successors)
}

fn write(families: &[Vec<SucceedingKey>]) -> Result<(), SkFailure> {
    let mut written: Vec<&Path> = Vec::new();
    for successor in families.iter().flatten() {
        if let Err(error) = successor.of.write_beside(&successor.path, &successor.key) {
            // Half a rotation would only be in the way of the next one.
            written.iter().for_each(|path| drop(std::fs::remove_file(path)));
            return Err(no_successor(&successor.of.path, error));
        }
        written.push(&successor.path);
    }
    Ok(())
}

/// Says who loads what, and when.
fn instruct(family: &[SucceedingKey], out: &mut dyn Write) -> io::Result<()> {
    for successor in family {
        let (old, new) = (quoted_path(&successor.of.path), quoted_path(&successor.path));
        writeln!(out, "{old}: successor in {new} ({})", successor.key.types)?;
    }
    let of = |is: fn(&KeyTypes) -> bool| family.iter().filter(move |successor| is(&successor.key.types));
    let (servers, clients) = (of(|types| types.server || types.mgs), of(|types| types.client));
    let life = Span(PREVIOUS_LIFE.into());
    writeln!(out, "Contexts that exist go on. Load the new keys in this order:")?;
    writeln!(out, "  1. on every server; the former key goes on serving there for {life} (--timeout):")?;
    commands(servers, "-s -l", "-t server", family, out)?;
    writeln!(out, "  2. then on every client, within that time; nothing has to be unmounted:")?;
    commands(clients, "-l", "-t client", family, out)?;
    writeln!(out, "  3. then the new files, copied to every node, take the place of the old ones there:")?;
    for successor in family {
        writeln!(out, "       mv {} {}", quoted_path(&successor.path), quoted_path(&successor.of.path))?;
    }
    writeln!(
        out,
        "If the former key has leaked, it must not serve on: in 1. load without -s; in 2. remove it first, by"
    )?;
    writeln!(out, "lgss_sk -R of the new file, which ends the loaded keys of its names.")?;
    Ok(())
}

/// The commands that load these; without any, how to make one of what there is.
fn commands<'a>(
    successors: impl Iterator<Item = &'a SucceedingKey>,
    load: &str,
    types: &str,
    family: &[SucceedingKey],
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut none = true;
    for successor in successors {
        none = false;
        writeln!(out, "       lgss_sk {load} {}", quoted_path(&successor.path))?;
    }
    if let (true, Some(other)) = (none, family.first()) {
        let other = quoted_path(&other.path);
        writeln!(
            out,
            "     none of the files is for them; make one with the same secret, and load it ({load}):"
        )?;
        writeln!(out, "       cp {other} FILE && lgss_sk {types} -m FILE")?;
        if types.ends_with("client") {
            writeln!(out, "     with -g NIDS, if the clients have one for the management server, too")?;
        }
    }
    Ok(())
}
