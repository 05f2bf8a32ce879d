//! A cgroup of a test in the version 2 hierarchy, which the machine must have.

use super::wait::wait_for;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Removed on drop, once nobody is in it.
#[derive(Debug)]
pub(crate) struct Cgroup {
    directory: PathBuf,
    /// As /proc/PID/cgroup tells it.
    path: String,
}

impl Cgroup {
    /// The number makes it this test's.
    pub(crate) fn new(uid: u32) -> Self {
        let path = name(uid);
        let directory = hierarchy().join(path.trim_start_matches('/'));
        fs::create_dir_all(directory.join("inner")).unwrap();
        Self { directory, path }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// A directory of a cgroup below it.
    pub(crate) fn inner(&self) -> String {
        self.directory.join("inner").display().to_string()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        wait_for("an empty cgroup", Duration::from_secs(10), || {
            remove_directories(&self.directory);
            (!self.directory.exists()).then_some(())
        });
    }
}

/// What a killed run has left.
pub(crate) fn remove(uid: u32) {
    let Some(hierarchy) = find_hierarchy() else { return };
    let directory = hierarchy.join(name(uid).trim_start_matches('/'));
    remove_directories(&directory);
}

/// Those that nobody is in.
fn remove_directories(directory: &Path) {
    for name in ["inner", ""] {
        let _ = fs::remove_dir(directory.join(name));
    }
}

fn name(uid: u32) -> String {
    format!("/lgss-test-{uid}")
}

fn hierarchy() -> PathBuf {
    find_hierarchy().expect("no cgroup2 file system is mounted")
}

fn find_hierarchy() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    fields.filter(|fields| fields[2] == "cgroup2").map(|fields| Path::new(fields[1]).to_owned()).next()
}
