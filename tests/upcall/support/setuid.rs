//! A setuid program of root.

use super::site::{Site, install};
use std::fs;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::PathBuf;

/// The probe as a setuid program of root, in a directory from which only the site's user can start it.
pub(crate) fn setuid_probe(site: &Site) -> PathBuf {
    let directory = site.path("setuid");
    fs::DirBuilder::new().mode(0o710).create(&directory).unwrap();
    chown(&directory, Some(0), Some(site.uid())).unwrap();
    let program = directory.join("probe");
    install(env!("CARGO_BIN_EXE_lgss-probe"), &program, 0o4755);
    program
}
