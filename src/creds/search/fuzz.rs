//! Checks for the fuzz targets (docs/fuzzing.md): a requester's environment, and where its /tmp is.

use std::os::fd::AsFd;

use super::environment::Environment;
use super::own_tmp::place;
use crate::sys::files::sealed_memory;

/// `/proc/<pid>/environ`.
pub fn environment(data: &[u8]) {
    let Ok(file) = sealed_memory(data) else { return };
    let read = Environment::read(file.as_fd());
    let Environment { cache, home, temporary, user } = &read;
    for value in [cache, home, temporary, user].into_iter().flatten() {
        assert!(!value.is_empty() && !value.contains('\0'), "{read:?}");
    }
}

/// `/proc/<pid>/mountinfo`, for /tmp.
pub fn mounts(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some((device, directory)) = place(&text) {
        assert!(text.contains(device), "{device} {directory}");
    }
}
