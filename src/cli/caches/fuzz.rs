//! A check for the fuzz targets (docs/fuzzing.md): the mount that the socket of KCM is on.

use std::path::Path;

use super::namespace::mounted_at;

/// `/proc/<pid>/mountinfo`.
pub fn mounts(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let socket = Path::new("/run/.heim_org.h5l.kcm-socket");
    if let Some((.., at)) = mounted_at(&text, socket) {
        assert!(socket.starts_with(at));
    }
}
