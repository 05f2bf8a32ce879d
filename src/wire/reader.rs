//! The reading of layouts.
//!
//! Invariant: a [`Reader`] never yields a byte it does not have, and `Reader::finish` refuses leftover bytes.

#[cfg(feature = "upcall")]
mod messages;

/// Bytes from `length` to the next multiple of four.
pub(super) fn padding(length: usize) -> usize {
    length.wrapping_neg() % 4
}

/// What is wrong with received bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes end before the layout does.
    #[error("truncated")]
    Truncated,
    /// A length field exceeds its limit.
    #[error("length {0} over the limit of {1}")]
    TooLong(usize, usize),
    /// Bytes follow the end of the layout.
    #[error("{0} bytes too many")]
    Trailing(usize),
}

/// A cursor over received bytes.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next `n` bytes.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub(crate) fn take(&mut self, n: usize) -> Result<&'a [u8], WireError> {
        let (head, rest) = self.0.split_at_checked(n).ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (head, rest) = self.0.split_first_chunk().ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(*head)
    }

    /// A 32-bit integer in host byte order (key payloads).
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub(crate) fn u32_host(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_ne_bytes)
    }

    /// A 64-bit integer in host byte order (key payloads).
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub(crate) fn u64_host(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_ne_bytes)
    }

    /// A 32-bit integer in network byte order (XDR, RFC 4506 §4.1).
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub(crate) fn u32_be(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_be_bytes)
    }

    /// `u32 host length` and that many bytes, without padding (key payloads).
    ///
    /// # Errors
    /// [`WireError::Truncated`], [`WireError::TooLong`].
    pub(crate) fn opaque_host(&mut self, limit: usize) -> Result<&'a [u8], WireError> {
        let length = self.u32_host()?;
        self.limited(length, limit)
    }

    fn limited(&mut self, length: u32, limit: usize) -> Result<&'a [u8], WireError> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > limit {
            return Err(WireError::TooLong(length, limit));
        }
        self.take(length)
    }

    /// XDR variable-length opaque data: `u32 be length`, the bytes, padding to four (RFC 4506 §4.10).
    ///
    /// # Errors
    /// [`WireError::Truncated`], [`WireError::TooLong`].
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

    /// Whether everything has been read.
    pub(crate) fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    /// All remaining bytes.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}
