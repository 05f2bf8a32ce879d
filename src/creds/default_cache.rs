//! The host's default cache name: `default_ccache_name` of krb5.conf(5), read by a process without Kerberos.
//!
//! Reads single relations of `[libdefaults]`, following `include` and `includedir` as the library does; the first
//! value wins. The file is the host's, never the requester's (rule S4).

use std::fs;
use std::path::{Path, PathBuf};

use super::passwd;
use crate::sys::files::lossy_text;

/// What MIT Kerberos uses when nothing is configured.
const BUILT_IN: &str = "FILE:/tmp/krb5cc_%{uid}";
/// Where it looks for the KCM daemon when nothing is configured.
const BUILT_IN_KCM_SOCKET: &str = "/var/run/.heim_org.h5l.kcm-socket";
const INCLUDE_DEPTH: usize = 8;
/// About the most files that are searched for includes.
const CONFIG_FILES_LIMIT: usize = 256;
pub(super) const CONFIG_FILE_BYTES: u64 = 1024 * 1024;

/// The library whose directory `%{LIBDIR}` stands for, and the directories where systems have it.
const LIBRARY: &str = "libkrb5.so.3";
const LIBRARY_DIRECTORIES: [&str; 5] =
    ["/usr/lib/@-linux-gnu", "/usr/lib64", "/lib64", "/usr/lib", "/usr/local/lib"];

/// Why there is no default name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DefaultCacheError {
    /// krb5.conf has a token that MIT Kerberos does not know.
    #[error("krb5.conf: {0} holds a token that is not known; name the cache in the request")]
    Token(String),
    /// The name of the user cannot be found without a name service.
    #[error(
        "krb5.conf: {0} needs the name of uid {1}, which neither /etc/passwd nor LOGNAME tells; name the cache in \
         the request, or set it by %{{uid}}"
    )]
    Username(String, u32),
    /// The library was not found on this host.
    #[error(
        "default_ccache_name {0}: the directory of {LIBRARY} is not known; name the cache in the request"
    )]
    Library(String),
}

/// The values of tokens.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TokenValues<'a> {
    /// `%{uid}`, `%{euid}`, `%{USERID}`.
    pub uid: u32,
    /// `%{username}`, if the host's /etc/passwd has no entry for the uid.
    pub name: Option<&'a str>,
    /// `%{TEMP}`; `None` for /tmp.
    pub temporary: Option<&'a str>,
}

impl TokenValues<'_> {
    /// For a user of whom only the uid is known.
    pub(crate) fn numbered(uid: u32) -> Self {
        Self { uid, ..Self::default() }
    }
}

/// Name of the user's default cache by the configuration at `krb5_config`. Files that cannot be read count as empty;
/// the worker's library will report them.
///
/// # Errors
/// [`DefaultCacheError`].
pub(crate) fn default_cache_name(
    krb5_config: &Path,
    user: TokenValues<'_>,
) -> Result<String, DefaultCacheError> {
    expand(relation(krb5_config, "default_ccache_name").as_deref().unwrap_or(BUILT_IN), user)
}

/// The user's keytab by the configuration at `krb5_config`, if it names one (krb5.conf(5), default_client_keytab_name).
pub(super) fn client_keytab_name(
    krb5_config: &Path,
    user: TokenValues<'_>,
) -> Option<Result<String, DefaultCacheError>> {
    relation(krb5_config, "default_client_keytab_name").map(|name| expand(&name, user))
}

/// The socket of the KCM daemon by that configuration (krb5.conf(5), kcm_socket); `None` where that is `-`, which
/// means no socket.
pub(crate) fn kcm_socket(krb5_config: &Path) -> Option<PathBuf> {
    let socket = relation(krb5_config, "kcm_socket").unwrap_or_else(|| BUILT_IN_KCM_SOCKET.to_owned());
    Some(PathBuf::from(socket)).filter(|path| path.is_absolute())
}

/// The value of a relation in `[libdefaults]`, with its tokens.
pub(super) fn relation(krb5_config: &Path, name: &str) -> Option<String> {
    let mut wanted = Wanted { name, files: 0 };
    configured(krb5_config, &mut wanted, &mut Section::Other, INCLUDE_DEPTH)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    LibDefaults,
    Other,
}

/// A relation that is looked for, and the number of files that have been read for it.
struct Wanted<'a> {
    name: &'a str,
    files: usize,
}

fn configured(file: &Path, wanted: &mut Wanted<'_>, section: &mut Section, depth: usize) -> Option<String> {
    wanted.files += 1;
    // Files that include each other several times would be read thousands of times.
    if wanted.files > CONFIG_FILES_LIMIT {
        return None;
    }
    read_configuration(file)?.lines().find_map(|line| {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[') {
            let libdefaults = name.split(']').next() == Some("libdefaults");
            *section = if libdefaults { Section::LibDefaults } else { Section::Other };
            return None;
        }
        if let Some(included) = included(line).filter(|_| depth > 0) {
            // An included file starts outside any section and does not change ours.
            return included.iter().find_map(|file| configured(file, wanted, &mut Section::Other, depth - 1));
        }
        let (name, value) = line.split_once('=')?;
        let is_it = *section == Section::LibDefaults && name.trim().trim_end_matches('*') == wanted.name;
        is_it.then(|| value.trim().trim_matches('"').to_owned())
    })
}

/// The file and all that it includes, in the library's order, whether or not they exist.
pub(super) fn configuration_files(krb5_config: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    collect(krb5_config, &mut files, INCLUDE_DEPTH);
    files
}

fn collect(file: &Path, files: &mut Vec<PathBuf>, depth: usize) {
    files.push(file.to_owned());
    if depth == 0 || files.len() >= CONFIG_FILES_LIMIT {
        return;
    }
    let Some(text) = read_configuration(file) else { return };
    text.lines()
        .filter_map(|line| included(line.trim()))
        .flatten()
        .for_each(|file| collect(&file, files, depth - 1));
}

/// `None` if the file is too large or cannot be read.
fn read_configuration(file: &Path) -> Option<String> {
    let small = fs::metadata(file).is_ok_and(|m| m.is_file() && m.len() <= CONFIG_FILE_BYTES);
    small.then(|| lossy_text(file).ok()).flatten()
}

/// The files that an `include FILE` or `includedir DIR` line names. In a directory these are the files whose names
/// consist of letters, digits, dashes and underscores or end in `.conf`, sorted.
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
            // The directory itself has no text, but it changes when a file comes or goes.
            let files = names.into_iter().map(|name| path.join(name));
            Some(std::iter::once(path.to_owned()).chain(files).collect())
        }
        _ => None,
    }
}

fn is_profile_name(name: &str) -> bool {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    plain || (name.ends_with(".conf") && !name.starts_with('.'))
}

/// Expands the tokens of MIT Kerberos (krb5.conf(5), "Parameter expansion").
pub(super) fn expand(name: &str, user: TokenValues<'_>) -> Result<String, DefaultCacheError> {
    let unknown = || DefaultCacheError::Token(name.to_owned());
    let mut expanded = String::new();
    let mut rest = name;
    while let Some((before, token)) = rest.split_once("%{") {
        let (token, after) = token.split_once('}').ok_or_else(unknown)?;
        expanded.push_str(before);
        match token {
            "uid" | "euid" | "USERID" => expanded.push_str(&user.uid.to_string()),
            "username" => expanded.push_str(
                &username(user).ok_or_else(|| DefaultCacheError::Username(name.to_owned(), user.uid))?,
            ),
            "TEMP" => expanded.push_str(user.temporary.unwrap_or("/tmp")),
            "LIBDIR" => expanded
                .push_str(&library_directory().ok_or_else(|| DefaultCacheError::Library(name.to_owned()))?),
            "BINDIR" => expanded.push_str("/usr/bin"),
            "SBINDIR" => expanded.push_str("/usr/sbin"),
            "null" => {}
            _ => return Err(unknown()),
        }
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn username(user: TokenValues<'_>) -> Option<String> {
    let known = passwd::hosts().ok();
    let known = known.as_ref().and_then(|passwd| passwd.of_uid(user.uid)).map(|entry| entry.name.to_owned());
    let part_of_a_path = |name: &&str| !name.contains('/') && ![".", ".."].contains(name);
    known.or_else(|| user.name.filter(part_of_a_path).map(str::to_owned))
}

fn library_directory() -> Option<String> {
    let directories = LIBRARY_DIRECTORIES.map(|directory| directory.replace('@', std::env::consts::ARCH));
    directories.into_iter().find(|directory| Path::new(directory).join(LIBRARY).exists())
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
        default_cache_name(&file, TokenValues::numbered(7))
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
    fn a_byte_that_is_no_text_spoils_nothing_but_its_word() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("krb5.conf");
        fs::write(&file, b"# Jos\xe9\n[libdefaults]\n default_ccache_name = KCM:\n").unwrap();
        assert_eq!(default_cache_name(&file, TokenValues::numbered(7)), Ok("KCM:".into()));
    }

    #[test]
    fn files_that_include_each_other_many_times_are_read_some_times_only() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("krb5.conf");
        // To the depth that is allowed, these are more than 10^24 files.
        fs::write(&file, format!("include {}\n", file.display()).repeat(1000)).unwrap();
        assert_eq!(relation(&file, "default_ccache_name"), None);
        assert!((CONFIG_FILES_LIMIT..100_000).contains(&configuration_files(&file).len()));
    }

    #[test]
    fn every_token_of_mit_kerberos_is_expanded() {
        let expand = |text: &str| {
            let user = TokenValues { uid: 4_000_007, name: Some("seven"), temporary: Some("/scratch") };
            expand(text, user)
        };
        for (text, expanded) in [
            ("%{TEMP}/a%{null}b", "/scratch/ab"),
            ("%{uid}-%{euid}-%{USERID}", "4000007-4000007-4000007"),
            ("/home/%{username}/cc", "/home/seven/cc"),
            ("%{BINDIR}%{SBINDIR}", "/usr/bin/usr/sbin"),
            ("100%", "100%"),
        ] {
            assert_eq!(expand(text), Ok(expanded.to_owned()), "{text}");
        }
        assert!(expand("%{LIBDIR}").unwrap().starts_with('/'));
        for text in ["%{nonsense}", "%{}", "%{uid"] {
            assert_eq!(expand(text), Err(DefaultCacheError::Token(text.to_owned())));
        }
        assert_eq!(super::expand("%{username}", TokenValues::numbered(0)), Ok("root".to_owned()));
        let unknown = super::expand("%{username}", TokenValues::numbered(4_000_007)).unwrap_err();
        assert!(unknown.to_string().contains("uid 4000007"), "{unknown}");
    }
}
