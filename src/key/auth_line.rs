//! Finds the requester in the authorisation key's line of /proc/keys (rule S2; docs/threat-model.md, "What the kernel
//! vouches for"). Used by `identity`.
//!
//! `<serial %08x> <flags> <usage> <timeout> <permissions> <uid> <gid> .request_ key:<key %x> pid:<tid> ci:<length>`.
//! Descriptions of other keys may contain newlines, so anyone can forge lines. Only the line that starts with the
//! serial that the kernel gave us counts, every field of it must agree, and a second such line means refusal.

use super::KeySerial;
use super::description::id_of_kernel;

/// What is known of the authorisation key beforehand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    /// The authorisation key's serial.
    pub auth_key: KeySerial,
    /// The key under construction.
    pub key: KeySerial,
    /// The requester's fsuid.
    pub uid: u32,
    /// The requester's fsgid.
    pub gid: u32,
    /// Length of the callout in bytes.
    pub callout_length: usize,
}

/// Why the line does not name the requester.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AuthLineError {
    /// No line of that serial.
    #[error("no line of the authorisation key in /proc/keys")]
    Absent,
    /// The line is cut, or its fields are not those of our key.
    #[error("the line of the authorisation key in /proc/keys does not agree with the request")]
    Disagrees,
    /// More than one line claims to be it.
    #[error("several lines in /proc/keys claim to be the authorisation key")]
    Ambiguous,
}

/// Reads the text piece by piece and keeps one line at most.
#[derive(Debug)]
pub(crate) struct Finder {
    expected: Expected,
    serial: [u8; 8],
    key_word: String,
    line: Vec<u8>,
    found: Option<i32>,
    error: Option<AuthLineError>,
}

/// Most bytes of a line that are kept. Our own line has about 100 bytes; longer ones are other keys'.
const KEY_LINE_LIMIT: usize = 256;

impl Finder {
    /// A finder of this authorisation key's line.
    pub(crate) fn new(expected: Expected) -> Self {
        let mut serial = [0; 8];
        for (slot, byte) in serial.iter_mut().zip(expected.auth_key.to_string().bytes()) {
            *slot = byte;
        }
        let key_word = format!("key:{:x}", expected.key.raw());
        Self {
            expected,
            serial,
            key_word,
            line: Vec::with_capacity(KEY_LINE_LIMIT),
            found: None,
            error: None,
        }
    }

    /// Reads the next piece of the text.
    pub(crate) fn feed(&mut self, piece: &[u8]) {
        for part in piece.split_inclusive(|&byte| byte == b'\n') {
            let room = KEY_LINE_LIMIT.saturating_sub(self.line.len());
            self.line.extend_from_slice(part.get(..room).unwrap_or(part));
            if part.ends_with(b"\n") {
                self.end_of_line();
                self.line.clear();
            }
        }
    }

    fn end_of_line(&mut self) {
        let ours = self.line.starts_with(&self.serial);
        if !ours && !claims_key(&self.line, self.key_word.as_bytes()) {
            return;
        }
        match (self.found, ours.then(|| parse(&self.line, &self.expected, &self.key_word)).flatten()) {
            (None, Some(tid)) => self.found = Some(tid),
            (None, None) => self.error = Some(AuthLineError::Disagrees),
            (Some(_), _) => self.error = Some(AuthLineError::Ambiguous),
        }
    }

    /// Returns the requester's thread id, once all text has been read.
    ///
    /// # Errors
    /// [`AuthLineError`].
    pub(crate) fn finish(self) -> Result<i32, AuthLineError> {
        match (self.error, self.found) {
            (Some(error), _) => Err(error),
            (None, Some(tid)) => Ok(tid),
            (None, None) => Err(AuthLineError::Absent),
        }
    }
}

/// Whether a line with another serial claims to authorise our key.
fn claims_key(line: &[u8], key_word: &[u8]) -> bool {
    let mut words = line.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
    words.any(|word| word.starts_with(b".request_")) && words.next() == Some(key_word)
}

/// Serial, flags, usage, timeout, permissions.
const WORDS_BEFORE_UID: usize = 5;

fn parse(line: &[u8], expected: &Expected, key_word: &str) -> Option<i32> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let mut words = line.split_ascii_whitespace().skip(WORDS_BEFORE_UID);
    let mut next = || words.next();
    let (uid, gid, key_type, key, pid, length) = (next()?, next()?, next()?, next()?, next()?, next()?);
    if key_type != ".request_" || next().is_some() {
        return None;
    }
    let agrees = key == key_word
        && id_of_kernel(uid) == Some(expected.uid)
        && id_of_kernel(gid) == Some(expected.gid)
        && length.strip_prefix("ci:")?.parse() == Ok(expected.callout_length);
    let tid: i32 = pid.strip_prefix("pid:")?.parse().ok()?;
    (agrees && tid > 0).then_some(tid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TRUE_LINE: &str =
        "1a2b3c4d I--Q---     1 perm 0b0b0000  1000   100 .request_ key:2f81a3c0 pid:4711 ci:45\n";

    fn expected() -> Expected {
        Expected {
            auth_key: KeySerial::new(0x1a2b_3c4d).unwrap(),
            key: KeySerial::new(0x2f81_a3c0).unwrap(),
            uid: 1000,
            gid: 100,
            callout_length: 45,
        }
    }

    fn find(text: &str) -> Result<i32, AuthLineError> {
        let mut finder = Finder::new(expected());
        for piece in text.as_bytes().chunks(7) {
            finder.feed(piece);
        }
        finder.finish()
    }

    #[test]
    fn the_line_of_our_serial_names_the_requester() {
        let others = "00000001 I------     1 perm 1f030000     0     0 keyring   .dns_resolver: empty\n";
        assert_eq!(find(&format!("{others}{TRUE_LINE}{others}")), Ok(4711));
        assert_eq!(find(others), Err(AuthLineError::Absent));
    }

    #[test]
    fn forged_lines_before_or_after_lead_to_refusal_never_to_another_requester() {
        let forged = TRUE_LINE.replace("pid:4711", "pid:1");
        assert_eq!(find(&format!("x: 3\n{forged}{TRUE_LINE}")), Err(AuthLineError::Ambiguous));
        assert_eq!(find(&format!("{TRUE_LINE}{forged}")), Err(AuthLineError::Ambiguous));
        let other_serial = forged.replace("1a2b3c4d", "1a2b3c4e");
        assert!(find(&format!("{other_serial}{TRUE_LINE}")).is_err());
        assert!(find(&format!("{TRUE_LINE}{other_serial}")).is_err());
    }

    #[test]
    fn any_field_that_disagrees_is_refused() {
        for (from, to) in [
            ("  1000 ", "  1001 "),
            ("   100 ", "   101 "),
            (".request_", "user     "),
            ("key:2f81a3c0", "key:02f81a3c0"),
            ("key:2f81a3c0", "key:2f81a3c1"),
            ("pid:4711", "pid:-1"),
            ("pid:4711", "pid:0"),
            (" pid:4711", ""),
            ("ci:45", "ci:46"),
            ("ci:45", "ci:45 more"),
        ] {
            assert_eq!(find(&TRUE_LINE.replace(from, to)), Err(AuthLineError::Disagrees), "{to}");
        }
        assert_eq!(find(TRUE_LINE.trim_end()), Err(AuthLineError::Absent), "a cut line");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_or_name_anyone(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut finder = Finder::new(expected());
            finder.feed(&bytes);
            prop_assert!(finder.finish().is_err());
        }
    }
}
