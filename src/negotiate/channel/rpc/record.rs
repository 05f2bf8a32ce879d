//! Record marking: RPC messages on a byte stream, as fragments that start with a `u32 be` of last-fragment bit and length
//! (RFC 5531 §11).
//!
//! Used for every call and reply. Invariant: a read takes a bounded number of bytes and fragments, whatever the peer sends.

use std::io::{self, Read, Write};

/// Longest token, in bytes (rule S11).
pub(crate) const RPC_TOKEN_LIMIT: usize = 64 * 1024;
/// Longest message, in bytes: a token with its RPC headers.
const RECORD_MESSAGE_LIMIT: usize = RPC_TOKEN_LIMIT + 2048;
/// Most fragments of a message, including empty ones.
const FRAGMENT_LIMIT: usize = 64;
const LAST: u32 = 0x8000_0000;

/// Why a record could not be sent or received.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// More bytes than any message may have.
    #[error("record of more than {RECORD_MESSAGE_LIMIT} bytes")]
    TooLong,
    /// More fragments than any message needs.
    #[error("record of more than {FRAGMENT_LIMIT} fragments")]
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
pub(crate) fn read(stream: &mut impl Read) -> Result<Vec<u8>, RecordError> {
    let mut message = Vec::new();
    let mut received = 0;
    for _ in 0..FRAGMENT_LIMIT {
        let mut mark = [0; 4];
        fill(stream, &mut mark, &mut received)?;
        let mark = u32::from_be_bytes(mark);
        let length = usize::try_from(mark & !LAST).unwrap_or(usize::MAX);
        let begin = message.len();
        if length > RECORD_MESSAGE_LIMIT.saturating_sub(begin) {
            return Err(RecordError::TooLong);
        }
        message.resize(begin + length, 0);
        fill(stream, message.get_mut(begin..).unwrap_or_default(), &mut received)?;
        if mark & LAST != 0 {
            return Ok(message);
        }
    }
    Err(RecordError::TooManyFragments)
}

fn fill(stream: &mut impl Read, mut buffer: &mut [u8], received: &mut usize) -> Result<(), RecordError> {
    while !buffer.is_empty() {
        match stream.read(buffer) {
            Ok(0) => return Err(RecordError::Closed(*received)),
            Ok(count) => {
                *received += count;
                buffer = buffer.get_mut(count..).unwrap_or_default();
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

    fn fragment(last: u32, body: &[u8]) -> Vec<u8> {
        [&mark(last, body.len()), body].concat()
    }

    fn mark(last: u32, length: usize) -> [u8; 4] {
        (last | u32::try_from(length).unwrap()).to_be_bytes()
    }

    #[test]
    fn fragments_are_joined_and_empty_ones_are_allowed_within_the_limit() {
        let stream = [fragment(0, b"ab"), fragment(0, b""), fragment(LAST, b"c")].concat();
        assert_eq!(read(&mut &stream[..]).unwrap(), b"abc");
    }

    #[test]
    fn a_record_that_never_ends_is_given_up() {
        let error = read(&mut io::repeat(0)).unwrap_err();
        assert!(matches!(error, RecordError::TooManyFragments), "{error}");
    }

    #[test]
    fn a_record_over_the_limit_is_refused_before_its_bytes_are_read() {
        let whole = mark(LAST, RECORD_MESSAGE_LIMIT + 1);
        assert!(matches!(read(&mut &whole[..]), Err(RecordError::TooLong)));
        let split = [fragment(0, &[7]), mark(LAST, RECORD_MESSAGE_LIMIT).to_vec()].concat();
        assert!(matches!(read(&mut &split[..]), Err(RecordError::TooLong)));
    }

    #[test]
    fn an_end_before_and_one_within_the_answer_are_told_apart() {
        assert!(matches!(read(&mut &[][..]), Err(RecordError::Closed(0))));
        assert!(matches!(read(&mut &fragment(LAST, b"abc")[..5]), Err(RecordError::Closed(5))));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(message: Vec<u8>) {
            let mut stream = Vec::new();
            write(&mut stream, &message).unwrap();
            prop_assert_eq!(read(&mut &stream[..]).unwrap(), message);
        }

        #[test]
        fn any_bytes_are_read_or_refused_without_a_panic(bytes: Vec<u8>) {
            let _ = read(&mut &bytes[..]);
        }
    }
}
