//! A directory, a uid and a name that no other test on this machine has at the same time.
//!
//! The holder of the lock on `<uid>.lock` owns them. The lock of a dead run is free; the janitor of this run or of the
//! next one removes its files.

use super::probe::forget_keyrings;
use super::process::kill_all;
use super::wait::wait_for;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Root owns every directory above, nobody else may write there, and programs may be executed in it.
const BASE: &str = "/var/lib/lgss-test";
const RULES: &str = "/etc/request-key.d";
/// Where a test may mount a file system.
pub(crate) const MOUNT_POINT: &str = "mount";
/// Far above what distributions assign to users and their subordinate ids.
const FIRST_UID: u32 = 1_600_000_000;

/// On drop it is removed, with all that belongs to it.
#[derive(Debug)]
pub(crate) struct Scratch {
    uid: u32,
    lock: Option<Flock<File>>,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        let (uid, lock) = wait_for("a free uid", Duration::from_secs(10), || {
            fs::create_dir_all(BASE).unwrap();
            // The site's machine account has the odd number that follows.
            let uid = FIRST_UID + 2 * (random() & 0x3ff_ffff);
            Some((uid, lock(uid)?))
        });
        let scratch = Self { uid, lock: Some(lock) };
        fs::DirBuilder::new().mode(0o755).create(scratch.path("")).unwrap();
        fs::set_permissions(scratch.path(""), fs::Permissions::from_mode(0o755)).unwrap();
        scratch
    }

    /// A unique number, which is also the uid of the test's user. The next number belongs to this test too.
    pub(crate) fn uid(&self) -> u32 {
        self.uid
    }

    /// A path in the directory.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        directory(self.uid).join(name)
    }

    /// Path of this test's request-key rules.
    pub(crate) fn rule_file(&self) -> PathBuf {
        rule_file(self.uid)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        clean(self.uid, self.lock.take());
    }
}

/// Removes what ended runs have left.
pub(crate) fn reap_stale() {
    let Ok(entries) = fs::read_dir(BASE) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let uid = name.to_str().and_then(|name| name.strip_suffix(".lock")).and_then(|uid| uid.parse().ok());
        if let Some((uid, lock)) = uid.and_then(|uid| Some((uid, lock(uid)?))) {
            clean(uid, Some(lock));
        }
    }
    let _ = fs::remove_dir(BASE);
}

fn directory(uid: u32) -> PathBuf {
    Path::new(BASE).join(uid.to_string())
}

fn rule_file(uid: u32) -> PathBuf {
    Path::new(RULES).join(format!("lgss-test-{uid}.conf"))
}

/// Where SSSD would leave the KDCs of the test's realm for its plugin.
pub(crate) fn found_by_sssd(uid: u32) -> PathBuf {
    Path::new("/var/lib/sss/pubconf").join(format!("kdcinfo.{}", realm_name(uid)))
}

/// The name of the test's realm.
pub(crate) fn realm_name(uid: u32) -> String {
    format!("T{uid}.TEST")
}

fn lock_file(uid: u32) -> PathBuf {
    Path::new(BASE).join(format!("{uid}.lock"))
}

/// `None` if another process has it, or has just removed the file.
fn lock(uid: u32) -> Option<Flock<File>> {
    let path = lock_file(uid);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).ok()?;
    let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).ok()?;
    let same = fs::metadata(&path).is_ok_and(|now| now.ino() == lock.metadata().unwrap().ino());
    same.then_some(lock)
}

/// The rule goes first, so that no new upcall starts; the lock goes last.
fn clean(uid: u32, lock: Option<Flock<File>>) {
    remove(&rule_file(uid));
    let directory = directory(uid);
    let owners = [uid, uid + 1];
    super::fuse::unmount(&directory.join(MOUNT_POINT));
    kill_all(|process| {
        process.exe.starts_with(&directory)
            || process.cwd.starts_with(&directory)
            || process.uid.is_some_and(|uid| owners.contains(&uid))
    });
    owners.into_iter().for_each(forget_keyrings);
    remove_caches(uid);
    remove(&found_by_sssd(uid));
    super::cgroup::remove(uid);
    remove(&directory);
    remove(&lock_file(uid));
    drop(lock);
    let _ = fs::remove_dir(BASE);
}

/// Removes everything in /tmp whose name begins like a default cache's; Heimdal's programs make an empty directory of
/// that kind.
fn remove_caches(uid: u32) {
    let prefix = format!("krb5cc_{uid}");
    for entry in fs::read_dir("/tmp").into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(&prefix)) {
            remove(&entry.path());
        }
    }
}

fn remove(path: &Path) {
    let result = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match result {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            report(format_args!("{}: {error}", path.display()))
        }
        _ => {}
    }
}

/// No panic: on drop, the test may be panicking already.
fn report(problem: std::fmt::Arguments<'_>) {
    eprintln!("left behind by a test: {problem}");
}

fn random() -> u32 {
    let mut bytes = [0; 4];
    File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    u32::from_ne_bytes(bytes)
}
