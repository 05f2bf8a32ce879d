//! What the starter may still do. Its workers inherit that, so it must leave them what they need before they confine themselves
//! more tightly: it is what neither has a reason for. Files are read and never written, programs are executed from where the
//! system and the worker have theirs, and foreign code's calls are death.

use std::io;
use std::path::Path;

use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, Scope};
use nix::errno::Errno;

use crate::config::{Config, WorkerSandbox};
use crate::sys::call_filter::CallAnswer;
use crate::sys::call_groups::foreign;
use crate::sys::file_rules::allow;

/// The newest version of Landlock whose rights are used. A kernel with an older one enforces what it has.
const VERSION: ABI = ABI::V6;

/// Where programs, their loader and its libraries are.
const PROGRAMS: [&str; 6] = ["/usr", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store"];

/// Confines this process and those that it will start, as far as the site lets workers be confined.
///
/// # Errors
/// The library's or the kernel's. A kernel without Landlock is none.
pub(super) fn confine(config: &Config) -> io::Result<()> {
    match config.worker_sandbox {
        WorkerSandbox::Off => Ok(()),
        WorkerSandbox::Plugins => foreign().enforce(CallAnswer::Refuse(Errno::EPERM), CallAnswer::Allow),
        WorkerSandbox::Strict => {
            confine_files(&config.worker)?;
            foreign().enforce(CallAnswer::Kill, CallAnswer::Allow)
        }
    }
}

fn confine_files(worker: &Path) -> io::Result<()> {
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(VERSION))
        .and_then(|rules| rules.handle_access(AccessNet::BindTcp))
        .and_then(|rules| rules.scope(Scope::from_all(VERSION)))
        .and_then(Ruleset::create)
        .map_err(io::Error::other)?;
    allow(&mut rules, Path::new("/"), AccessFs::ReadFile | AccessFs::ReadDir)?;
    allow(&mut rules, Path::new("/dev/null"), AccessFs::ReadFile | AccessFs::WriteFile)?;
    // By their directory, since a package that is updated brings a new file.
    let real = worker.canonicalize().ok();
    let of_worker = real.iter().filter_map(|worker| worker.parent());
    for path in PROGRAMS.iter().map(Path::new).chain(of_worker) {
        allow(&mut rules, path, AccessFs::Execute.into())?;
    }
    rules.restrict_self().map(drop).map_err(io::Error::other)
}
