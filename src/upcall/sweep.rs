//! Removes stale files below the run directory: records of owners, failures and log lines whose time is over, machine
//! caches that have expired, and old proofs of primes (rule S22). `slots` has nothing to remove, only one file for each pool.
//!
//! Called by the monitor at its very end; one monitor does it in each interval. Invariant: a file stays while a process
//! holds a byte of it.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, SystemTime};

use super::stale::{is_older, names, remove};
use super::{cgroup, failures, log_budget, own_cache, primes, slots};
use crate::config::Config;
use crate::sys::files::{private_directory, subdirectory};
use crate::sys::locks::LockFile;

/// Interval between two sweeps.
const INTERVAL: Duration = Duration::from_secs(600);
/// A file whose modification time is that of the last sweep.
const MARK: &str = "swept";

/// Removes stale files if the interval is over. Returns notices of log lines left out that nobody has reported.
pub(super) fn sweep(config: &Config) -> Vec<String> {
    let Ok(run) = private_directory(&config.run_dir) else { return Vec::new() };
    let Ok(mark) = LockFile::open(run.as_fd(), MARK) else { return Vec::new() };
    if !is_older(&mark, INTERVAL) || mark.try_take(&(0..1)) != Ok(true) || !is_older(&mark, INTERVAL) {
        return Vec::new();
    }
    let _ = mark.file().set_modified(SystemTime::now());
    sweep_now(&run, config)
}

fn sweep_now(run: &OwnedFd, config: &Config) -> Vec<String> {
    let mut untold = Vec::new();
    for_each(run, "owners", |directory, name, file| {
        if slots::is_over(file, config) {
            remove(directory, name, file);
        }
    });
    for_each(run, "log", |directory, name, file| {
        let (is_over, notice) = log_budget::is_over(file, name, &config.log);
        if is_over && remove(directory, name, file) {
            untold.extend(notice);
        }
    });
    for_each(run, "failures", |directory, name, file| {
        if is_older(file, failures::MEMORY_AGE) {
            remove(directory, name, file);
        }
    });
    for_each(run, "primes", |directory, name, file| {
        if is_older(file, primes::PROOF_AGE) {
            remove(directory, name, file);
        }
    });
    if let Ok(directory) = subdirectory(run.as_fd(), "machine") {
        own_cache::sweep(&directory);
    }
    cgroup::sweep(config);
    untold
}

/// Calls `look` for every file of a subdirectory.
fn for_each(run: &OwnedFd, subdirectory_name: &str, mut look: impl FnMut(&OwnedFd, &str, &LockFile)) {
    let Ok(directory) = subdirectory(run.as_fd(), subdirectory_name) else { return };
    for name in names(&directory) {
        if let Ok(file) = LockFile::open_existing(directory.as_fd(), &name) {
            look(&directory, &name, &file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs::{self, File};
    use std::path::Path;
    use tempfile::TempDir;

    fn set_age(path: &Path, age: Duration) {
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    }

    /// Settings with a run directory of the test's own.
    fn scene(subdirectories: &[&str]) -> (TempDir, Config) {
        let directory = tempfile::Builder::new().prefix("lgss-test").tempdir_in("/var/lib").unwrap();
        let mut config = Config::default();
        config.run_dir = directory.path().join("run");
        for name in subdirectories {
            fs::create_dir_all(config.run_dir.join(name)).unwrap();
        }
        fs::set_permissions(&config.run_dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        (directory, config)
    }

    /// The files that are left.
    fn left(run: &Path, subdirectories: &[&str]) -> BTreeSet<String> {
        let files = subdirectories.iter().flat_map(|name| {
            let opened = OwnedFd::from(File::open(run.join(name)).unwrap());
            names(&opened).into_iter().map(move |file| format!("{name}/{file}"))
        });
        files.collect()
    }

    #[test]
    fn a_prime_is_tested_anew_after_a_month_unless_that_is_being_done() {
        let (_directory, config) = scene(&["primes"]);
        let primes = config.run_dir.join("primes");
        let day = Duration::from_secs(86_400);
        for (name, age) in [("old", 31), ("month", 30), ("young", 29), ("held", 31)] {
            fs::write(primes.join(name), "safe\n").unwrap();
            set_age(&primes.join(name), day * age);
        }
        let held = LockFile::open(File::open(&primes).unwrap().as_fd(), "held").unwrap();
        assert!(held.try_take(&(0..1)).unwrap());
        sweep_now(&private_directory(&config.run_dir).unwrap(), &config);
        let expected = ["primes/held", "primes/young"].map(str::to_owned);
        assert_eq!(left(&config.run_dir, &["primes"]), expected.into());
    }

    #[test]
    fn what_is_over_goes_and_what_is_in_use_or_still_counts_stays() {
        const DAYS: Duration = Duration::from_secs(3 * 86_400);
        let subdirectories = ["owners", "log", "machine"];
        let (_directory, config) = scene(&subdirectories);
        let run = config.run_dir.clone();
        let now = crate::time::since_boot().as_millis();
        let put = |name: &str, content: &str, age: Duration| {
            fs::write(run.join(name), content).unwrap();
            set_age(&run.join(name), age);
        };
        put("owners/uid-1", "3 1 1 0 ENOKEY 1 0 0 - ", DAYS);
        put("owners/uid-2", &format!("3 {now} {now} 0 ENOKEY 2 0 0 - "), DAYS);
        put("owners/uid-3", "", DAYS);
        put("log/uid-1", "1 5 0", DAYS);
        put("log/uid-2", "1 5 7", DAYS);
        put("log/uid-3", &format!("{now} 5 7"), DAYS);
        put("log/users", "1 5 0", DAYS);
        put("machine/a.state", "{\"good\":5}", DAYS);
        put("machine/a", "tickets", DAYS);
        put("machine/b.state", "{\"good\":99999999999}", DAYS);
        put("machine/b", "tickets", DAYS);
        put("machine/c.state", "{\"good\":5}", Duration::ZERO);
        put("machine/d.state", "{\"good\":5}", DAYS);
        put("machine/.x.new", "", DAYS);
        put("machine/.y.new", "", Duration::ZERO);
        let machine = File::open(run.join("machine")).unwrap();
        let held = LockFile::open(machine.as_fd(), "d.state").unwrap();
        assert!(held.try_take(&(0..1)).unwrap());

        assert_eq!(sweep(&config), [""; 0], "not at once");
        set_age(&run.join(MARK), INTERVAL);
        let told = sweep(&config);
        assert!(told.len() == 1 && told[0].starts_with("log: 7 more lines of uid 2 "), "{told:?}");
        let expected = [
            "log/uid-3",
            "log/users",
            "machine/.y.new",
            "machine/b",
            "machine/b.state",
            "machine/c.state",
            "machine/d.state",
            "owners/uid-2",
        ];
        assert_eq!(left(&run, &subdirectories), expected.map(str::to_owned).into());
    }
}
