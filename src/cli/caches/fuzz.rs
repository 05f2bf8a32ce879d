//! Checks for the fuzz targets (docs/fuzzing.md): the mount that the socket of KCM is on, and how far a search has come.

use std::path::Path;

use super::namespace::mounted_at;
use super::progress::{At, at};

/// `/proc/<pid>/mountinfo`.
pub fn mounts(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let socket = Path::new("/run/.heim_org.h5l.kcm-socket");
    if let Some((.., at)) = mounted_at(&text, socket) {
        assert!(socket.starts_with(at));
    }
}

/// The reports of a search in a process of the user's.
pub fn progress(data: &[u8]) {
    match at(data) {
        At::Place(place) => assert!(place < data.len()),
        At::Cache(name) => assert!(!name.contains('\u{1}'), "{name:?}"),
        At::Elsewhere => assert!(matches!(data, [] | [.., 2])),
    }
}
