//! Under which names a key is loaded, by its types.

use time::OffsetDateTime;

use crate::creds::shared_key::{
    KeyParts, client_name, client_name_of_mount, mgc_name, mgs_name, server_name,
};

/// A name in the keyring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoadedName {
    /// The key's description.
    pub text: String,
    /// Who looks for it.
    pub reader: NameReader,
}

/// Who looks for a key by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameReader {
    /// The upcall of a client: it takes the key of this name, then that of its predecessor.
    Client,
    /// The daemon of a server: it takes every key whose name begins so.
    Server,
}

/// All names of a key; those of a client are for one mount if its client's uuid is given. `None` for a server's key without a
/// file system, which has no name.
pub(crate) fn names_of(key: &KeyParts, mount: Option<&str>) -> Option<Vec<LoadedName>> {
    let mut names = Vec::new();
    let mut add = |reader: NameReader, text: String| names.push(LoadedName { text, reader });
    let has_file_system = !key.file_system.is_empty();
    if key.types.mgs {
        add(NameReader::Server, mgs_name(&key.nodemap));
    }
    if key.types.server && has_file_system {
        add(NameReader::Server, server_name(&key.file_system, &key.nodemap));
    }
    if key.types.client {
        match mount {
            Some(client) => add(NameReader::Client, client_name_of_mount(&key.file_system, client)),
            None if has_file_system => add(NameReader::Client, client_name(&key.file_system)),
            None => {}
        }
        key.mgs_nids.iter().for_each(|nid| add(NameReader::Client, mgc_name(*nid)));
    }
    (!names.is_empty()).then_some(names)
}

/// The name with the time at its end, as Lustre's tool writes it: `:yyyymmdd_HHMMSS_UUUUUU`.
pub(crate) fn with_time(name: &str, time: OffsetDateTime) -> String {
    let (year, month, day) = time.to_calendar_date();
    let (hour, minute, second, microseconds) = time.to_hms_micro();
    let month = u8::from(month);
    format!("{name}:{year:04}{month:02}{day:02}_{hour:02}{minute:02}{second:02}_{microseconds:06}")
}

/// Whether `found` is `name`, or that with a time at its end.
pub(crate) fn is_of_server(found: &str, name: &str) -> bool {
    let Some(rest) = found.strip_prefix(name) else { return false };
    rest.is_empty() || rest.strip_prefix(':').is_some_and(is_time)
}

/// Whether a loaded key of a client, with this name and these parts, is for one mount: as with `--update`, or as mount(8)
/// loads one with `skpath`; or is the predecessor of such a one.
pub(crate) fn is_of_mount(found: &str, key: &KeyParts) -> bool {
    let of_file_system = client_name_of_mount(&key.file_system, "");
    key.types.client
        && !key.file_system.is_empty()
        && found.len() > of_file_system.len()
        && found.starts_with(&of_file_system)
        && !is_of_server(found, &server_name(&key.file_system, &key.nodemap))
}

fn is_time(text: &str) -> bool {
    let digits = |part: &str, count: usize| part.len() == count && part.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<&str> = text.split('_').collect();
    matches!(parts[..], [day, time, fraction] if digits(day, 8) && digits(time, 6) && digits(fraction, 6))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::creds::shared_key::{KeyTypes, SharedKey};

    fn key(types: KeyTypes, file_system: &str) -> SharedKey {
        let mgs_nids = vec!["10.0.0.1@tcp".parse().unwrap(), "10.0.0.2@o2ib1".parse().unwrap()];
        let (file_system, nodemap) = (file_system.into(), "guests".into());
        let usual = KeyParts::of_a_client();
        SharedKey::new(KeyParts { types, mgs_nids, file_system, nodemap, prime: None, ..usual }).unwrap()
    }

    fn texts(key: &SharedKey, mount: Option<&str>) -> Vec<String> {
        let names = names_of(key, mount).unwrap();
        names.into_iter().map(|name| name.text).collect()
    }

    #[test]
    fn each_type_has_its_names() {
        let all = key(KeyTypes { client: true, server: true, mgs: true }, "scratch");
        assert_eq!(
            texts(&all, None),
            [
                "lustre:MGS:guests",
                "lustre:scratch:guests",
                "lustre:scratch",
                "lustre:MGC10.0.0.1@tcp",
                "lustre:MGC10.0.0.2@o2ib1"
            ]
        );
        let client = key(KeyTypes { client: true, ..KeyTypes::default() }, "scratch");
        assert_eq!(texts(&client, Some("5f47"))[0], "lustre:scratch:5f47");
        let without = key(KeyTypes { client: true, server: true, mgs: false }, "");
        assert_eq!(texts(&without, None), ["lustre:MGC10.0.0.1@tcp", "lustre:MGC10.0.0.2@o2ib1"]);
        let nameless = key(KeyTypes { server: true, ..KeyTypes::default() }, "");
        assert_eq!(names_of(&nameless, None), None);
    }

    #[test]
    fn a_name_of_a_mount_is_no_servers() {
        let client = key(KeyTypes { client: true, server: true, mgs: false }, "scratch");
        for (name, is) in [
            ("lustre:scratch:5f47", true),
            ("lustre:scratch:5f47#previous", true),
            ("lustre:scratch", false),
            ("lustre:scratch:", false),
            ("lustre:scratch#previous", false),
            ("lustre:scratch2:5f47", false),
            ("lustre:scratch:guests", false),
            ("lustre:scratch:guests:20261105_040302_000017", false),
            ("lustre:MGC10.0.0.1@tcp", false),
        ] {
            assert_eq!(is_of_mount(name, &client), is, "{name}");
        }
        let server = key(KeyTypes { server: true, ..KeyTypes::default() }, "scratch");
        assert!(!is_of_mount("lustre:scratch:5f47", &server));
    }

    #[test]
    fn a_name_with_a_time_is_that_of_the_same_server() {
        let time = OffsetDateTime::from_unix_timestamp_nanos(1_793_851_382_000_017_000).unwrap();
        let name = with_time("lustre:scratch:guests", time);
        assert_eq!(name, "lustre:scratch:guests:20261105_040302_000017");
        assert!(is_of_server(&name, "lustre:scratch:guests"));
        assert!(is_of_server("lustre:scratch:guests", "lustre:scratch:guests"));
        for other in
            ["lustre:scratch:guests2", "lustre:scratch:guests:x", "lustre:scratch", "lustre:scratch:guests:"]
        {
            assert!(!is_of_server(other, "lustre:scratch:guests"), "{other}");
        }
    }
}
