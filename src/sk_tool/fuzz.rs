//! Checks for the fuzz targets (docs/fuzzing.md): values and lists that `lgss_sk` reads.

use std::path::Path;

use super::mounted::file_system_at;
use super::values;
use crate::provider::shared_keys::remaining;

/// Values on the command line.
pub fn arguments(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(values::NidList(nids)) = values::nids(text) {
        let written: Vec<String> = nids.iter().map(ToString::to_string).collect();
        assert!(values::nids(&written.join(",")).is_ok_and(|again| again.0 == nids));
    }
    if let Ok(name) = values::name(text) {
        assert!(name.bytes().all(|byte| byte.is_ascii_graphic()) && !name.contains([':', '#', '/']));
    }
    if let Ok(types) = values::types_of(text) {
        assert!(values::types_of(&types.to_string()) == Ok(types));
    }
    assert!(values::expire(text).is_ok_and(|expire| expire >= 60) || values::expire(text).is_err());
    if let Ok(hmac) = values::hmac(text) {
        assert_eq!(values::hmac(hmac.shown_name()), Ok(hmac));
    }
    if let Ok(cipher) = values::cipher(text) {
        assert_eq!(values::cipher(cipher.shown_name()), Ok(cipher));
    }
}

/// /proc/keys, for the time that keys have left. A key of which there are two lines counts as unknown.
pub fn key_times(data: &[u8]) {
    let names = remaining::parse(data).into_values().filter_map(|listed| listed.name);
    names.for_each(|name| assert!(!name.contains('\n'), "{name:?}"));
    assert_eq!(remaining::parse(&[data, b"\n", data].concat()).len(), 0);
}

/// /proc/self/mountinfo, for the Lustre file system of a path.
pub fn mounts(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for path in ["/", "/mnt/lustre/a b", "/tmp"] {
        if let Some(name) = file_system_at(Path::new(path), &text) {
            assert!(!name.is_empty() && !name.contains(['/', ' ', '\n']), "{name:?}");
        }
    }
}
