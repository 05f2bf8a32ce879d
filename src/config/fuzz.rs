//! Checks for the fuzz targets (docs/fuzzing.md): lgss.toml, and network identifiers, which it may hold.

use std::path::Path;

use super::{CEILING, Config, MOUNT_CEILING, NamespaceTraits};
use crate::nid::Nid;

/// lgss.toml: what is accepted is written as it was read, but for what is private, and within its bounds.
pub fn settings(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let path = Path::new("/etc/lgss/lgss.toml");
    let Ok(config) = Config::parse(text, path) else { return };
    // What is private is not written.
    let mut public = config.clone();
    for table in public.namespace.values_mut().filter(|table| table.cgroup.is_some()) {
        table.cgroup = None;
        table.owner.get_or_insert(0);
    }
    let written = toml::to_string(&public).unwrap_or_default();
    let again = Config::parse(&written, path);
    assert!(again.as_ref().is_ok_and(|again| *again == public), "{again:?}\n{written}");
    assert!(config.timeouts.deadline.0 <= CEILING && config.timeouts.mount.0 <= MOUNT_CEILING);
    let limits = &config.limits;
    assert!(![limits.per_owner, limits.users, limits.machine, limits.kernel].contains(&0));
    assert!(config.run_dir.is_absolute() && config.worker.is_absolute() && config.krb5_config.is_absolute());
    let cgroups = ["/", "/machine.slice/web-1.scope", "/user.slice/user-1000.slice/session-1.scope"];
    for cgroup in cgroups {
        let traits = NamespaceTraits { owner: Some(1000), cgroup: Some(cgroup.to_owned()) };
        if let Some(name) = config.namespace_of(&traits).map(str::to_owned) {
            assert!(config.namespace.contains_key(&name));
            let _ = config.for_namespace(&name).machine_settings("fs-MDT0000");
        }
    }
}

/// A network identifier in words, and one as a number.
pub fn nid(data: &[u8]) {
    let read = std::str::from_utf8(data).ok().and_then(|text| text.parse().ok());
    let raw = data.first_chunk().map(|raw| Nid::from_raw(u64::from_be_bytes(*raw)));
    for nid in [read, raw].into_iter().flatten() {
        assert_eq!(nid.to_string().parse::<Nid>(), Ok(nid));
    }
}
