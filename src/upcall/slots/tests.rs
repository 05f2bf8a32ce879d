use super::*;
use crate::class::Private;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// More than any slot takes to be freed, also on a busy machine.
const FREEING_LIMIT: Duration = Duration::from_secs(30);

/// A run directory, and the settings that name it.
struct Run {
    _directory: TempDir,
    config: Config,
    namespace: File,
}

impl Run {
    fn with(limits: Limits) -> Self {
        let directory = tempfile::Builder::new().prefix("lgss-test").tempdir_in("/var/lib").unwrap();
        let mut config = Config::default();
        config.run_dir = directory.path().to_owned();
        config.limits = limits;
        // The first failure makes a pause that no test outlasts.
        let hour = crate::config::Seconds::of(3600);
        config.backoff = Backoff { after: 0, first: hour, longest: hour };
        Self { _directory: directory, config, namespace: File::open("/proc/self/ns/user").unwrap() }
    }

    fn user(&self, uid: u32, anew: OnPause) -> Claimant<'_> {
        Claimant::User(uid, self.namespace.as_fd(), anew)
    }

    fn take(&self, claimant: Claimant<'_>) -> Result<Slot, Failure> {
        Slot::take(&self.config, claimant, Instant::now())
    }

    fn take_of(&self, uid: u32) -> Result<Slot, Failure> {
        self.take(self.user(uid, OnPause::Respect))
    }

    /// Tries until a slot is free: a child that another test has forked may hold one for a moment.
    fn take_soon(&self, uid: u32) -> Slot {
        let end = Instant::now() + FREEING_LIMIT;
        loop {
            match self.take_of(uid) {
                Ok(slot) => return slot,
                Err(failure) => assert!(Instant::now() < end, "{failure}"),
            }
            thread::yield_now();
        }
    }

    fn owners(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.config.run_dir.join("owners")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

fn limits() -> Limits {
    Config::default().limits
}

#[track_caller]
fn is_full(taken: Result<Slot, Failure>, words: &str) {
    let failure = taken.unwrap_err();
    assert_eq!((failure.stage, failure.cause), (Stage::Admit, Cause::TooMany), "{failure}");
    assert_eq!(failure.detail, words);
}

#[test]
fn an_owner_has_slots_up_to_its_limit_and_takes_none_of_others() {
    let run = Run::with(Limits { per_owner: 2, ..limits() });
    let _own = [run.take_of(4_000_001).unwrap(), run.take_of(4_000_001).unwrap()];
    is_full(run.take_of(4_000_001), "uid 4000001 has as many negotiations alive as limits.per_owner allows");
    let _others = [
        run.take_of(4_000_002).unwrap(),
        run.take(Claimant::Machine(OnPause::Respect)).unwrap(),
        run.take(Claimant::LustreMachine).unwrap(),
        run.take(Claimant::LustreUser).unwrap(),
    ];
}

#[test]
fn all_users_have_a_limit_and_whoever_meets_it_leaves_no_file() {
    let run = Run::with(Limits { per_owner: 2, users: 2, ..limits() });
    let _users = [run.take_of(4_000_001).unwrap(), run.take_of(4_000_002).unwrap()];
    is_full(
        run.take_of(4_000_003),
        "all users together have as many negotiations alive as limits.users allows",
    );
    assert!(!run.owners().contains(&"uid-4000003".to_owned()), "{:?}", run.owners());
    run.take(Claimant::Machine(OnPause::Respect)).unwrap();
    run.take(Claimant::LustreUser).unwrap();
}

#[test]
fn root_and_lustre_share_the_machines_slots_and_lustres_users_have_their_own() {
    let run = Run::with(Limits { machine: 1, kernel: 1, ..limits() });
    let _machine = run.take(Claimant::LustreMachine).unwrap();
    is_full(
        run.take(Claimant::Machine(OnPause::Respect)),
        "root has as many negotiations alive as limits.machine allows",
    );
    is_full(
        run.take(Claimant::LustreMachine),
        "root and Lustre have as many negotiations alive as limits.machine allows",
    );
    let _kernel = run.take(Claimant::LustreUser).unwrap();
    is_full(
        run.take(Claimant::LustreUser),
        "Lustre has as many users' negotiations alive as limits.kernel allows",
    );
    run.take_of(4_000_001).unwrap();
}

#[test]
fn a_slot_that_is_given_back_is_free_and_its_owners_empty_file_gone() {
    let run = Run::with(Limits { per_owner: 1, users: 1, ..limits() });
    for _ in 0..3 {
        run.take_soon(4_000_001).give_back();
    }
    let end = Instant::now() + FREEING_LIMIT;
    while !run.owners().is_empty() {
        assert!(Instant::now() < end, "{:?}", run.owners());
        run.take_soon(4_000_001).give_back();
    }
}

/// A process that holds locks until it is dropped.
struct LockHolder(Child);

impl Drop for LockHolder {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).unwrap();
    }
}

/// Leaves the slot's locks to another process.
fn held_by_another(slot: &Slot) -> LockHolder {
    let opened = |file: &LockFile| Stdio::from(file.file().try_clone().unwrap());
    let owners = slot.owner_slot.as_ref().unwrap();
    let mut holder = Command::new("sleep");
    holder.arg("3600").stdin(opened(&owners.file)).stdout(opened(&slot._pool));
    LockHolder(holder.spawn().unwrap())
}

#[test]
fn the_slot_of_a_process_that_was_killed_is_free() {
    let run = Run::with(Limits { per_owner: 1, users: 1, ..limits() });
    let slot = run.take_of(4_000_001).unwrap();
    let holder = held_by_another(&slot);
    drop(slot);
    is_full(run.take_of(4_000_001), "uid 4000001 has as many negotiations alive as limits.per_owner allows");
    is_full(
        run.take_of(4_000_002),
        "all users together have as many negotiations alive as limits.users allows",
    );
    drop(holder);
    run.take_soon(4_000_001);
}

#[test]
fn lustre_waits_for_a_slot_until_its_deadline_and_a_program_does_not() {
    let run = Run::with(Limits { machine: 1, ..limits() });
    let held = run.take(Claimant::LustreMachine).unwrap();
    let take_within = |claimant, limit| Slot::take(&run.config, claimant, Instant::now() + limit);
    let begun = Instant::now();
    is_full(
        take_within(Claimant::Machine(OnPause::Respect), FREEING_LIMIT),
        "root has as many negotiations alive as limits.machine allows",
    );
    assert!(begun.elapsed() < FREEING_LIMIT);
    let short = Duration::from_millis(50);
    let begun = Instant::now();
    is_full(
        take_within(Claimant::LustreMachine, short),
        "root and Lustre have as many negotiations alive as limits.machine allows",
    );
    assert!(begun.elapsed() >= short);
    thread::scope(|scope| {
        let (tell, told) = std::sync::mpsc::channel();
        let waiting = scope.spawn(move || {
            tell.send(nix::unistd::gettid()).unwrap();
            take_within(Claimant::LustreMachine, FREEING_LIMIT)
        });
        // It pauses only after it has found no slot.
        let call = format!("/proc/self/task/{}/syscall", told.recv().unwrap());
        while !is_a_pause(&std::fs::read_to_string(&call).unwrap_or_default()) {
            assert!(!waiting.is_finished(), "it does not wait");
            thread::yield_now();
        }
        drop(held);
        waiting.join().unwrap().unwrap();
    });
}

/// Whether a thread's present system call (proc_pid_syscall(5)) is that of thread::sleep().
fn is_a_pause(call: &str) -> bool {
    let number = call.split(' ').next().and_then(|number| number.parse().ok());
    number.is_some_and(|number: i64| [libc::SYS_clock_nanosleep, libc::SYS_nanosleep].contains(&number))
}

#[test]
fn in_a_pause_only_who_has_other_credentials_goes_on_and_a_success_ends_it() {
    let run = Run::with(limits());
    let failure = Failure::new(Stage::Credentials, Cause::NoTicket, "no ticket");
    let failed = Outcome::Failed(failure);
    let first = run.take_of(4_000_001).unwrap();
    assert!(first.paused().is_none());
    first.remember(&failed, Some(&[7]));
    let looking = run.take_of(4_000_001).unwrap();
    assert_eq!(*looking.paused().unwrap().tried.expose(), [7]);
    assert!(run.take_of(4_000_002).unwrap().paused().is_none(), "another's pause");
    // A failure not about credentials pauses every request.
    let other = run.take_of(4_000_003).unwrap();
    other.remember(&failed, None);
    let turned_away = run.take_of(4_000_003).unwrap_err();
    assert_eq!(turned_away.cause, Cause::Paused, "{turned_away}");
    looking.remember(&established(), None);
    assert!(run.take_of(4_000_001).unwrap().paused().is_none());
}

fn established() -> Outcome {
    Outcome::Established {
        credential: String::new(),
        server: String::new(),
        window: crate::ctx::SeqWindow::new(1).unwrap(),
        protection: String::new(),
        lifetime: crate::ctx::Lifetime::from_secs(1),
        total: Duration::ZERO,
    }
}

#[test]
fn to_end_a_pause_where_there_is_none_takes_no_slot() {
    let run = Run::with(limits());
    for claimant in [Claimant::Machine(OnPause::EndOnly), run.user(4_000_001, OnPause::EndOnly)] {
        let failure = run.take(claimant).unwrap_err();
        assert_eq!((failure.cause, failure.detail.as_str()), (Cause::Unpaused, NO_PAUSE));
    }
}

#[test]
fn a_worker_that_speaks_of_a_pause_where_there_is_none_has_failed() {
    let directory = tempfile::tempdir().unwrap();
    let request = UserRequest { owner: CountedOwner::User(7), uid: 7, anew: OnPause::Respect };
    let remembered = |paused| {
        let opened = File::open(directory.path()).unwrap().into();
        let owner_slot = OwnerSlot::open(opened, request, &Config::default()).unwrap();
        let owner_slot = OwnerSlot { paused, ..owner_slot };
        owner_slot.remember(&Outcome::Failed(pause("of its own".to_owned())), None).unwrap();
        read(&owner_slot.file).is_some()
    };
    assert!(!remembered(Some(Paused { tried: Private::new(Vec::new()), detail: String::new() })));
    assert!(remembered(None));
}

/// Another process rewrites the record meanwhile, as every refused request does.
#[test]
fn a_record_that_is_being_written_is_not_taken_for_none() {
    let directory = tempfile::tempdir().unwrap();
    let opened: OwnedFd = File::open(directory.path()).unwrap().into();
    let open = || LockFile::open(opened.as_fd(), "1000").unwrap();
    let failure = Failure::new(Stage::Credentials, Cause::NoTicket, "no ticket");
    let backoff = Backoff { after: 0, ..Config::default().backoff };
    let what = LastFailure::of(&failure, 1000).with(Some(vec![7]));
    let record = FailureRecord::after_failure(None, since_boot() + Duration::from_secs(3600), what, &backoff);
    let writer = open();
    writer
        .hold(&OWNER_RECORD, Instant::now() + OWNER_RECORD_WAIT, |file| overwrite(file, &record.to_string()))
        .unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                writer.hold(&OWNER_RECORD, Instant::now() + OWNER_RECORD_WAIT, |file| {
                    overwrite(file, &record.to_string());
                });
            }
        });
        let reader = open();
        let passes = || text(&reader).is_some_and(|text| is_without_pause(&text));
        let passed = (0..100_000).filter(|_| passes()).count();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(passed, 0, "so many were let through in a pause");
    });
}
