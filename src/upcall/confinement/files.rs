//! Which files the monitor may still change, and which program it may execute (landlock(7)).
//!
//! It has uid 0, so the permissions of root's files do not stop it. What it reads is not limited: without capabilities it reads
//! what root's files let root read, and its settings may name files anywhere.

use std::io;
use std::path::Path;

use landlock::{ABI, AccessFs, Ruleset, RulesetAttr};

use crate::config::Config;
use crate::sys::file_rules::allow;
use crate::upcall::{cgroup, ready};

/// The newest version whose rights are used. A kernel with an older one enforces what it has.
const VERSION: ABI = ABI::V5;

/// Written to by a teller, which opens /dev/null as its standard descriptors, and by a monitor that becomes one.
const WRITTEN: [&str; 2] = ["/dev/null", "/proc/self/oom_score_adj"];

/// A teller's program, which is the monitor's. The loader of one that is not static, as in tests, is a program that executes
/// others.
const EXECUTED: &[&str] = if cfg!(target_feature = "crt-static") {
    &["/proc/self/exe"]
} else {
    &["/proc/self/exe", "/lib", "/lib64", "/usr/lib"]
};

/// Leaves this process, and those that it starts from now on, what is below the run directory, the cgroups of owners, the notes
/// and the directory `elsewhere` to change.
///
/// # Errors
/// The library's or the kernel's. A kernel without Landlock is none.
pub(super) fn confine(config: &Config, elsewhere: Option<&Path>) -> io::Result<()> {
    let refused = AccessFs::from_write(VERSION) | AccessFs::Execute;
    let mut rules =
        Ruleset::default().handle_access(refused).and_then(Ruleset::create).map_err(io::Error::other)?;
    let file = AccessFs::WriteFile | AccessFs::Truncate;
    let entries = AccessFs::MakeReg | AccessFs::MakeDir | AccessFs::RemoveFile | AccessFs::RemoveDir;
    let directories = [
        Some(config.run_dir.clone()),
        Some(ready::directory()),
        cgroup::directory(config),
        elsewhere.map(Path::to_owned),
    ];
    for directory in directories.iter().flatten() {
        allow(&mut rules, directory, file | entries)?;
    }
    for path in WRITTEN {
        allow(&mut rules, Path::new(path), file)?;
    }
    for path in EXECUTED {
        allow(&mut rules, Path::new(path), AccessFs::Execute.into())?;
    }
    rules.restrict_self().map(drop).map_err(io::Error::other)
}
