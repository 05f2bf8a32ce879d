//! Checks for the fuzz targets (docs/fuzzing.md): names, shapes and copies of credential caches, the list of sources for a
//! worker, files about users, shared keys.

use std::os::fd::AsRawFd;
use std::path::Path;

use super::cache_name::CacheName;
use super::default_cache::{
    TokenValues, client_keytab_name, configuration_files, default_cache_name, expand, kcm_socket,
};
use super::file_shape::count_tickets;
use super::identities::Identities;
use super::keyring_copy::{file_of_credential, primary};
use super::passwd::Passwd;
use super::search;
use super::shared_key::{LENGTH, SharedKey, candidates};
use super::source_list::{decode, encode};
use super::ticket_keys;
use super::visible_ring::listed;
use crate::ctx::request::Level;
use crate::gss::{self, principal::Name};
use crate::sys::files::sealed_memory;
use crate::text::is_plain;

pub use search::fuzz::{environment, mounts};

const TICKETS: usize = 7;

/// A cache in a file, before the library reads it.
pub fn file_shape(data: &[u8]) {
    if let Ok(count) = count_tickets(data, TICKETS) {
        assert!(count <= TICKETS);
    }
}

/// The same by the library, which finds no more tickets in it than were counted.
pub fn library_cache(data: &[u8]) {
    if let Ok(counted) = count_tickets(data, 64) {
        assert!(gss::fuzz::cache(data).is_none_or(|found| found <= counted));
    }
}

/// A credential in a key, which becomes a file for the library.
pub fn credential_key(data: &[u8]) {
    if let Ok(file) = file_of_credential(data) {
        assert!(file.starts_with(&[5]) && file.ends_with(data));
    }
}

/// The key that names the primary cache of a collection.
pub fn primary_key(data: &[u8]) {
    if let Some(name) = primary(data) {
        let length = u32::try_from(name.len()).unwrap_or(u32::MAX).to_be_bytes();
        assert_eq!([&1_u32.to_be_bytes(), &length, name.as_bytes()].concat(), data);
    }
}

/// The first key of machine tickets in keys.
pub fn ticket_key(data: &[u8]) {
    ticket_keys::fuzz_head(data);
}

/// A cache's name.
pub fn cache_name(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match text.parse::<CacheName>() {
        Ok(name) => {
            assert_eq!(name.to_string().parse::<CacheName>(), Ok(name.clone()));
            assert!(name.shown().chars().all(is_plain));
        }
        Err(error) => assert!(error.to_string().chars().all(is_plain), "{error}"),
    }
}

/// A name in krb5.conf with tokens such as `%{uid}`.
pub fn tokens(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let user = TokenValues { uid: 4711, name: Some("alice"), temporary: Some("/var/tmp") };
    match expand(text, user) {
        Ok(expanded) if !text.contains("%{") => assert_eq!(expanded, text),
        Ok(expanded) => assert!(expanded.len() <= text.len() * 16),
        Err(_) => assert!(text.contains("%{")),
    }
}

/// krb5.conf, as far as the root part reads it. Nothing of this machine is included.
pub fn krb5_conf(data: &[u8]) {
    if data.windows(7).any(|word| word == b"include") {
        return;
    }
    let Ok(file) = sealed_memory(data) else { return };
    let name = format!("/proc/self/fd/{}", file.as_raw_fd());
    let path = Path::new(&name);
    let _ = default_cache_name(path, TokenValues::numbered(4711));
    let _ = client_keytab_name(path, TokenValues::numbered(4711));
    assert!(kcm_socket(path).is_none_or(|socket| socket.is_absolute()));
    assert_eq!(configuration_files(path), [path]);
}

/// /proc/keys, for keyrings that exist: lines of others hide none, and another's name is found only where it is.
pub fn rings(data: &[u8]) {
    const TRUE_LINE: &[u8] = b"2f81a3c0 I--Q---     2 perm 1f3f0000  1000 65534 keyring   _uid.1000: empty\n";
    const OTHER: &[u8] = b" keyring   _uid.1001:";
    let list = [data, b"\n", TRUE_LINE].concat();
    let [is_there, is_other_there] = listed(list.as_slice(), ["_uid.1000", "_uid.1001"]);
    assert!(is_there);
    assert!(!is_other_there || data.windows(OTHER.len()).any(|part| part == OTHER));
}

/// The list of sources that the worker gets over exec.
pub fn source_list(data: &[u8]) {
    let Ok(sources) = decode(data) else { return };
    let written = encode(sources.clone()).unwrap_or_default();
    assert_eq!(decode(&written).ok(), Some(sources));
}

/// /etc/passwd of a requester.
pub fn passwd(data: &[u8]) {
    let passwd = Passwd(String::from_utf8_lossy(data).into_owned());
    for uid in [0, 1000, u32::MAX] {
        if let Some(entry) = passwd.of_uid(uid) {
            assert!(!entry.name.is_empty() && !entry.name.contains([':', '\n']) && !entry.home.contains(':'));
        }
    }
}

/// `.k5identity`.
pub fn identities(data: &[u8]) {
    let name = |text: &str| {
        let (components, realm) = text.split_once('@')?;
        let components = components.split('/').map(str::to_owned).collect();
        Some(Name { realm: realm.to_owned(), components })
    };
    let read = Identities::parse(data, name);
    let lines = data.split(|&byte| byte == b'\n').count();
    assert!(read.malformed.iter().all(|&line| (1..=lines).contains(&line)));
    let _ = (read.client(name("nfs/srv.example.test@EXAMPLE.TEST").as_ref()), read.client(None));
}

/// A shared key's file, binary or text.
pub fn shared_key(data: &[u8]) {
    let read = match SharedKey::is_text(data) {
        true => SharedKey::from_text(data).ok(),
        false => SharedKey::decode(data).ok(),
    };
    let Some(key) = read else { return };
    let form = key.encode();
    assert_eq!(form.len(), LENGTH);
    for again in [SharedKey::decode(form.expose()).ok(), SharedKey::from_text(key.to_text().expose()).ok()] {
        assert!(again.is_some_and(|again| again.encode().expose() == form.expose()), "{key:?}");
    }
    assert!((60..=0x7fff_ffff).contains(&key.expire) && (1..=128).contains(&key.secret.len()));
    assert!(key.file_system.len() <= 64 && key.nodemap.len() <= 16 && key.mgs_nids.len() <= 16);
    assert!(key.prime().is_none_or(|prime| prime.len() <= 2048));
    let of_file_system = format!("{}-MDT0000-mdc-ff2dfdc40a66a800", key.file_system);
    for target in ["MGC10.0.0.1@tcp", &of_file_system] {
        if key.serves(target).is_ok() {
            assert!(key.types.client && key.prime().is_some());
        }
    }
    let _ = [None, Some(Level::Null), Some(Level::Integrity), Some(Level::Privacy)]
        .map(|level| key.protects(level));
}

/// Names of the keys that may serve a mount.
pub fn shared_key_names(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (target, client) = text.split_once('\n').unwrap_or((&text, ""));
    let names = candidates(target, Some(client));
    assert!((1..=2).contains(&names.len()) && names.iter().all(|name| name.starts_with("lustre:")));
}
