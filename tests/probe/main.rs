//! The probe: a requester that follows a plan.
//!
//! Tests in `tests/upcall` start it as root with a plan (JSON) as its only argument; it prints one finding a line. As
//! `lgss-probe kill-at …` or `strike …` it runs the upcall in a request-key rule, and as `daemon …` it uses the library.
#![allow(unsafe_code, reason = "a test program whose purpose is unusual system calls")]
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::exit,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a test program: it stops where a test would"
)]

mod become_requester;
mod bomb;
mod contexts;
mod daemon;
mod errno;
mod keyring_lock;
mod keys;
mod killer;
mod led;
mod look_into;
#[path = "../../examples/nfs_ls/nfs4.rs"]
mod nfs4;
mod plan;
mod relay;
mod rpc_calls;
mod short;
mod target;
mod threads;

use keys::ReadyRequest;
use nix::errno::Errno;
use plan::{Disposal, Finding, Request, Step};
use std::ffi::CString;
use std::io::{self, BufRead, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Barrier, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

fn main() {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    match arguments.first().and_then(|first| first.to_str()) {
        Some("kill-at") => killer::run(&arguments[1..]),
        Some("strike") => killer::run_against(&arguments[1..]),
        Some("daemon") => daemon::run(&arguments[1..]),
        Some("calls") => rpc_calls::run(&arguments[1..]),
        Some("contexts") => contexts::run(&arguments[1..]),
        Some("relay") => relay::run(&arguments[1..]),
        Some("use") => daemon::use_library(&arguments[1..], daemon::Then::Tell),
        Some("leave") => daemon::use_library(&arguments[1..], daemon::Then::Leave),
        Some("daemon-child") => daemon::look(&arguments[1..]),
        Some("exec-target") => {}
        Some(plan) => run(serde_json::from_str(plan).expect("plan is not JSON")),
        None => panic!("usage: lgss-probe PLAN"),
    }
}

fn run(steps: Vec<Step>) {
    become_requester::die_with_parent();
    let probe = Probe { last: None, waiting: Vec::new() };
    go_on(probe, steps.into_iter());
}

fn go_on(mut probe: Probe, mut steps: std::vec::IntoIter<Step>) {
    while let Some(step) = steps.next() {
        if matches!(step, Step::EndFirstThread) {
            say(&Finding::Done);
            return threads::go_on_without_the_first(move || go_on(probe, steps));
        }
        let finding = probe
            .perform(&step)
            .unwrap_or_else(|errno| Finding::Broken { step: format!("{step:?}"), errno: errno as i32 });
        say(&finding);
        if matches!(finding, Finding::Broken { .. }) {
            std::process::exit(1);
        }
    }
}

fn say(finding: &Finding) {
    let mut line = serde_json::to_vec(finding).expect("findings can be JSON");
    line.push(b'\n');
    // If the test no longer listens, it has failed already.
    let _ = io::stdout().write_all(&line);
}

struct Probe {
    /// The key of the last request.
    last: Option<i32>,
    /// Threads that wait for the keys of many requests.
    waiting: Vec<JoinHandle<Finding>>,
}

impl Probe {
    fn perform(&mut self, step: &Step) -> Result<Finding, Errno> {
        match step {
            Step::JoinSession => keys::join_anonymous_session()?,
            Step::Ids { uid, gid } => become_requester::ids(*uid, *gid)?,
            Step::FsIds { uid, gid } => become_requester::fs_ids(*uid, *gid),
            Step::PrivateDirectory { directory, files } => {
                become_requester::private_directory(directory, files)?
            }
            Step::EnterNet { path } => become_requester::enter_net(path)?,
            Step::UserNamespace => become_requester::user_namespace()?,
            Step::SubordinateUser { owner, uid } => become_requester::subordinate_user(*owner, *uid)?,
            Step::EnterUserNamespaceOf { pid, uid } => become_requester::enter_user_namespace(*pid, *uid)?,
            Step::Container(container) => become_requester::container(container)?,
            Step::Chroot { path } => become_requester::chroot(path)?,
            Step::Link { ring } => keys::link(self.last.ok_or(Errno::ENOKEY)?, *ring)?,
            Step::MoveCollection { name, ring } => move_collection(name, *ring)?,
            Step::AddKeys { count } => add_keys(*count)?,
            Step::FillQuota { leave } => fill_quota(*leave)?,
            Step::HoldKeyringLock { processes } => keyring_lock::hold(*processes)?,
            Step::ForgetKeyrings => keys::forget_keyrings(),
            Step::Dispose(disposal) => dispose(self.last.ok_or(Errno::ENOKEY)?, *disposal)?,
            Step::RequestEach { requests, within_ms } => return Ok(self.request_each(requests, *within_ms)),
            Step::SettleEach => return Ok(self.settle_each()),
            Step::ForkBomb { request, processes, for_ms } => {
                return bomb::explode(request, *processes, Duration::from_millis(*for_ms));
            }
            Step::AddKey { description, length, ring } => return Ok(added(description, *length, *ring)),
            Step::Request(request) => {
                let ready = ReadyRequest::new(request);
                return Ok(self.request(|| ready.make()));
            }
            Step::RequestBy32Bit(request) => {
                let ready = ReadyRequest::new(request);
                return Ok(self.request(|| ready.make_by_32_bit()));
            }
            Step::RequestByThread(request) => {
                let (key, finding) = threads::request_and_end(&ReadyRequest::new(request));
                self.last = key;
                return Ok(finding);
            }
            Step::RequestAtOnce { request, threads } => return Ok(self.request_at_once(request, *threads)),
            Step::LookInto { pid: Some(pid) } => return Ok(Finding::Attempts(look_into::attempt_all(*pid))),
            Step::LookInto { pid: None } => {
                return Ok(Finding::Attempts(look_into::attempt_all_on_a_child()));
            }
            Step::RequestInExec(request) => return request_in_exec(request),
            Step::Settle { within_ms } => {
                let within = Duration::from_millis(*within_ms);
                return self.last.map_or(Ok(Finding::Unsettled), |key| settle(key, within));
            }
            Step::ReadKey { serial } => return settle(*serial, Duration::from_secs(1)),
            Step::Expiry => return Ok(self.expiry()),
            Step::Run { words, input } => run_program(words, input)?,
            // See `go_on`.
            Step::EndFirstThread => {}
            Step::Pause => {
                say(&Finding::Paused);
                let _ = io::stdin().lock().read_line(&mut String::new());
            }
        }
        Ok(Finding::Done)
    }

    fn request(&mut self, make: impl Fn() -> Result<i32, Errno>) -> Finding {
        let (key, finding) = timed(make);
        self.last = key;
        finding
    }

    fn request_each(&mut self, requests: &[Request], within_ms: u64) -> Finding {
        let (findings, threads) = request_each(requests, Duration::from_millis(within_ms));
        self.waiting = threads;
        Finding::Each(findings)
    }

    fn settle_each(&mut self) -> Finding {
        let threads = self.waiting.drain(..);
        Finding::Each(threads.map(|thread| thread.join().expect("a thread that waits")).collect())
    }

    /// A process that stands in for a dead monitor may be about to set the timeout.
    fn expiry(&self) -> Finding {
        let Some(key) = self.last else { return Finding::ExpiresIn { seconds: None } };
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut seconds = expires_in(key);
        while seconds.is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
            seconds = expires_in(key);
        }
        Finding::ExpiresIn { seconds }
    }

    fn request_at_once(&mut self, request: &Request, threads: usize) -> Finding {
        let (ready, start) = (ReadyRequest::new(request), Barrier::new(threads));
        let make = || {
            start.wait();
            ready.make().unwrap_or(0)
        };
        let serials: Vec<_> = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..threads).map(|_| scope.spawn(make)).collect();
            asking.into_iter().map(|thread| thread.join().expect("a thread that asks")).collect()
        });
        self.last = serials.first().copied().filter(|serial| *serial != 0);
        Finding::RequestedAtOnce { serials }
    }
}

/// The key, if there is one, and the duration of the request.
fn timed(make: impl Fn() -> Result<i32, Errno>) -> (Option<i32>, Finding) {
    let start = Instant::now();
    let result = make();
    let micros = start.elapsed().as_micros() as u64;
    let errno = result.err().map_or(0, |e| e as i32);
    (result.ok(), Finding::Requested { serial: result.ok(), errno, micros })
}

/// The finding of each request, once all have been released, and threads that wait for the keys.
fn request_each(requests: &[Request], within: Duration) -> (Vec<Finding>, Vec<JoinHandle<Finding>>) {
    let start = Arc::new(Barrier::new(requests.len()));
    let asking = requests.iter().map(|request| {
        let (ready, start) = (ReadyRequest::new(request), Arc::clone(&start));
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            start.wait();
            let (key, finding) = timed(|| ready.make());
            tell.send(finding).expect("the main thread listens");
            let settled = key.map_or(Ok(Finding::Unsettled), |key| settle(key, within));
            settled.expect("a key can be waited for")
        });
        (told, thread)
    });
    let (told, threads): (Vec<_>, Vec<_>) = asking.unzip();
    (told.iter().map(|told| told.recv().expect("a thread that asks")).collect(), threads)
}

fn dispose(key: i32, disposal: Disposal) -> Result<(), Errno> {
    match disposal {
        Disposal::Revoke => keys::revoke(key),
        Disposal::Invalidate => keys::invalidate(key),
        Disposal::Unlink => keys::unlink(key, keys::SESSION_RING),
        Disposal::Expire(seconds) => keys::set_timeout(key, seconds),
    }
}

fn run_program(words: &[String], input: &str) -> Result<(), Errno> {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.spawn().map_err(|_| Errno::ENOENT)?;
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    if child.wait().is_ok_and(|status| status.success()) { Ok(()) } else { Err(Errno::ECHILD) }
}

fn added(description: &[u8], length: usize, ring: i32) -> Finding {
    let description = CString::new(description).expect("a test put a NUL into a description");
    let result = keys::add(&description, &vec![b'x'; length], ring);
    Finding::Added { serial: result.ok(), errno: result.err().map_or(0, |e| e as i32) }
}

/// Programs whose caches have the types `KEYRING:thread` and `KEYRING:process` have their collections there.
fn move_collection(name: &str, ring: i32) -> Result<(), Errno> {
    let description = CString::new(format!("_krb_{name}")).expect("no NUL");
    let collection = keys::search_ring(keys::SESSION_RING, &description)?;
    keys::link(collection, ring)?;
    keys::unlink(collection, keys::SESSION_RING)
}

/// In several keyrings: the kernel counts the bytes of one keyring's links in 16 bits, and an overflow stays charged to
/// its owner for ever.
fn add_keys(count: u32) -> Result<(), Errno> {
    const A_RING: u32 = 10_000;
    let name = |number| CString::new(format!("k{number}")).expect("no NUL");
    for first in (0..count).step_by(A_RING as usize) {
        let ring = keys::new_ring(&name(first), keys::SESSION_RING)?;
        for number in first..count.min(first + A_RING) {
            keys::add(&name(number), b"x", ring)?;
        }
    }
    Ok(())
}

/// Adds large keys, and one whose payload is resized until exactly this much of the quota is left.
fn fill_quota(leave: u32) -> Result<(), Errno> {
    // KEYCTL_UPDATE takes at most a page.
    const LARGE: u32 = 4000;
    let mut length = 1;
    let adjusted = keys::add(c"lgss-test-filler", b"x", keys::SESSION_RING)?;
    for index in 0..20 {
        let left = quota_left();
        if left == leave {
            return Ok(());
        }
        if left > leave + LARGE {
            let description = CString::new(format!("lgss-test-filler-{index}")).expect("no NUL");
            keys::add(&description, &[b'x'; LARGE as usize - 100], keys::SESSION_RING)?;
        } else {
            length = (length + left).checked_sub(leave).ok_or(Errno::EDQUOT)?;
            keys::update(adjusted, &vec![b'x'; length as usize])?;
        }
    }
    Err(Errno::EDQUOT)
}

/// Bytes left of the caller's quota. The list can miss a user while others come and go, so it is read until it has this
/// one.
fn quota_left() -> u32 {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match listed_quota() {
            Some(left) => return left,
            None => assert!(Instant::now() < deadline, "no quota of the uid in /proc/key-users"),
        }
    }
}

/// From `uid: usage nkeys/nikeys qnkeys/maxkeys qnbytes/maxbytes`.
fn listed_quota() -> Option<u32> {
    let uid = nix::unistd::Uid::current().as_raw();
    let text = std::fs::read_to_string("/proc/key-users").expect("/proc/key-users");
    let line = text.lines().find(|line| line.trim_start().starts_with(&format!("{uid}:")))?;
    let (used, limit) = line.rsplit(' ').next()?.split_once('/')?;
    Some(limit.parse::<u32>().ok()?.saturating_sub(used.parse().ok()?))
}

fn settle(key: i32, within: Duration) -> Result<Finding, Errno> {
    let start = Instant::now();
    loop {
        let payload = keys::read(key);
        if !payload.as_ref().is_ok_and(|payload| is_in_progress(payload)) {
            let errno = payload.as_ref().err().map_or(0, |&e| e as i32);
            return Ok(Finding::Settled { payload: payload.ok(), errno });
        }
        if start.elapsed() >= within {
            return Ok(Finding::Unsettled);
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// The fourth column of the key's line: `perm`, or a number with its unit, rounded down.
fn expires_in(key: i32) -> Option<u64> {
    let text = std::fs::read("/proc/keys").expect("/proc/keys");
    let text = String::from_utf8_lossy(&text);
    let Some(line) = text.lines().find(|line| line.starts_with(&format!("{key:08x} "))) else {
        return Some(0);
    };
    let column = line.split_whitespace().nth(3).expect("the line's fourth column");
    if column == "perm" {
        return None;
    }
    let (number, unit) = column.split_at(column.find(|c: char| !c.is_ascii_digit()).unwrap_or(column.len()));
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return Some(0),
    };
    Some(number.parse::<u64>().expect("a number") * seconds)
}

/// `u32 0 · i32 -EINPROGRESS · …`
fn is_in_progress(payload: &[u8]) -> bool {
    payload.len() == 12 && payload[..4] == [0; 4] && payload[4..8] == (-libc::EINPROGRESS).to_ne_bytes()
}

/// A child with one thread in request_key(2) and another that calls execve(2) at that moment. execve(2) waits for the
/// first thread, so the child ends when the requester has been released.
fn request_in_exec(request: &Request) -> Result<Finding, Errno> {
    let start = Instant::now();
    // SAFETY: the probe has only this thread, so the child may do anything.
    match unsafe { nix::unistd::fork()? } {
        nix::unistd::ForkResult::Parent { child } => {
            nix::sys::wait::waitpid(child, None)?;
            Ok(Finding::ExecDone { micros: start.elapsed().as_micros() as u64 })
        }
        nix::unistd::ForkResult::Child => {
            become_requester::die_with_parent();
            let ready = ReadyRequest::new(request);
            let (tell, told) = mpsc::channel();
            std::thread::spawn(move || {
                tell.send(nix::unistd::gettid()).expect("the main thread listens");
                let _ = ready.make();
                std::process::exit(3);
            });
            let stat = format!("/proc/self/task/{}/stat", told.recv().expect("the requesting thread"));
            while !std::fs::read_to_string(&stat).unwrap_or_default().contains(") D ") {
                std::hint::spin_loop();
            }
            let error = Command::new("/proc/self/exe").arg("exec-target").exec();
            panic!("exec: {error}");
        }
    }
}
