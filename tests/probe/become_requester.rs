//! From root to the requester that a test needs: ids, namespaces, root directory.

use crate::errno::errno_of;
use crate::plan::{Container, PlantedFile, Subordinates};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{ForkResult, Gid, Uid, fork, getpid, pipe, read, setgroups, setresgid, setresuid, write};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

/// The probe ends with the test's thread, however that ends.
pub(crate) fn die_with_parent() {
    // SAFETY: a plain number.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

pub(crate) fn ids(uid: [u32; 3], gid: [u32; 3]) -> Result<(), Errno> {
    setgroups(&[])?;
    let [r, e, s] = gid.map(Gid::from_raw);
    setresgid(r, e, s)?;
    let [r, e, s] = uid.map(Uid::from_raw);
    setresuid(r, e, s)?;
    die_with_parent();
    Ok(())
}

pub(crate) fn fs_ids(uid: u32, gid: u32) {
    nix::unistd::setfsgid(Gid::from_raw(gid));
    nix::unistd::setfsuid(Uid::from_raw(uid));
    die_with_parent();
}

pub(crate) fn private_directory(directory: &str, files: &[PlantedFile]) -> Result<(), Errno> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let nothing = None::<&str>;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
    mount(Some("lgss-test"), directory, Some("tmpfs"), MsFlags::empty(), Some("mode=1777"))?;
    for file in files {
        if let Some(above) = Path::new(&file.path).parent() {
            fs::create_dir_all(above).map_err(errno_of)?;
        }
        fs::write(&file.path, &file.content).map_err(errno_of)?;
        fs::set_permissions(&file.path, fs::Permissions::from_mode(file.mode)).map_err(errno_of)?;
        chown(&file.path, Some(file.owner), Some(file.owner)).map_err(errno_of)?;
    }
    Ok(())
}

pub(crate) fn enter_net(path: &str) -> Result<(), Errno> {
    setns(fs::File::open(path).map_err(errno_of)?, CloneFlags::CLONE_NEWNET)
}

/// The caller becomes root in the new namespace.
pub(crate) fn user_namespace() -> Result<(), Errno> {
    let uid = nix::unistd::geteuid();
    let gid = nix::unistd::getegid();
    unshare(CloneFlags::CLONE_NEWUSER)?;
    // A process that has changed its ids does not own its /proc files.
    // SAFETY: a plain number.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) };
    fs::write("/proc/self/uid_map", format!("0 {uid} 1")).map_err(errno_of)?;
    fs::write("/proc/self/setgroups", "deny").map_err(errno_of)?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1")).map_err(errno_of)
}

/// The rest of the plan runs in a child, since a process never leaves its process-id namespace; the probe ends with
/// that child.
pub(crate) fn container(container: &Container) -> Result<(), Errno> {
    if let Some(cgroup) = &container.cgroup {
        fs::write(format!("{cgroup}/cgroup.procs"), getpid().to_string()).map_err(errno_of)?;
    }
    if let Some(Subordinates { owner, user }) = container.subordinates {
        mapped_namespace(owner, &format!("0 {owner} 1\n1000 {user} 1\n"))?;
        ids([0; 3], [0; 3])?;
    }
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID)?;
    let nothing = None::<&str>;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
    // SAFETY: the probe has only this thread, so the child may do anything.
    if let ForkResult::Parent { child } = unsafe { fork()? } {
        let _ = nix::sys::wait::waitpid(child, None);
        std::process::exit(0);
    }
    die_with_parent();
    Ok(())
}

pub(crate) fn subordinate_user(owner: u32, uid: u32) -> Result<(), Errno> {
    mapped_namespace(owner, &format!("0 {owner} 1\n1 {uid} 1\n"))?;
    ids([1; 3], [1; 3])
}

/// A user namespace of the owner. Only root may map two uids, so a child that stays root does it.
fn mapped_namespace(owner: u32, map: &str) -> Result<(), Errno> {
    let (unshared, tell) = pipe()?;
    let (mapped, tell_mapped) = pipe()?;
    let probe = getpid();
    // SAFETY: the probe has only this thread, so the child may do anything.
    if let ForkResult::Child = unsafe { fork()? } {
        die_with_parent();
        drop(tell);
        let waited = read(&unshared, &mut [0]);
        let written = ["uid_map", "gid_map"].map(|file| fs::write(format!("/proc/{probe}/{file}"), map));
        if waited == Ok(1) && written.iter().all(Result::is_ok) {
            let _ = write(&tell_mapped, b"m");
        }
        std::process::exit(0);
    }
    drop(tell_mapped);
    ids([owner; 3], [owner; 3])?;
    unshare(CloneFlags::CLONE_NEWUSER)?;
    write(&tell, b"u")?;
    if read(&mapped, &mut [0])? != 1 {
        return Err(Errno::EPERM);
    }
    Ok(())
}

pub(crate) fn enter_user_namespace(pid: i32, uid: u32) -> Result<(), Errno> {
    let namespace = fs::File::open(format!("/proc/{pid}/ns/user")).map_err(errno_of)?;
    setns(namespace, CloneFlags::CLONE_NEWUSER)?;
    ids([uid; 3], [uid; 3])
}

pub(crate) fn chroot(path: &str) -> Result<(), Errno> {
    nix::unistd::chroot(path)?;
    nix::unistd::chdir("/")
}
