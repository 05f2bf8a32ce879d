//! Searches caches that are files: named ones, those of a directory collection, and those in the usual places.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::DirEntry;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirEntryExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::stat::{FileStat, SFlag, fstat};

use crate::creds::cache_name::CacheName;
use crate::creds::file_system::kind;
use crate::creds::open::{CachePolicy, OpenedCache, directory_offence, file_offence, is_member};
use crate::creds::open::{locate_in, not_found, unusable};
use crate::creds::source::{Source, Standing};
use crate::event::Failure;
use crate::sys::files::locate_below;

/// Most caches that are opened: the newest ones that were found.
pub(super) const OPEN_FILES_LIMIT: usize = 256;
/// Most objections to single files.
const OBJECTIONS_LIMIT: usize = 64;
/// Most usable files of a directory among which the newest are chosen, and most members of a collection.
const DIRECTORY_LIMIT: usize = 20_000;
/// Time limit for a directory in which anybody can create any number of names.
const LOOK_LIMIT: Duration = Duration::from_secs(2);
/// Time limit for counting the names beyond that.
const COUNT_LIMIT: Duration = Duration::from_secs(1);
/// Most inodes of other users that are remembered, so that a file with many names is examined only once.
const INODES_LIMIT: usize = 100_000;

/// The files that were found, each once.
pub(super) struct Files<'a> {
    pub(super) policy: CachePolicy<'a>,
    sources: Vec<Source>,
    seen: BTreeSet<(u64, u64)>,
    objections: usize,
    /// Files that there was no room for.
    passed_over: usize,
    /// The standing of what is added now.
    standing: Standing,
}

impl<'a> Files<'a> {
    pub(super) fn new(policy: CachePolicy<'a>) -> Self {
        Self {
            policy,
            sources: Vec::new(),
            seen: BTreeSet::new(),
            objections: 0,
            passed_over: 0,
            standing: Standing::Found,
        }
    }

    /// Everything that was found.
    pub(super) fn into_sources(mut self) -> Vec<Source> {
        if self.passed_over > 0 {
            let what = format!("files: {} more, not told of or not looked at", self.passed_over);
            self.sources.push(Source::unseen(&"files", &what));
        }
        self.sources
    }

    /// Adds a file that was named; of a directory collection, the primary cache.
    pub(super) fn add_named(&mut self, name: &CacheName, standing: Standing) {
        self.standing = standing;
        match self.policy.open(name) {
            Ok(OpenedCache::File(file)) => {
                let status = fstat(&file);
                self.add(name.to_string(), file, status.ok().as_ref());
            }
            Ok(OpenedCache::Named(_)) => {}
            Err(failure) => self.object(name, &failure),
        }
        self.standing = Standing::Found;
    }

    /// Adds every cache of a directory collection that was named, the primary one first.
    pub(super) fn add_collection(&mut self, name: &CacheName, standing: Standing) {
        let CacheName::Dir(path) = name else { return };
        self.standing = standing;
        let opened = self.policy.directory(name, path).and_then(|directory| {
            let primary = self.policy.primary(name, directory.as_fd())?;
            Ok((directory, primary))
        });
        match opened {
            Ok((directory, primary)) => self.add_members(directory.as_fd(), path, &primary),
            Err(failure) => self.object(name, &failure),
        }
        self.standing = Standing::Found;
    }

    /// Adds files in a directory whose names are like those of caches.
    pub(super) fn add_found(&mut self, directory: &Path) {
        let Ok(located) = locate_below(self.policy.root, directory) else { return };
        let name = CacheName::Dir(directory.to_owned());
        match self.policy.file_system_offence(located.as_fd()) {
            Ok(None) => {}
            Ok(Some(offence)) => return self.object(&name, &unusable(&name, offence)),
            Err(errno) => return self.object(&name, &not_found(&name, errno)),
        }
        let mut scan = DirectoryScan::new(self.policy.owner, LOOK_LIMIT);
        // Names in the form of the user's own come first, since others may have created any number of other names.
        for pass in [NamePass::Own, NamePass::Others] {
            for entry in entries(&located) {
                if scan.is_wanted(&entry, pass) {
                    self.add_found_entry(&located, directory, entry.file_name(), &mut scan);
                }
                if scan.is_over() {
                    break;
                }
            }
        }
        let DirectoryScan { mut files, others, unseen, counted, .. } = scan;
        files.sort_by_key(|(_, status, _)| Reverse((status.st_mtime, status.st_mtime_nsec)));
        for (entry, status, file) in files {
            let name = CacheName::File(directory.join(&entry));
            match file {
                Some(file) => self.add(name.to_string(), file, Some(&status)),
                None if self.seen.len() < OPEN_FILES_LIMIT => self.add_entry(located.as_fd(), &entry, &name),
                None => self.passed_over += 1,
            }
        }
        if others > 0 {
            let what = format!("{}: {others} more of other users", directory.display());
            self.sources.push(Source::foreign(&directory.display(), &what));
        }
        if unseen > 0 {
            let least = if counted { "" } else { "at least " };
            let seconds = LOOK_LIMIT.as_secs();
            let what = format!("{}: {least}{unseen} names not looked at in {seconds} s", directory.display());
            self.sources.push(Source::unseen(&directory.display(), &what));
        }
    }

    fn add_found_entry(
        &mut self,
        located: &OwnedFd,
        directory: &Path,
        entry: OsString,
        scan: &mut DirectoryScan,
    ) {
        let name = CacheName::File(directory.join(&entry));
        match locate_in(located.as_fd(), Path::new(&entry)) {
            // It has been removed meanwhile.
            Err(Errno::ENOENT) => {}
            Err(Errno::EXDEV) => self.object(&name, &unusable(&name, "is a mount point")),
            Err(errno) => self.object(&name, &not_found(&name, errno)),
            Ok((_, status)) if status.st_uid != self.policy.owner => scan.pass_other(status.st_ino),
            Ok((found, status)) if kind(&status) == SFlag::S_IFDIR => {
                self.add_found_collection(&found, &status, directory.join(&entry).as_path());
            }
            Ok((file, status)) => match file_offence(&status, self.policy.owner) {
                Some(offence) => self.object(&name, &unusable(&name, offence)),
                // Keep no more of them open than there are descriptors for.
                None if scan.files.len() < OPEN_FILES_LIMIT => scan.files.push((entry, status, Some(file))),
                None if scan.files.len() < DIRECTORY_LIMIT => scan.files.push((entry, status, None)),
                None => self.passed_over += 1,
            },
        }
    }

    fn add_found_collection(&mut self, directory: &OwnedFd, status: &FileStat, path: &Path) {
        let name = CacheName::Dir(path.to_owned());
        let checked = match directory_offence(status, self.policy.owner) {
            Some(offence) => Err(unusable(&name, offence)),
            None => self.policy.primary(&name, directory.as_fd()),
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
        let standing = self.standing;
        for member in members {
            self.standing = if member == primary { standing } else { standing.of_member() };
            self.add_entry(directory, &member, &CacheName::DirMember(path.join(&member)));
        }
        self.standing = standing;
    }

    fn add_entry(&mut self, directory: BorrowedFd<'_>, entry: &OsStr, name: &CacheName) {
        match locate_in(directory, Path::new(entry)) {
            Ok((found, status)) => match file_offence(&status, self.policy.owner) {
                Some(offence) => self.object(name, &unusable(name, offence)),
                None => self.add(name.to_string(), found, Some(&status)),
            },
            Err(errno) => self.object(name, &not_found(name, errno)),
        }
    }

    fn add(&mut self, display: String, file: OwnedFd, status: Option<&FileStat>) {
        let new = status.is_none_or(|status| self.seen.insert((status.st_dev, status.st_ino)));
        if new && self.seen.len() <= OPEN_FILES_LIMIT {
            self.policy.touch(file.as_fd());
            self.push(Source::opened(display, file));
        } else if new {
            self.passed_over += 1;
        }
    }

    fn push(&mut self, source: Source) {
        self.sources.push(Source { standing: self.standing, ..source });
    }

    fn object(&mut self, name: &CacheName, failure: &Failure) {
        if self.objections < OBJECTIONS_LIMIT {
            self.objections += 1;
            self.push(Source::objection(name, failure));
        } else {
            self.passed_over += 1;
        }
    }
}

/// The two passes over the names of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NamePass {
    /// Names that begin like the user's own, with its uid.
    Own,
    Others,
}

/// The state of the scan of a directory.
struct DirectoryScan {
    /// Prefix of the names of the user's own caches.
    own: Vec<u8>,
    until: Instant,
    /// Inodes of other users that have been seen.
    inodes: HashSet<u64>,
    /// Usable files of the user's, with descriptors for as many as may be open.
    files: Vec<(OsString, FileStat, Option<OwnedFd>)>,
    /// Number of names of files of other users.
    others: usize,
    /// Names for which there was no time.
    unseen: usize,
    /// Whether `unseen` counts all of them.
    counted: bool,
}

impl DirectoryScan {
    fn new(owner: u32, limit: Duration) -> Self {
        Self {
            own: format!("krb5cc_{owner}").into_bytes(),
            until: Instant::now() + limit,
            inodes: HashSet::new(),
            files: Vec::new(),
            others: 0,
            unseen: 0,
            counted: true,
        }
    }

    /// Whether an entry has a cache's name and is to be examined now: in this pass, in time, and not seen under
    /// another name.
    fn is_wanted(&mut self, entry: &DirEntry, pass: NamePass) -> bool {
        let name = entry.file_name();
        let name = name.as_bytes();
        let is_own = name.strip_prefix(self.own.as_slice());
        let is_own = is_own.is_some_and(|rest| !rest.first().is_some_and(u8::is_ascii_digit));
        if is_own != (pass == NamePass::Own)
            || !name.windows(6).any(|part| part == b"krb5cc")
            || str::from_utf8(name).is_err()
        {
            return false;
        }
        if self.inodes.contains(&entry.ino()) {
            self.others += 1;
            return false;
        }
        let in_time = Instant::now() < self.until;
        self.unseen += usize::from(!in_time);
        in_time
    }

    /// Notes a file of another user's.
    fn pass_other(&mut self, inode: u64) {
        self.others += 1;
        if self.inodes.len() < INODES_LIMIT {
            self.inodes.insert(inode);
        }
    }

    /// Whether there is no time left even to count the remaining names.
    fn is_over(&mut self) -> bool {
        let over = self.unseen > 0 && Instant::now() >= self.until + COUNT_LIMIT;
        self.counted &= !over;
        over
    }
}

fn entries(directory: &impl AsFd) -> impl Iterator<Item = DirEntry> {
    let path = format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd());
    std::fs::read_dir(path).into_iter().flatten().filter_map(Result::ok)
}

/// Names in a directory of the user's that are text and `wanted`.
fn names(directory: &impl AsFd, wanted: impl Fn(&OsStr) -> bool) -> Vec<OsString> {
    let names = entries(directory).map(|entry| entry.file_name());
    names.filter(|name| name.to_str().is_some() && wanted(name)).take(DIRECTORY_LIMIT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};

    const OWNER: u32 = 1000;

    /// The names that are wanted in each pass, sorted.
    fn wanted(scan: &mut DirectoryScan, names: &[&str]) -> [Vec<String>; 2] {
        let directory = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(directory.path().join(name), "").unwrap();
        }
        let directory = File::open(directory.path()).unwrap();
        [NamePass::Own, NamePass::Others].map(|pass| {
            let found = entries(&directory).filter(|entry| scan.is_wanted(entry, pass));
            let mut found: Vec<_> = found.map(|entry| entry.file_name().into_string().unwrap()).collect();
            found.sort();
            found
        })
    }

    #[test]
    fn a_users_own_names_come_first_and_those_of_a_longer_uid_are_not_among_them() {
        let mut scan = DirectoryScan::new(OWNER, LOOK_LIMIT);
        let names =
            ["krb5cc_1000", "krb5cc_1000_x", "krb5cc_10000", "krb5cc_7", "my-krb5cc", "krb5", "other"];
        let [own, others] = wanted(&mut scan, &names);
        assert_eq!(own, ["krb5cc_1000", "krb5cc_1000_x"]);
        assert_eq!(others, ["krb5cc_10000", "krb5cc_7", "my-krb5cc"]);
        assert_eq!((scan.unseen, scan.is_over()), (0, false));
    }

    #[test]
    fn a_file_of_anothers_with_many_names_is_looked_at_once_and_each_name_is_counted() {
        let directory = tempfile::tempdir().unwrap();
        let first = directory.path().join("krb5cc_1");
        fs::write(&first, "").unwrap();
        (2..10).for_each(|number| {
            fs::hard_link(&first, directory.path().join(format!("krb5cc_{number}"))).unwrap();
        });
        let directory = File::open(directory.path()).unwrap();
        let mut scan = DirectoryScan::new(OWNER, LOOK_LIMIT);
        let mut looked_at = 0;
        for entry in entries(&directory) {
            if scan.is_wanted(&entry, NamePass::Others) {
                looked_at += 1;
                scan.pass_other(entry.ino());
            }
        }
        assert_eq!((looked_at, scan.others), (1, 9));
    }

    #[test]
    fn names_for_which_there_is_no_time_are_counted_as_long_as_there_is_time_for_that() {
        let mut scan = DirectoryScan::new(OWNER, Duration::ZERO);
        let [own, others] = wanted(&mut scan, &["krb5cc_1000", "krb5cc_7"]);
        assert!(own.is_empty() && others.is_empty());
        assert_eq!((scan.unseen, scan.counted), (2, true));
        scan.until = Instant::now().checked_sub(COUNT_LIMIT).unwrap();
        assert_eq!((scan.is_over(), scan.counted), (true, false));
    }
}
