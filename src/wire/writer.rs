//! The writing of layouts, by those who make payloads and messages.

use std::fmt;

use zeroize::Zeroizing;

use super::reader::{WireError, padding};

/// What a key of either type holds while there is no context in it: `u32 0 · i32 −errno · u32 GSS major` (docs/formats.md).
/// Needs no heap.
pub(crate) fn without_context(errno: nix::errno::Errno, gss_major: u32) -> [u8; 12] {
    let ([a, b, c, d], [e, f, g, h]) = ((-(errno as i32)).to_ne_bytes(), gss_major.to_ne_bytes());
    [0, 0, 0, 0, a, b, c, d, e, f, g, h]
}

/// A buffer under construction, zeroed on drop because key material passes through it.
#[derive(Default)]
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

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Writer({} bytes)", self.0.len())
    }
}

fn field_length(bytes: &[u8]) -> Result<u32, WireError> {
    u32::try_from(bytes.len()).map_err(|_| WireError::TooLong(bytes.len(), u32::MAX as usize))
}

#[cfg(test)]
mod tests {
    use super::super::reader::Reader;
    use super::{WireError, Writer};
    use proptest::prelude::*;

    #[test]
    fn a_writer_that_is_printed_shows_its_length_only() {
        let mut writer = Writer::new();
        writer.bytes(&[215; 3]);
        assert_eq!(format!("{writer:?}"), "Writer(3 bytes)");
    }

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
