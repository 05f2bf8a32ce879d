//! What a request needs of the kernel, beyond what every request needs.

use crate::config::WorkerSandbox;
use crate::creds::source_list::SourceEntry;
use crate::negotiate::messages::{Credentials, HostNames, Request};

/// Needs that widen the list of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CallNeeds {
    /// Local sockets, which reach cache daemons and name services.
    pub(super) local_sockets: bool,
    /// Keyrings with credential caches.
    pub(super) keyrings: bool,
    /// This host's addresses by systemd's library of netlink.
    pub(super) own_addresses: bool,
}

impl CallNeeds {
    pub(super) fn of(request: &Request, sources: &[SourceEntry]) -> Self {
        let are_of =
            |kind: &str| sources.iter().filter_map(SourceEntry::name).any(|name| name.starts_with(kind));
        let names = match request.credentials {
            Credentials::SharedKeys { .. } => false,
            Credentials::Users | Credentials::Machines { .. } => {
                request.names == HostNames::AsTheHost && names_need_daemons()
            }
        };
        let local_sockets = names || request.sandbox == WorkerSandbox::Plugins || are_of("KCM:");
        Self { local_sockets, keyrings: are_of("KEYRING:"), own_addresses: needs_own_addresses() }
    }

    /// Those of a renewal, whose ticket is in memory.
    pub(super) fn of_renewal(sandbox: WorkerSandbox) -> Self {
        let local_sockets = sandbox == WorkerSandbox::Plugins || names_need_daemons();
        Self { local_sockets, keyrings: false, own_addresses: needs_own_addresses() }
    }
}

/// Whether host names come from more than files and DNS. nscd(8), which would answer for these, can be done without.
fn names_need_daemons() -> bool {
    nsswitch().is_none_or(|text| needs_daemons(&text))
}

fn needs_own_addresses() -> bool {
    nsswitch().is_some_and(|text| names_myhostname(&text))
}

fn nsswitch() -> Option<String> {
    std::fs::read_to_string("/etc/nsswitch.conf").ok()
}

fn needs_daemons(text: &str) -> bool {
    const WITHOUT: [&str; 3] = ["files", "dns", MYHOSTNAME];
    host_services(text).any(|service| !WITHOUT.contains(&service))
}

fn names_myhostname(text: &str) -> bool {
    host_services(text).any(|service| service == MYHOSTNAME)
}

/// The services for host names in the text of nsswitch.conf(5). Without a line for hosts, the C library has its own.
fn host_services(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim_start());
    let mut services = lines.filter_map(|line| line.strip_prefix("hosts")?.trim_start().strip_prefix(':'));
    // Actions such as [NOTFOUND=return] name no service.
    let words = services.next().unwrap_or_default().split_whitespace();
    words.filter(|word| !word.contains(['[', ']', '=']))
}

/// systemd's own source of this host's names (nss-myhostname(8)).
const MYHOSTNAME: &str = "myhostname";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_files_and_dns_need_no_daemon() {
        for (text, needed) in [
            ("hosts: files dns\n", false),
            ("passwd: files sss\n hosts :\tfiles [NOTFOUND=return] dns myhostname # resolve\n", false),
            ("", false),
            ("#hosts: resolve\n", false),
            ("hosts: files mdns4_minimal [NOTFOUND=return] dns\n", true),
            ("hosts: files resolve [!UNAVAIL=return] dns\n", true),
            ("hosts: files sss\n", true),
        ] {
            assert_eq!(needs_daemons(text), needed, "{text}");
            assert_eq!(names_myhostname(text), text.contains("dns myhostname"), "{text}");
        }
    }
}
