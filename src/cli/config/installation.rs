//! Checks of what the settings name, and of what the kernel has.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::fcntl::OFlag;

use super::finding::Finding;
use crate::config::{Config, DEFAULT_PATH};
use crate::identity::system_user;
use crate::sys::files::{Untrusted, open_trusted, trusted_path};

/// What the kernel executes for request_key(2); the path is built into it.
const REQUEST_KEY: &str = "/sbin/request-key";
/// Quotas in which some contexts have room; one takes about 300 bytes.
const FEW_KEYS: u64 = 20;
const FEW_BYTES: u64 = 6000;

/// For files that others could change.
pub(super) const OWNERSHIP: &str =
    "give it and every directory above it to root (chown root), writable by nobody else (chmod go-w)";

/// Keys, and room for them.
pub(super) fn kernel() -> Vec<Finding> {
    if !Path::new("/proc/keys").exists() {
        let remedy = "use a kernel with CONFIG_KEYS and CONFIG_PROC_FS; in a container, mount /proc";
        return vec![Finding::error("kernel", "there is no /proc/keys: no key service", remedy)];
    }
    let limit = |name: &str| -> Option<u64> {
        fs::read_to_string(Path::new("/proc/sys/kernel/keys").join(name)).ok()?.trim().parse().ok()
    };
    let tiny = |name: &str, least: u64| {
        limit(name).filter(|&limit| limit < least).map(|limit| {
            let finding = format!("/proc/sys/kernel/keys/{name} is {limit}: room for a few contexts a user");
            Finding::warning(
                "kernel",
                finding,
                format_args!("sysctl kernel.keys.{name}: the kernel's default is more"),
            )
        })
    };
    let quotas: Vec<Finding> =
        [tiny("maxkeys", FEW_KEYS), tiny("maxbytes", FEW_BYTES)].into_iter().flatten().collect();
    if quotas.is_empty() {
        vec![Finding::ok("kernel", "has keys, and quotas with room for contexts")]
    } else {
        quotas
    }
}

/// The program that the kernel starts.
pub(super) fn request_key() -> Finding {
    program("request-key", Path::new(REQUEST_KEY), "install keyutils").1
}

/// Everything that the settings name.
pub(super) fn of(config: &Config) -> Vec<Finding> {
    let mut findings = vec![
        worker(&config.worker),
        krb5_config(&config.krb5_config),
        run_dir(&config.run_dir),
        machine_user(&config.machine_user),
        log_socket(&config.log.socket),
    ];
    for table in config.namespace.values() {
        findings.extend(table.krb5_config.as_deref().map(krb5_config));
        findings.extend(table.keytab.as_deref().map(keytab));
    }
    findings
}

/// A program that root executes: its mode if all is well, and the finding.
pub(super) fn program(subject: &'static str, path: &Path, install: &str) -> (Option<u32>, Finding) {
    let file = match open_trusted(path, OFlag::O_PATH) {
        Ok(file) => file,
        Err(error) => return (None, untrusted(subject, &error, install)),
    };
    match file.metadata().map(|metadata| metadata.mode() & 0o7777) {
        Ok(mode) if mode & 0o111 == 0 => {
            let remedy = format!("chmod +x {}", path.display());
            (None, Finding::error(subject, format_args!("{} is not executable", path.display()), remedy))
        }
        Ok(mode) => (Some(mode), Finding::ok(subject, path.display())),
        Err(error) => (None, Finding::error(subject, format_args!("{}: {error}", path.display()), install)),
    }
}

fn untrusted(subject: &'static str, error: &Untrusted, install: &str) -> Finding {
    let remedy = match error {
        Untrusted::Writable(_) => OWNERSHIP,
        Untrusted::Open(_, error) if error.kind() == ErrorKind::PermissionDenied => "run this as root",
        _ => install,
    };
    Finding::error(subject, error, remedy)
}

fn worker(path: &Path) -> Finding {
    let install = format!("install it, or set worker in {DEFAULT_PATH}");
    match program("worker", path, &install) {
        (Some(mode), _) if mode & 0o011 != 0o011 => Finding::error(
            "worker",
            format_args!("{} has mode {mode:04o}: users cannot execute it", path.display()),
            format_args!("chmod 0711 {}", path.display()),
        ),
        (Some(mode), _) if mode & 0o044 != 0 => Finding::warning(
            "worker",
            format_args!("{} has mode {mode:04o}: users can attach to it while it starts", path.display()),
            format_args!("chmod 0711 {}; what cannot be read is not dumpable", path.display()),
        ),
        (_, finding) => finding,
    }
}

/// Read by workers, with the rights of their users.
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
            format_args!("chmod o+r {}", path.display()),
        ),
        Ok(_) => match trusted_path(path) {
            Ok(_) => Finding::ok("krb5_config", path.display()),
            Err(error) => Finding::warning("krb5_config", error, OWNERSHIP),
        },
    }
}

/// One that the settings name, so that it ought to be there; read by root.
fn keytab(path: &Path) -> Finding {
    match open_trusted(path, OFlag::O_RDONLY) {
        Ok(_) => Finding::ok("keytab", path.display()),
        Err(error) => untrusted("keytab", &error, "make it with ktadd, see kadmin(1)"),
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
                format_args!("chmod 0700 {}", path.display()),
            ),
            Ok(_) => Finding::ok("run_dir", path.display()),
        },
    }
}

/// It is made when needed, but nothing above it.
fn absent_run_dir(path: &Path) -> Finding {
    match path.parent().map(trusted_path) {
        Some(Ok(_)) => Finding::ok("run_dir", format_args!("{} is made when needed", path.display())),
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
        Ok(metadata) if metadata.file_type().is_socket() => Finding::ok("log", path.display()),
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
