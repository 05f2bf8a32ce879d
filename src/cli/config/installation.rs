//! Checks of the files, users and sockets that the settings name, and of the kernel's key service.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use super::trial::{self, LustreService};
use super::{cache_server, contradictions, hooks, quotas};
use crate::config::{Config, WorkerSandbox};
use crate::gss::krb5_conf::{self, ConfReader, Effect};
use crate::selftest::finding::{Finding, Severity};
use crate::selftest::trusted::{OWNERSHIP, program};
use crate::selftest::{account, kernel, run_dir};
use crate::sys::files::trusted_path;
use crate::text::shell_word;

/// Program that the kernel executes for request_key(2); the path is built into the kernel.
const REQUEST_KEY_PROGRAM: &str = "/sbin/request-key";

/// Checks the key service, whether processes can be confined, and whether quotas leave room.
pub(super) fn kernel() -> Vec<Finding> {
    let found = kernel::check();
    let usable = found.severity == Severity::Ok;
    let mut findings = vec![found, kernel::confinement()];
    if usable {
        findings.extend(quotas::findings());
    }
    findings
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
    let tried = trial::worker_and_keytabs(config, file, lustre);
    findings.extend(tried.into_iter().filter(|finding| !(unreadable && finding.subject == "krb5_config")));
    findings.extend(sandbox(config.worker_sandbox));
    findings.extend([
        run_dir::check(&config.run_dir),
        account::check(&config.machine_user),
        log_socket(&config.log.socket),
    ]);
    findings.extend(hooks::findings(config));
    findings.extend(contradictions::findings(config, file));
    findings.extend(cache_server::findings(config, Path::new(file)));
    findings
}

/// Reports a worker that is less confined than it could be.
fn sandbox(sandbox: WorkerSandbox) -> Option<Finding> {
    const SETTING: &str = "worker_sandbox";
    match sandbox {
        WorkerSandbox::Strict => None,
        WorkerSandbox::Plugins => Some(Finding::ok(SETTING, "wide enough for plugins")),
        WorkerSandbox::Off => Some(Finding::warning(
            SETTING,
            "off: a fault in MIT Kerberos would reach all that the user's processes can reach",
            "set it to \"plugins\", or leave it out",
        )),
    }
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

fn log_socket(path: &Path) -> Finding {
    match fs::metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => {
            match UnixDatagram::unbound().and_then(|s| s.connect(path)) {
                Ok(()) => Finding::ok("log", path.display()),
                Err(error) if error.kind() == ErrorKind::PermissionDenied => Finding::warning(
                    "log",
                    format_args!("{}: {error}: whether it is read was not checked", path.display()),
                    "run this as root",
                ),
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
