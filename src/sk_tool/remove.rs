//! `--remove`: takes out of root's user keyring what a file describes, the predecessors included, and the keys of single
//! mounts that have its secret.

use std::path::Path;

use super::arguments::SkArguments;
use super::failure::SkFailure;
use super::files::KeyFile;
use super::place::LastLink;
use super::remark::remark;
use crate::creds::shared_key::{SharedKey, previous_of};
use crate::provider::shared_keys::loaded_names::{
    LoadedName, NameReader, is_of_mount, is_of_server, names_of,
};
use crate::provider::shared_keys::root_keyring::{LoadedKey, RootKeyring};
use crate::terminal::Terminal;
use crate::text::quoted;

/// What a loaded key is to the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Removal {
    /// Of a name that the file describes.
    Described,
    /// A client's key for one mount, with the file's secret, or the predecessor of one.
    OfMount,
}

pub(super) fn run(
    path: &Path,
    arguments: &SkArguments,
    terminal: &mut Terminal<'_>,
) -> Result<(), SkFailure> {
    let ring = RootKeyring::open()?;
    let file = KeyFile::read(path, LastLink::Followed)?.key;
    let names = names_of(&file, None).ok_or_else(|| SkFailure::NoNames(path.to_owned()))?;
    let mut removed = 0;
    let mut first_error = None;
    let all = ring.all()?;
    let mounts: Vec<_> = all.iter().filter(|key| is_of_mount_with(key, &file)).map(|key| &key.name).collect();
    for key in &all {
        let Some(removal) = removal(key, &names, &mounts, &file) else { continue };
        // The rest must not stay because of one.
        if let Err(error) = ring.remove(key) {
            first_error = first_error.or(Some(error));
            continue;
        }
        removed += 1;
        let name = quoted(&key.name);
        if removal == Removal::OfMount {
            remark(terminal.err, format_args!("removed {name}, a key for one mount"));
        } else if key.shared().is_some() && !key.has_secret(&file.secret) {
            remark(terminal.err, format_args!("removed {name}, whose secret differed from the file's"));
        } else if arguments.verbose {
            remark(terminal.err, format_args!("removed {name}"));
        }
    }
    match (removed, first_error) {
        (_, Some(error)) => Err(error.into()),
        (0, None) => Err(SkFailure::NotLoaded(names.into_iter().map(|name| name.text).collect())),
        (_, None) => Ok(()),
    }
}

/// `None` for a key that stays.
fn removal(
    loaded: &LoadedKey,
    names: &[LoadedName],
    mounts: &[&String],
    file: &SharedKey,
) -> Option<Removal> {
    if names.iter().any(|name| is_described(loaded, name, file)) {
        return Some(Removal::Described);
    }
    let of_mount = |mount: &&String| loaded.name == **mount || loaded.name == previous_of(mount);
    mounts.iter().any(of_mount).then_some(Removal::OfMount)
}

/// Whether it is a client's key for one mount, with the file's secret. Its predecessor goes with it, whatever its secret.
fn is_of_mount_with(loaded: &LoadedKey, file: &SharedKey) -> bool {
    let is_of = |key: &SharedKey| key.file_system == file.file_system && is_of_mount(&loaded.name, key);
    file.types.client && loaded.has_secret(&file.secret) && loaded.shared().is_some_and(is_of)
}

/// A key of the name, the predecessor of a client's, and of a server's those with a time in their names and the same
/// secret.
fn is_described(loaded: &LoadedKey, name: &LoadedName, file: &SharedKey) -> bool {
    if loaded.name == name.text {
        return true;
    }
    match name.reader {
        NameReader::Client => loaded.name == previous_of(&name.text),
        NameReader::Server => is_of_server(&loaded.name, &name.text) && loaded.has_secret(&file.secret),
    }
}
