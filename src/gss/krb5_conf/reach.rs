//! What the library may open or connect to because krb5.conf says so.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::line::{self, Syntax};

/// Port of a KDC that is named without one.
const KDC_PORT: u16 = 88;
/// Port of a KDC behind HTTPS (MS-KKDCP) that is named without one.
const HTTPS_PORT: u16 = 443;
/// Names of relations that name a KDC.
const KDC_RELATIONS: [&[u8]; 3] = [b"kdc", b"master_kdc", b"primary_kdc"];
/// Relations that name others' certificates, for KDCs behind HTTPS and for PKINIT: `FILE:PATH` or `DIR:PATH`.
const CERTIFICATES: [&[u8]; 4] = [b"http_anchors", b"pkinit_anchors", b"pkinit_pool", b"pkinit_revoke"];
/// The relation that names a client's own certificate and key for PKINIT: `[FILE:]CERTIFICATE[,KEY]`, `DIR:PATH`, `PKCS12:PATH`.
const IDENTITIES: &[u8] = b"pkinit_identities";
/// The relation that names a plugin, `NAME:PATH`.
const PLUGIN: &[u8] = b"module";
/// The relation that names the directory of plugins.
const PLUGIN_DIRECTORY: &[u8] = b"plugin_base_dir";

/// Files and ports.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ConfReach {
    /// The configuration's files and directories, modules, plugins, certificates and their keys, as they are named.
    pub paths: Vec<PathBuf>,
    /// TCP ports of the KDCs that are named.
    pub ports: Vec<u16>,
    /// Whether a KDC is named. If not, DNS knows them.
    pub names_kdcs: bool,
    /// Whether the lines that follow are in the section of realms.
    in_realms: bool,
}

impl ConfReach {
    /// Takes a line of a section into account.
    pub(super) fn take(&mut self, text: &[u8]) {
        match line::syntax(text) {
            // A file that names KDCs in [logging] says where their log is.
            Ok(Syntax::Section) => self.in_realms = line::is_section(text, b"realms"),
            Ok(Syntax::Relation) => self.take_relation(text),
            _ => {}
        }
    }

    fn take_relation(&mut self, text: &[u8]) {
        let Some((name, value)) = line::pair(text) else { return };
        if self.in_realms && KDC_RELATIONS.contains(&name) {
            self.names_kdcs = true;
            self.ports.extend(port_of(value));
        } else if CERTIFICATES.contains(&name) {
            self.name(match kind_of(value) {
                (Some(b"FILE" | b"DIR"), path) => Some(path),
                _ => None,
            });
        } else if name == IDENTITIES {
            match kind_of(value) {
                (None | Some(b"FILE"), paths) => self.name(paths.splitn(2, |&byte| byte == b',')),
                (Some(b"DIR" | b"PKCS12"), path) => self.name([path]),
                // Tokens and variables.
                _ => {}
            }
        } else if name == PLUGIN {
            self.name(match kind_of(value) {
                (Some(_), path) if path.starts_with(b"/") => Some(path),
                // Below the library's own directory.
                _ => None,
            });
        } else if name == PLUGIN_DIRECTORY {
            self.name([value]);
        }
    }

    fn name<'a>(&mut self, paths: impl IntoIterator<Item = &'a [u8]>) {
        self.paths.extend(paths.into_iter().map(|path| PathBuf::from(OsStr::from_bytes(path))));
    }

    /// Takes a `module FILE:REST` into account.
    pub(super) fn take_module(&mut self, file: &[u8]) {
        let file = file.split(|&byte| byte == b':').next().unwrap_or_default();
        self.paths.push(PathBuf::from(OsStr::from_bytes(file)));
    }
}

/// The kind and the rest of `[KIND:]REST`.
fn kind_of(value: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let mut parts = value.splitn(2, |&byte| byte == b':');
    match (parts.next(), parts.next()) {
        (Some(kind), Some(rest)) => (Some(kind), rest),
        _ => (None, value),
    }
}

/// The TCP port in `[tcp/]HOST[:PORT]` or `https://HOST[:PORT][/PATH]`, where a literal of IPv6 stands in brackets.
fn port_of(value: &[u8]) -> Option<u16> {
    let (server, default) = match value.strip_prefix(b"https://".as_slice()) {
        Some(server) => (server.split(|&byte| byte == b'/').next().unwrap_or_default(), HTTPS_PORT),
        None => (value.strip_prefix(b"tcp/".as_slice()).unwrap_or(value), KDC_PORT),
    };
    let host_end = server.iter().rposition(|&byte| byte == b']').map_or(0, |bracket| bracket + 1);
    let after = server.get(host_end..).unwrap_or_default();
    match after.iter().rposition(|&byte| byte == b':') {
        Some(colon) => std::str::from_utf8(after.get(colon + 1..)?).ok()?.parse().ok(),
        None => Some(default),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_those_that_the_library_connects_to() {
        for (value, port) in [
            ("kdc.a", Some(88)),
            ("kdc.a:750", Some(750)),
            ("tcp/kdc.a:89", Some(89)),
            ("[2001:db8::1]", Some(88)),
            ("[2001:db8::1]:1088", Some(1088)),
            ("https://kdc.a/KdcProxy", Some(443)),
            ("https://kdc.a:8443/KdcProxy", Some(8443)),
            ("kdc.a:port", None),
            ("kdc.a:99999", None),
        ] {
            assert_eq!(port_of(value.as_bytes()), port, "{value}");
        }
    }

    #[test]
    fn only_relations_that_name_files_and_kdcs_count() {
        let mut reach = ConfReach::default();
        for line in [
            "[logging]\n",
            "  kdc = FILE:/var/log/krb5kdc.log\n",
            " [realms]\n",
            "  kdc = kdc.a:1234\n",
            "  kdc =\n",
            "# kdc = comment:1\n",
            "  admin_server = kdc.a:749\n",
            "  primary_kdc = \"kdc.b\"\n",
            "  http_anchors = FILE:/etc/kdc.pem\n",
            "[domain_realm]\n",
            "  kdc = A\n",
            "  http_anchors = ENV:X\n",
            "[libdefaults]\n",
            "  pkinit_anchors = DIR:/var/lib/pki,1\n",
            "  pkinit_pool = /srv/pool.pem\n",
            "  pkinit_identities = FILE:/srv/host.pem,/srv/host.key\n",
            "  pkinit_identities = /srv/both.pem\n",
            "  pkinit_identities = PKCS12:/srv/host.p12\n",
            "  pkinit_identities = PKCS11:module_name=opensc.so\n",
            "  module = mine:/opt/site/mine.so\n",
            "  module = own.so\n",
            "  plugin_base_dir = /opt/plugins\n",
        ] {
            reach.take(line.as_bytes());
        }
        reach.take_module(b"/usr/lib/p.so:rest");
        let paths = [
            "/etc/kdc.pem",
            "/var/lib/pki,1",
            "/srv/host.pem",
            "/srv/host.key",
            "/srv/both.pem",
            "/srv/host.p12",
            "/opt/site/mine.so",
            "/opt/plugins",
            "/usr/lib/p.so",
        ];
        let paths = paths.map(PathBuf::from).to_vec();
        assert_eq!((reach.paths, reach.ports, reach.names_kdcs), (paths, vec![1234, 88], true));
    }

    #[test]
    fn what_a_file_includes_belongs_to_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::create_dir(path("more.d")).unwrap();
        std::fs::write(path("more.d/realm"), "[realms]\n A = {\n  kdc = kdc.a:1088\n }\n").unwrap();
        let text = format!("includedir {}\ninclude {}\n", path("more.d").display(), path("other").display());
        std::fs::write(path("krb5.conf"), text).unwrap();
        std::fs::write(path("other"), "").unwrap();
        let reach = super::super::reach(&path("krb5.conf"));
        let paths = ["krb5.conf", "more.d", "more.d/realm", "other"].map(path).to_vec();
        assert_eq!((reach.paths, reach.ports, reach.names_kdcs), (paths, vec![1088], true));
    }
}
