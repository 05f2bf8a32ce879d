//! What a test tells the probe to do and what the probe tells the test: JSON on its command line and on its stdout.
//!
//! Compiled into both. Invariant: a plan is done step by step, and every step gives exactly one [`Finding`].

use serde::{Deserialize, Serialize};

/// One thing the probe does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Step {
    /// A fresh anonymous session keyring.
    JoinSession,
    /// Real, effective and saved ids, and no further groups.
    Ids { uid: [u32; 3], gid: [u32; 3] },
    /// File system ids only: a server that acts for a user.
    FsIds { uid: u32, gid: u32 },
    /// A mount namespace of its own with a tmpfs over `directory`, and files in it.
    PrivateDirectory { directory: String, files: Vec<PlantedFile> },
    /// The network namespace at this path.
    EnterNet { path: String },
    /// A user namespace of its own, in which the caller is root.
    UserNamespace,
    /// The user `uid` as a subordinate of `owner`: mapped into a user namespace that `owner` has made.
    SubordinateUser { owner: u32, uid: u32 },
    /// A user of the user namespace that a process is in.
    EnterUserNamespaceOf { pid: i32, uid: u32 },
    /// The first process of a container, with mount and process-id namespaces of its own.
    Container(Container),
    /// A new root directory.
    Chroot { path: String },
    /// A `user` key in a keyring; the description may hold any bytes but NUL.
    AddKey { description: Vec<u8>, length: usize, ring: i32 },
    /// So many small keys below the session keyring.
    AddKeys { count: u32 },
    /// Keys in the session keyring until this many bytes of the owner's quota are left.
    FillQuota { leave: u32 },
    /// request_key(2).
    Request(Request),
    /// request_key(2) by the 32-bit system call table.
    RequestBy32Bit(Request),
    /// The same request in many threads at the same time.
    RequestAtOnce { request: Request, threads: usize },
    /// Tries to trace this process, to read it and to take its descriptors; without one, a child.
    LookInto { pid: Option<i32> },
    /// request_key(2) in one thread while another calls execve(2); done in a child.
    RequestInExec(Request),
    /// Reads the key of the last request until it is no longer in progress.
    Settle { within_ms: u64 },
    /// How long the key of the last request is still valid, as /proc/keys tells.
    Expiry,
    /// The key of the last request is linked into this keyring.
    Link { ring: i32 },
    /// A collection of credential caches in the session keyring is moved into this keyring.
    MoveCollection { name: String, ring: i32 },
    /// Runs a program in the caller's session and waits for its success.
    Run { words: Vec<String>, input: String },
    /// Waits for a line on stdin.
    Pause,
    /// Reads a key of another process.
    ReadKey { serial: i32 },
    /// Makes the kernel forget the keyrings of the caller's uid.
    ForgetKeyrings,
    /// Gets rid of the key of the last request.
    Dispose(Disposal),
    /// So many processes hold the kernel's lock of links between keyrings, as much as they can, until the probe ends.
    HoldKeyringLock { processes: usize },
    /// Each request in a thread of its own, all at the same time; each thread then waits for its key.
    RequestEach { requests: Vec<Request>, within_ms: u64 },
    /// What those threads have waited for.
    SettleEach,
}

/// What kind of container.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Container {
    /// It belongs to a user namespace that `owner` has made: owner is root there, and `user` is 1000.
    pub subordinates: Option<Subordinates>,
    /// Directory of its cgroup.
    pub cgroup: Option<String>,
}

/// Who has a user namespace, and who is in it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Subordinates {
    pub owner: u32,
    pub user: u32,
}

/// How a requester that no longer wants its key may get rid of it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Disposal {
    Revoke,
    Invalidate,
    /// Out of the session keyring.
    Unlink,
    /// By a timeout of so many seconds.
    Expire(u32),
}

/// A file in a private directory.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PlantedFile {
    pub path: String,
    pub owner: u32,
    pub mode: u32,
    pub content: Vec<u8>,
}

/// The arguments of request_key(2); no callout means no upcall.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Request {
    pub key_type: String,
    pub description: Vec<u8>,
    pub callout: Option<Vec<u8>>,
    pub ring: i32,
}

/// What came of a step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Finding {
    /// It worked.
    Done,
    /// Waiting for a line on stdin.
    Paused,
    /// It did not work; the probe has ended.
    Broken { step: String, errno: i32 },
    /// A key was added.
    Added { serial: Option<i32>, errno: i32 },
    /// request_key(2) has returned after so long.
    Requested { serial: Option<i32>, errno: i32, micros: u64 },
    /// What each thread has got, the key or 0.
    RequestedAtOnce { serials: Vec<i32> },
    /// What came of each attempt: its errno, or 0.
    Attempts(Vec<(String, i32)>),
    /// The exec'd child has ended after so long.
    ExecDone { micros: u64 },
    /// The key is no longer in progress: its payload or the error of reading it.
    Settled { payload: Option<Vec<u8>>, errno: i32 },
    /// Seconds until the key expires; `None` if it never does.
    ExpiresIn { seconds: Option<u64> },
    /// The key was still in progress at the deadline, or there is none.
    Unsettled,
    /// What came of each request, or of the wait for its key.
    Each(Vec<Finding>),
}
