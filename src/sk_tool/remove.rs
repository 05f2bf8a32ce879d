//! `--remove`: takes out of root's user keyring what a file describes, the predecessors included.

use std::path::Path;

use super::arguments::SkArguments;
use super::failure::SkFailure;
use super::files::{KeyFile, LastLink};
use super::loaded_names::{LoadedName, NameReader, is_of_server, names_of};
use super::root_keyring::{LoadedKey, RootKeyring};
use crate::creds::shared_key::previous_of;
use crate::terminal::Terminal;
use crate::text::quoted;

pub(super) fn run(
    path: &Path,
    arguments: &SkArguments,
    terminal: &mut Terminal<'_>,
) -> Result<(), SkFailure> {
    let ring = RootKeyring::open()?;
    let key = KeyFile::read(path, LastLink::Followed)?.key;
    let names = names_of(path, &key, None)?;
    let mut removed = 0;
    let secret = key.secret.expose();
    let loaded = ring.all()?;
    for name in &names {
        for key in loaded.iter().filter(|loaded| is_described(loaded, name, secret)) {
            ring.remove(key)?;
            removed += 1;
            let others = loaded_secret_differs(key, secret);
            if others {
                writeln!(
                    terminal.err,
                    "lgss_sk: removed {}, whose secret was another than the file's",
                    quoted(&key.name)
                )?;
            } else if arguments.verbose {
                writeln!(terminal.err, "lgss_sk: removed {}", quoted(&key.name))?;
            }
        }
    }
    match removed {
        0 => Err(SkFailure::NotLoaded(names.into_iter().map(|name| name.text).collect())),
        _ => Ok(()),
    }
}

fn loaded_secret_differs(loaded: &LoadedKey, secret: &[u8]) -> bool {
    loaded.shared().is_some_and(|key| key.secret.expose() != secret)
}

/// A key of the name, the predecessor of a client's, and of a server's those with a time in their names and the same
/// secret.
fn is_described(loaded: &LoadedKey, name: &LoadedName, secret: &[u8]) -> bool {
    if loaded.name == name.text {
        return true;
    }
    match name.reader {
        NameReader::Client => loaded.name == previous_of(&name.text),
        NameReader::Server => {
            let has_the_secret = loaded.shared().is_some_and(|key| key.secret.expose() == secret);
            is_of_server(&loaded.name, &name.text) && has_the_secret
        }
    }
}
