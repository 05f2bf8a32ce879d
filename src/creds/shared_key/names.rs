//! The descriptions under which shared keys are in root's user keyring, by Lustre's rules.

/// How the name of a management client begins; the server's network identifier follows.
pub(crate) const MGC: &str = "MGC";

/// Where a client's key for this target can be, the best place first: the name of a device of Lustre's such as
/// `lustre-MDT0000-mdc-ff2d` or `MGC10.0.0.1@tcp`, and the uuid of the client that mounts.
pub(crate) fn candidates(target: &str, client: Option<&str>) -> Vec<String> {
    if target.starts_with(MGC) {
        return vec![format!("lustre:{target}")];
    }
    let file_system = file_system(target);
    let of_mount = client.filter(|uuid| !uuid.is_empty());
    let of_mount = of_mount.map(|uuid| client_name_of_mount(file_system, uuid));
    of_mount.into_iter().chain([client_name(file_system)]).collect()
}

/// Where lgss_sk keeps the predecessor of a client's key.
pub(crate) fn previous_of(name: &str) -> String {
    format!("{name}#previous")
}

/// The file system of a target that is no management server.
pub(super) fn file_system(target: &str) -> &str {
    target.split_once('-').map_or(target, |(file_system, _)| file_system)
}

/// The name of a client's key for a file system.
pub(crate) fn client_name(file_system: &str) -> String {
    format!("lustre:{file_system}")
}

/// The name of a key for one mount of a file system.
pub(crate) fn client_name_of_mount(file_system: &str, client: &str) -> String {
    format!("lustre:{file_system}:{client}")
}

/// The name of a client's key for a management server.
#[cfg(feature = "upcall")]
pub(crate) fn mgc_name(server: crate::nid::Nid) -> String {
    format!("lustre:{MGC}{server}")
}

/// The name of a server's key for the clients of a nodemap.
#[cfg(feature = "upcall")]
pub(crate) fn server_name(file_system: &str, nodemap: &str) -> String {
    format!("lustre:{file_system}:{nodemap}")
}

/// The name of a management server's key for the clients of a nodemap.
#[cfg(feature = "upcall")]
pub(crate) fn mgs_name(nodemap: &str) -> String {
    format!("lustre:MGS:{nodemap}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_mount_comes_before_that_of_its_file_system() {
        let target = "lustre-MDT0000-mdc-ff2be26bc677f800";
        assert_eq!(candidates(target, Some("5f47")), ["lustre:lustre:5f47", "lustre:lustre"]);
        assert_eq!(candidates(target, Some("")), ["lustre:lustre"]);
        assert_eq!(candidates("scratch-OST0000-osc-MDT0000", None), ["lustre:scratch"]);
    }

    #[test]
    fn a_management_server_has_a_name_of_its_own() {
        assert_eq!(candidates("MGC10.0.0.1@tcp", Some("5f47")), ["lustre:MGC10.0.0.1@tcp"]);
        assert_eq!(previous_of("lustre:MGC10.0.0.1@tcp"), "lustre:MGC10.0.0.1@tcp#previous");
    }
}
