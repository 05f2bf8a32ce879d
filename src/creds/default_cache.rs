//! The host's default cache name: `default_ccache_name` of krb5.conf(5), read by a process without Kerberos.
//!
//! Only that one relation is looked for, with `include` and `includedir` followed as the library does; the first value
//! wins. The file is the host's, never the requester's (rule S4).

use std::fs;
use std::path::{Path, PathBuf};

/// What MIT Kerberos uses when nothing is configured.
const BUILT_IN: &str = "FILE:/tmp/krb5cc_%{uid}";
const INCLUDE_DEPTH: usize = 8;
/// About so many files are looked at for what they include.
const FILES_LIMIT: usize = 256;
pub(super) const FILE_LIMIT: u64 = 1024 * 1024;

/// Why there is no default name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DefaultCacheError {
    /// krb5.conf asks for a token that cannot be expanded here.
    #[error("default_ccache_name {0} holds a token that is not known here; name the cache in the request")]
    Token(String),
}

/// The default cache's name for `uid` by the configuration at `krb5_config`. Files that cannot be read count as empty;
/// the worker's library will complain of them.
///
/// # Errors
/// [`DefaultCacheError`].
pub fn default_cache_name(krb5_config: &Path, uid: u32) -> Result<String, DefaultCacheError> {
    let configured = configured(krb5_config, &mut Section::Other, INCLUDE_DEPTH);
    expand(configured.as_deref().unwrap_or(BUILT_IN), uid)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    LibDefaults,
    Other,
}

fn configured(file: &Path, section: &mut Section, depth: usize) -> Option<String> {
    read_configuration(file)?.lines().find_map(|line| {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[') {
            let libdefaults = name.split(']').next() == Some("libdefaults");
            *section = if libdefaults { Section::LibDefaults } else { Section::Other };
            return None;
        }
        if let Some(included) = included(line).filter(|_| depth > 0) {
            // An included file starts outside any section and leaves ours as it was.
            return included.iter().find_map(|file| configured(file, &mut Section::Other, depth - 1));
        }
        let (name, value) = line.split_once('=')?;
        let wanted =
            *section == Section::LibDefaults && name.trim().trim_end_matches('*') == "default_ccache_name";
        wanted.then(|| value.trim().trim_matches('"').to_owned())
    })
}

/// The file and all that it includes, in the order in which the library reads them; existing or not.
pub(super) fn configuration_files(krb5_config: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    collect(krb5_config, &mut files, INCLUDE_DEPTH);
    files
}

fn collect(file: &Path, files: &mut Vec<PathBuf>, depth: usize) {
    files.push(file.to_owned());
    let Some(text) = read_configuration(file).filter(|_| depth > 0 && files.len() < FILES_LIMIT) else {
        return;
    };
    text.lines()
        .filter_map(|line| included(line.trim()))
        .flatten()
        .for_each(|file| collect(&file, files, depth - 1));
}

/// `None` for what cannot be read or is no text.
fn read_configuration(file: &Path) -> Option<String> {
    let small = fs::metadata(file).is_ok_and(|m| m.is_file() && m.len() <= FILE_LIMIT);
    small.then(|| fs::read_to_string(file).ok()).flatten()
}

/// The files that an `include FILE` or `includedir DIR` line names; of a directory those with names of letters, digits,
/// dashes and underscores, or ending in `.conf`, in order.
fn included(line: &str) -> Option<Vec<PathBuf>> {
    let (directive, path) = line.split_once(char::is_whitespace)?;
    let path = Path::new(path.trim());
    match directive {
        "include" => Some(vec![path.to_owned()]),
        "includedir" => {
            let names =
                fs::read_dir(path).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            let mut names: Vec<_> = names.filter(|name| is_profile_name(name)).collect();
            names.sort_unstable();
            Some(names.into_iter().map(|name| path.join(name)).collect())
        }
        _ => None,
    }
}

fn is_profile_name(name: &str) -> bool {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    plain || (name.ends_with(".conf") && !name.starts_with('.'))
}

fn expand(name: &str, uid: u32) -> Result<String, DefaultCacheError> {
    let uid = uid.to_string();
    let mut expanded = name.to_owned();
    for (token, value) in [
        ("%{uid}", uid.as_str()),
        ("%{euid}", &uid),
        ("%{USERID}", &uid),
        ("%{TEMP}", "/tmp"),
        ("%{null}", ""),
    ] {
        expanded = expanded.replace(token, value);
    }
    if expanded.contains("%{") { Err(DefaultCacheError::Token(name.to_owned())) } else { Ok(expanded) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Result<String, DefaultCacheError> {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("d")).unwrap();
        fs::write(directory.path().join("d/10-ours.conf"), "[libdefaults]\n default_ccache_name = KCM:\n")
            .unwrap();
        fs::write(directory.path().join("d/ignored~"), "[libdefaults]\n default_ccache_name = MEMORY:\n")
            .unwrap();
        let file = directory.path().join("krb5.conf");
        fs::write(&file, text.replace("@D@", directory.path().join("d").to_str().unwrap())).unwrap();
        default_cache_name(&file, 7)
    }

    #[test]
    fn the_first_setting_in_libdefaults_wins_and_tokens_are_expanded() {
        assert_eq!(name(""), Ok("FILE:/tmp/krb5cc_7".into()));
        assert_eq!(name("[realms]\n default_ccache_name = FILE:/x\n"), Ok("FILE:/tmp/krb5cc_7".into()));
        let text = "[libdefaults]\n  default_ccache_name = KEYRING:persistent:%{uid}\n default_ccache_name = FILE:/x\n";
        assert_eq!(name(text), Ok("KEYRING:persistent:7".into()));
    }

    #[test]
    fn included_directories_are_read_in_their_place() {
        assert_eq!(name("includedir @D@\n[libdefaults]\ndefault_ccache_name = FILE:/x\n"), Ok("KCM:".into()));
        assert_eq!(
            name("[libdefaults]\ndefault_ccache_name = FILE:/x\nincludedir @D@\n"),
            Ok("FILE:/x".into())
        );
    }

    #[test]
    fn a_token_that_needs_the_name_service_is_an_error() {
        assert!(name("[libdefaults]\ndefault_ccache_name = FILE:/home/%{username}/cc\n").is_err());
    }
}
