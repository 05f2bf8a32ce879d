//! The bytes of new secrets: the kernel's random numbers, or those of a file.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use zeroize::Zeroizing;

use super::failure::SkFailure;
use crate::secret::Secret;
use crate::sys::random;

/// A new secret of so many bytes.
///
/// # Errors
/// [`SkFailure::Random`].
pub(super) fn random(length: usize) -> Result<Secret, SkFailure> {
    let mut bytes = vec![0; length];
    random::fill(&mut bytes).map_err(SkFailure::Random)?;
    Ok(Secret::new(bytes))
}

/// The first bytes of a file, and how many more it has if it is a regular one.
///
/// # Errors
/// [`SkFailure::Secret`], [`SkFailure::ShortSecret`].
pub(super) fn from_file(path: &Path, length: usize) -> Result<(Secret, u64), SkFailure> {
    let fail = |error| SkFailure::Secret(path.to_owned(), error);
    let mut file = File::open(path).map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    // Filled in place, since a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(vec![0; length]);
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => {
                return Err(SkFailure::ShortSecret { path: path.to_owned(), length: filled, wanted: length });
            }
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(fail(error)),
        }
    }
    let wanted = u64::try_from(length).unwrap_or(u64::MAX);
    let more = if metadata.is_file() { metadata.len().saturating_sub(wanted) } else { 0 };
    Ok((Secret::new(std::mem::take(&mut *bytes)), more))
}
