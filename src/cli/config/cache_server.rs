//! Whether lgss_kcm could serve: the agent's program, which is beside the worker, the system user, and the settings that agents
//! read as their users. Where neither program is installed, nothing is said.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::config::Config;
use crate::identity::system_user::{KCM_USER, find, how_to_make};
use crate::selftest::finding::Finding;
use crate::selftest::trusted::program;
use crate::text::shell_word;

/// Findings about the server of caches, with the settings in `file`.
pub(super) fn findings(config: &Config, file: &Path) -> Vec<Finding> {
    let agent = config.worker.with_file_name("lgss_agent");
    // As make install puts them: PREFIX/libexec/lgss and PREFIX/sbin.
    let server = config.worker.ancestors().nth(3).map(|prefix| prefix.join("sbin/lgss_kcm"));
    if !agent.exists() && !server.is_some_and(|server| server.exists()) {
        return Vec::new();
    }
    let mut findings =
        vec![program("lgss_agent", &agent, "reinstall lgss_agent: without it, lgss_kcm does not start").1];
    findings.push(match find(KCM_USER) {
        Ok(user) => Finding::ok("lgss_kcm", format_args!("user {KCM_USER}, uid {}", user.uid)),
        Err(error) => Finding::warning(
            "lgss_kcm",
            format_args!("{error}: lgss_kcm does not start, unless --user names another"),
            how_to_make(KCM_USER),
        ),
    });
    if fs::metadata(file).is_ok_and(|found| found.mode() & 0o004 == 0) {
        findings.push(Finding::warning(
            "lgss_agent",
            format_args!("{} cannot be read by agents, which run as the users: none starts", file.display()),
            format_args!("chmod o+r {}", shell_word(file)),
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selftest::finding::Severity;
    use std::os::unix::fs::PermissionsExt;

    /// A directory of root's, as the tests are run by root.
    #[test]
    fn what_keeps_agents_from_starting_is_found_where_they_are_installed() {
        let directory = tempfile::Builder::new().prefix("lgss-test").tempdir_in("/var/lib").unwrap();
        let (programs, file) = (directory.path().join("libexec/lgss"), directory.path().join("lgss.toml"));
        fs::create_dir_all(&programs).unwrap();
        fs::write(&file, "").unwrap();
        let mut config = Config::default();
        config.worker = programs.join("lgss_negotiate");
        let of = |subject| {
            let found =
                findings(&config, &file).into_iter().filter(move |finding| finding.subject == subject);
            found.map(|finding| finding.severity).collect::<Vec<_>>()
        };
        assert!(findings(&config, &file).is_empty());
        fs::create_dir(directory.path().join("sbin")).unwrap();
        fs::write(directory.path().join("sbin/lgss_kcm"), "").unwrap();
        assert_eq!(of("lgss_agent"), [Severity::Error], "not there");
        let agent = programs.join("lgss_agent");
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        fs::write(&agent, "").unwrap();
        mode(&agent, 0o600);
        assert_eq!(of("lgss_agent"), [Severity::Error], "not executable");
        mode(&agent, 0o711);
        assert_eq!(of("lgss_agent"), [Severity::Ok]);
        mode(&file, 0o600);
        assert_eq!(of("lgss_agent"), [Severity::Ok, Severity::Warning]);
        assert_eq!(of("lgss_kcm").len(), 1);
    }
}
