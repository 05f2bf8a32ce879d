//! The ways out for values that are not public: a file, for private ones; a pipe, for secret ones too.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserializer, Serialize, Serializer};

use super::private::Private;
use crate::secret::Secret;

/// A value on its way into a file: public or private.
#[derive(Debug)]
pub struct InFile<'a, T: ?Sized>(&'a T);

impl<'a, T: ?Sized> InFile<'a, T> {
    /// On its way.
    pub fn new(value: &'a T) -> Self {
        Self(value)
    }

    /// Where it comes from.
    pub fn whole(&self) -> &'a T {
        self.0
    }

    /// A part of it, on the same way.
    pub fn part<'b, U: ?Sized>(&self, part: &'b U) -> InFile<'b, U> {
        InFile(part)
    }

    /// A part that need not be there.
    pub fn optional<'b, U>(&self, part: &'b Option<U>) -> Option<InFile<'b, U>> {
        part.as_ref().map(InFile)
    }
}

impl<T: Serialize + ?Sized> Serialize for InFile<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<T: Serialize> Serialize for InFile<'_, Private<T>> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.expose().serialize(serializer)
    }
}

/// A value on its way to the process that needs it, by a pipe that nobody else has. Only the pipes of this crate begin one.
#[derive(Debug)]
pub struct OverPipe<'a, T: ?Sized>(&'a T);

impl<'a, T: ?Sized> OverPipe<'a, T> {
    /// Where it comes from.
    pub fn whole(&self) -> &'a T {
        self.0
    }

    /// A part of it, on the same way.
    pub fn part<'b, U: ?Sized>(&self, part: &'b U) -> OverPipe<'b, U> {
        OverPipe(part)
    }

    /// A part that need not be there.
    pub fn optional<'b, U>(&self, part: &'b Option<U>) -> Option<OverPipe<'b, U>> {
        part.as_ref().map(OverPipe)
    }
}

impl<T: Serialize + ?Sized> Serialize for OverPipe<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<T: Serialize> Serialize for OverPipe<'_, Private<T>> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.expose().serialize(serializer)
    }
}

/// In hexadecimal, which no serialiser has to copy in order to escape it.
impl Serialize for OverPipe<'_, Secret> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Hexadecimal(self.0.expose()))
    }
}

struct Hexadecimal<'a>(&'a [u8]);

impl fmt::Display for Hexadecimal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// For `deserialize_with`, in a message: a secret as [`OverPipe`] writes it. The text that it is read from must be zeroed by
/// whoever has received it.
///
/// # Errors
/// Those of the deserialiser, and that it is not hexadecimal.
pub fn secret_from_pipe<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    deserializer.deserialize_str(FromHexadecimal)
}

struct FromHexadecimal;

impl Visitor<'_> for FromHexadecimal {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes in hexadecimal")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Secret, E> {
        // No error repeats what was read.
        let malformed = || E::custom("not bytes in hexadecimal");
        let mut secret = Secret::new(vec![0; text.len().div_ceil(2)]);
        let pairs = text.as_bytes().chunks(2);
        for (byte, pair) in secret.expose_mut().iter_mut().zip(pairs) {
            let [high, low] = pair else { return Err(malformed()) };
            let digit =
                |letter: u8| char::from(letter).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            *byte = digit(*high).zip(digit(*low)).map(|(high, low)| high << 4 | low).ok_or_else(malformed)?;
        }
        Ok(secret)
    }
}

/// A message as JSON for a pipe, in memory that is zeroed at its end and never grows elsewhere.
///
/// # Errors
/// Those of the serialiser.
#[cfg(feature = "upcall")]
pub(crate) fn over_pipe<'a, T: ?Sized>(message: &'a T) -> serde_json::Result<Secret>
where
    OverPipe<'a, T>: Serialize,
{
    let mut length = Length(0);
    serde_json::to_writer(&mut length, &OverPipe(message))?;
    let mut bytes = zeroize::Zeroizing::new(Vec::with_capacity(length.0));
    serde_json::to_writer(&mut *bytes, &OverPipe(message))?;
    Ok(bytes.into())
}

/// Counts what is written.
#[cfg(feature = "upcall")]
struct Length(usize);

#[cfg(feature = "upcall")]
impl std::io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[cfg(feature = "upcall")]
mod tests {
    use super::*;
    use crate::class::classes;
    use serde::Deserialize;

    /// As the message of a pipe would be.
    #[derive(Debug, Deserialize)]
    struct Loaded {
        name: String,
        owner: Private<u32>,
        #[serde(deserialize_with = "secret_from_pipe")]
        content: Secret,
        #[serde(skip)]
        seen: bool,
    }

    classes!(over_pipe Loaded { name: public, owner: private, content: secret, seen: unwritten });

    struct Kept {
        name: String,
        owner: Private<u32>,
        of: Option<Nested>,
    }

    struct Nested {
        tried: Private<Vec<u64>>,
    }

    classes!(in_file Kept { name: public, owner: private, of: optional(Nested) });
    classes!(in_file Nested { tried: private });

    fn loaded() -> Loaded {
        let content = Secret::new(vec![0, 0x0f, 0xf0, 0xff]);
        Loaded { name: "lustre:fs".to_owned(), owner: Private::new(7), content, seen: false }
    }

    #[test]
    fn a_pipe_takes_all_classes_and_gives_them_back() {
        let sent = over_pipe(&loaded()).unwrap();
        let json = r#"{"name":"lustre:fs","owner":7,"content":"000ff0ff"}"#;
        assert_eq!(std::str::from_utf8(sent.expose()).unwrap(), json);
        let read: Loaded = serde_json::from_slice(sent.expose()).unwrap();
        assert_eq!((read.name, read.owner, read.seen), ("lustre:fs".to_owned(), Private::new(7), false));
        assert_eq!(read.content.expose(), loaded().content.expose());
        for wrong in ["0", "0g", "é", "0 0"] {
            let json = json.replace("000ff0ff", wrong);
            let error = serde_json::from_str::<Loaded>(&json).unwrap_err().to_string();
            assert!(error.starts_with("not bytes in hexadecimal"), "{error}");
        }
    }

    #[test]
    fn a_file_gets_what_is_private() {
        let kept = Kept {
            name: "n".to_owned(),
            owner: Private::new(7),
            of: Some(Nested { tried: Private::new(vec![1]) }),
        };
        let json = serde_json::to_string(&InFile::new(&kept)).unwrap();
        assert_eq!(json, r#"{"name":"n","owner":7,"of":{"tried":[1]}}"#);
    }

    #[test]
    fn what_is_printed_for_a_debugger_has_neither_private_nor_secret_values() {
        let shown = format!("{:?}", loaded());
        assert!(shown.contains("owner: (set, private), content: Secret(4 bytes)"), "{shown}");
    }
}
