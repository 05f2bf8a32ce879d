//! A directory that stands for a requester's root, in tests.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

pub(super) struct TestRoot {
    pub(super) directory: tempfile::TempDir,
    pub(super) root: File,
}

impl TestRoot {
    pub(super) fn with(directories: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in directories {
            fs::create_dir_all(directory.path().join(name)).unwrap();
        }
        let root = File::open(directory.path()).unwrap();
        Self { directory, root }
    }

    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn write(&self, name: &str, mode: u32) {
        fs::write(self.at(name), "x").unwrap();
        fs::set_permissions(self.at(name), Permissions::from_mode(mode)).unwrap();
    }

    pub(super) fn link(&self, name: &str, target: &str) {
        symlink(target, self.at(name)).unwrap();
    }
}
