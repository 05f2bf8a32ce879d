//! The text form of a shared key, for files only: a line that says what it is, then the binary form in base64url
//! without padding.

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::GeneralPurposeConfig;
use base64::engine::general_purpose::{GeneralPurpose, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::key::{LENGTH, SharedKey, SharedKeyError};
use crate::secret::Secret;

const FIRST_LINE: &[u8] = b"Lustre SSK v1.0";
/// Padding is accepted but never written.
const READ: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a text is no shared key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TextFormError {
    /// The first line is another.
    #[error("it does not begin with the line {:?}", String::from_utf8_lossy(FIRST_LINE))]
    NoFirstLine,
    /// Something else after the first line.
    #[error("what follows its first line is not base64url")]
    NoBase64,
    /// What the text holds is no shared key.
    #[error(transparent)]
    Content(#[from] SharedKeyError),
}

impl SharedKey {
    /// Whether these bytes are meant to be the text form.
    pub(crate) fn is_text(bytes: &[u8]) -> bool {
        bytes.starts_with(FIRST_LINE)
    }

    /// Reads the text form. Line breaks and blanks between its characters do not count.
    ///
    /// # Errors
    /// [`TextFormError`].
    pub(crate) fn from_text(text: &[u8]) -> Result<Self, TextFormError> {
        let rest = text.strip_prefix(FIRST_LINE).ok_or(TextFormError::NoFirstLine)?;
        if !rest.starts_with(b"\n") && !rest.starts_with(b"\r\n") {
            return Err(TextFormError::NoFirstLine);
        }
        let mut digits = Zeroizing::new(Vec::with_capacity(rest.len()));
        digits.extend(rest.iter().copied().filter(|byte| !byte.is_ascii_whitespace()));
        // The estimate for longer texts is no less than what they hold.
        let mut form = Zeroizing::new(vec![0; base64::decoded_len_estimate(digits.len())]);
        let length = READ.decode_slice(&*digits, &mut form).map_err(|_| TextFormError::NoBase64)?;
        Ok(Self::decode(form.get(..length).unwrap_or_default())?)
    }

    /// Its text form.
    pub(crate) fn to_text(&self) -> Secret {
        let mut digits = Zeroizing::new(vec![0; LENGTH * 4 / 3 + 4]);
        // The buffer has room for all.
        let length = URL_SAFE_NO_PAD.encode_slice(self.encode().expose(), &mut digits).unwrap_or(0);
        let mut text = Vec::with_capacity(FIRST_LINE.len() + length + 2);
        text.extend_from_slice(FIRST_LINE);
        text.push(b'\n');
        text.extend_from_slice(digits.get(..length).unwrap_or_default());
        text.push(b'\n');
        Secret::new(text)
    }
}
