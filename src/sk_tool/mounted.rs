//! Which client of which file system has mounted a directory.
//!
//! The kernel's list of mounts has the file system; below /sys/fs/lustre each of its clients has a directory with its
//! uuid. Where a file system is mounted more than once, lfs(1) says which client it is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::sys::files::lossy_text;
use crate::text::{quoted, quoted_path, shell_word};

/// Where Lustre's versions keep what belongs to a client.
const CLIENTS: [&str; 2] = ["/sys/fs/lustre/llite", "/proc/fs/lustre/llite"];
const MOUNTS: &str = "/proc/self/mountinfo";
/// Where lfs(1) may be; not by PATH, since root runs it.
const LFS: [&str; 3] = ["/usr/bin/lfs", "/usr/sbin/lfs", "/bin/lfs"];

/// What shows where Lustre's file systems are.
pub(super) const MOUNTED: &str = "mount -t lustre shows the directories";

/// A client of Lustre's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LustreMount {
    /// The file system.
    pub file_system: String,
    /// The client's uuid.
    pub client: String,
}

/// Why the client of a mount is not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum MountedError {
    /// No such directory, or the kernel does not say what is mounted.
    #[error("{path}: {error}", path = quoted_path(.0), error = .1)]
    Directory(PathBuf, #[source] io::Error),
    /// Another file system.
    #[error("{} is in no Lustre file system", quoted_path(.0))]
    NoLustre(PathBuf),
    /// Nothing of the client's.
    #[error("no client of file system {} below {}", quoted(.0), CLIENTS[0])]
    NoClient(String),
    /// Several clients, and nobody who tells them apart.
    #[error("file system {} is mounted {count} times, and lfs does not say which of them is {}", quoted(.file_system), quoted_path(.directory))]
    Ambiguous {
        /// The file system.
        file_system: String,
        /// Its clients here.
        count: usize,
        /// What was asked for.
        directory: PathBuf,
    },
}

impl MountedError {
    /// What to try.
    pub(super) fn remedy(&self) -> Option<String> {
        match self {
            Self::NoLustre(_) => Some(MOUNTED.to_owned()),
            Self::NoClient(_) => Some("lctl list_param llite.* shows the clients".to_owned()),
            Self::Ambiguous { directory, .. } => {
                Some(format!("lfs getname {}, which has to name the client", shell_word(directory)))
            }
            Self::Directory(..) => None,
        }
    }
}

/// The client that has mounted the file system of this directory.
///
/// # Errors
/// [`MountedError`].
pub(super) fn at(directory: &Path) -> Result<LustreMount, MountedError> {
    let fail = |error| MountedError::Directory(directory.to_owned(), error);
    let real = directory.canonicalize().map_err(fail)?;
    let mounts = lossy_text(MOUNTS).map_err(fail)?;
    let file_system =
        file_system_at(&real, &mounts).ok_or_else(|| MountedError::NoLustre(directory.to_owned()))?;
    let clients = clients(&file_system, &CLIENTS.map(PathBuf::from));
    let client = match &clients[..] {
        [] => return Err(MountedError::NoClient(file_system)),
        [(_, uuid)] => Some(uuid.clone()),
        all => instance_by_lfs(&real).and_then(|name| {
            all.iter().find(|(instance, _)| *instance == name).map(|(_, uuid)| uuid.clone())
        }),
    };
    match client {
        Some(client) => Ok(LustreMount { file_system, client }),
        None => {
            let directory = directory.to_owned();
            Err(MountedError::Ambiguous { file_system, count: clients.len(), directory })
        }
    }
}

/// The Lustre file system that holds a path, by proc_pid_mountinfo(5): the last of the longest mount points counts.
pub(super) fn file_system_at(path: &Path, mounts: &str) -> Option<String> {
    let mut best: Option<(usize, Option<String>)> = None;
    for line in mounts.lines() {
        let Some((point, kind, source)) = fields(line) else { continue };
        let length = point.components().count();
        if path.starts_with(&point) && best.as_ref().is_none_or(|(longest, _)| length >= *longest) {
            best = Some((length, (kind == "lustre").then(|| file_system_of(source)).flatten()));
        }
    }
    best.and_then(|(_, file_system)| file_system)
}

/// Mount point, type and source of a line.
fn fields(line: &str) -> Option<(PathBuf, &str, &str)> {
    let (head, tail) = line.split_once(" - ")?;
    let mut words = tail.split(' ');
    Some((unescaped(head.split(' ').nth(4)?), words.next()?, words.next()?))
}

/// The kernel writes blanks and backslashes as `\040`.
fn unescaped(text: &str) -> PathBuf {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (code, part.get(3..)) {
            (Some(code), Some(rest)) => {
                plain.push(char::from(code));
                plain.push_str(rest);
            }
            _ => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    PathBuf::from(plain)
}

/// `10.0.0.1@tcp:10.0.0.2@tcp:/scratch/below` is of `scratch`.
fn file_system_of(source: &str) -> Option<String> {
    let (_, path) = source.split_once(":/")?;
    path.split('/').next().filter(|name| !name.is_empty()).map(str::to_owned)
}

/// Names and uuids of a file system's clients: directories such as `scratch-ff2be26bc677f800`, with a file `uuid`.
fn clients(file_system: &str, roots: &[PathBuf]) -> Vec<(String, String)> {
    let Some(root) = roots.iter().find(|root| root.is_dir()) else { return Vec::new() };
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let mut found: Vec<(String, String)> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            name.rsplit_once('-').filter(|(of, _)| *of == file_system)?;
            let uuid = fs::read_to_string(entry.path().join("uuid")).ok()?.trim().to_owned();
            (!uuid.is_empty()).then_some((name, uuid))
        })
        .collect();
    found.sort();
    found
}

/// The client's name by `lfs getname`, which prints it before the directory.
fn instance_by_lfs(directory: &Path) -> Option<String> {
    let lfs = LFS.iter().find(|lfs| Path::new(lfs).exists())?;
    let said =
        Command::new(lfs).arg("getname").arg(directory).stdin(Stdio::null()).env_clear().output().ok()?;
    String::from_utf8(said.stdout).ok()?.split_whitespace().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 0:20 / / rw - ext4 /dev/sda1 rw
30 22 0:30 / /mnt/scratch rw,relatime shared:1 - lustre 10.0.0.1@tcp:10.0.0.2@tcp:/scratch rw,flock
31 22 0:31 / /mnt/with\\040blank rw - lustre 10.0.0.1@tcp:/home/sub rw
32 30 0:32 / /mnt/scratch/tmp rw - tmpfs tmpfs rw
";

    #[test]
    fn a_path_is_in_the_file_system_that_is_mounted_last_above_it() {
        let of = |path: &str| file_system_at(Path::new(path), MOUNTS);
        assert_eq!(of("/mnt/scratch").as_deref(), Some("scratch"));
        assert_eq!(of("/mnt/scratch/a/b").as_deref(), Some("scratch"));
        assert_eq!(of("/mnt/with blank").as_deref(), Some("home"));
        assert_eq!((of("/mnt/scratch/tmp/x"), of("/mnt/scratch2"), of("/")), (None, None, None));
        let covered = format!("{MOUNTS}33 30 0:33 / /mnt/scratch rw - tmpfs tmpfs rw\n");
        assert_eq!(file_system_at(Path::new("/mnt/scratch/a"), &covered), None);
    }

    #[test]
    fn the_clients_of_a_file_system_are_found_with_their_uuids() {
        let root = tempfile::tempdir().unwrap();
        for (name, uuid) in [
            ("scratch-ff2be26bc677f800", "5f471647-7cc6-4fb8-b1c2-f69a8ef76913\n"),
            ("scratch2-ff2be26bc677f801", "other\n"),
            ("scratch-ff2be26bc677f802", ""),
        ] {
            fs::create_dir(root.path().join(name)).unwrap();
            fs::write(root.path().join(name).join("uuid"), uuid).unwrap();
        }
        let roots = [root.path().join("none"), root.path().to_owned()];
        let expected =
            ("scratch-ff2be26bc677f800".to_owned(), "5f471647-7cc6-4fb8-b1c2-f69a8ef76913".to_owned());
        assert_eq!(clients("scratch", &roots), [expected]);
        assert_eq!(clients("home", &roots), []);
    }
}
