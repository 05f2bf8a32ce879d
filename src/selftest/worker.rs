//! The worker: its file, and what it reports when it is tried.

use std::os::fd::OwnedFd;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::geteuid;

use super::finding::{Finding, Severity};
use super::trial::{self, BUILD_VERSION, SelfTestReport, TrialFault};
use super::trusted::{program, set_id};
use crate::config::Config;
use crate::creds::source_list::CONTRACT;
use crate::identity::system_user;
use crate::text::shell_word;

/// Checks the worker that the settings in `file` name. Returns its report, too, if it could be tried with these
/// keytabs (names and sealed contents).
pub(crate) fn check(
    config: &Config,
    keytabs: Vec<(String, OwnedFd)>,
    file: &str,
) -> (Vec<Finding>, Option<SelfTestReport>) {
    let path = &config.worker;
    let (mode, finding) = program("worker", path, &format!("install it, or set worker in {file}"));
    let Some(mode) = mode else { return (vec![finding], None) };
    let mut findings: Vec<Finding> =
        mode_fault(path, mode).into_iter().chain(set_id("worker", path, mode)).collect();
    if findings.iter().any(|finding| finding.severity == Severity::Error) {
        return (findings, None);
    }
    // Whoever can attach to it has what it is given, and without the account it is nobody's in particular.
    let is_safe = mode & 0o044 == 0 && system_user::find(&config.machine_user).is_ok();
    let keytabs = if is_safe { keytabs } else { Vec::new() };
    match trial::worker(config, keytabs) {
        Ok(report) => {
            findings.extend(of_report(config, &report, file));
            (findings, Some(report))
        }
        Err(fault) => {
            findings.push(trial_fault(path, &fault, file));
            (findings, None)
        }
    }
}

fn mode_fault(path: &Path, mode: u32) -> Option<Finding> {
    let close = format!("chmod 0711 {}", shell_word(path));
    let remedy = format!("{close}; what cannot be read is not dumpable");
    let path = path.display();
    match mode {
        mode if mode & 0o011 != 0o011 => Some(Finding::error(
            "worker",
            format_args!("{path} has mode {mode:04o}: users cannot execute it"),
            close,
        )),
        mode if mode & 0o044 != 0 => Some(Finding::warning(
            "worker",
            format_args!("{path} has mode {mode:04o}: users can attach to it while it starts"),
            remedy,
        )),
        _ => None,
    }
}

fn trial_fault(path: &Path, fault: &TrialFault, file: &str) -> Finding {
    let (name, word) = (path.display(), shell_word(path));
    let remedy = match fault {
        TrialFault::Exec { errno: Errno::EACCES | Errno::EPERM, .. } => format!(
            "look for noexec (findmnt -T {word}), for directories on the way that users cannot enter, and for denials of \
             SELinux or AppArmor"
        ),
        TrialFault::Exec { .. } => {
            format!("install the worker for this machine (file {name}; uname -m), or set worker in {file}")
        }
        TrialFault::Died { said, .. } if said.contains("librar") => {
            format!(
                "install what ldd {word} does not find (Debian: libgssapi-krb5-2, Rocky: krb5-libs, SLES: krb5)"
            )
        }
        TrialFault::Foreign(..) => {
            format!("install this version's lgss_negotiate there, or set worker in {file}")
        }
        _ => format!("run {word} --self-test as an ordinary user, and see what it says"),
    };
    Finding::error("worker", format_args!("{name}: {fault}: every request fails"), remedy)
}

pub(super) fn of_report(config: &Config, report: &SelfTestReport, file: &str) -> Vec<Finding> {
    let name = config.worker.display();
    let mut findings = Vec::new();
    let SelfTestReport { version, uid, .. } = report;
    if report.contract != Some(CONTRACT) {
        findings.push(Finding::error(
            "worker",
            format_args!(
                "{name} has version {version}, which cannot work with upcalls of version {BUILD_VERSION}: every request fails"
            ),
            "install the same version of all programs",
        ));
    } else if version == BUILD_VERSION {
        let realm = report.realm.as_ref().map_or(String::new(), |realm| format!(", default realm {realm}"));
        findings.push(Finding::ok(
            "worker",
            format_args!("{name}, version {version}, works as uid {uid}{realm}"),
        ));
    } else {
        let finding = format_args!("{name} has version {version}, this program {BUILD_VERSION}");
        findings.push(Finding::warning("worker", finding, "install the same version of all programs"));
    }
    // Without root the worker had the caller's rights.
    if let Some(rights) = report.rights.as_ref().filter(|_| geteuid().is_root()) {
        findings.push(Finding::error(
            "worker",
            format_args!("{rights}: every request fails"),
            "see whether this is a container without CAP_SETPCAP or CAP_SETUID; upcalls run on the host",
        ));
    }
    match &report.krb5_config {
        Some(error) => findings.push(krb5_fault(&config.krb5_config, error)),
        None => findings.extend(enctypes(config, report, file)),
    }
    findings
}

pub(crate) fn krb5_fault(path: &Path, error: &str) -> Finding {
    Finding::error(
        "krb5_config",
        format_args!("{}: {error}: every request by it fails", path.display()),
        "correct it, see krb5.conf(5)",
    )
}

fn enctypes(config: &Config, report: &SelfTestReport, file: &str) -> Option<Finding> {
    let wanted: Vec<String> = config.kerberos.enctypes.as_slice().iter().map(ToString::to_string).collect();
    if wanted.iter().any(|enctype| report.enctypes.contains(enctype)) {
        return None;
    }
    let permitted = if report.enctypes.is_empty() {
        "none that is known here".to_owned()
    } else {
        report.enctypes.join(", ")
    };
    Some(Finding::error(
        "enctypes",
        format_args!(
            "{} permits {permitted}; {file} allows {}: no context can be had",
            config.krb5_config.display(),
            wanted.join(", ")
        ),
        format_args!(
            "let permitted_enctypes in krb5.conf and [kerberos] enctypes in {file} have a type in common"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_for_a_mode_is_a_command_that_a_shell_takes() {
        let finding = mode_fault(Path::new("/opt/a$(id) b/w"), 0o700).unwrap();
        assert_eq!(finding.remedy.as_deref(), Some("chmod 0711 '/opt/a$(id) b/w'"));
    }

    #[test]
    fn users_must_be_able_to_execute_the_worker_and_better_not_to_read_it() {
        let severity = |mode| mode_fault(Path::new("/w"), mode).map(|finding| finding.severity);
        assert_eq!(severity(0o711), None);
        assert_eq!(severity(0o755), Some(Severity::Warning));
        assert_eq!(severity(0o750), Some(Severity::Error));
        assert_eq!(severity(0o700), Some(Severity::Error));
    }
}
