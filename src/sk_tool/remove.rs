//! `--remove`: takes out of root's user keyring what a file describes, the predecessors included, and the keys of single
//! mounts that have its secret.

use std::path::Path;

use super::arguments::SkArguments;
use super::failure::SkFailure;
use super::files::KeyFile;
use super::loaded_names::{LoadedName, NameReader, is_of_mount, is_of_server, names_of};
use super::place::LastLink;
use super::remark::remark;
use super::root_keyring::{LoadedKey, RootKeyring};
use crate::creds::shared_key::{SharedKey, previous_of};
use crate::terminal::Terminal;
use crate::text::quoted;

/// What a loaded key is to the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Removal {
    /// Of a name that the file describes.
    Described,
    /// A client's key for one mount, with the file's secret.
    OfMount,
}

pub(super) fn run(
    path: &Path,
    arguments: &SkArguments,
    terminal: &mut Terminal<'_>,
) -> Result<(), SkFailure> {
    let ring = RootKeyring::open()?;
    let file = KeyFile::read(path, LastLink::Followed)?.key;
    let names = names_of(path, &file, None)?;
    let mut removed = 0;
    for key in ring.all()? {
        let Some(removal) = removal(&key, &names, &file) else { continue };
        ring.remove(&key)?;
        removed += 1;
        let name = quoted(&key.name);
        if removal == Removal::OfMount {
            remark(terminal.err, format_args!("removed {name}, a key for one mount with the file's secret"));
        } else if key.shared().is_some() && !key.has_secret(&file.secret) {
            remark(terminal.err, format_args!("removed {name}, whose secret was another than the file's"));
        } else if arguments.verbose {
            remark(terminal.err, format_args!("removed {name}"));
        }
    }
    match removed {
        0 => Err(SkFailure::NotLoaded(names.into_iter().map(|name| name.text).collect())),
        _ => Ok(()),
    }
}

/// `None` for a key that stays.
fn removal(loaded: &LoadedKey, names: &[LoadedName], file: &SharedKey) -> Option<Removal> {
    if names.iter().any(|name| is_described(loaded, name, file)) {
        return Some(Removal::Described);
    }
    let of_mount = loaded.has_secret(&file.secret)
        && loaded
            .shared()
            .is_some_and(|key| key.file_system == file.file_system && is_of_mount(&loaded.name, key));
    (file.types.client && of_mount).then_some(Removal::OfMount)
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
