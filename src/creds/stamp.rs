//! A fingerprint of everything that tickets got by the keytab depend on. An own cache with another fingerprint is not
//! used.
//!
//! Made by the monitor, which names the file of the own cache after it ([`Stamp`]'s text). A changed keytab or
//! krb5.conf, other roles, another realm or principal all lead to another file, so that a cache never has the wrong
//! fingerprint. Invariant: equal texts mean equal contents of the keytab and of krb5.conf with all that it includes.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::default_cache::{CONFIG_FILE_BYTES, configuration_files};

/// A fingerprint. Its text has 64 hexadecimal digits and can be a file name.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Stamp([u8; 32]);

impl Stamp {
    /// The fingerprint of the contents of the keytab, of the configuration at `krb5_config` and of `purpose`, which
    /// says what the tickets are for: roles, realm, host name, principal.
    ///
    /// # Errors
    /// Those of reading the configuration. A missing file or a directory counts as empty; the worker's library will
    /// report it.
    pub(crate) fn of(keytab: &[u8], krb5_config: &Path, purpose: &[&str]) -> io::Result<Self> {
        let mut hash = PartsHash::default();
        hash.add(&purpose.len().to_be_bytes());
        purpose.iter().for_each(|word| hash.add(word.as_bytes()));
        hash.add(keytab);
        for file in configuration_files(krb5_config) {
            hash.add(&content(&file)?);
        }
        Ok(hash.stamp())
    }

    /// The fingerprint of these contents alone.
    pub(crate) fn of_contents(contents: &[&[u8]]) -> Self {
        let mut hash = PartsHash::default();
        contents.iter().for_each(|part| hash.add(part));
        hash.stamp()
    }
}

/// A hash that tells where each part ends.
#[derive(Default)]
struct PartsHash(Sha256);

impl PartsHash {
    fn add(&mut self, part: &[u8]) {
        self.0.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        self.0.update(part);
    }

    fn stamp(self) -> Stamp {
        Stamp(self.0.finalize().into())
    }
}

/// The files and directories of a configuration. A change of any of them may change the stamp.
pub(crate) fn depends_on(krb5_config: &Path) -> Vec<PathBuf> {
    configuration_files(krb5_config)
}

fn content(file: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let read = File::open(file).and_then(|opened| opened.take(CONFIG_FILE_BYTES).read_to_end(&mut content));
    match read.map_err(|error| error.kind()) {
        Ok(_) | Err(io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) => Ok(content),
        Err(kind) => Err(kind.into()),
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stamp({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn any_change_of_what_tickets_depend_on_changes_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path("d")).unwrap();
        let config = format!("includedir {}\n[libdefaults]\n ticket_lifetime = 1h\n", path("d").display());
        fs::write(path("krb5.conf"), &config).unwrap();
        let stamp = |keytab: &[u8], purpose: &[&str]| {
            Stamp::of(keytab, &path("krb5.conf"), purpose).unwrap().to_string()
        };
        let first = stamp(b"keys", &["r", "R"]);
        assert!(first.len() == 64 && first.bytes().all(|byte| byte.is_ascii_hexdigit()), "{first}");
        assert_eq!(first, stamp(b"keys", &["r", "R"]));
        assert_ne!(first, stamp(b"Keys", &["r", "R"]));
        assert_ne!(first, stamp(b"keys", &["rR", ""]));
        assert_ne!(first, stamp(b"", &["keys", "r", "R"]));

        fs::write(path("d/ignored~"), "x").unwrap();
        assert_eq!(first, stamp(b"keys", &["r", "R"]));
        fs::write(path("d/realm.conf"), "[libdefaults]\n").unwrap();
        let included = stamp(b"keys", &["r", "R"]);
        assert_ne!(first, included);
        fs::write(path("d/realm.conf"), "[libdefaulTs]\n").unwrap();
        assert_ne!(included, stamp(b"keys", &["r", "R"]));
        fs::remove_file(path("d/realm.conf")).unwrap();
        fs::write(path("krb5.conf"), config.replace("1h", "2h")).unwrap();
        assert_ne!(first, stamp(b"keys", &["r", "R"]));
    }

    #[test]
    fn contents_are_not_run_together() {
        let stamp = |contents: &[&[u8]]| Stamp::of_contents(contents).to_string();
        assert_ne!(stamp(&[b"ab", b"c"]), stamp(&[b"a", b"bc"]));
        assert_eq!(stamp(&[b"ab", b"c"]), stamp(&[b"ab", b"c"]));
    }

    #[test]
    fn a_missing_configuration_is_an_empty_one_and_a_loop_ends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("krb5.conf");
        let missing = Stamp::of(b"", &path, &[]).unwrap();
        fs::write(&path, "").unwrap();
        assert_eq!(missing, Stamp::of(b"", &path, &[]).unwrap());
        fs::write(&path, format!("include {}\n", path.display())).unwrap();
        Stamp::of(b"", &path, &[]).unwrap();
    }
}
