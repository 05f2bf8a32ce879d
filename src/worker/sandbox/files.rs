//! Which files the worker may open, and which TCP ports it may connect to (landlock(7)).
//!
//! Everything is read-only but the requester's caches, which get new tickets. A rule is for a file, not for its name: a file that an
//! administrator replaces while a worker runs can still be read only if a directory above it may be.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, NetPort, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr,
    Scope,
};

use crate::config::WorkerSandbox;
use crate::creds::source_list::SourceEntry;
use crate::gss::configuration::Configuration;
use crate::gss::krb5_conf::ConfReach;
use crate::sys::file_rules::allow;

/// The newest version whose rights are used: file system, TCP ports, signals and abstract sockets. A kernel with an older one
/// enforces what it has.
const VERSION: ABI = ABI::V6;

/// Read by the C library, MIT Kerberos, OpenSSL and their modules on any host. The host's configuration holds nothing that
/// a user may read and must keep from a KDC.
const HOSTS: [&str; 22] = [
    "/etc",
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/proc/self",
    "/proc/sys",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/filesystems",
    "/proc/stat",
    "/sys/devices/system",
    "/dev/urandom",
    "/dev/random",
    "/nix/store",
    "/gnu/store",
    // Where /etc/resolv.conf may lead, and where it does.
    "/etc/resolv.conf",
    "/run/netconfig",
    "/run/systemd/resolve",
    "/run/NetworkManager",
    "/run/resolvconf",
    "/run/connman",
];

/// Public state of sssd(8) and nscd(8): KDCs that they have found, and names that they know.
const NAME_SERVICES: [&str; 4] =
    ["/var/lib/sss/pubconf", "/var/lib/sss/mc", "/var/db/nscd", "/var/cache/nscd"];

/// What plugins may need besides: their own programs, the state of domain members, what systemd tells, hardware.
const OF_PLUGINS: [&str; 9] = [
    "/opt",
    "/var/lib/sss",
    "/var/lib/samba",
    "/var/cache/samba",
    "/run/samba",
    "/run/nscd",
    "/run/pcscd",
    "/run/systemd",
    "/sys",
];

/// Ports of DNS and KDCs.
const WELL_KNOWN_PORTS: [u16; 2] = [53, 88];

/// Confines this thread, and those that it starts from now on. `server` is the port of the server that it connects to.
///
/// # Errors
/// The library's or the kernel's. A kernel without Landlock is none.
pub(super) fn confine(
    sandbox: WorkerSandbox,
    server: Option<u16>,
    sources: &[SourceEntry],
) -> io::Result<()> {
    let reach = Configuration::default().reach();
    let ports = ports(sandbox, server, &reach);
    let mut rules = rules(ports.as_ref()).map_err(io::Error::other)?;
    let read = AccessFs::from_read(VERSION) & !AccessFs::Execute;
    let plugins = if sandbox == WorkerSandbox::Plugins { OF_PLUGINS.as_slice() } else { &[] };
    let hosts = HOSTS.iter().chain(&NAME_SERVICES).chain(plugins).map(Path::new);
    for path in hosts.chain(reach.paths.iter().map(PathBuf::as_path)) {
        allow(&mut rules, path, read)?;
    }
    allow(&mut rules, Path::new("/dev/null"), AccessFs::ReadFile | AccessFs::WriteFile)?;
    for source in sources {
        let written = AccessFs::WriteFile | AccessFs::Truncate;
        let access = if source.is_written() { read | written } else { read };
        if let Some(path) = source.name().and_then(descriptor) {
            // Sealed memory is on no mounted file system, so it needs no rule, and can have none.
            let _ = allow(&mut rules, Path::new(path), access);
        }
    }
    for port in ports.into_iter().flatten() {
        (&mut rules).add_rule(NetPort::new(port, AccessNet::ConnectTcp)).map_err(io::Error::other)?;
    }
    rules.restrict_self().map_err(io::Error::other)?;
    Ok(())
}

/// Rules that allow nothing yet. Without `ports` any may be connected to, and none be listened at.
fn rules(ports: Option<&BTreeSet<u16>>) -> Result<RulesetCreated, landlock::RulesetError> {
    let network = match ports {
        Some(_) => AccessNet::from_all(VERSION),
        None => AccessNet::BindTcp.into(),
    };
    Ruleset::default()
        .handle_access(AccessFs::from_all(VERSION))?
        .handle_access(network)?
        .scope(Scope::from_all(VERSION))?
        .create()
}

/// The path of the descriptor by which a source was handed over.
fn descriptor(name: &str) -> Option<&str> {
    let (_, path) = name.split_once(':').unwrap_or(("", name));
    path.starts_with("/proc/self/fd/").then_some(path)
}

/// The TCP ports that may be connected to; `None` for any. KDCs that only DNS or a plugin knows may listen at any.
fn ports(sandbox: WorkerSandbox, server: Option<u16>, reach: &ConfReach) -> Option<BTreeSet<u16>> {
    if sandbox == WorkerSandbox::Plugins || !reach.names_kdcs {
        return None;
    }
    Some(WELL_KNOWN_PORTS.into_iter().chain(reach.ports.iter().copied()).chain(server).collect())
}
