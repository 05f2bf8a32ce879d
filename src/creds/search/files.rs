//! Caches that are files: named ones, those of a directory collection, and those that lie where caches use to be.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::{FileStat, SFlag, fstat};

use crate::creds::cache_name::CacheName;
use crate::creds::open::{Ground, Opened, directory_offence, file_offence, is_member, kind};
use crate::creds::open::{locate_in, not_found, unusable};
use crate::creds::source::{Role, Source};
use crate::event::Failure;
use crate::sys::files::locate_below;

/// Most caches that are opened; the newest ones of those that are found.
pub(super) const FILES_LIMIT: usize = 256;
/// Most that speak against one file each.
const OBJECTIONS_LIMIT: usize = 64;
/// Most names that are looked at in a directory.
const NAMES_LIMIT: usize = 20_000;

/// What was found, each file once.
pub(super) struct Files<'a> {
    ground: Ground<'a>,
    sources: Vec<Source>,
    seen: BTreeSet<(u64, u64)>,
    objections: usize,
    /// What there was no room for.
    passed_over: usize,
}

impl<'a> Files<'a> {
    pub(super) fn new(ground: Ground<'a>) -> Self {
        Self { ground, sources: Vec::new(), seen: BTreeSet::new(), objections: 0, passed_over: 0 }
    }

    /// All of it.
    pub(super) fn into_sources(mut self) -> Vec<Source> {
        if self.passed_over > 0 {
            let what = format!("files: {} more, not told of or not looked at", self.passed_over);
            self.sources.push(Source::foreign(&"files", &what));
        }
        self.sources
    }

    /// A file that was named; of a directory collection the primary one.
    pub(super) fn add_named(&mut self, name: &CacheName, role: Role) {
        let before = self.sources.len();
        match self.ground.open(name) {
            Ok(Opened::File(file)) => {
                let status = fstat(&file);
                self.add(name.to_string(), file, status.ok().as_ref());
            }
            Ok(Opened::Named(_)) => {}
            Err(failure) => self.object(name, &failure),
        }
        self.give(role, before);
    }

    /// Every cache of a directory collection that was named, the primary one first.
    pub(super) fn add_collection(&mut self, name: &CacheName, role: Role) {
        let CacheName::Dir(path) = name else { return };
        let before = self.sources.len();
        let opened = self.ground.directory(name, path).and_then(|directory| {
            let primary = self.ground.primary(name, directory.as_fd())?;
            Ok((directory, primary))
        });
        match opened {
            Ok((directory, primary)) => self.add_members(directory.as_fd(), path, &primary),
            Err(failure) => self.object(name, &failure),
        }
        self.give(role, before);
    }

    /// Gives the caches that were added since then a role.
    fn give(&mut self, role: Role, since: usize) {
        let new = self.sources.iter_mut().skip(since);
        new.filter(|source| source.role == Role::Cache).for_each(|source| source.role = role);
    }

    /// What in a directory is named like a cache.
    pub(super) fn add_found(&mut self, directory: &Path) {
        let Ok(located) = locate_below(self.ground.root, directory) else { return };
        let name = CacheName::Dir(directory.to_owned());
        match self.ground.file_system_offence(located.as_fd()) {
            Ok(None) => {}
            Ok(Some(offence)) => return self.object(&name, &unusable(&name, offence)),
            Err(errno) => return self.object(&name, &not_found(&name, errno)),
        }
        let mut others = 0;
        let mut files = Vec::new();
        for entry in names(&located, |name| name.as_bytes().windows(6).any(|part| part == b"krb5cc")) {
            let name = CacheName::File(directory.join(&entry));
            match locate_in(located.as_fd(), Path::new(&entry)) {
                // It has gone meanwhile.
                Err(Errno::ENOENT) => {}
                Err(Errno::EXDEV) => self.object(&name, &unusable(&name, "is a mount point")),
                Err(errno) => self.object(&name, &not_found(&name, errno)),
                Ok((_, status)) if status.st_uid != self.ground.owner => others += 1,
                Ok((found, status)) if kind(&status) == SFlag::S_IFDIR => {
                    self.add_found_collection(&found, &status, directory.join(&entry).as_path());
                }
                Ok((file, status)) => match file_offence(&status, self.ground.owner) {
                    Some(offence) => self.object(&name, &unusable(&name, offence)),
                    // There are fewer descriptors than there can be files.
                    None if files.len() < FILES_LIMIT => files.push((entry, status, Some(file))),
                    None => files.push((entry, status, None)),
                },
            }
        }
        files.sort_by_key(|(_, status, _)| Reverse((status.st_mtime, status.st_mtime_nsec)));
        for (entry, status, file) in files {
            let name = CacheName::File(directory.join(&entry));
            match file {
                Some(file) => self.add(name.to_string(), file, Some(&status)),
                None if self.seen.len() < FILES_LIMIT => self.add_entry(located.as_fd(), &entry, &name),
                None => self.passed_over += 1,
            }
        }
        if others > 0 {
            let what = format!("{}: {others} more of other users", directory.display());
            self.sources.push(Source::foreign(&directory.display(), &what));
        }
    }

    fn add_found_collection(&mut self, directory: &OwnedFd, status: &FileStat, path: &Path) {
        let name = CacheName::Dir(path.to_owned());
        let checked = match directory_offence(status, self.ground.owner) {
            Some(offence) => Err(unusable(&name, offence)),
            None => self.ground.primary(&name, directory.as_fd()),
        };
        match checked {
            Ok(primary) => self.add_members(directory.as_fd(), path, &primary),
            Err(failure) => self.object(&name, &failure),
        }
    }

    fn add_members(&mut self, directory: BorrowedFd<'_>, path: &Path, primary: &str) {
        let mut members = names(&directory, |name| name.to_str().is_some_and(is_member));
        members.sort_by_key(|member| (member != primary, member.clone()));
        if members.is_empty() {
            let name = CacheName::Dir(path.to_owned());
            self.object(&name, &not_found(&name, Errno::ENOENT));
        }
        for member in members {
            self.add_entry(directory, &member, &CacheName::DirMember(path.join(&member)));
        }
    }

    fn add_entry(&mut self, directory: BorrowedFd<'_>, entry: &OsStr, name: &CacheName) {
        match locate_in(directory, Path::new(entry)) {
            Ok((found, status)) => match file_offence(&status, self.ground.owner) {
                Some(offence) => self.object(name, &unusable(name, offence)),
                None => self.add(name.to_string(), found, Some(&status)),
            },
            Err(errno) => self.object(name, &not_found(name, errno)),
        }
    }

    fn add(&mut self, display: String, file: OwnedFd, status: Option<&FileStat>) {
        let new = status.is_none_or(|status| self.seen.insert((status.st_dev, status.st_ino)));
        if new && self.seen.len() <= FILES_LIMIT {
            self.ground.touch(file.as_fd());
            self.sources.push(Source::opened(display, file));
        } else if new {
            self.passed_over += 1;
        }
    }

    fn object(&mut self, name: &CacheName, failure: &Failure) {
        if self.objections < OBJECTIONS_LIMIT {
            self.objections += 1;
            self.sources.push(Source::objection(name, failure));
        } else {
            self.passed_over += 1;
        }
    }
}

/// Names in a directory that are text and wanted.
fn names(directory: &impl AsFd, wanted: impl Fn(&OsStr) -> bool) -> Vec<OsString> {
    let path = format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd());
    let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
    let names = entries.take(NAMES_LIMIT).filter_map(Result::ok).map(|entry| entry.file_name());
    names.filter(|name| name.to_str().is_some() && wanted(name)).collect()
}
