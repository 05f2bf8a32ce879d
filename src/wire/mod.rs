//! Bounds-checked reading and writing of binary layouts: key payloads, RPC records, worker messages.
//!
//! Invariant: a [`Reader`] never yields a byte it does not have, and [`Reader::finish`] refuses leftover bytes.
#![forbid(unsafe_code)]

use zeroize::Zeroizing;

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

/// What a key of either type holds while there is no context in it: `u32 0 · i32 −errno · u32 GSS major` (docs/formats.md).
/// Needs no heap.
pub(crate) fn without_context(errno: nix::errno::Errno, gss_major: u32) -> [u8; 12] {
    let ([a, b, c, d], [e, f, g, h]) = ((-(errno as i32)).to_ne_bytes(), gss_major.to_ne_bytes());
    [0, 0, 0, 0, a, b, c, d, e, f, g, h]
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

    /// One byte.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub(crate) fn u8(&mut self) -> Result<u8, WireError> {
        self.array().map(|[byte]| byte)
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

    fn limited(&mut self, length: u32, limit: usize) -> Result<&'a [u8], WireError> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > limit {
            return Err(WireError::TooLong(length, limit));
        }
        self.take(length)
    }

    /// Whether everything has been read.
    pub(crate) fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    /// All remaining bytes.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// Checks that everything has been read.
    ///
    /// # Errors
    /// [`WireError::Trailing`] if anything is left.
    pub(crate) fn finish(self) -> Result<(), WireError> {
        if self.0.is_empty() { Ok(()) } else { Err(WireError::Trailing(self.0.len())) }
    }
}

/// Bytes from `length` to the next multiple of four.
fn padding(length: usize) -> usize {
    length.wrapping_neg() % 4
}

/// A buffer under construction, zeroed on drop because key material passes through it.
#[derive(Debug, Default)]
pub struct Writer(Zeroizing<Vec<u8>>);

impl Writer {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty buffer that holds `n` bytes without growing. Growing would leave copies of secrets behind.
    pub fn with_capacity(n: usize) -> Self {
        Self(Zeroizing::new(Vec::with_capacity(n)))
    }

    /// Appends bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Appends one byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes(&[value])
    }

    /// Appends a 32-bit integer in host byte order.
    pub fn u32_host(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_ne_bytes())
    }

    /// Appends a signed 32-bit integer in host byte order.
    pub fn i32_host(&mut self, value: i32) -> &mut Self {
        self.bytes(&value.to_ne_bytes())
    }

    /// Appends a 64-bit integer in host byte order.
    pub fn u64_host(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_ne_bytes())
    }

    /// Appends a 32-bit integer in network byte order.
    pub fn u32_be(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    /// Appends `u32 host length` and the bytes.
    ///
    /// # Errors
    /// [`WireError::TooLong`] if the length does not fit the field.
    pub fn opaque_host(&mut self, bytes: &[u8]) -> Result<&mut Self, WireError> {
        let length = field_length(bytes)?;
        Ok(self.u32_host(length).bytes(bytes))
    }

    /// Appends XDR variable-length opaque data with its padding.
    ///
    /// # Errors
    /// [`WireError::TooLong`] if the length does not fit the field.
    pub fn opaque_xdr(&mut self, bytes: &[u8]) -> Result<&mut Self, WireError> {
        let length = field_length(bytes)?;
        self.u32_be(length).bytes(bytes);
        for _ in 0..padding(bytes.len()) {
            self.u8(0);
        }
        Ok(self)
    }

    /// The bytes written so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// Number of bytes written so far.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing has been written yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn field_length(bytes: &[u8]) -> Result<u32, WireError> {
    u32::try_from(bytes.len()).map_err(|_| WireError::TooLong(bytes.len(), u32::MAX as usize))
}

#[cfg(test)]
mod tests {
    use super::{Reader, WireError, Writer};
    use proptest::prelude::*;

    #[test]
    fn a_length_beyond_the_bytes_is_truncated_and_beyond_the_limit_too_long() {
        let bytes = [0, 0, 0, 8, 1, 2, 3, 4];
        assert_eq!(Reader::new(&bytes).opaque_xdr(8), Err(WireError::Truncated));
        assert_eq!(Reader::new(&bytes).opaque_xdr(7), Err(WireError::TooLong(8, 7)));
    }

    #[test]
    fn bytes_after_the_end_are_refused() {
        let mut reader = Reader::new(&[0, 0, 0, 1, 9]);
        assert_eq!(reader.u32_be(), Ok(1));
        assert_eq!(reader.finish(), Err(WireError::Trailing(1)));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(a: u32, b: u64, opaque: Vec<u8>) {
            let mut writer = Writer::new();
            writer.u32_host(a).u64_host(b).opaque_xdr(&opaque).unwrap().opaque_host(&opaque).unwrap();
            let mut reader = Reader::new(writer.as_slice());
            prop_assert_eq!(reader.u32_host().unwrap(), a);
            prop_assert_eq!(reader.u64_host().unwrap(), b);
            prop_assert_eq!(reader.opaque_xdr(opaque.len()).unwrap(), &opaque[..]);
            prop_assert_eq!(reader.opaque_host(opaque.len()).unwrap(), &opaque[..]);
            prop_assert!(reader.finish().is_ok());
        }
    }
}
