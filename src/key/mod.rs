//! Kernel keys as types: a serial, what the kernel says of a key, the authority over a key under construction, and a
//! live key that someone must finish.
//!
//! Used by the upcall and the tools. Invariant: whoever holds a [`LiveKey`] publishes or fails it; dropping fails it.
#![forbid(unsafe_code)]

pub mod auth_line;
pub mod authority;

pub use authority::{Authority, Consumer, LiveKey, Permission};

use crate::sys::keyctl;
use nix::errno::Errno;
use std::fmt;
use std::num::NonZeroI32;
use std::str::FromStr;

/// Serial number of one key: positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeySerial(NonZeroI32);

impl KeySerial {
    /// `None` unless positive; special ids are not serials.
    pub fn new(raw: i32) -> Option<Self> {
        NonZeroI32::new(raw).filter(|raw| raw.get() > 0).map(Self)
    }

    /// The number for the kernel.
    pub fn raw(self) -> i32 {
        self.0.get()
    }
}

/// Text that is not the number of a key.
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

/// What KEYCTL_DESCRIBE says of a key: `type;uid;gid;perm;description`, the description as raw bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDescription {
    /// Type, such as `user` or `lgssc`.
    pub key_type: String,
    /// Owner in our user namespace.
    pub uid: u32,
    /// Group in our user namespace.
    pub gid: u32,
    /// Permission mask, hexadecimal in the text.
    pub permissions: u32,
    /// Any bytes but NUL, also newlines and semicolons.
    pub description: Vec<u8>,
}

impl KeyDescription {
    /// Asks the kernel.
    ///
    /// # Errors
    /// The kernel's, or EPROTO if its text does not have the form known.
    pub fn of(key: KeySerial) -> Result<Self, Errno> {
        keyctl::describe(key.raw()).and_then(Self::read)
    }

    /// Reads the kernel's text.
    ///
    /// # Errors
    /// EPROTO if it does not have the form known.
    pub fn read(text: Vec<u8>) -> Result<Self, Errno> {
        Self::parse(&text).ok_or(Errno::EPROTO)
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let mut fields = text.splitn(5, |&byte| byte == b';');
        let mut word = || std::str::from_utf8(fields.next()?).ok();
        let (key_type, uid, gid) = (word()?.to_owned(), word()?, word()?);
        let permissions = u32::from_str_radix(word()?, 16).ok()?;
        let description = fields.next()?.to_vec();
        Some(Self { key_type, uid: uid.parse().ok()?, gid: gid.parse().ok()?, permissions, description })
    }
}

#[cfg(test)]
mod tests {
    use super::{KeyDescription, KeySerial};

    #[test]
    fn a_description_may_hold_separators_and_newlines() {
        let read = KeyDescription::parse(b"user;1000;100;3f010000;a;b\nc").unwrap();
        assert_eq!((read.key_type.as_str(), read.uid, read.gid), ("user", 1000, 100));
        assert_eq!((read.permissions, &read.description[..]), (0x3f01_0000, &b"a;b\nc"[..]));
        for bad in ["", "user", "user;1;2;zz;d", "user;x;2;0;d", "user;1;2;0"] {
            assert_eq!(KeyDescription::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn only_positive_numbers_are_serials() {
        assert!(
            KeySerial::new(-3).is_none() && KeySerial::new(0).is_none() && "-3".parse::<KeySerial>().is_err()
        );
        assert_eq!("797025216".parse::<KeySerial>().unwrap().to_string(), "2f81a3c0");
    }
}
