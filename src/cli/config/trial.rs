//! Tries programs as the upcall would start them (src/selftest.rs): the worker with krb5.conf and keytabs, and the upcall.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::geteuid;

use super::finding::{Finding, Severity};
use super::trusted::{program, untrusted};
use crate::config::Config;
use crate::creds::cache_name::CacheName;
use crate::creds::keytab_file;
use crate::creds::roots;
use crate::selftest::{self, BUILD_VERSION, KeytabReport, SelfTestReport, TrialFault};
use crate::sys::files::{Untrusted, sealed_memory};
use crate::text::shell_word;

/// First components of principals whose keys the machine can use for Lustre (lgss_keyring(8)).
const LUSTRE_PRINCIPALS: [&str; 6] =
    ["lustre_root", "lustre_mds", "lustre_oss", "lustre_mgs", "lustre_role", "host"];
/// Most principals listed.
const LISTED: usize = 4;

/// Whether these settings serve Lustre's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LustreService {
    Served,
    NotServed,
}

/// Tries the worker, and has it check each krb5.conf and the keytabs; `file` is where the settings are.
pub(super) fn worker(config: &Config, file: &str, lustre: LustreService) -> Vec<Finding> {
    let (mut findings, keytabs) = open_keytabs(config, lustre);
    let (mode, finding) = program("worker", &config.worker, &format!("install it, or set worker in {file}"));
    let Some(mode) = mode else {
        findings.push(finding);
        return findings;
    };
    findings.extend(mode_of_worker(&config.worker, mode));
    if findings.iter().any(|finding| finding.subject == "worker" && finding.severity == Severity::Error) {
        return findings;
    }
    let report = match selftest::worker(config, keytabs) {
        Ok(report) => report,
        Err(fault) => {
            findings.push(fault_of_worker(&config.worker, &fault, file));
            return findings;
        }
    };
    findings.extend(of_report(config, &report, file));
    findings.extend(report.keytabs.iter().map(|keytab| of_keytab(keytab, config)));
    findings.extend(further_configurations(config));
    findings
}

fn mode_of_worker(path: &Path, mode: u32) -> Option<Finding> {
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

fn fault_of_worker(path: &Path, fault: &TrialFault, file: &str) -> Finding {
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

fn of_report(config: &Config, report: &SelfTestReport, file: &str) -> Vec<Finding> {
    let name = config.worker.display();
    let mut findings = Vec::new();
    let SelfTestReport { version, uid, .. } = report;
    if version == BUILD_VERSION {
        let realm = report.realm.as_ref().map_or(String::new(), |realm| format!(", default realm {realm}"));
        findings.push(Finding::ok(
            "worker",
            format_args!("{name}, version {version}, works as uid {uid}{realm}"),
        ));
    } else {
        let finding = format_args!("{name} is of version {version}, this command of {BUILD_VERSION}");
        findings.push(Finding::warning("worker", finding, "install all programs of one version"));
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

fn krb5_fault(path: &Path, error: &str) -> Finding {
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

/// Faults of further krb5.conf files, which tables for namespaces name.
fn further_configurations(config: &Config) -> Vec<Finding> {
    let named: BTreeSet<&Path> =
        config.namespace.values().filter_map(|table| table.krb5_config.as_deref()).collect();
    named
        .into_iter()
        .filter(|path| *path != config.krb5_config && path.exists())
        .filter_map(|path| {
            let mut other = config.clone();
            other.krb5_config = path.to_owned();
            let report = selftest::worker(&other, Vec::new()).ok()?;
            report.krb5_config.map(|error| krb5_fault(path, &error))
        })
        .collect()
}

/// Opens and seals the keytabs that requests need; findings are about those that cannot be opened.
fn open_keytabs(config: &Config, lustre: LustreService) -> (Vec<Finding>, Vec<(String, OwnedFd)>) {
    let set = config.namespace.values().filter_map(|table| table.keytab.clone());
    let mut wanted: BTreeSet<PathBuf> =
        set.chain(config.file_system.values().filter_map(|own| own.keytab.clone())).collect();
    if lustre == LustreService::Served {
        wanted.insert(config.machine.keytab.clone());
    }
    let (mut findings, mut opened) = (Vec::new(), Vec::new());
    for path in wanted {
        match open_keytab(&path) {
            Ok(content) => opened.push((path.display().to_string(), content)),
            Err(error) => findings.push(absent_keytab(&path, &error, config)),
        }
    }
    (findings, opened)
}

fn open_keytab(path: &Path) -> Result<OwnedFd, Untrusted> {
    sealed_memory(&keytab_file::read(path)?).map_err(|errno| Untrusted::Open(path.to_owned(), errno.into()))
}

/// The command that adds a key of this host; the keytab's name is for kadmin, within a word for the shell.
fn add_to_keytab(keytab: &str) -> String {
    let query = format!("ktadd -k {keytab} host/THIS-HOST");
    format!("kadmin -q {}", shell_word(Path::new(&query)))
}

/// The machine's keytab may be missing where root's default cache has tickets.
fn absent_keytab(path: &Path, error: &Untrusted, config: &Config) -> Finding {
    let install = format!("make it: {}", add_to_keytab(&path.to_string_lossy()));
    let finding = untrusted("keytab", error, &install);
    let missing = matches!(error, Untrusted::Open(_, error) if error.kind() == std::io::ErrorKind::NotFound);
    let finding = Finding {
        finding: format!("{}: the node has no credentials for Lustre", finding.finding),
        ..finding
    };
    if missing && *path == config.machine.keytab && root_has_a_cache(config) {
        Finding { severity: Severity::Warning, ..finding }
    } else {
        finding
    }
}

fn root_has_a_cache(config: &Config) -> bool {
    roots::default_cache(&config.krb5_config).is_ok_and(|name| match name {
        CacheName::File(file) => file.exists(),
        _ => true,
    })
}

fn of_keytab(keytab: &KeytabReport, config: &Config) -> Finding {
    let KeytabReport { name, principals, error } = keytab;
    let remedy = format!("write it anew: {}", add_to_keytab(name));
    let listed = principals.get(..LISTED).unwrap_or(principals).join(", ");
    if let Some(error) = error {
        return Finding::error("keytab", format_args!("{name}: {error}"), remedy);
    }
    if principals.is_empty() {
        return Finding::error("keytab", format_args!("{name} has no keys"), remedy);
    }
    let set: Vec<&str> = config
        .namespace
        .values()
        .filter_map(|table| table.principal.as_deref())
        .chain(config.file_system.values().filter_map(|own| own.principal.as_deref()))
        .collect();
    let serves = |principal: &String| {
        let first = principal.split(['/', '@']).next().unwrap_or_default();
        LUSTRE_PRINCIPALS.contains(&first)
            || set.iter().any(|set| principal.split('@').next() == set.split('@').next())
    };
    if principals.iter().any(serves) {
        Finding::ok("keytab", format_args!("{name}: {listed}"))
    } else {
        let finding = format_args!("{name} has keys of {listed}, none that a node can use for Lustre");
        Finding::error(
            "keytab",
            finding,
            format_args!("add a key of {} on this host: {remedy}", LUSTRE_PRINCIPALS.join(", ")),
        )
    }
}

/// Tries a program that a rule starts.
pub(super) fn upcall(path: &Path, config: &Config) -> Option<Finding> {
    let (mode, _) = program("upcall", path, "");
    // Faults of the file were reported with the rule. A program that only root may execute is not tried.
    mode.filter(|mode| mode & 0o001 != 0)?;
    let (name, word) = (path.display(), shell_word(path));
    Some(match selftest::upcall_version(path, config) {
        Ok(version) if version == BUILD_VERSION => {
            Finding::ok("upcall", format_args!("{name}, version {version}"))
        }
        Ok(version) => Finding::warning(
            "upcall",
            format_args!("{name} is of version {version}, this command of {BUILD_VERSION}"),
            "install all programs of one version",
        ),
        Err(fault @ TrialFault::Foreign(..)) => Finding::error(
            "upcall",
            format_args!("{name}: {fault}; Lustre's tools bring one of the same name"),
            format_args!(
                "install this version's lgss_keyring there, or let the rule name the place where it is"
            ),
        ),
        Err(fault) => Finding::error(
            "upcall",
            format_args!("{name}: {fault}: every request fails"),
            format_args!("run {word} --self-check, and look at findmnt -T {word} and file {word}"),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keytab(principals: &[&str], error: Option<&str>) -> KeytabReport {
        let principals = principals.iter().map(|name| (*name).to_owned()).collect();
        KeytabReport { name: "/k".to_owned(), principals, error: error.map(str::to_owned) }
    }

    #[test]
    fn a_keytab_needs_a_key_that_a_node_can_use_or_that_the_settings_name() {
        let config = Config::default();
        let severity = |principals: &[&str]| of_keytab(&keytab(principals, None), &config).severity;
        for good in ["host/h@A", "lustre_mds/h@A", "lustre_root@A"] {
            assert_eq!(severity(&["nfs/h@A", good]), Severity::Ok, "{good}");
        }
        for bad in [&[][..], &["nfs/h@A"], &["hosts/h@A"]] {
            assert_eq!(severity(bad), Severity::Error, "{bad:?}");
        }
        let text = "[file_system.fast]\nprincipal = \"nfs/h\"\n";
        let named = Config::parse(text, Path::new("lgss.toml")).unwrap();
        assert_eq!(of_keytab(&keytab(&["nfs/h@A"], None), &named).severity, Severity::Ok);
        assert_eq!(of_keytab(&keytab(&["host/h@A"], Some("cut short")), &config).severity, Severity::Error);
    }

    #[test]
    fn remedies_are_commands_that_a_shell_takes() {
        let finding = mode_of_worker(Path::new("/opt/a$(id) b/w"), 0o700).unwrap();
        assert_eq!(finding.remedy.as_deref(), Some("chmod 0711 '/opt/a$(id) b/w'"));
        assert_eq!(add_to_keytab("/k'`id`"), r"kadmin -q 'ktadd -k /k'\''`id` host/THIS-HOST'");
    }

    #[test]
    fn users_must_be_able_to_execute_the_worker_and_better_not_to_read_it() {
        let severity = |mode| mode_of_worker(Path::new("/w"), mode).map(|finding| finding.severity);
        assert_eq!(severity(0o711), None);
        assert_eq!(severity(0o755), Some(Severity::Warning));
        assert_eq!(severity(0o750), Some(Severity::Error));
        assert_eq!(severity(0o700), Some(Severity::Error));
    }
}
