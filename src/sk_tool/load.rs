//! `--load`: puts the key of a file into root's user keyring, under each of its names.
//!
//! What a key replaces depends on who reads it. A client's upcall takes the predecessor too, if a server refuses the new
//! key; so that is kept for a while. A server takes every key whose name begins alike, of which `--suffix` makes use.
//!
//! Invariant: with `--type client` the file is rewritten first, when it is certain that its key has names. Where the keyring
//! then has no room for the key (EDQUOT), the file is a client's already, and loading it again is enough.

use std::io::Write;
use std::path::Path;

use nix::unistd::Uid;

use super::arguments::SkArguments;
use super::failure::SkFailure;
use super::files::{FileOfKey, KeyFile};
use super::place::LastLink;
use super::remark::remark;
use super::{make, mounted};
use crate::creds::shared_key::{KeyParts, SharedKey};
use crate::provider::shared_keys::loaded_names::{LoadedName, NameReader, names_of};
use crate::provider::shared_keys::{LoadSharedKey, Loaded, PREVIOUS_LIFE, Verbosity};
use crate::provider::{Delegated, perform, permitted};
use crate::terminal::Terminal;
use crate::terminal::person::person;
use crate::text::{quoted_path, shell_word};
use crate::time::Span;

pub(super) fn run(
    path: &Path,
    arguments: &SkArguments,
    terminal: &mut Terminal<'_>,
) -> Result<(), SkFailure> {
    // Before a file is touched.
    permitted(&format!("sudo lgss_sk --load {}", shell_word(path)))?;
    let file = KeyFile::read(path, LastLink::Followed)?;
    say_who_has(&file.origin, terminal.err)?;
    let mount = mount(path, &file.key, arguments)?;
    let (key, names) = of_client(file, mount.as_deref(), arguments, terminal)?;
    say_if_no_server(&names, path, arguments, terminal.err);
    let load = LoadSharedKey {
        key: key.encode(),
        mount,
        suffix: arguments.suffix.then(|| arguments.timeout.unwrap_or(PREVIOUS_LIFE)),
        verbosity: if arguments.verbose { Verbosity::More } else { Verbosity::Usual },
    };
    let Loaded { remarks, refusal, .. } = perform(Delegated::of_command(load))?;
    remarks.iter().for_each(|what| remark(terminal.err, what));
    refusal.map_or(Ok(()), |refusal| Err(refusal.into()))
}

/// Says who else than root has the secret that is in the file.
fn say_who_has(file: &FileOfKey, err: &mut dyn Write) -> Result<(), SkFailure> {
    let (path, word, (owner, _)) = (quoted_path(&file.path), shell_word(&file.path), file.owner);
    if file.check_mode()? {
        remark(err, format_args!("everybody can read {path}: chmod 0400 {word}"));
    }
    // A member of the helper's group loads keys of its own, and nothing can be done about that.
    let is_ones_own = Uid::from_raw(owner) == Uid::current();
    if !Uid::from_raw(owner).is_root() && !is_ones_own {
        let owner = person(owner);
        remark(
            err,
            format_args!("{path} belongs to uid {owner}, who can read and replace it: chown root {word}"),
        );
    }
    Ok(())
}

/// The client for which the key is, if `--update` names its mount.
fn mount(path: &Path, key: &SharedKey, arguments: &SkArguments) -> Result<Option<String>, SkFailure> {
    let Some(directory) = &arguments.update else { return Ok(None) };
    if !key.types.client && arguments.types.is_none() {
        return Err(SkFailure::NoClient(path.to_owned()));
    }
    let mount = mounted::at(directory)?;
    if mount.file_system != key.file_system {
        let key = key.file_system.clone();
        return Err(SkFailure::OtherFileSystem { key, mounted: mount.file_system });
    }
    Ok(Some(mount.client))
}

/// The key and its names. With `--type client` it is a client's: its file gets a prime and the type.
fn of_client(
    file: KeyFile,
    mount: Option<&str>,
    arguments: &SkArguments,
    terminal: &mut Terminal<'_>,
) -> Result<(SharedKey, Vec<LoadedName>), SkFailure> {
    let KeyFile { key, origin } = file;
    let Some(types) = arguments.types.filter(|_| !key.types.client) else {
        let names = named(&origin.path, &key, mount)?;
        if arguments.types.is_some() {
            say_that_it_stays(&key, &origin.path, arguments, terminal.err);
        }
        return Ok((key, names));
    };
    // What is rewritten must not be reached by a link.
    origin.check_is_no_link()?;
    let parts = key.into_parts();
    let prime_bits = arguments.prime_bits.unwrap_or(parts.prime_bits);
    let parts = KeyParts { types, prime_bits, prime: None, ..parts };
    let names = named(&origin.path, &parts, mount)?;
    origin.check_replaceable()?;
    let key = make::complete(parts, terminal)?;
    origin.replace(&key, origin.form)?;
    remark(terminal.err, format_args!("{} is a client's key now", quoted_path(&origin.path)));
    Ok((key, names))
}

fn named(path: &Path, key: &KeyParts, mount: Option<&str>) -> Result<Vec<LoadedName>, SkFailure> {
    names_of(key, mount).ok_or_else(|| SkFailure::NoNames(path.to_owned()))
}

/// Says what `--suffix` and `--timeout` do not do to a key of clients alone.
fn say_if_no_server(names: &[LoadedName], path: &Path, arguments: &SkArguments, err: &mut dyn Write) {
    if !arguments.suffix || names.iter().any(|name| name.reader == NameReader::Server) {
        return;
    }
    let options = if arguments.timeout.is_some() { "--suffix and --timeout have" } else { "--suffix has" };
    let (path, life) = (quoted_path(path), Span(PREVIOUS_LIFE.into()));
    remark(
        err,
        format_args!("{options} no effect: {path} is for clients, whose former key stays for {life} anyway"),
    );
}

/// Says what `--type client` does not do to a file that is a client's already.
fn say_that_it_stays(key: &SharedKey, path: &Path, arguments: &SkArguments, err: &mut dyn Write) {
    let already = format!("has no effect: {} is a client's key already", quoted_path(path));
    if Some(key.types) != arguments.types {
        let types = key.types;
        remark(err, format_args!("--type {already}, and is loaded for all its types: {types}"));
    }
    if arguments.prime_bits.is_some() {
        remark(err, format_args!("--prime-bits {already}, and stays as it is"));
    }
}
