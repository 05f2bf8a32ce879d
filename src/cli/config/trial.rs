//! Tries the worker with krb5.conf and keytabs, and the upcall, as the upcall would start them (src/selftest/trial.rs).

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::creds::cache_name::CacheName;
use crate::creds::keytab_file;
use crate::creds::roots;
use crate::selftest::finding::{Finding, Severity};
use crate::selftest::trial::{self, BUILD_VERSION, KeytabReport, TrialFault};
use crate::selftest::trusted::{program, untrusted};
use crate::selftest::upcall_file;
use crate::selftest::worker::{self, krb5_fault};
use crate::sys::files::{Untrusted, sealed_memory};
use crate::text::shell_word;

/// First components of principals whose keys the machine can use for Lustre (lgss_keyring(8)).
const LUSTRE_PRINCIPALS: [&str; 6] =
    ["lustre_root", "lustre_mds", "lustre_oss", "lustre_mgs", "lustre_role", "host"];
/// The first part of a principal that nothing else uses: a new key in this keytab makes no other useless.
const LUSTRES_PRINCIPAL: &str = "lustre_root/";
/// Most principals listed.
const LISTED: usize = 4;

/// Whether these settings serve Lustre's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LustreService {
    Served,
    NotServed,
}

/// Tries the worker, and has it check each krb5.conf and the keytabs; `file` is where the settings are.
pub(super) fn worker_and_keytabs(config: &Config, file: &str, lustre: LustreService) -> Vec<Finding> {
    let (mut findings, keytabs) = open_keytabs(config, lustre);
    let (found, report) = worker::check(config, keytabs, file);
    findings.extend(found);
    let Some(report) = report else { return findings };
    findings.extend(report.keytabs.iter().map(|keytab| of_keytab(keytab, config)));
    findings.extend(further_configurations(config));
    findings
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
            let report = trial::worker(&other, Vec::new()).ok()?;
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

/// The commands that make a principal of this host for Lustre, and add a key of it; the keytab's name is for kadmin, within a
/// word for the shell.
fn add_to_keytab(keytab: &str) -> String {
    // Only this host's name is left to the shell.
    let query = |query: String| format!("kadmin -q {}\"$(hostname -f)\"", shell_word(Path::new(&query)));
    let make = query(format!("addprinc -randkey {LUSTRES_PRINCIPAL}"));
    format!("{make}; {}", query(format!("ktadd -k {keytab} {LUSTRES_PRINCIPAL}")))
}

/// The machine's keytab may be missing where root's default cache has tickets.
fn absent_keytab(path: &Path, error: &Untrusted, config: &Config) -> Finding {
    let install = format!("make it: {}", add_to_keytab(&path.to_string_lossy()));
    let finding = untrusted("keytab", error, &install);
    let missing = matches!(error, Untrusted::Open(_, error) if error.kind() == std::io::ErrorKind::NotFound);
    let finding = Finding {
        finding: format!("{}: the machine has no credentials for Lustre", finding.finding),
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
    let remedy = format!("write it again: {}", add_to_keytab(name));
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
        let finding = format_args!("{name} has keys of {listed}, none that this machine can use for Lustre");
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
    let mode = mode.filter(|mode| mode & 0o001 != 0)?;
    let (name, word) = (path.display(), shell_word(path));
    Some(match trial::upcall_version(path, config) {
        Ok(version) if version == BUILD_VERSION => upcall_file::fault(path, mode)
            .unwrap_or_else(|| Finding::ok("upcall", format_args!("{name}, version {version}"))),
        Ok(version) => Finding::warning(
            "upcall",
            format_args!("{name} is of version {version}, this command of {BUILD_VERSION}"),
            "install the same version of all programs",
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
        let stand_ins = "kadmin() { echo \"$# $2\"; }; hostname() { echo h.test; }; ";
        let script = format!("{stand_ins}{}", add_to_keytab("/k'`id`"));
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            "2 addprinc -randkey lustre_root/h.test\n2 ktadd -k /k'`id` lustre_root/h.test\n"
        );
    }
}
