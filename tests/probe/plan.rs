//! What a test orders from the probe, and what the probe reports: JSON on its command line and on its stdout.
//!
//! Compiled into both. Invariant: the steps of a plan are done in order, and each gives exactly one [`Finding`].

use serde::{Deserialize, Serialize};

/// One action of the probe.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Step {
    /// Joins a new anonymous session keyring.
    JoinSession,
    /// Takes real, effective and saved ids, without supplementary groups.
    Ids { uid: [u32; 3], gid: [u32; 3] },
    /// Takes file system ids only, as a server that acts for a user does.
    FsIds { uid: u32, gid: u32 },
    /// Makes a mount namespace with a tmpfs over `directory`, and files in it.
    PrivateDirectory { directory: String, files: Vec<PlantedFile> },
    /// Enters the network namespace at this path.
    EnterNet { path: String },
    /// Makes a user namespace in which the caller is root.
    UserNamespace,
    /// Becomes the user `uid` as a subordinate of `owner`: mapped into a user namespace that `owner` has made.
    SubordinateUser { owner: u32, uid: u32 },
    /// Becomes a user of the user namespace that a process is in.
    EnterUserNamespaceOf { pid: i32, uid: u32 },
    /// Becomes the first process of a container, with new mount and process-id namespaces.
    Container(Container),
    /// Changes the root directory.
    Chroot { path: String },
    /// Adds a `user` key to a keyring; the description may hold any bytes but NUL.
    AddKey { description: Vec<u8>, length: usize, ring: i32 },
    /// Adds so many small keys below the session keyring.
    AddKeys { count: u32 },
    /// Adds keys to the session keyring until this many bytes of the owner's quota are left.
    FillQuota { leave: u32 },
    /// request_key(2).
    Request(Request),
    /// request_key(2) through the 32-bit system call table.
    RequestBy32Bit(Request),
    /// request_key(2) in a thread that then ends.
    RequestByThread(Request),
    /// Makes the same request in many threads at the same time.
    RequestAtOnce { request: Request, threads: usize },
    /// Tries to trace this process, to read it and to take its descriptors; without a pid, a child of the probe.
    LookInto { pid: Option<i32> },
    /// request_key(2) in one thread while another calls execve(2); done in a child.
    RequestInExec(Request),
    /// Reads the key of the last request until it is no longer in progress.
    Settle { within_ms: u64 },
    /// Reads in /proc/keys how long the key of the last request is still valid.
    Expiry,
    /// Links the key of the last request to this keyring.
    Link { ring: i32 },
    /// Moves a collection of credential caches from the session keyring to this one.
    MoveCollection { name: String, ring: i32 },
    /// Runs a program in the caller's session and waits for its success.
    Run { words: Vec<String>, input: String },
    /// Waits for a line on stdin.
    Pause,
    /// Does the rest of the plan in another thread, and ends the first one, which stays as a zombie.
    EndFirstThread,
    /// Reads a key of another process.
    ReadKey { serial: i32 },
    /// Makes the kernel forget the keyrings of the caller's uid.
    ForgetKeyrings,
    /// Gets rid of the key of the last request.
    Dispose(Disposal),
    /// Makes so many processes hold the kernel's lock for links between keyrings, as much of the time as they can,
    /// until the probe ends.
    HoldKeyringLock { processes: usize },
    /// Makes each request in a separate thread, all at the same time; each thread then waits for its key.
    RequestEach { requests: Vec<Request>, within_ms: u64 },
    /// Waits for those threads' keys.
    SettleEach,
    /// A fork bomb of at most so many processes, each of which asks again and again; the description gets a number.
    ForkBomb { request: Request, processes: u64, for_ms: u64 },
}

/// Properties of a container.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Container {
    /// If set, it has a user namespace made by `owner`: owner is root there, and `user` is 1000.
    pub subordinates: Option<Subordinates>,
    /// Directory of its cgroup.
    pub cgroup: Option<String>,
}

/// Owner of a user namespace, and a user in it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Subordinates {
    pub owner: u32,
    pub user: u32,
}

/// How a requester may get rid of a key that it no longer wants.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Disposal {
    Revoke,
    Invalidate,
    /// Unlinked from the session keyring.
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

/// Result of a step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Finding {
    /// The step succeeded.
    Done,
    /// Waiting for a line on stdin.
    Paused,
    /// The step failed; the probe has ended.
    Broken { step: String, errno: i32 },
    /// Result of add_key(2).
    Added { serial: Option<i32>, errno: i32 },
    /// request_key(2) has returned after this time.
    Requested { serial: Option<i32>, errno: i32, micros: u64 },
    /// A thread with this id has got this key, or an error, and has ended.
    RequestedByThread { tid: i32, serial: Option<i32>, errno: i32 },
    /// The key of each thread, or 0.
    RequestedAtOnce { serials: Vec<i32> },
    /// Each attempt with its errno, or 0.
    Attempts(Vec<(String, i32)>),
    /// The exec'd child has ended after this time.
    ExecDone { micros: u64 },
    /// The key is no longer in progress: its payload, or the error of reading it.
    Settled { payload: Option<Vec<u8>>, errno: i32 },
    /// Seconds until the key expires; `None` if it never does.
    ExpiresIn { seconds: Option<u64> },
    /// The key was still in progress at the deadline, or there is none.
    Unsettled,
    /// The result of each request, or of each wait for a key.
    Each(Vec<Finding>),
    /// How often a fork bomb has forked and asked, how many keys it has got, and how often the kernel refused for want of
    /// quota.
    Exploded { forks: u64, requests: u64, keys: u64, over_quota: u64 },
}
