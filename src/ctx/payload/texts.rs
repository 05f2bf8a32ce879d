//! The texts after the fixed part of a `user` key's payload, to its end: each `u32 kind · u32 length + UTF-8`.
//!
//! Readers of version 1 stop before them; a kind that this version does not know is passed over. Invariant: whoever wrote
//! the payload, a text that comes out of here is printable and on one line.

use crate::event::one_line;
use crate::wire::{Reader, WireError};

/// What a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum TextKind {
    /// Established: the principal that the context speaks for.
    Principal = 1,
    /// Established: the wish that was not met, with the reason.
    Unmet = 2,
    /// Failed: at which step.
    Stage = 3,
    /// Failed: why, a word for programs.
    Cause = 4,
    /// Failed: what exactly.
    Detail = 5,
    /// Failed: what to do.
    Remedy = 6,
}

/// Longest text in bytes, of which ours keep clear.
pub(super) const TEXT_LIMIT: usize = 1024;

/// The texts of one payload.
#[derive(Debug)]
pub(super) struct Texts<'a>(Vec<(u32, &'a [u8])>);

impl<'a> Texts<'a> {
    /// All that is left.
    ///
    /// # Errors
    /// [`WireError`] if lengths do not fit.
    pub(super) fn read(mut reader: Reader<'a>) -> Result<Self, WireError> {
        let mut texts = Vec::new();
        while !reader.is_at_end() {
            texts.push((reader.u32_host()?, reader.opaque_host(TEXT_LIMIT)?));
        }
        Ok(Self(texts))
    }

    /// The first of a kind.
    pub(super) fn text(&self, kind: TextKind) -> Option<String> {
        let (_, text) = self.0.iter().find(|(number, _)| *number == kind as u32)?;
        Some(one_line(&String::from_utf8_lossy(text)))
    }
}
