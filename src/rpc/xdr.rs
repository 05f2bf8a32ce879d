//! XDR (RFC 4506), as far as most programs need it.

use zeroize::Zeroizing;

use crate::wire::{Reader, WireError};

/// Arguments under construction; zeroed when dropped, since they may be secret.
#[derive(Debug, Default, Clone)]
pub struct XdrEncoder(Zeroizing<Vec<u8>>);

impl XdrEncoder {
    /// Without anything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends an unsigned integer (§4.2), or the value of an enumeration (§4.3).
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    /// Appends an integer (§4.1).
    pub fn i32(&mut self, value: i32) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    /// Appends an unsigned hyper integer (§4.5).
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    /// Appends a boolean (§4.4).
    #[expect(clippy::fn_params_excessive_bools, reason = "what is encoded is one")]
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.u32(value.into())
    }

    /// Appends opaque data of a fixed length, with its padding (§4.9).
    pub fn fixed(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes(bytes);
        let padding = bytes.len().wrapping_neg() % 4;
        self.bytes([0; 3].get(..padding).unwrap_or_default())
    }

    /// Appends opaque data or a string, with length and padding (§4.10, §4.11).
    ///
    /// # Errors
    /// [`WireError::TooLong`] beyond 4 GiB; nothing is appended then.
    pub fn opaque(&mut self, bytes: &[u8]) -> Result<&mut Self, WireError> {
        let limit = usize::try_from(u32::MAX).unwrap_or(usize::MAX);
        let length = u32::try_from(bytes.len()).map_err(|_| WireError::TooLong(bytes.len(), limit))?;
        Ok(self.u32(length).fixed(bytes))
    }

    /// What has been written.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        if self.0.capacity() - self.0.len() < bytes.len() {
            // A vector that grows by itself leaves a copy behind.
            let mut larger = Zeroizing::new(Vec::with_capacity((self.0.len() + bytes.len()) * 2));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(bytes);
        self
    }
}

/// Results being read. Whatever they hold, no more is read than there is.
#[derive(Debug, Clone)]
pub struct XdrDecoder<'a>(Reader<'a>);

impl<'a> XdrDecoder<'a> {
    /// From the start of these results.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(Reader::new(bytes))
    }

    /// The next unsigned integer, or value of an enumeration.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub fn u32(&mut self) -> Result<u32, WireError> {
        self.0.u32_be()
    }

    /// The next integer.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub fn i32(&mut self) -> Result<i32, WireError> {
        self.0.u32_be().map(u32::cast_signed)
    }

    /// The next unsigned hyper integer.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub fn u64(&mut self) -> Result<u64, WireError> {
        Ok(u64::from(self.0.u32_be()?) << 32 | u64::from(self.0.u32_be()?))
    }

    /// The next boolean; every number but 0 is true.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub fn bool(&mut self) -> Result<bool, WireError> {
        self.0.u32_be().map(|value| value != 0)
    }

    /// The next opaque data of this fixed length.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub fn fixed(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let bytes = self.0.take(length)?;
        self.0.take(length.wrapping_neg() % 4)?;
        Ok(bytes)
    }

    /// The next opaque data or string, of `limit` bytes at most.
    ///
    /// # Errors
    /// [`WireError::Truncated`], [`WireError::TooLong`].
    pub fn opaque(&mut self, limit: usize) -> Result<&'a [u8], WireError> {
        self.0.opaque_xdr(limit)
    }

    /// What has not been read yet.
    pub fn rest(&mut self) -> &'a [u8] {
        self.0.rest()
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`WireError::Trailing`] if there is more.
    pub fn finish(self) -> Result<(), WireError> {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(a: u32, b: i32, c: u64, d: bool, e: Vec<u8>, f: [u8; 7]) {
            let mut encoder = XdrEncoder::new();
            encoder.u32(a).i32(b).u64(c).bool(d).opaque(&e).unwrap().fixed(&f);
            prop_assert_eq!(encoder.as_slice().len() % 4, 0);
            let mut decoder = XdrDecoder::new(encoder.as_slice());
            prop_assert_eq!((decoder.u32(), decoder.i32(), decoder.u64()), (Ok(a), Ok(b), Ok(c)));
            prop_assert_eq!((decoder.bool(), decoder.opaque(e.len())), (Ok(d), Ok(&e[..])));
            prop_assert_eq!(decoder.fixed(7), Ok(&f[..]));
            prop_assert_eq!(decoder.finish(), Ok(()));
        }
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        let bytes = [0, 0, 0, 5, 1, 2, 3, 4];
        assert_eq!(XdrDecoder::new(&bytes).opaque(4), Err(WireError::TooLong(5, 4)));
        assert_eq!(XdrDecoder::new(&bytes).opaque(5), Err(WireError::Truncated));
        assert_eq!(XdrDecoder::new(&bytes).fixed(9), Err(WireError::Truncated));
        let mut decoder = XdrDecoder::new(&bytes);
        decoder.u32().unwrap();
        assert_eq!(decoder.finish(), Err(WireError::Trailing(4)));
    }
}
