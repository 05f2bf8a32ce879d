use super::*;
use crate::sys::keyctl;
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use std::ffi::CStr;

fn lending(step: u32, given_up: u32, process: i32) -> Lending<1> {
    Lending {
        rings: [1],
        to: 2,
        maker: getpid(),
        step: AtomicU32::new(step),
        given_up: AtomicU32::new(given_up),
        process: AtomicI32::new(process),
        opened: OnceLock::new(),
        wanted: AtomicBool::new(false),
        wanted_limit: WANTED_LIMIT,
        abandoned: AtomicBool::new(false),
        lent: AtomicU32::new(0),
    }
}

fn at(step: u32, given_up: u32, process: i32) -> Option<Late> {
    match lending(step, given_up, process).outcome(Duration::ZERO) {
        [Lent::Answered] => None,
        [Lent::Late(late)] => Some(late),
    }
}

#[test]
fn of_what_is_late_the_reason_is_the_one_that_can_be_seen() {
    assert_eq!(at(ENDED, 0, 0), None);
    assert_eq!(at(STARTING, STARVED, 0), Some(Late::Starved));
    assert_eq!(at(ENDED, STARVED, 0), Some(Late::Starved));
    assert_eq!(at(ENDED, UNANSWERED, 0), Some(Late::Unanswered));
    // A sleeping process waits for the lock, a runnable one for a processor.
    let mut sleeper = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let sleeping = i32::try_from(sleeper.id()).unwrap();
    let start = Instant::now();
    while at(TAKING, UNANSWERED, sleeping) != Some(Late::Held) {
        assert!(start.elapsed() < Duration::from_secs(30), "it does not sleep");
        pause(LENDING_LOOK);
    }
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    assert_eq!(at(WAITING, 0, nix::unistd::gettid().as_raw()), Some(Late::Starved));
    for late in [Late::Starved, Late::Held, Late::Unanswered] {
        assert_eq!(late.to_string().contains("lock was held"), late != Late::Starved);
    }
}

#[test]
fn the_front_waits_longer_for_a_processor_than_for_the_lock() {
    struct Killed(std::process::Child);
    impl Drop for Killed {
        fn drop(&mut self) {
            let _ = self.0.kill().and_then(|()| self.0.wait());
        }
    }
    let started =
        |script: &str| Killed(std::process::Command::new("sh").args(["-c", script]).spawn().unwrap());
    let waits = |process: &Killed, step| {
        let (lending, starved) = (lending(step, 0, process.0.id().cast_signed()), AtomicBool::new(false));
        let start = Instant::now();
        lending.expect(&starved);
        assert!(!starved.load(Ordering::Acquire));
        (start.elapsed(), lending.given_up.load(Ordering::Acquire))
    };
    let (spins, sleeps) = (started("while :; do :; done"), started("exec sleep 600"));
    // Each reads files at its start, and this process may be held up, too; but not each time.
    let longest = (0..10).map(|_| waits(&spins, TAKING)).max().unwrap();
    assert!(longest.0 >= BUSY_CALL_LIMIT && longest.1 == UNANSWERED, "{longest:?}");
    let shortest = (0..100).map(|_| waits(&sleeps, TAKING)).min().unwrap();
    assert!((CALL_LIMIT..BUSY_CALL_LIMIT).contains(&shortest.0) && shortest.1 == UNANSWERED, "{shortest:?}");
    let (took, reason) = waits(&sleeps, STARTING);
    assert!(took >= BUSY_LIMIT && reason == STARVED, "{took:?}");
}

/// A keyring with which its possessor and its owner may do everything.
fn open_ring(name: &CStr) -> RawSerial {
    const OPEN: u32 = 0x3f3f_0000;
    let ring = keyctl::add(c"keyring", name, &[], keyctl::THREAD_KEYRING).unwrap();
    keyctl::set_permissions(ring, OPEN).map(|()| ring).unwrap()
}

#[test]
fn a_process_that_has_ended_and_waits_to_be_reaped_keeps_no_keyring() {
    let [theirs, ours] = [c"lgss-test theirs", c"lgss-test ours"].map(open_ring);
    let lending = Lending::begin([theirs], ours).unwrap();
    lending.complete();
    assert_eq!(lending.outcome(Duration::from_secs(60)), [Lent::Answered]);
    assert_eq!(keyctl::links(ours), Ok(vec![theirs]), "it was lent");
    keyctl::clear(ours).and_then(|()| keyctl::unlink(theirs, keyctl::THREAD_KEYRING)).unwrap();
    // What nothing is linked to any more, the kernel collects in the background.
    let start = Instant::now();
    while keyctl::describe(theirs) != Err(Errno::ENOKEY) {
        assert!(start.elapsed() < Duration::from_secs(60), "kept by {:?}", lending.process);
        pause(LENDING_LOOK);
    }
    let process = Pid::from_raw(lending.process.load(Ordering::Acquire));
    nix::sys::wait::waitpid(process, None).expect("it has not been reaped before");
}

#[test]
fn what_is_linked_after_it_has_been_abandoned_is_unlinked_again() {
    let [theirs, ours] = [c"lgss-test lent", c"lgss-test late"].map(open_ring);
    let lending = Lending::begin([theirs], ours).unwrap();
    lending.abandon();
    lending.complete();
    assert_eq!(lending.outcome(Duration::from_secs(60)), [Lent::Answered]);
    assert_eq!((lending.lent.load(Ordering::Acquire), keyctl::links(ours)), (1, Ok(Vec::new())));
    let process = Pid::from_raw(lending.process.load(Ordering::Acquire));
    nix::sys::wait::waitpid(process, None).expect("it has not been reaped before");
}

#[test]
fn keyrings_that_nobody_wants_in_time_are_not_lent() {
    let [theirs, ours] = [c"lgss-test unwanted", c"lgss-test waiting"].map(open_ring);
    // As with a front that cannot be killed: its process is there, and never says that the key has been answered.
    let lending = Lending::begin_within(Duration::from_millis(20), [theirs], ours).unwrap();
    assert_eq!(lending.outcome(Duration::from_secs(60)), [Lent::Late(Late::Starved)]);
    let process = Pid::from_raw(lending.process.load(Ordering::Acquire));
    nix::sys::wait::waitpid(process, None).expect("it has not been reaped before");
    lending.complete();
    assert_eq!(keyctl::links(ours), Ok(Vec::new()));
}

#[test]
fn a_process_that_still_lends_is_ended_for_good_and_one_that_has_ended_left_alone() {
    let [theirs, ours] = [c"lgss-test kept", c"lgss-test never"].map(open_ring);
    let end_of = |lending: &Lending<1>| {
        lending.end();
        let process = lending.opened.get().expect("the maker has opened it").id();
        nix::sys::wait::waitpid(process, None).expect("it has not been reaped before")
    };
    let late = Lending::begin([theirs], ours).unwrap();
    let killed = end_of(late);
    assert!(matches!(killed, WaitStatus::Signaled(_, Signal::SIGKILL, _)), "{killed:?}");
    late.complete();
    assert_eq!(keyctl::links(ours), Ok(Vec::new()));
    let done = Lending::begin([theirs], ours).unwrap();
    done.complete();
    assert_eq!(done.outcome(Duration::from_secs(60)), [Lent::Answered]);
    assert!(done.opened.get().unwrap().wait_for_end(Duration::from_secs(60)));
    let ended = end_of(done);
    assert!(matches!(ended, WaitStatus::Exited(_, 0)), "{ended:?}");
    assert_eq!(keyctl::links(ours), Ok(vec![theirs]));
}
