//! A FUSE file system with `sptlrpc/gss/init_channel`. Each write gets the next of a list of acts.

use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    MountOption, OpenFlags, ReplyAttr, ReplyEntry, ReplyOpen, ReplyWrite, Request, SessionACL, WriteFlags,
};
use nix::mount::{MntFlags, umount2};
use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::io::{IoSlice, IoSliceMut};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

/// Nested names; inodes are counted from the root's.
const NAMES: [&str; 3] = ["sptlrpc", "gss", "init_channel"];
const FILE: u64 = 4;
const TTL: Duration = Duration::ZERO;
const CHANNEL_BLOCK_SIZE: u32 = 72;
/// Longest name of a target, with its NUL.
const TARGET_SIZE: usize = 64;

/// The result of a write.
#[derive(Debug)]
pub(super) enum Act {
    /// The status 0, and this in the reply buffer.
    Answer(Vec<u8>),
    Status(i64),
    /// An error of write(2).
    Refuse(i32),
    /// Only so many bytes are taken.
    Take(u32),
    /// None; not even SIGKILL ends the write.
    Hang,
}

/// The content of a write.
#[derive(Debug, Clone)]
pub(super) struct ReceivedBlock {
    pub(super) version: u32,
    pub(super) secid: u32,
    pub(super) service: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) target: String,
    pub(super) token: Vec<u8>,
    /// Size of the reply buffer.
    pub(super) room: u64,
}

/// The file system, mounted until it is dropped.
#[derive(Debug)]
pub(super) struct FakeChannel {
    received: Arc<Mutex<Vec<ReceivedBlock>>>,
    session: Option<fuser::BackgroundSession>,
    directory: tempfile::TempDir,
    _serial: MutexGuard<'static, ()>,
}

/// Only one test at a time forks: the child of another would hold this one's pipes open.
pub(super) fn serial() -> MutexGuard<'static, ()> {
    static SERIAL: Mutex<()> = Mutex::new(());
    SERIAL.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FakeChannel {
    pub(super) fn mount(mut acts: Vec<Act>) -> Self {
        let serial = serial();
        acts.reverse();
        let received = Arc::default();
        let served =
            ChannelFs { acts: Mutex::new(acts), received: Arc::clone(&received), hanging: Mutex::default() };
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("lgss-test".to_owned())];
        config.acl = SessionACL::All;
        let session = fuser::spawn_mount(served, directory.path(), &config).unwrap();
        Self { received, session: Some(session), directory, _serial: serial }
    }

    pub(super) fn directory(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    pub(super) fn received(&self) -> Vec<ReceivedBlock> {
        self.received.lock().unwrap().clone()
    }

    /// Ends all writes that hang.
    pub(super) fn abort(&self) {
        let _ = umount2(self.directory.path(), MntFlags::MNT_FORCE | MntFlags::MNT_DETACH);
    }
}

impl Drop for FakeChannel {
    fn drop(&mut self) {
        self.abort();
        drop(self.session.take());
    }
}

struct ChannelFs {
    /// The last one is the next.
    acts: Mutex<Vec<Act>>,
    received: Arc<Mutex<Vec<ReceivedBlock>>>,
    /// Kept, since dropping a reply would answer it.
    hanging: Mutex<Vec<ReplyWrite>>,
}

/// The block that was written, and its writer.
struct Written<'a> {
    writer: Pid,
    block: &'a [u8],
}

impl Written<'_> {
    fn word(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.block[at..at + 4].try_into().unwrap())
    }

    fn long(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.block[at..at + 8].try_into().unwrap())
    }

    fn read(&self, pointer: usize, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let from = RemoteIoVec { base: self.address(pointer), len: length };
        let read = process_vm_readv(self.writer, &mut [IoSliceMut::new(&mut bytes)], &[from]).unwrap();
        bytes.truncate(read);
        bytes
    }

    fn write(&self, pointer: usize, bytes: &[u8]) {
        let to = RemoteIoVec { base: self.address(pointer), len: bytes.len() };
        assert_eq!(process_vm_writev(self.writer, &[IoSlice::new(bytes)], &[to]), Ok(bytes.len()));
    }

    fn address(&self, pointer: usize) -> usize {
        self.long(pointer).try_into().unwrap()
    }

    fn received(&self) -> ReceivedBlock {
        let name = self.read(8, TARGET_SIZE);
        let end = name.iter().position(|&byte| byte == 0).unwrap();
        ReceivedBlock {
            version: self.word(0),
            secid: self.word(4),
            service: self.word(16),
            uid: self.word(20),
            gid: self.word(24),
            target: String::from_utf8(name[..end].to_vec()).unwrap(),
            token: self.read(40, self.long(32).try_into().unwrap()),
            room: self.long(48),
        }
    }
}

impl ChannelFs {
    fn attributes(inode: INodeNo) -> FileAttr {
        let directory = inode.0 != FILE;
        FileAttr {
            ino: inode,
            size: 0,
            blocks: 0,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if directory { FileType::Directory } else { FileType::RegularFile },
            perm: if directory { 0o755 } else { 0o200 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

impl Filesystem for ChannelFs {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let child = NAMES.get(usize::try_from(parent.0).unwrap() - 1);
        match child {
            Some(child) if name == *child => {
                reply.entry(&TTL, &Self::attributes(INodeNo(parent.0 + 1)), Generation(0));
            }
            _ => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&TTL, &Self::attributes(inode));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn write(
        &self,
        request: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        block: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        if block.len() != CHANNEL_BLOCK_SIZE as usize {
            return reply.error(Errno::EINVAL);
        }
        let written = Written { writer: Pid::from_raw(request.pid().try_into().unwrap()), block };
        self.received.lock().unwrap().push(written.received());
        let act = self.acts.lock().unwrap().pop().unwrap_or(Act::Refuse(libc::ENOTSUP));
        let status = match act {
            Act::Refuse(errno) => return reply.error(Errno::from_i32(errno)),
            Act::Take(size) => return reply.written(size),
            Act::Hang => return self.hanging.lock().unwrap().push(reply),
            Act::Status(status) => status,
            Act::Answer(bytes) => {
                written.write(56, &bytes);
                0
            }
        };
        written.write(64, &status.to_ne_bytes());
        reply.written(CHANNEL_BLOCK_SIZE);
    }
}
