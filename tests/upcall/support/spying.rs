//! What a user gets of a process that keeps its secrets from the user's other processes: nothing, alive or dead.

use super::probe::{Finding, Step, as_user, probe};
use super::process::command;
use super::site::Site;
use nix::errno::Errno;
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// The user can neither trace nor read it, which an ordinary process of the same user allows.
#[track_caller]
pub(crate) fn expect_closed(site: &Site, pid: Pid) {
    expect_closed_to(site.uid(), pid);
}

/// The same of any user.
#[track_caller]
pub(crate) fn expect_closed_to(uid: u32, pid: Pid) {
    let forbidden = |(_, errno): &(String, Errno)| [Errno::EPERM, Errno::EACCES].contains(errno);
    let tried = look_into(uid, Some(pid.as_raw()));
    let worked: Vec<_> = tried.iter().filter(|attempt| !forbidden(attempt)).collect();
    assert!(worked.is_empty(), "not forbidden: {worked:?}");
    let possible = look_into(uid, None);
    assert!(!possible.iter().any(forbidden) && possible.len() == tried.len(), "{possible:?}");
    assert!(possible.contains(&("ptrace".to_owned(), Errno::from_raw(0))), "{possible:?}");
}

fn look_into(uid: u32, pid: Option<i32>) -> Vec<(String, Errno)> {
    let mut steps = as_user(uid);
    steps.push(Step::LookInto { pid });
    match probe(&steps).pop() {
        Some(Finding::Attempts(attempts)) => {
            attempts.into_iter().map(|(name, errno)| (name, Errno::from_raw(errno))).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// None is there, though an ordinary process of the user leaves one there, unless the kernel passes cores to a program.
#[track_caller]
pub(crate) fn expect_no_core(site: &Site) {
    assert_eq!(cores(site), [""; 0]);
    if !core_pattern().starts_with('|') {
        let crash = "cd \"$0\" && ulimit -c unlimited && exec setpriv --reuid=$1 --regid=$1 --clear-groups sh -c 'kill -SEGV $$'";
        let _ = command("sh").args(["-c", crash]).arg(site.path("user")).arg(site.uid().to_string()).status();
        assert_eq!(cores(site).len(), 1, "the kernel makes no core files ({})", core_pattern());
        cores_of(site).for_each(|core| fs::remove_file(core).unwrap());
    }
}

fn core_pattern() -> String {
    fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap().trim_end().to_owned()
}

pub(crate) fn cores(site: &Site) -> Vec<String> {
    cores_of(site).map(|core| core.display().to_string()).collect()
}

/// The user's files where the kernel and the usual collectors put cores.
fn cores_of(site: &Site) -> impl Iterator<Item = PathBuf> {
    let uid = site.uid();
    let pattern = PathBuf::from(core_pattern());
    let named = pattern.parent().filter(|parent| parent.is_absolute()).map(PathBuf::from);
    let usual = ["/", "/var/crash", "/var/lib/systemd/coredump"].map(PathBuf::from);
    let entries = usual.into_iter().chain(named).chain([site.path("user")]).collect::<BTreeSet<_>>();
    let entries =
        entries.into_iter().filter_map(|directory| fs::read_dir(directory).ok()).flatten().flatten();
    entries.filter_map(move |entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owned = entry.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.uid() == uid);
        let is_cache = name.starts_with("krb5cc_");
        (name.contains("core") && owned || name.contains(&uid.to_string()) && !is_cache).then(|| entry.path())
    })
}
