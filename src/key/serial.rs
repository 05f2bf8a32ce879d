//! The number by which the kernel identifies a key.

use std::fmt;
use std::num::NonZeroI32;
use std::str::FromStr;

/// Serial number of a key; positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeySerial(NonZeroI32);

impl KeySerial {
    /// `None` unless positive; special ids are not serials.
    pub fn new(raw: i32) -> Option<Self> {
        NonZeroI32::new(raw).filter(|raw| raw.get() > 0).map(Self)
    }

    /// The number, as system calls take it.
    pub fn raw(self) -> i32 {
        self.0.get()
    }
}

/// Error: the text is no serial number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the serial number of a key")]
pub struct NotASerial;

impl FromStr for KeySerial {
    type Err = NotASerial;

    /// Decimal, as request-key passes it and keyctl(1) prints it.
    fn from_str(text: &str) -> Result<Self, NotASerial> {
        text.parse().ok().and_then(Self::new).ok_or(NotASerial)
    }
}

impl fmt::Display for KeySerial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::KeySerial;

    #[test]
    fn only_positive_numbers_are_serials() {
        assert!(
            KeySerial::new(-3).is_none() && KeySerial::new(0).is_none() && "-3".parse::<KeySerial>().is_err()
        );
        assert_eq!("797025216".parse::<KeySerial>().unwrap().to_string(), "2f81a3c0");
    }
}
