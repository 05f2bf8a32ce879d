//! What only the upcall and its worker read: messages, which end where their layout does.

use super::super::writer::padding;
use super::{Reader, WireError};

impl<'a> Reader<'a> {
    /// One byte.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub(crate) fn u8(&mut self) -> Result<u8, WireError> {
        self.array().map(|[byte]| byte)
    }

    /// A 32-bit integer in network byte order (XDR, RFC 4506 §4.1).
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub(crate) fn u32_be(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_be_bytes)
    }

    /// `u32 host length`, that many bytes, padding to four (Lustre's buffers).
    ///
    /// # Errors
    /// [`WireError::Truncated`], [`WireError::TooLong`].
    pub(crate) fn opaque_host_padded(&mut self, limit: usize) -> Result<&'a [u8], WireError> {
        let body = self.opaque_host(limit)?;
        self.take(padding(body.len()))?;
        Ok(body)
    }

    /// XDR variable-length opaque data: `u32 be length`, the bytes, padding to four (RFC 4506 §4.10).
    ///
    /// # Errors
    /// [`WireError::Truncated`], [`WireError::TooLong`].
    #[cfg(any(feature = "gss", test))]
    pub(crate) fn opaque_xdr(&mut self, limit: usize) -> Result<&'a [u8], WireError> {
        let length = self.u32_be()?;
        let body = self.limited(length, limit)?;
        self.take(padding(body.len()))?;
        Ok(body)
    }

    /// Checks that everything has been read.
    ///
    /// # Errors
    /// [`WireError::Trailing`] if anything is left.
    pub(crate) fn finish(self) -> Result<(), WireError> {
        if self.0.is_empty() { Ok(()) } else { Err(WireError::Trailing(self.0.len())) }
    }
}
