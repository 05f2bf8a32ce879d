//! `lgss_sk` with real files and root's real user keyring.
//!
//! Needs root and a kernel with keys. Each test has a directory, and a file system, a nodemap and a server of its own, so
//! that its keys have names that no other test uses; they are removed at its end. Primes of 512 bits are found at once.
#![expect(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is how it fails")]
#![allow(clippy::indexing_slicing, reason = "in a test a panic is how it fails")]

mod lgss_sk {
    mod command_line;
    mod files;
    mod keyring;
    mod lifetimes;
    mod rotation;
}

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use lgss::private_to_lgss::sys::keyctl;

/// Bytes of the binary form, and where the secret and the prime are in it.
const LENGTH: usize = 2407;
const SECRET: std::ops::Range<usize> = 231..263;
const PRIME: std::ops::Range<usize> = 359..423;

/// What one test has for itself.
struct Bench {
    directory: tempfile::TempDir,
    /// Names that no other test uses.
    file_system: String,
    nodemap: String,
    nid: String,
}

/// A key in root's user keyring.
struct Loaded {
    serial: i32,
    permissions: String,
    payload: Vec<u8>,
}

impl Bench {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let [.., high, low] = process.to_be_bytes();
        Self {
            directory: tempfile::tempdir().unwrap(),
            file_system: format!("sk{process}x{count}"),
            nodemap: format!("n{process}x{count}"),
            nid: format!("10.{high}.{low}.{count}@tcp7"),
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lgss_sk"));
        command.args(words).current_dir(self.directory.path()).stdin(Stdio::null());
        command
    }

    /// The same with SIGINT as a terminal's programs have it; a test in the background may have been started without.
    fn interruptible(&self, words: &[&str]) -> Command {
        let mut command = Command::new("env");
        command.args(["--default-signal=INT", env!("CARGO_BIN_EXE_lgss_sk")]).args(words);
        command.current_dir(self.directory.path()).stdin(Stdio::null());
        command
    }

    /// Exit status, standard output and standard error.
    fn run(&self, words: &[&str]) -> (i32, String, String) {
        outcome(self.command(words).output().unwrap())
    }

    /// Exit status where nobody reads standard error any more.
    fn unheard(&self, words: &[&str]) -> i32 {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        self.command(words).stdout(Stdio::null()).stderr(writer).status().unwrap().code().unwrap()
    }

    /// Of a call that must succeed: standard output and error.
    #[track_caller]
    fn done(&self, words: &[&str]) -> (String, String) {
        let (status, out, err) = self.run(words);
        assert_eq!(status, 0, "{words:?}: {out}{err}");
        (out, err)
    }

    /// Of a call that must fail: standard error.
    #[track_caller]
    fn refused(&self, words: &[&str]) -> String {
        let (status, out, err) = self.run(words);
        assert_eq!((status, out.as_str()), (1, ""), "{words:?}: {err}");
        assert!(!err.is_empty(), "{words:?}");
        err
    }

    /// Makes a file with a key of these types.
    #[track_caller]
    fn make(&self, name: &str, types: &str) {
        let words = ["-w", name, "-t", types, "-f", &self.file_system, "-n", &self.nodemap, "-p", "512"];
        self.done(&words);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Every file, the hidden ones too.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o7777
    }

    fn set_mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn is_ours(&self, name: &str) -> bool {
        [&self.file_system, &self.nodemap, &self.nid].iter().any(|part| {
            // Not the names of a test with a longer number.
            name.split([':', '#']).any(|word| word == *part || word.strip_prefix("MGC") == Some(part))
        })
    }

    /// The keys of this test in root's user keyring, by name.
    fn loaded(&self) -> BTreeMap<String, Loaded> {
        // A key can be read by its possessor.
        keyctl::link(keyctl::USER_KEYRING, keyctl::PROCESS_KEYRING).unwrap();
        let mut found = BTreeMap::new();
        for serial in keyctl::links(keyctl::USER_KEYRING).unwrap() {
            // Other tests remove theirs meanwhile.
            let Ok(description) = keyctl::describe(serial) else { continue };
            let description = String::from_utf8(description).unwrap();
            let [.., permissions, name] = description.splitn(5, ';').collect::<Vec<_>>()[..] else {
                panic!("{description}");
            };
            if self.is_ours(name) {
                let payload = keyctl::read(serial).map(|payload| payload.to_vec()).unwrap_or_default();
                let permissions = permissions.to_owned();
                let doubled = found.insert(name.to_owned(), Loaded { serial, permissions, payload });
                assert!(doubled.is_none(), "two keys {name}");
            }
        }
        found
    }

    fn names(&self) -> Vec<String> {
        self.loaded().into_keys().collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for key in self.loaded().into_values() {
            let _ = keyctl::unlink(key.serial, keyctl::USER_KEYRING);
        }
    }
}

fn outcome(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}
