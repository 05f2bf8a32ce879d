//! Record marking: RPC messages on a byte stream, as fragments that start with a `u32 be` of last-fragment bit and length
//! (RFC 5531 §11).
//!
//! Used for every call and reply. Invariant: a read takes a bounded number of bytes and fragments, whatever the peer sends.

use std::io::{self, Read, Write};

const LAST: u32 = 0x8000_0000;

/// How long a received message may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordLimits {
    /// Bytes of the message.
    pub(crate) bytes: usize,
    /// Fragments, including empty ones.
    pub(crate) fragments: usize,
}

/// Why a record could not be sent or received.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// More bytes than any message may have.
    #[error("record of more bytes than any message may have")]
    TooLong,
    /// More fragments than any message needs.
    #[error("record of more fragments than any message needs")]
    TooManyFragments,
    /// The peer did not take or send the record in time.
    #[error("no record in time")]
    Silent,
    /// The connection broke.
    #[error("connection lost: {0}")]
    Lost(io::Error),
    /// The peer closed the connection after this many bytes of the record.
    #[error("connection closed by the peer after {0} bytes of the record")]
    Closed(usize),
}

/// Sends a message as one fragment.
///
/// # Errors
/// [`RecordError`].
pub(crate) fn write(stream: &mut impl Write, message: &[u8]) -> Result<(), RecordError> {
    let length = u32::try_from(message.len()).ok().filter(|length| length & LAST == 0);
    let mark = LAST | length.ok_or(RecordError::TooLong)?;
    // One write, since two would be two packets.
    let record = [&mark.to_be_bytes(), message].concat();
    stream.write_all(&record).map_err(broken)
}

/// Receives a message, reassembled from its fragments.
///
/// # Errors
/// [`RecordError`].
#[cfg(any(feature = "gss", test))]
pub(crate) fn read(stream: &mut impl Read, limits: RecordLimits) -> Result<Vec<u8>, RecordError> {
    Assembly::new(limits).read(stream)
}

/// A message that is being received. A read that ends because of its time may be continued.
#[derive(Debug)]
pub(crate) struct Assembly {
    limits: RecordLimits,
    /// The mark of the present fragment, as far as it has come.
    mark: [u8; 4],
    marked: usize,
    /// What has come of the message, with room for the present fragment.
    message: Vec<u8>,
    filled: usize,
    fragments: usize,
    received: usize,
}

impl Assembly {
    pub(crate) fn new(limits: RecordLimits) -> Self {
        Self { limits, mark: [0; 4], marked: 0, message: Vec::new(), filled: 0, fragments: 0, received: 0 }
    }

    /// Reads on to the end of the message, and is ready for the next one then.
    ///
    /// # Errors
    /// [`RecordError`]; only after [`RecordError::Silent`] the stream can be read on.
    pub(crate) fn read(&mut self, stream: &mut impl Read) -> Result<Vec<u8>, RecordError> {
        loop {
            if self.marked < self.mark.len() {
                let Self { mark, marked, received, .. } = self;
                fill(stream, mark, marked, received)?;
                self.begin_fragment()?;
            }
            let Self { message, filled, received, .. } = self;
            fill(stream, message, filled, received)?;
            self.marked = 0;
            if u32::from_be_bytes(self.mark) & LAST != 0 {
                let limits = self.limits;
                return Ok(std::mem::replace(self, Self::new(limits)).message);
            }
        }
    }

    fn begin_fragment(&mut self) -> Result<(), RecordError> {
        self.fragments += 1;
        if self.fragments > self.limits.fragments {
            return Err(RecordError::TooManyFragments);
        }
        let length = usize::try_from(u32::from_be_bytes(self.mark) & !LAST).unwrap_or(usize::MAX);
        if length > self.limits.bytes.saturating_sub(self.message.len()) {
            return Err(RecordError::TooLong);
        }
        self.message.resize(self.message.len() + length, 0);
        Ok(())
    }
}

fn fill(
    stream: &mut impl Read,
    buffer: &mut [u8],
    filled: &mut usize,
    received: &mut usize,
) -> Result<(), RecordError> {
    while let Some(room) = buffer.get_mut(*filled..).filter(|room| !room.is_empty()) {
        match stream.read(room) {
            Ok(0) => return Err(RecordError::Closed(*received)),
            Ok(count) => {
                *received += count;
                *filled += count;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(broken(error)),
        }
    }
    Ok(())
}

fn broken(error: io::Error) -> RecordError {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => RecordError::Silent,
        _ => RecordError::Lost(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: RecordLimits = RecordLimits { bytes: 66_000, fragments: 64 };

    fn fragment(last: u32, body: &[u8]) -> Vec<u8> {
        [&mark(last, body.len()), body].concat()
    }

    fn mark(last: u32, length: usize) -> [u8; 4] {
        (last | u32::try_from(length).unwrap()).to_be_bytes()
    }

    #[test]
    fn fragments_are_joined_and_empty_ones_are_allowed_within_the_limit() {
        let stream = [fragment(0, b"ab"), fragment(0, b""), fragment(LAST, b"c")].concat();
        assert_eq!(read(&mut &stream[..], LIMITS).unwrap(), b"abc");
    }

    #[test]
    fn a_record_that_never_ends_is_given_up() {
        let error = read(&mut io::repeat(0), LIMITS).unwrap_err();
        assert!(matches!(error, RecordError::TooManyFragments), "{error}");
    }

    #[test]
    fn a_record_over_the_limit_is_refused_before_its_bytes_are_read() {
        let whole = mark(LAST, LIMITS.bytes + 1);
        assert!(matches!(read(&mut &whole[..], LIMITS), Err(RecordError::TooLong)));
        let split = [fragment(0, &[7]), mark(LAST, LIMITS.bytes).to_vec()].concat();
        assert!(matches!(read(&mut &split[..], LIMITS), Err(RecordError::TooLong)));
    }

    #[test]
    fn an_end_before_and_one_within_the_answer_are_told_apart() {
        assert!(matches!(read(&mut &[][..], LIMITS), Err(RecordError::Closed(0))));
        assert!(matches!(read(&mut &fragment(LAST, b"abc")[..5], LIMITS), Err(RecordError::Closed(5))));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(message: Vec<u8>) {
            let mut stream = Vec::new();
            write(&mut stream, &message).unwrap();
            prop_assert_eq!(read(&mut &stream[..], LIMITS).unwrap(), message);
        }

        #[test]
        fn any_bytes_are_read_or_refused_without_a_panic(bytes: Vec<u8>) {
            let _ = read(&mut &bytes[..], LIMITS);
        }
    }
}
