//! Need root and /dev/fuse. The channel is a file in a file system of our own, which reads and writes the memory of the
//! process that writes to it, as the kernel does.

mod channel;

use super::*;
use crate::wire::Writer;
use channel::{Act, FakeChannel};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// Long enough for a child to reach its write, also on a busy machine.
const SOON: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(30);
const HANDLE: &[u8] = b"handle78";

fn callout(mechanism: &str) -> LustreCallout {
    let rest = "2001:2002::-:2:0x20000c0a84d01:lustre-OST0000-osc-ff2d:0x20000c0a84d02:557:caa7";
    format!("4:{mechanism}:{rest}").parse().unwrap()
}

fn answer(token: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new();
    for word in [0, 0, 0, 2048] {
        writer.u32_host(word);
    }
    for field in [HANDLE, token] {
        writer.opaque_host(field).unwrap().bytes(&[0; 3][..field.len().wrapping_neg() % 4]);
    }
    writer.as_slice().to_vec()
}

fn accepted() -> Act {
    Act::Answer(answer(b"from server"))
}

/// Sends a token for a worker that lives on: this process.
fn ask(ours: &mut InitChannel, token: &[u8], deadline: Instant) -> Result<Answer, Failure> {
    let worker = Process::open(nix::unistd::getpid()).unwrap();
    ours.exchange(token, Some(&worker), deadline).and_then(|exchanged| match exchanged {
        Exchanged::Answer(answer) => Ok(answer),
        Exchanged::Silence => Err(ours.silent("no answer, also not to a second try")),
        Exchanged::Unwanted => panic!("the worker lives"),
    })
}

/// The result of one token in a channel with these acts, one after another.
fn exchange(acts: Vec<Act>, limit: Duration) -> (Result<Answer, Failure>, FakeChannel, InitChannel) {
    let channel = FakeChannel::mount(acts);
    let mut ours = InitChannel::open(&callout("krb5"), &[channel.directory()]).unwrap();
    let result = ask(&mut ours, b"from client", Instant::now() + limit);
    (result, channel, ours)
}

/// The exchange fails at once, for this cause and with these words. Returns the number of tries.
fn fails(acts: Vec<Act>, limit: Duration, cause: Cause, words: &str) -> usize {
    let channel = FakeChannel::mount(acts);
    let mut ours = InitChannel::open(&callout("krb5"), &[channel.directory()]).unwrap();
    // Others may have used the mount before.
    let started = Instant::now();
    let failure = ask(&mut ours, b"from client", started + limit).unwrap_err();
    assert_eq!((failure.stage, failure.cause), (Stage::Negotiate, cause), "{}", failure.detail);
    assert!(failure.detail.starts_with("lustre-OST0000-osc-ff2d: "), "{}", failure.detail);
    assert!(failure.detail.contains(words), "{} without {words}", failure.detail);
    assert!(started.elapsed() < LONG / 2, "{words}: not at once");
    assert!(ours.into_stuck().is_none());
    channel.received().len()
}

fn no_child_is_left() {
    assert_eq!(fs::read_to_string("/proc/thread-self/children").unwrap(), "");
}

#[test]
fn a_token_arrives_with_what_the_callout_says_and_the_answer_comes_back() {
    for (mechanism, service) in [("krb5", 2), ("gssnull", 0x1_0002), ("sk", 0x2_0002)] {
        let channel = FakeChannel::mount(vec![accepted()]);
        let mut ours = InitChannel::open(&callout(mechanism), &[channel.directory()]).unwrap();
        let got = ask(&mut ours, b"from client", Instant::now() + LONG).unwrap();
        assert_eq!((got.window, got.gss_major, got.handle.expose().as_slice()), (2048, 0, HANDLE));
        assert_eq!(got.token.expose(), b"from server");
        let received = channel.received();
        assert_eq!(received.len(), 1);
        assert_eq!((received[0].version, received[0].secid, received[0].service), (2, 4, service));
        assert_eq!((received[0].uid, received[0].gid), (2001, 2002));
        assert_eq!(received[0].target, "lustre-OST0000-osc-ff2d");
        assert_eq!(received[0].token, b"from client");
        assert_eq!(received[0].room, REPLY_SIZE as u64);
        no_child_is_left();
    }
}

#[test]
fn tokens_of_64_kib_pass_both_ways() {
    let (there, back) = (vec![0xa5; 64 * 1024], vec![0x5a; 64 * 1024]);
    let channel = FakeChannel::mount(vec![Act::Answer(answer(&back)), accepted()]);
    let mut ours = InitChannel::open(&callout("krb5"), &[channel.directory()]).unwrap();
    let got = ask(&mut ours, &there, Instant::now() + LONG).unwrap();
    assert!(got.token.expose() == back, "changed");
    let next = ask(&mut ours, b"next", Instant::now() + LONG).unwrap();
    assert_eq!(next.token.expose(), b"from server");
    let received = channel.received();
    assert!(received[0].token == there && received[1].token == b"next", "changed");
}

#[test]
fn each_status_of_the_kernel_fails_with_its_own_cause_and_is_not_tried_again() {
    for (status, cause, words) in [
        (-libc::EACCES, Cause::ServerRefused, "denies access"),
        (-libc::EINVAL, Cause::KeyGone, "another security context"),
        (-libc::E2BIG, Cause::TokenTooLarge, "too large"),
        (-libc::EFAULT, Cause::BadReply, "does not fit"),
        (-libc::ENODEV, Cause::ServerSilent, "ENODEV"),
        (5, Cause::ServerSilent, "the kernel says"),
        (i32::MIN, Cause::ServerSilent, "the kernel says"),
    ] {
        assert_eq!(fails(vec![Act::Status(status.into())], LONG, cause, words), 1, "{status}");
    }
    for status in [i64::MIN, i64::MAX, -0x1_0000_006e] {
        assert_eq!(fails(vec![Act::Status(status)], LONG, Cause::ServerSilent, "the kernel says"), 1);
    }
}

#[test]
fn a_denial_of_a_shared_key_is_a_refusal_after_which_the_worker_may_try_another() {
    let channel = FakeChannel::mount(vec![Act::Status((-libc::EACCES).into()), accepted()]);
    let mut ours = InitChannel::open(&callout("sk"), &[channel.directory()]).unwrap();
    let denied = ask(&mut ours, b"with one key", Instant::now() + LONG).unwrap();
    assert_eq!((denied.gss_major, denied.handle.expose().len(), denied.token.len()), (0xf_0000, 0, 0));
    let next = ask(&mut ours, b"with another", Instant::now() + LONG).unwrap();
    assert_eq!((next.gss_major, next.handle.expose().as_slice()), (0, HANDLE));
    no_child_is_left();
}

#[test]
fn each_error_of_the_write_fails_with_its_own_cause_and_is_not_tried_again() {
    for (errno, cause, words) in [
        (libc::EINVAL, Cause::ServerDown, "no such target"),
        (libc::EFAULT, Cause::Setup, "EFAULT"),
        (libc::EPERM, Cause::Setup, "EPERM"),
        // Of the write; only the RPC's has a meaning.
        (libc::ETIMEDOUT, Cause::Setup, "ETIMEDOUT"),
    ] {
        assert_eq!(fails(vec![Act::Refuse(errno)], LONG, cause, words), 1, "{errno}");
    }
}

#[test]
fn a_kernel_that_is_not_ready_is_asked_until_it_is() {
    let not_ready =
        || vec![Act::Status((-libc::EAGAIN).into()), Act::Refuse(libc::EAGAIN), Act::Refuse(libc::EINTR)];
    let (result, channel, _) = exchange(not_ready().into_iter().chain([accepted()]).collect(), LONG);
    assert_eq!(result.unwrap().token.expose(), b"from server");
    assert_eq!(channel.received().len(), 4);
    no_child_is_left();
}

#[test]
fn a_kernel_that_is_never_ready_is_given_up_at_the_deadline() {
    let never = std::iter::repeat_with(|| Act::Status((-libc::EAGAIN).into())).take(1000).collect();
    // The deadline may come in any try, or between two.
    let tries = fails(never, SOON, Cause::ServerSilent, "");
    assert!((2..=200).contains(&tries), "{tries} tries in {SOON:?}");
    no_child_is_left();
}

#[test]
fn a_token_that_is_not_answered_is_not_sent_a_second_time() {
    let silent = Act::Status((-libc::ETIMEDOUT).into());
    assert_eq!(fails(vec![silent, accepted()], LONG, Cause::ServerSilent, "second try"), 1);
}

#[test]
fn garbage_is_a_bad_reply() {
    let whole = answer(b"from server");
    let cut = whole[..whole.len() - 1].to_vec();
    let mut wrong_length = whole.clone();
    wrong_length[16..20].copy_from_slice(&u32::MAX.to_ne_bytes());
    let mut wrong_status = whole.clone();
    wrong_status[0] = 22;
    for bytes in [vec![0xff; REPLY_SIZE], wrong_length, wrong_status] {
        assert_eq!(fails(vec![Act::Answer(bytes)], LONG, Cause::BadReply, "answer of the server"), 1);
    }
    // The rest of the buffer is zeros, here the last byte of padding.
    let (result, _, _) = exchange(vec![Act::Answer(cut)], LONG);
    assert_eq!(result.unwrap().token.len(), b"from server".len());
    // An empty answer has no handle and no token, which the mechanism refuses.
    let (result, _, _) = exchange(vec![Act::Answer(Vec::new())], LONG);
    let empty = result.unwrap();
    assert!(empty.handle.expose().is_empty() && empty.token.is_empty());
}

#[test]
fn a_file_that_takes_less_than_the_block_is_a_fault_of_the_setup() {
    for size in [0, 71] {
        assert_eq!(fails(vec![Act::Take(size)], LONG, Cause::Setup, "EIO"), 1, "{size}");
    }
}

/// A full pipe, which blocks the writer as an RPC does, until SIGKILL.
fn hanging(directory: &Path) -> (InitChannel, fs::File) {
    let path = file(directory, |path| mkfifo(path, Mode::S_IRWXU).unwrap());
    let mut pipe = fs::File::options().read(true).write(true).open(path).unwrap();
    let ours = InitChannel::open(&callout("krb5"), &[directory.to_owned()]).unwrap();
    for _ in 0..16 {
        pipe.write_all(&[0; 4096]).unwrap();
    }
    (ours, pipe)
}

#[test]
fn a_server_that_hangs_until_the_deadline_leaves_no_process() {
    let _serial = channel::serial();
    let directory = tempfile::tempdir().unwrap();
    let (mut ours, _pipe) = hanging(directory.path());
    let started = Instant::now();
    let failure = ask(&mut ours, b"from client", started + SOON).unwrap_err();
    assert_eq!((failure.stage, failure.cause), (Stage::Negotiate, Cause::ServerSilent), "{}", failure.detail);
    assert!((SOON..LONG / 2).contains(&started.elapsed()), "{:?}", started.elapsed());
    no_child_is_left();
    assert!(ours.into_stuck().is_none());
}

#[test]
fn nobody_waits_for_an_answer_that_no_worker_will_take() {
    let _serial = channel::serial();
    let directory = tempfile::tempdir().unwrap();
    let (mut ours, _pipe) = hanging(directory.path());
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let worker = Process::open(nix::unistd::Pid::from_raw(child.id().cast_signed())).unwrap();
    let started = Instant::now();
    let exchanged = ours.exchange(b"from client", Some(&worker), started + LONG);
    assert!(matches!(exchanged, Ok(Exchanged::Unwanted)), "{exchanged:?}");
    assert!(started.elapsed() < LONG / 2, "{:?}", started.elapsed());
    child.wait().unwrap();
    no_child_is_left();
    assert!(ours.into_stuck().is_none());
}

/// A write that not even SIGKILL ends.
#[test]
fn a_child_that_cannot_be_killed_is_handed_over_and_ends_when_it_can() {
    let started = Instant::now();
    let (result, channel, ours) = exchange(vec![Act::Hang], SOON);
    assert_eq!(result.unwrap_err().cause, Cause::ServerSilent);
    assert!(started.elapsed() < LONG / 2, "{:?}", started.elapsed());
    let stuck = ours.into_stuck().unwrap();
    assert!(!stuck.wait_for_end(Duration::ZERO), "it has ended");
    channel.abort();
    assert!(stuck.wait_for_end(LONG), "it still hangs");
    stuck.reap();
    no_child_is_left();
}

#[test]
fn without_lustres_modules_it_fails_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let failure = InitChannel::open(&callout("krb5"), &[directory.path().to_owned()]).unwrap_err();
    assert_eq!((failure.stage, failure.cause), (Stage::Negotiate, Cause::Setup));
    assert!(failure.detail.contains("modules are not loaded"), "{}", failure.detail);
}

#[test]
fn the_first_directory_that_has_the_file_is_taken() {
    let directories: Vec<TempDir> = std::iter::repeat_with(|| tempfile::tempdir().unwrap()).take(3).collect();
    for directory in &directories[1..] {
        file(directory.path(), |path| fs::write(path, "").unwrap());
    }
    let paths: Vec<PathBuf> = directories.iter().map(|directory| directory.path().to_owned()).collect();
    let _serial = channel::serial();
    let mut ours = InitChannel::open(&callout("krb5"), &paths).unwrap();
    // A plain file takes the block and leaves the answer empty.
    assert!(ask(&mut ours, b"from client", Instant::now() + LONG).unwrap().token.is_empty());
    let sizes =
        directories[1..].iter().map(|directory| fs::read(directory.path().join(CHANNEL)).unwrap().len());
    assert_eq!(sizes.collect::<Vec<_>>(), [72, 0]);
}

fn file(directory: &Path, make: impl FnOnce(&Path)) -> PathBuf {
    let path = directory.join(CHANNEL);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    make(&path);
    path
}
