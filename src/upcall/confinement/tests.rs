//! Each test forks, since a filter stays.

use super::*;
use crate::creds::ticket_keys::{self, TicketKeyName};
use crate::sys::errno::errno_of;
use crate::sys::fork::{ForkResult, REACHED, fork, fork_confined};
use crate::sys::keyctl;
use crate::sys::named_session::join_session;
use crate::sys::process::end;
use nix::fcntl::{AT_FDCWD, OFlag, open};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, recvmsg, setsockopt, socket, socketpair, sockopt,
};
use nix::sys::stat::{Mode, UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, getpid, mkdir, pipe, unlink, write};
use std::ffi::CStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::time::Duration;

/// What becomes of a child that is confined and then makes an attempt. It ends with 0 or the attempt's errno, and with 255 if
/// it cannot be confined.
fn outcome(confine: impl FnOnce() -> bool, attempt: impl FnOnce() -> Result<(), Errno>) -> WaitStatus {
    match fork().unwrap() {
        ForkResult::Child => {
            let status =
                if confine() { attempt().map_or_else(|errno| errno as i32, |()| REACHED) } else { 255 };
            end(status)
        }
        ForkResult::Parent { child } => waitpid(child, None).unwrap(),
    }
}

/// The serial of no key.
const OWN_KEY: i32 = 7;

fn as_monitor() -> bool {
    filter_monitor(KeySerial::new(OWN_KEY).unwrap(), None).is_ok()
}

/// In a group of its own, so that an attempt at its group kills no test.
fn as_monitor_of_a_group() -> bool {
    nix::unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0)).is_ok() && as_monitor()
}

fn as_exchange() -> bool {
    exchange_filter().and_then(|filter| filter.enforce()).is_ok()
}

fn as_launcher() -> bool {
    confine_launcher(WorkerSandbox::Strict).is_ok()
}

fn as_waiting_front() -> bool {
    confine_waiting_front(KeySerial::new(OWN_KEY).unwrap()).is_ok()
}

#[track_caller]
fn succeeds(confine: impl FnOnce() -> bool, attempt: impl FnOnce() -> Result<(), Errno>) {
    let status = outcome(confine, attempt);
    assert!(matches!(status, WaitStatus::Exited(_, REACHED)), "{status:?}");
}

#[track_caller]
fn is_refused(confine: fn() -> bool, attempt: impl FnOnce() -> Result<(), Errno>) {
    fails_with(Errno::EPERM, confine, attempt);
}

#[track_caller]
fn fails_with(errno: Errno, confine: impl FnOnce() -> bool, attempt: impl FnOnce() -> Result<(), Errno>) {
    let status = outcome(confine, attempt);
    assert!(matches!(status, WaitStatus::Exited(_, code) if code == errno as i32), "{status:?}");
}

#[track_caller]
fn is_killed(confine: fn() -> bool, attempt: impl FnOnce() -> Result<(), Errno>) {
    let status = outcome(confine, attempt);
    assert!(matches!(status, WaitStatus::Signaled(_, Signal::SIGSYS, _)), "{status:?}");
}

fn make(family: AddressFamily, kind: SockType) -> Result<(), Errno> {
    socket(family, kind, SockFlag::SOCK_CLOEXEC, None).map(drop)
}

fn pair() -> Result<(), Errno> {
    socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC).map(drop)
}

fn execute() -> Result<(), Errno> {
    nix::unistd::execv(c"/bin/sh", &[c"sh", c"-c", c"exit 200"]).map(drop)
}

#[test]
fn every_filter_of_ours_begins_with_the_death_of_calls_of_another_architecture() {
    let (refused, own) = (CallAnswer::Refuse(Errno::EPERM), KeySerial::new(OWN_KEY).unwrap());
    for filter in [
        waiting_fronts(own).compile(CallAnswer::Allow, refused),
        monitors(own).compile(CallAnswer::Allow, refused),
        deadly_to_monitors().compile(CallAnswer::Kill, CallAnswer::Allow),
        exchange_filter(),
        refused_to_launchers().compile(refused, CallAnswer::Allow),
    ] {
        let filter = filter.unwrap();
        assert!(filter.kills_other_architectures_first(), "{filter:?}");
    }
}

#[test]
fn a_monitor_can_do_its_work() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("owner");
    succeeds(as_monitor, || {
        mkdir(&path, Mode::S_IRWXU)?;
        std::fs::remove_dir(&path).map_err(|error| errno_of(&error))?;
        open(&path, OFlag::O_WRONLY | OFlag::O_CREAT, Mode::S_IRUSR).map(drop)?;
        unlink(&path)
    });
    // As it connects to the log.
    succeeds(as_monitor, || {
        let socket = UnixDatagram::unbound().map_err(|error| errno_of(&error))?;
        socket.set_write_timeout(Some(Duration::from_secs(1))).map_err(|error| errno_of(&error))
    });
    succeeds(as_monitor, || match fork()? {
        ForkResult::Child => end(0),
        ForkResult::Parent { child } => waitpid(child, None).map(drop),
    });
    // That there is no such key is what the kernel says.
    let unknown = outcome(as_monitor, || keyctl::update(OWN_KEY, b"x"));
    assert!(matches!(unknown, WaitStatus::Exited(_, libc::ENOKEY)), "{unknown:?}");
    succeeds(as_monitor, || {
        keyctl::join_anonymous_session().and_then(|_| keyctl::clear(keyctl::SESSION_KEYRING))
    });
    // As it becomes a teller.
    succeeds(as_monitor, || {
        let program = open(c"/bin/sh", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
        Err(crate::sys::exec::without_descriptors(program.as_fd(), &[c"sh", c"-c", c"exit 200"]))
    });
}

#[test]
fn a_monitor_that_was_taken_over_reaches_no_network_no_daemon_and_makes_no_key() {
    for (family, kind) in [
        (AddressFamily::Inet, SockType::Stream),
        (AddressFamily::Inet, SockType::Datagram),
        (AddressFamily::Inet6, SockType::Stream),
        (AddressFamily::Netlink, SockType::Raw),
        (AddressFamily::Vsock, SockType::Stream),
        (AddressFamily::Unix, SockType::Stream),
        (AddressFamily::Unix, SockType::SeqPacket),
    ] {
        is_refused(as_monitor, || make(family, kind));
    }
    is_refused(as_monitor, pair);
    // By a socket, descriptors would come, too.
    let (open_socket, _other) = UnixDatagram::pair().unwrap();
    is_refused(as_monitor, || open_socket.recv(&mut [0]).map(drop).map_err(|error| errno_of(&error)));
    is_refused(as_monitor, || {
        recvmsg::<()>(open_socket.as_raw_fd(), &mut [], None, MsgFlags::empty()).map(drop)
    });
    is_refused(as_monitor, || setsockopt(&open_socket, sockopt::PassCred, &true));
    is_refused(as_monitor, || keyctl::add(c"user", c"lgss-test", b"x", keyctl::PROCESS_KEYRING).map(drop));
    is_refused(as_monitor, || keyctl::link(keyctl::USER_KEYRING, keyctl::PROCESS_KEYRING));
    is_refused(as_monitor, || keyctl::make_keyring(keyctl::PROCESS_KEYRING).map(drop));
    is_refused(as_monitor, || join_session(c"lgss-test").map(drop));
    for other in [OWN_KEY + 1, keyctl::USER_KEYRING] {
        is_refused(as_monitor, || keyctl::update(other, b"x"));
        is_refused(as_monitor, || keyctl::revoke(other));
        is_refused(as_monitor, || keyctl::set_timeout(other, Duration::from_secs(1)));
        is_refused(as_monitor, || keyctl::clear(other));
    }
    let maker = getpid();
    is_refused(as_monitor, || kill(maker, Signal::SIGCONT));
    // Nobody's group of processes.
    is_refused(as_monitor, || kill(Pid::from_raw(i32::MIN + 1), Signal::SIGKILL));
    is_refused(as_monitor_of_a_group, || kill(Pid::from_raw(0), Signal::SIGKILL));
    let mut leader = std::process::Command::new("sleep").arg("60").process_group(0).spawn().unwrap();
    let opened = crate::sys::process::Process::open(Pid::from_raw(leader.id().cast_signed())).unwrap();
    is_refused(as_monitor, || opened.kill_group());
    succeeds(as_monitor, || opened.kill());
    leader.wait().unwrap();
    is_refused(as_monitor, || capctl::prctl::set_dumpable(true).map_err(|e| Errno::from_raw(e.code())));
    is_refused(as_monitor, || match fork_confined()? {
        ForkResult::Child => end(0),
        ForkResult::Parent { child } => waitpid(child, None).map(drop),
    });
}

#[test]
fn a_monitor_that_stores_tickets_in_keys_changes_these_keys_alone() {
    let directory = Path::new("/lgss-unit-confined/machine");
    let name = TicketKeyName::of(&directory.join(getpid().to_string())).unwrap();
    let long = Duration::from_secs(60);
    // The largest cache: a filter has a limited length.
    for size in (24_000..=120_000).step_by(24_000) {
        StagedKeys::make(&name).unwrap().store(&vec![1; size], long).unwrap();
    }
    let mut staged = StagedKeys::make(&name).unwrap();
    assert_eq!((staged.serials().count(), staged.former().len()), (62, 29));
    let other = keyctl::add(c"user", c"lgss-test", b"x", keyctl::PROCESS_KEYRING).unwrap();
    let [first, last] = [staged.serials().next(), staged.serials().last()].map(|key| key.unwrap().raw());
    // As a child, it has other keyrings of its own, but is the keys' owner.
    let own = KeySerial::new(OWN_KEY).unwrap();
    let confine = || filter_monitor(own, Some(&staged)).is_ok();
    fails_with(Errno::EPERM, confine, || keyctl::update(other, b"x"));
    fails_with(Errno::EPERM, confine, || keyctl::set_timeout(other, long));
    fails_with(Errno::EPERM, confine, || keyctl::link(other, keyctl::USER_KEYRING));
    fails_with(Errno::EPERM, confine, || keyctl::link(first, keyctl::SESSION_KEYRING));
    fails_with(Errno::EPERM, confine, || keyctl::unlink(other, keyctl::USER_KEYRING));
    fails_with(Errno::EPERM, confine, || keyctl::set_permissions(first, 0x3f3f_3f3f));
    fails_with(Errno::EPERM, confine, || keyctl::read(last).map(drop));
    fails_with(Errno::EPERM, confine, || keyctl::add(c"user", c"lgss-test", b"x", first).map(drop));
    let confined = outcome(
        || true,
        || {
            let filtered = filter_monitor(own, Some(&staged)).is_ok();
            if filtered && staged.store(&[2; 6_000], long).is_ok() { Ok(()) } else { Err(Errno::EIO) }
        },
    );
    let stored = ticket_keys::read(&name);
    let kept = ticket_keys::kept_below(directory).unwrap();
    let mine = kept.iter().filter(|key| is_named(key.serial, &name));
    let number = mine.map(|key| key.drop_it().unwrap()).count();
    assert!(matches!(confined, WaitStatus::Exited(_, REACHED)), "{confined:?}");
    assert!(stored.is_ok_and(|stored| *stored == [2; 6_000]) && number == 2, "{number}");
}

fn is_named(key: KeySerial, name: &TicketKeyName) -> bool {
    let found = keyctl::describe(key.raw()).unwrap_or_default();
    String::from_utf8_lossy(&found).contains(&name.to_string())
}

#[test]
fn a_monitor_that_calls_what_only_foreign_code_calls_is_killed() {
    is_killed(as_monitor, execute);
    is_killed(as_monitor, || unshare(CloneFlags::CLONE_NEWNS));
    is_killed(as_monitor, || nix::unistd::chroot("/"));
    is_killed(as_monitor, || nix::unistd::sethostname("other"));
    is_killed(as_monitor, || keyctl::find(c"user", c"lgss-test:none").map(drop));
}

#[test]
fn a_monitor_that_was_taken_over_changes_no_files_but_its_own_and_executes_no_program_but_itself() {
    let [run, elsewhere, other] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let existing = other.path().join("existing");
    std::fs::write(&existing, "kept").unwrap();
    let mut config = Config::default();
    config.run_dir = run.path().to_owned();
    let key = KeySerial::new(OWN_KEY).unwrap();
    let store = TicketStore::Default(elsewhere.path().join("cache"));
    let confine = || restrict_monitor(key, &config, Some(&store)).is_ok();
    let make = |path: &Path| open(path, OFlag::O_WRONLY | OFlag::O_CREAT, Mode::S_IRUSR).map(drop);
    let errno = |error: std::io::Error| errno_of(&error);
    for directory in [run.path(), elsewhere.path()] {
        let (old, new) = (directory.join("old"), directory.join("new"));
        succeeds(confine, || {
            make(&old)?;
            std::fs::rename(&old, &new).map_err(errno)?;
            unlink(&new)?;
            mkdir(&old, Mode::S_IRWXU)?;
            make(&old.join("file"))?;
            std::fs::remove_dir_all(&old).map_err(errno)
        });
    }
    succeeds(confine, || open(c"/dev/null", OFlag::O_RDWR, Mode::empty()).map(drop));
    succeeds(confine, || {
        let score = open(c"/proc/self/oom_score_adj", OFlag::O_WRONLY, Mode::empty())?;
        write(&score, b"0").map(drop)
    });
    succeeds(confine, || std::fs::read(&existing).map(drop).map_err(errno));

    fails_with(Errno::EACCES, confine, || make(&other.path().join("new")));
    fails_with(Errno::EACCES, confine, || mkdir(&other.path().join("new"), Mode::S_IRWXU));
    fails_with(Errno::EACCES, confine, || open(&existing, OFlag::O_WRONLY, Mode::empty()).map(drop));
    fails_with(Errno::EACCES, confine, || unlink(&existing));
    fails_with(Errno::EACCES, confine, || {
        open(c"/proc/sys/kernel/core_pattern", OFlag::O_WRONLY, Mode::empty()).map(drop)
    });
    // Neither emptied, whatever Landlock sees of that, nor given another time.
    fails_with(Errno::EPERM, confine, || {
        open(&existing, OFlag::O_RDONLY | OFlag::O_TRUNC, Mode::empty()).map(drop)
    });
    let long_ago = TimeSpec::new(1, 0);
    fails_with(Errno::EPERM, confine, || {
        utimensat(AT_FDCWD, &existing, &long_ago, &long_ago, UtimensatFlags::FollowSymlink)
    });
    succeeds(confine, || {
        let file =
            File::options().create_new(true).write(true).open(run.path().join("aged")).map_err(errno)?;
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).map_err(errno)
    });
    // Neither there by another name, nor from there.
    let inside = run.path().join("inside");
    fails_with(Errno::EPERM, confine, || std::fs::hard_link(&existing, &inside).map_err(errno));
    fails_with(Errno::EPERM, confine, || std::os::unix::fs::symlink(&existing, &inside).map_err(errno));
    assert_eq!(std::fs::read_to_string(&existing).unwrap(), "kept");

    let execute = |path: &CStr| {
        let program = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
        Err(crate::sys::exec::without_descriptors(program.as_fd(), &[c"program", c"--no-such-option"]))
    };
    // With this option this program ends as no child of ours does.
    let executed = outcome(confine, || execute(c"/proc/self/exe"));
    assert!(matches!(executed, WaitStatus::Exited(_, 101)), "{executed:?}");
    fails_with(Errno::EACCES, confine, || execute(c"/bin/sh"));
}

#[test]
fn a_front_that_waits_can_wait_reject_its_key_and_end_and_nothing_else() {
    let child = || match fork().unwrap() {
        ForkResult::Child => end(0),
        ForkResult::Parent { child } => child,
    };
    let status = match fork().unwrap() {
        ForkResult::Child => {
            let child = child();
            let waited = as_waiting_front() && waitpid(child, None).is_ok();
            end(if waited { REACHED } else { 1 })
        }
        ForkResult::Parent { child } => waitpid(child, None).unwrap(),
    };
    assert!(matches!(status, WaitStatus::Exited(_, REACHED)), "{status:?}");
    let reject = |key: i32| keyctl::reject(key, Duration::from_secs(1), Errno::EIO);
    // The kernel says EPERM, too, since this process has no authority; so the filter has another error here.
    let told_apart = || {
        let key = KeySerial::new(OWN_KEY).unwrap();
        let filtered = capctl::prctl::set_no_new_privs().is_ok();
        filtered && waiting_fronts(key).enforce(CallAnswer::Allow, CallAnswer::Refuse(Errno::EXDEV)).is_ok()
    };
    fails_with(Errno::EPERM, told_apart, || reject(OWN_KEY));
    fails_with(Errno::EXDEV, told_apart, || reject(OWN_KEY + 1));
    is_refused(as_waiting_front, || keyctl::update(OWN_KEY, b"x"));
    is_refused(as_waiting_front, || keyctl::read(OWN_KEY).map(drop));
    is_refused(as_waiting_front, || open(c"/dev/null", OFlag::O_RDONLY, Mode::empty()).map(drop));
    is_refused(as_waiting_front, || kill(getpid(), Signal::SIGKILL));
    is_refused(as_waiting_front, || unshare(CloneFlags::CLONE_NEWNS));
    is_refused(as_waiting_front, || fork().map(drop));
    is_refused(as_waiting_front, pair);
    is_refused(as_waiting_front, execute);
}

#[test]
fn an_exchange_can_write_to_what_is_open_and_nothing_else() {
    let (reader, writer) = pipe().unwrap();
    succeeds(as_exchange, || write(&writer, b"answer").map(drop));
    drop(writer);
    let mut written = String::new();
    File::from(reader).read_to_string(&mut written).unwrap();
    assert_eq!(written, "answer");
    is_refused(as_exchange, || open(c"/dev/null", OFlag::O_RDONLY, Mode::empty()).map(drop));
    is_refused(as_exchange, || kill(getpid(), Signal::SIGKILL));
    is_refused(as_exchange, pair);
    is_refused(as_exchange, execute);
    is_refused(as_exchange, || keyctl::read(1).map(drop));
}

#[test]
fn a_launcher_loses_what_neither_it_nor_a_worker_needs_and_can_execute() {
    is_refused(as_launcher, || unshare(CloneFlags::CLONE_FILES));
    is_refused(as_launcher, || nix::unistd::chroot("/"));
    is_refused(as_launcher, || match fork_confined()? {
        ForkResult::Child => end(0),
        ForkResult::Parent { child } => waitpid(child, None).map(drop),
    });
    is_refused(as_launcher, || keyctl::find(c"user", c"lgss-test:none").map(drop));
    succeeds(as_launcher, execute);
    succeeds(as_launcher, || make(AddressFamily::Inet, SockType::Stream));
    succeeds(|| confine_launcher(WorkerSandbox::Off).is_ok(), || unshare(CloneFlags::CLONE_FILES));
}
