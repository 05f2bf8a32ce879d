//! The settings for a requester in a container: which table of `[namespace]` applies to it (rules S4, S5).
//!
//! Called by the monitor once the settings have been read; everything later sees only these. Invariant: a mount
//! namespace other than ours gets no machine credentials without a table that names a keytab.

use std::borrow::Cow;
use std::fs::File;
use std::os::fd::AsFd;

use nix::errno::Errno;

use super::authorise::Acting;
use super::places::Container;
use super::refusal::refused;
use super::verdict::Served;
use crate::config::{Config, NamespaceTraits};
use crate::ctx::lustre::LustreMechanism;
use crate::event::Failure;
use crate::sys::errno::errno_of;
use crate::sys::namespaces;

/// The settings that apply to the requester.
///
/// # Errors
/// Rule S5; rule S6 if the namespace cannot be identified and matters.
pub(super) fn settings_for<'c>(config: &'c Config, served: &Served) -> Result<Cow<'c, Config>, Failure> {
    let machines = served.acting == Acting::Machine;
    let Some(container) = served.places.container.as_ref() else { return Ok(Cow::Borrowed(config)) };
    if config.namespace.is_empty() && !machines {
        return Ok(Cow::Borrowed(config));
    }
    let untold = |errno| refused(format_args!("S6: the requester's mount namespace cannot be told: {errno}"));
    let table = match traits(container).map_err(untold)? {
        // Our mount namespace with another root directory, which machine credentials do not depend on.
        None => return Ok(Cow::Borrowed(config)),
        Some(traits) => config.namespace_of(&traits),
    };
    let applied = table.map_or(Cow::Borrowed(config), |name| Cow::Owned(config.for_namespace(name)));
    match served.order.lustre().map(|callout| callout.mechanism) {
        // Nothing is asked for that could be misused.
        Some(LustreMechanism::Gssnull) => return Ok(applied),
        Some(LustreMechanism::Sk) if machines => return Err(hosts_key()),
        _ => {}
    }
    let has_keytab = applied.within().is_some() && applied.machine_settings("").is_some();
    if machines && !has_keytab { Err(elsewhere()) } else { Ok(applied) }
}

fn hosts_key() -> Failure {
    refused("S5: the host's shared key was requested from another mount namespace")
}

fn elsewhere() -> Failure {
    refused(
        "S5: machine credentials are asked for from another mount namespace than ours, for which no namespace table \
         names a keytab",
    )
}

/// What distinguishes the container's mount namespace from others; `None` if it is ours.
fn traits(container: &Container) -> Result<Option<NamespaceTraits>, Errno> {
    let mounts = container.mount_namespace.as_fd();
    if namespaces::identity(mounts)? == ours("mnt")? {
        return Ok(None);
    }
    let users = namespaces::owning_user_namespace(mounts)?;
    let is_initial = namespaces::identity(users.as_fd())? == ours("user")?;
    let owner = if is_initial { None } else { Some(namespaces::owner(users.as_fd())?) };
    Ok(Some(NamespaceTraits { owner, cgroup: unified_path(&container.cgroup) }))
}

fn ours(kind: &str) -> Result<u64, Errno> {
    let file = File::open(format!("/proc/self/ns/{kind}")).map_err(|error| errno_of(&error))?;
    namespaces::identity(file.as_fd())
}

/// The path in the cgroup v2 hierarchy, `0::/path` (cgroups(7)); `None` for a text that was cut off.
pub(super) fn unified_path(cgroups: &[u8]) -> Option<String> {
    let lines = cgroups.strip_suffix(b"\n")?.split(|&byte| byte == b'\n');
    let path = lines.filter_map(|line| line.strip_prefix(b"0::")).next()?;
    String::from_utf8(path.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_that_of_the_unified_hierarchy_as_a_whole() {
        let text = b"3:cpu:/x\n1:name=systemd:/y\n0::/machine.slice/web.scope\n";
        assert_eq!(unified_path(text).as_deref(), Some("/machine.slice/web.scope"));
        assert_eq!(unified_path(b"0::/\n").as_deref(), Some("/"));
        for none in [&b"0::/machine.slice/w"[..], b"3:cpu:/0::/x\n", b"", b"0::/\xff\n"] {
            assert_eq!(unified_path(none), None, "{none:?}");
        }
    }
}
