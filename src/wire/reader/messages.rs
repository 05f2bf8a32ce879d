//! What only the upcall and its worker read: messages, which end where their layout does.

use super::{Reader, WireError, padding};

impl<'a> Reader<'a> {
    /// One byte.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub(crate) fn u8(&mut self) -> Result<u8, WireError> {
        self.array().map(|[byte]| byte)
    }

    /// A 16-bit integer in network byte order.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub(crate) fn u16_be(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_be_bytes)
    }

    /// `u32 be length` and that many bytes, without padding (credential caches).
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub(crate) fn opaque_be(&mut self) -> Result<&'a [u8], WireError> {
        let length = self.u32_be()?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// The bytes before the next NUL, which is read, too.
    ///
    /// # Errors
    /// [`WireError::Truncated`] without one; [`WireError::TooLong`].
    pub(crate) fn until_nul(&mut self, limit: usize) -> Result<&'a [u8], WireError> {
        let length = self.0.iter().position(|&byte| byte == 0).ok_or(WireError::Truncated)?;
        if length > limit {
            return Err(WireError::TooLong(length, limit));
        }
        let text = self.take(length)?;
        self.take(1)?;
        Ok(text)
    }

    /// The bytes that `read` passes over.
    ///
    /// # Errors
    /// Those of `read`.
    pub(crate) fn passed_over(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<(), WireError>,
    ) -> Result<&'a [u8], WireError> {
        let mut ahead = self.clone();
        read(&mut ahead)?;
        self.take(self.0.len().saturating_sub(ahead.0.len()))
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
}
