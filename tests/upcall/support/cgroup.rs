//! A test's cgroup in the version 2 hierarchy, which the machine must have.

use super::wait::wait_for;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Removed on drop, once it is empty.
#[derive(Debug)]
pub(crate) struct Cgroup {
    directory: PathBuf,
    /// As in /proc/PID/cgroup.
    path: String,
}

impl Cgroup {
    /// The uid makes the name unique to this test.
    pub(crate) fn new(uid: u32) -> Self {
        let path = name(uid);
        let directory = hierarchy().join(path.trim_start_matches('/'));
        fs::create_dir_all(directory.join("inner")).unwrap();
        Self { directory, path }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Directory of a cgroup below this one.
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

/// Removes what a killed run left.
pub(crate) fn remove(uid: u32) {
    let Some(hierarchy) = find_hierarchy() else { return };
    let directory = hierarchy.join(name(uid).trim_start_matches('/'));
    remove_directories(&directory);
}

/// Removes those that are empty.
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
