//! The kernel's description of a key, as KEYCTL_DESCRIBE gives it.

use nix::errno::Errno;

use super::serial::KeySerial;
use crate::sys::keyctl;

/// A key as described by the kernel: `type;uid;gid;perm;description`, the description as raw bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyDescription {
    /// Type, such as `user` or `lgssc`.
    pub key_type: String,
    /// Owner in our user namespace.
    pub uid: u32,
    /// Group in our user namespace.
    pub gid: u32,
    /// Permission mask, hexadecimal in the text.
    pub permissions: u32,
    /// Any bytes but NUL; newlines and semicolons are possible.
    pub description: Vec<u8>,
}

/// All rights of the possessor, and the owner's right to see that the key exists (keyrings(7)).
#[cfg(feature = "upcall")]
pub(crate) const POSSESSORS: u32 = 0x3f00_0000;
#[cfg(feature = "upcall")]
pub(crate) const VISIBLE: u32 = 0x0001_0000;

impl KeyDescription {
    /// Whether it is this user's, and nobody but its possessor can use it.
    #[cfg(feature = "upcall")]
    pub(crate) fn is_possessors_alone(&self, uid: u32) -> bool {
        self.uid == uid && self.permissions & !(POSSESSORS | VISIBLE) == 0
    }

    /// Asks the kernel for it.
    ///
    /// # Errors
    /// The kernel's; EPROTO if its text has another form.
    pub(crate) fn of(key: KeySerial) -> Result<Self, Errno> {
        keyctl::describe(key.raw()).and_then(Self::read)
    }

    /// Parses the kernel's text.
    ///
    /// # Errors
    /// EPROTO if it has another form.
    pub(crate) fn read(text: Vec<u8>) -> Result<Self, Errno> {
        Self::parse(&text).ok_or(Errno::EPROTO)
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let mut fields = text.splitn(5, |&byte| byte == b';');
        let mut word = || std::str::from_utf8(fields.next()?).ok();
        let (key_type, uid, gid) = (word()?.to_owned(), word()?, word()?);
        let permissions = u32::from_str_radix(word()?, 16).ok()?;
        let description = fields.next()?.to_vec();
        Some(Self { key_type, uid: id_of_kernel(uid)?, gid: id_of_kernel(gid)?, permissions, description })
    }
}

/// A uid or gid as the kernel writes it for keys, in their descriptions, lists and the words of an upcall: those from 2³¹ on
/// as negative numbers.
pub(crate) fn id_of_kernel(text: &str) -> Option<u32> {
    text.parse().ok().or_else(|| text.parse::<i32>().ok().map(i32::cast_unsigned))
}

#[cfg(test)]
mod tests {
    use super::KeyDescription;

    #[test]
    fn ids_from_2_to_the_31_on_are_shown_as_negative_numbers() {
        let read = KeyDescription::parse(b"user;-4096;-2;3f010000;a").unwrap();
        assert_eq!((read.uid, read.gid), (0xffff_f000, 0xffff_fffe));
    }

    #[test]
    fn a_description_may_hold_separators_and_newlines() {
        let read = KeyDescription::parse(b"user;1000;100;3f010000;a;b\nc").unwrap();
        assert_eq!((read.key_type.as_str(), read.uid, read.gid), ("user", 1000, 100));
        assert_eq!((read.permissions, &read.description[..]), (0x3f01_0000, &b"a;b\nc"[..]));
        for bad in ["", "user", "user;1;2;zz;d", "user;x;2;0;d", "user;1;2;0"] {
            assert_eq!(KeyDescription::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
