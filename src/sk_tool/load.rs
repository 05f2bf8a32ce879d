//! `--load`: puts the key of a file into root's user keyring, under each of its names.
//!
//! What a key replaces depends on who reads it. A client's upcall takes the predecessor too, if a server refuses the new
//! key; so that is kept for a while. A server takes every key whose name begins alike, of which `--suffix` makes use.
//!
//! Invariant: with `--type client` the file is rewritten first, when it is certain that its key has names. Where the keyring
//! then has no room for the key (EDQUOT), the file is a client's already, and loading it again is enough.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use nix::unistd::Uid;

use super::arguments::SkArguments;
use super::failure::SkFailure;
use super::files::{FileOfKey, KeyFile};
use super::loaded_names::{LoadedName, NameReader, is_of_server, names_of, with_time};
use super::place::LastLink;
use super::remaining::{self, ListedKey};
use super::remark::remark;
use super::root_keyring::{LoadedKey, RootKeyring};
use super::values::PREVIOUS_LIFE;
use super::{make, mounted};
use crate::creds::shared_key::{KeyParts, SharedKey, previous_of};
use crate::terminal::Terminal;
use crate::terminal::person::person;
use crate::text::{quoted, quoted_path, shell_word};
use crate::time::{Span, local_now};

pub(super) fn run(
    path: &Path,
    arguments: &SkArguments,
    terminal: &mut Terminal<'_>,
) -> Result<(), SkFailure> {
    let ring = RootKeyring::open()?;
    let file = KeyFile::read(path, LastLink::Followed)?;
    say_who_has(&file.origin, terminal.err)?;
    if !ring.is_the_hosts() {
        remark(terminal.err, "this is a container's root, and Lustre takes keys of the host's root only");
    }
    let mount = mount(path, &file.key, arguments)?;
    let (key, names) = of_client(file, mount.as_deref(), arguments, terminal)?;
    say_if_no_server(&names, path, arguments, terminal.err);
    let loading = Loading { ring: &ring, key: &key, verbosity: Verbosity::of(arguments) };
    for name in &names {
        match (name.reader, arguments.suffix) {
            (NameReader::Client, _) => loading.for_a_client(name, terminal.err)?,
            (NameReader::Server, false) => loading.for_a_server(name, terminal.err)?,
            (NameReader::Server, true) => {
                let life = Duration::from_secs(arguments.timeout.unwrap_or(PREVIOUS_LIFE).into());
                loading.beside_the_former(name, life, terminal.err)?;
            }
        }
    }
    Ok(())
}

/// Says who else than root has the secret that is in the file.
fn say_who_has(file: &FileOfKey, err: &mut dyn Write) -> Result<(), SkFailure> {
    let (path, word, (owner, _)) = (quoted_path(&file.path), shell_word(&file.path), file.owner);
    if file.check_mode()? {
        remark(err, format_args!("everybody can read {path}: chmod 0400 {word}"));
    }
    if !Uid::from_raw(owner).is_root() {
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
        let names = names_of(&origin.path, &key, mount)?;
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
    let names = names_of(&origin.path, &parts, mount)?;
    origin.check_replaceable()?;
    let key = make::complete(parts, terminal)?;
    origin.replace(&key, origin.form)?;
    remark(terminal.err, format_args!("{} is a client's key now", quoted_path(&origin.path)));
    Ok((key, names))
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

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verbosity {
    /// What matters.
    Usual,
    /// Each step.
    More,
}

impl Verbosity {
    fn of(arguments: &SkArguments) -> Self {
        if arguments.verbose { Self::More } else { Self::Usual }
    }
}

/// A key on its way into the keyring.
struct Loading<'a> {
    ring: &'a RootKeyring,
    key: &'a SharedKey,
    verbosity: Verbosity,
}

impl Loading<'_> {
    /// Keeps a former key with another secret as the predecessor, then replaces it.
    fn for_a_client(&self, name: &LoadedName, err: &mut dyn Write) -> Result<(), SkFailure> {
        if let Some(former) = self.ring.find(&name.text)? {
            self.keep(&former, &previous_of(&name.text), err)?;
        }
        self.put(&name.text, err)
    }

    /// Keeps a former key with another secret under this name, for a while or as long as it would have lasted. One that others
    /// could write to may be of their making: it is not kept, nor what was kept before it.
    fn keep(&self, former: &LoadedKey, previous: &str, err: &mut dyn Write) -> Result<(), SkFailure> {
        let Some(key) = former.shared().filter(|key| self.differs(key)) else { return Ok(()) };
        if former.is_open {
            if let Some(older) = self.ring.find(previous)? {
                self.ring.remove(&older)?;
            }
            let why = "others than root could read or change it";
            remark(
                err,
                format_args!("the former key is gone: {why}, so it does not stay for servers that have it"),
            );
            return Ok(());
        }
        let life = shorter(PREVIOUS_LIFE.into(), remaining_of(former, &remaining::of_all_keys()));
        self.ring.put(previous, &key.encode(), Some(Duration::from_secs(life)))?;
        remark(err, format_args!("the former key stays for {} as {}", Span(life), quoted(previous)));
        Ok(())
    }

    /// Replaces the former key of the name, and says which ones with a time in their names serve on.
    fn for_a_server(&self, name: &LoadedName, err: &mut dyn Write) -> Result<(), SkFailure> {
        let (replaced, beside): (Vec<_>, Vec<_>) =
            self.serving(name)?.into_iter().partition(|key| key.name == name.text);
        self.put(&name.text, err)?;
        if replaced.iter().filter_map(LoadedKey::shared).any(|former| self.differs(former)) {
            let former = quoted(&name.text);
            remark(
                err,
                format_args!(
                    "the former key {former} is gone, and clients that have no other are refused from now on; \
                     --suffix lets it serve for a while"
                ),
            );
        }
        for key in beside {
            let same = key.has_secret(&self.key.secret);
            let secret = if same { "the same secret" } else { "another secret" };
            let stays = format!("{} stays loaded with {secret}, and remains usable", quoted(&key.name));
            remark(
                err,
                format_args!(
                    "{stays}; lgss_sk -R of the file with its secret, then -l of this one again, ends it"
                ),
            );
        }
        Ok(())
    }

    /// What a server takes under this name.
    fn serving(&self, name: &LoadedName) -> Result<Vec<LoadedKey>, SkFailure> {
        let all = self.ring.all()?.into_iter();
        Ok(all.filter(|key| is_of_server(&key.name, &name.text) && !key.has_ended()).collect())
    }

    /// Puts the key in under a name of its own, and lets the former ones end. One that ends sooner keeps its end. Others
    /// than root have no more rights to them then: an open one is replaced by a copy.
    fn beside_the_former(
        &self,
        name: &LoadedName,
        life: Duration,
        err: &mut dyn Write,
    ) -> Result<(), SkFailure> {
        let former = self.serving(name)?;
        if former.is_empty() {
            return self.put(&name.text, err);
        }
        self.put(&with_time(&name.text, local_now()), err)?;
        let listed = remaining::of_all_keys();
        for key in former {
            let remaining = remaining_of(&key, &listed);
            let ends_sooner = remaining.is_some_and(|left| left + remaining::unit_of(left) <= life.as_secs());
            let life = shorter(life.as_secs(), remaining);
            let name = quoted(&key.name);
            match key.shared().filter(|_| key.is_open) {
                // Whoever has linked it can write to it, whatever its permissions become; so it gives way to a copy.
                Some(shared) => {
                    self.ring.put(&key.name, &shared.encode(), Some(Duration::from_secs(life)))?;
                    remark(err, format_args!("{name}: others than root could read or change it until now"));
                }
                None if ends_sooner => continue,
                None => self.ring.let_end(&key, Duration::from_secs(life))?,
            }
            remark(err, format_args!("{name} serves for another {}", Span(life)));
        }
        Ok(())
    }

    fn differs(&self, former: &SharedKey) -> bool {
        former.secret.expose() != self.key.secret.expose()
    }

    fn put(&self, name: &str, err: &mut dyn Write) -> Result<(), SkFailure> {
        let serial = self.ring.put(name, &self.key.encode(), None)?;
        if self.verbosity == Verbosity::More {
            remark(err, format_args!("loaded {} as key {}", quoted(name), serial.raw()));
        }
        Ok(())
    }
}

/// Seconds until a loaded key ends; `None` if it has no end, or if the kernel does not say.
fn remaining_of(key: &LoadedKey, listed: &HashMap<i32, ListedKey>) -> Option<u64> {
    listed.get(&key.serial.raw())?.remaining.seconds()
}

fn shorter(life: u64, other: Option<u64>) -> u64 {
    other.map_or(life, |other| other.clamp(1, life))
}
