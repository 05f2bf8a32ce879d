//! Checks of the files, users and sockets that the settings name, and of the kernel's key service.

use std::ffi::CStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::sys::statvfs::statvfs;
use nix::unistd::geteuid;

use super::finding::{Finding, Severity};
use super::trial::{self, LustreService};
use super::trusted::{OWNERSHIP, program, untrusted};
use super::{contradictions, quotas};
use crate::config::Config;
use crate::gss::krb5_conf::{self, ConfReader, Effect};
use crate::identity::system_user;
use crate::sys::files::trusted_path;
use crate::sys::keyctl;
use crate::text::shell_word;

/// Program that the kernel executes for request_key(2); the path is built into the kernel.
const REQUEST_KEY_PROGRAM: &str = "/sbin/request-key";

/// Checks the key service: whether it exists, whether this process may use it, and whether quotas leave room.
pub(super) fn kernel() -> Vec<Finding> {
    if !Path::new("/proc/keys").exists() {
        let remedy = "use a kernel with CONFIG_KEYS and CONFIG_PROC_FS; in a container, mount /proc";
        return vec![Finding::error("kernel", "there is no /proc/keys: no key service", remedy)];
    }
    match forbidden_call() {
        None => std::iter::once(Finding::ok("kernel", "has keys, and programs may use them"))
            .chain(quotas::findings())
            .collect(),
        Some((call, errno)) => vec![Finding::error(
            "kernel",
            format_args!("{call} is not allowed here: {}: no program here gets a context", errno.desc()),
            "in a container, allow keyctl, add_key and request_key in its seccomp profile; upcalls run on the host: check there, too",
        )],
    }
}

/// The first system call of the key service that fails as under a filter. Only this process's keyrings are changed.
fn forbidden_call() -> Option<(&'static str, Errno)> {
    const NAME: &CStr = c"lgss config check";
    let forbidden = |errno: &Errno| matches!(errno, Errno::EPERM | Errno::ENOSYS | Errno::EACCES);
    let calls: [(&'static str, Result<i32, Errno>); 3] = [
        ("keyctl(2)", keyctl::keyring_id(keyctl::PROCESS_KEYRING)),
        ("add_key(2)", keyctl::add(c"user", NAME, b"x", keyctl::PROCESS_KEYRING)),
        ("request_key(2)", keyctl::find(c"user", NAME)),
    ];
    calls.into_iter().find_map(|(call, result)| result.err().filter(forbidden).map(|errno| (call, errno)))
}

/// Checks the program that the kernel starts.
pub(super) fn request_key() -> Finding {
    program("request-key", Path::new(REQUEST_KEY_PROGRAM), "install keyutils").1
}

/// Checks everything that the settings in `file` name.
pub(super) fn check(config: &Config, file: &str, lustre: LustreService) -> Vec<Finding> {
    let mut findings = vec![krb5_config(&config.krb5_config)];
    let tables = config.namespace.values().filter_map(|table| table.krb5_config.as_deref());
    findings.extend(tables.map(krb5_config));
    // A file that no worker can read has been reported already.
    let unreadable = findings.iter().any(|finding| finding.severity == Severity::Error);
    let tried = trial::worker(config, file, lustre);
    findings.extend(tried.into_iter().filter(|finding| !(unreadable && finding.subject == "krb5_config")));
    findings.extend([
        run_dir(&config.run_dir),
        machine_user(&config.machine_user),
        log_socket(&config.log.socket),
    ]);
    findings.extend(contradictions::findings(config, file));
    findings
}

/// Checks a krb5.conf, which workers read with their users' rights.
fn krb5_config(path: &Path) -> Finding {
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Finding::warning(
            "krb5_config",
            format_args!("{} does not exist: realm and KDCs must come from DNS", path.display()),
            "write it, see krb5.conf(5)",
        ),
        Err(error) => {
            Finding::error("krb5_config", format_args!("{}: {error}", path.display()), "run this as root")
        }
        Ok(metadata) if !metadata.is_file() => Finding::error(
            "krb5_config",
            format_args!("{} is not a file", path.display()),
            "let krb5_config name one",
        ),
        Ok(metadata) if metadata.mode() & 0o004 == 0 => Finding::error(
            "krb5_config",
            format_args!("{} cannot be read by workers, which run as the users", path.display()),
            format_args!("chmod o+r {}", shell_word(path)),
        ),
        Ok(_) => {
            match (krb5_conf::faults(path, ConfReader::AnyUser).into_iter().next(), trusted_path(path)) {
                (Some(fault), _) if fault.effect == Effect::Fatal => {
                    let remedy = "correct it, see krb5.conf(5); every request fails until then";
                    Finding::error("krb5_config", fault, remedy)
                }
                (Some(fault), _) => Finding::warning("krb5_config", fault, "correct it, see krb5.conf(5)"),
                (None, Ok(_)) => Finding::ok("krb5_config", path.display()),
                (None, Err(error)) => Finding::warning("krb5_config", error, OWNERSHIP),
            }
        }
    }
}

fn run_dir(path: &Path) -> Finding {
    match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => absent_run_dir(path),
        Err(error) => {
            Finding::error("run_dir", format_args!("{}: {error}", path.display()), "run this as root")
        }
        Ok(metadata) if !metadata.is_dir() => Finding::error(
            "run_dir",
            format_args!("{} is not a directory", path.display()),
            "remove it; it is made when needed",
        ),
        Ok(metadata) => match trusted_path(path) {
            Err(error) => Finding::error("run_dir", error, OWNERSHIP),
            Ok(_) if metadata.mode() & 0o077 != 0 => Finding::warning(
                "run_dir",
                format_args!(
                    "{} has mode {:04o}: users see who negotiates",
                    path.display(),
                    metadata.mode() & 0o7777
                ),
                format_args!("chmod 0700 {}", shell_word(path)),
            ),
            Ok(_) => usable_run_dir(path),
        },
    }
}

/// Checks that the upcalls' entries there are directories, and that there is room for more.
fn usable_run_dir(path: &Path) -> Finding {
    let is_other = |name: &&str| path.join(name).symlink_metadata().is_ok_and(|there| !there.is_dir());
    if let Some(name) = ["slots", "owners", "machine"].iter().find(|name| is_other(name)) {
        let finding = format_args!("{}/{name} is not a directory: every request fails", path.display());
        return Finding::error("run_dir", finding, "remove it; it is made when needed");
    }
    room(path).unwrap_or_else(|| Finding::ok("run_dir", path.display()))
}

/// Tries to write a file without a name, which nobody sees. Only root tries: the directory is root's.
fn room(path: &Path) -> Option<Finding> {
    const PAGE: [u8; 4096] = [0; 4096];
    if !geteuid().is_root() {
        return None;
    }
    let flags = OFlag::O_TMPFILE | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let tried = open(path, flags, Mode::S_IRUSR | Mode::S_IWUSR)
        .and_then(|fd| nix::unistd::write(fd, &PAGE))
        .map(drop);
    let errno = match tried {
        // Some file systems do not support files without a name.
        Ok(()) | Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::EINVAL) => return None,
        Err(errno) => errno,
    };
    let no_inodes = statvfs(path).is_ok_and(|fs| fs.files() > 0 && fs.files_available() == 0);
    let remedy = match errno {
        Errno::ENOSPC | Errno::EDQUOT if no_inodes => {
            "its file system has no inodes left (df -i): remove files, or mount it with more (tmpfs: nr_inodes)"
        }
        Errno::ENOSPC | Errno::EDQUOT => "its file system is full (df): make room",
        Errno::EROFS => "its file system is read-only (findmnt): mount it rw, or set run_dir",
        _ => "see that root can write there: mount options, SELinux, a container",
    };
    let finding =
        format_args!("{}: no file can be made there: {}: requests fail", path.display(), errno.desc());
    Some(Finding::error("run_dir", finding, remedy))
}

/// Checks the parent: upcalls make the run directory, but nothing above it.
fn absent_run_dir(path: &Path) -> Finding {
    match path.parent().map(trusted_path) {
        Some(Ok(parent)) => room(&parent).unwrap_or_else(|| {
            Finding::ok("run_dir", format_args!("{} is made when needed", path.display()))
        }),
        Some(Err(error)) => untrusted("run_dir", &error, "make the directory above it, for root"),
        None => Finding::error("run_dir", "is the root directory", "name a directory below /run"),
    }
}

fn machine_user(name: &str) -> Finding {
    match system_user::find(name) {
        Ok(user) => Finding::ok("machine_user", format_args!("{name}, uid {}", user.uid)),
        Err(error) => Finding::error(
            "machine_user",
            format_args!("{error}: requests of root fail"),
            format_args!("useradd --system --user-group --no-create-home --shell /usr/sbin/nologin {name}"),
        ),
    }
}

fn log_socket(path: &Path) -> Finding {
    match fs::metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => {
            match UnixDatagram::unbound().and_then(|s| s.connect(path)) {
                Ok(()) => Finding::ok("log", path.display()),
                Err(error) => Finding::warning(
                    "log",
                    format_args!("{}: nobody reads it: {error}: nothing is logged", path.display()),
                    "start the system log (systemd-journald, rsyslogd), or set log.socket",
                ),
            }
        }
        Ok(_) => Finding::warning(
            "log",
            format_args!("{} is not a socket: nothing is logged", path.display()),
            "let log.socket name that of the system log",
        ),
        Err(error) => Finding::warning(
            "log",
            format_args!("{}: {error}: nothing is logged", path.display()),
            "start a system log (systemd-journald, rsyslogd), or set log.socket",
        ),
    }
}
