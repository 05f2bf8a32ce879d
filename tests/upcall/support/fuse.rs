//! A FUSE file system with one credential cache in it. It stops answering on demand.

use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, INodeNo, LockOwner, MountOption, OpenFlags,
    ReplyAttr, ReplyData, ReplyEntry, ReplyOpen, Request, SessionACL,
};
use nix::mount::{MntFlags, umount2};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

/// Name of the cache in the file system.
const NAME: &str = "krb5cc";
const INODE: u64 = 2;
/// The kernel caches nothing, so that every look-up reaches this process.
const TTL: Duration = Duration::ZERO;

/// Which requests go unanswered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silence {
    Nothing,
    Lookups,
    Opens,
    /// All opens but the first.
    LaterOpens,
    Attributes,
}

/// Mounted until it is dropped; the drop releases everything that waits for an answer.
#[derive(Debug)]
pub(crate) struct Fuse {
    directory: PathBuf,
    _session: fuser::BackgroundSession,
}

impl Fuse {
    /// Mounts it on an empty directory, accessible to everybody.
    pub(crate) fn mount(directory: &Path, owner: u32, content: Vec<u8>, silence: Silence) -> Self {
        let served =
            Served { owner, content, silence, opened: AtomicBool::new(false), unanswered: Arc::default() };
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("lgss-test".to_owned())];
        config.acl = SessionACL::All;
        let session = fuser::spawn_mount(served, directory, &config).unwrap();
        Self { directory: directory.to_owned(), _session: session }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The cache's full name.
    pub(crate) fn cache(&self) -> String {
        format!("FILE:{}", self.directory.join(NAME).display())
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        unmount(&self.directory);
    }
}

/// Everything that waits for an answer gets an error.
pub(crate) fn unmount(directory: &Path) {
    let _ = umount2(directory, MntFlags::MNT_FORCE | MntFlags::MNT_DETACH);
}

struct Served {
    owner: u32,
    content: Vec<u8>,
    silence: Silence,
    opened: AtomicBool,
    /// Kept, because dropping a request answers it.
    unanswered: Arc<Mutex<Vec<Unanswered>>>,
}

#[expect(dead_code, reason = "kept, not read")]
enum Unanswered {
    Lookup(ReplyEntry),
    Open(ReplyOpen),
    Attributes(ReplyAttr),
}

impl Served {
    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let directory = inode == INodeNo::ROOT;
        FileAttr {
            ino: inode,
            size: self.content.len() as u64,
            blocks: 1,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if directory { FileType::Directory } else { FileType::RegularFile },
            perm: if directory { 0o755 } else { 0o600 },
            nlink: 1,
            uid: self.owner,
            gid: self.owner,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

impl Filesystem for Served {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if self.silence == Silence::Lookups {
            self.unanswered.lock().unwrap().push(Unanswered::Lookup(reply));
        } else if name == NAME {
            reply.entry(&TTL, &self.attributes(INodeNo(INODE)), fuser::Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        if self.silence == Silence::Attributes {
            self.unanswered.lock().unwrap().push(Unanswered::Attributes(reply));
        } else {
            reply.attr(&TTL, &self.attributes(inode));
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let before = self.opened.swap(true, Ordering::Relaxed);
        if self.silence == Silence::Opens || (self.silence == Silence::LaterOpens && before) {
            self.unanswered.lock().unwrap().push(Unanswered::Open(reply));
        } else {
            reply.opened(FileHandle(0), fuser::FopenFlags::empty());
        }
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let from = self.content.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        reply.data(from.get(..size as usize).unwrap_or(from));
    }
}
