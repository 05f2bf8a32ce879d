//! Checks for the fuzz targets (docs/fuzzing.md): what the kernel says about keys, with whatever others have put into it.

use super::auth_line::{AuthLineError, Expected, Finder};
use super::{KeyDescription, KeySerial};

const TRUE_LINE: &[u8] =
    b"1a2b3c4d I--Q---     1 perm 0b0b0000  1000   100 .request_ key:2f81a3c0 pid:4711 ci:45\n";
const TRUE_THREAD: i32 = 4711;

/// /proc/keys with lines of others around the true one: these can have it refused, and never name another thread.
pub fn auth_line(data: &[u8]) {
    let alone = find(&[data]);
    let at = data.iter().position(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let (before, after) = data.split_at(at);
    match (alone, find(&[before, TRUE_LINE, after])) {
        // Nobody else claims to be the line.
        (Err(AuthLineError::Absent), found) => assert_eq!(found, Ok(TRUE_THREAD)),
        (_, found) => assert!(found.is_err(), "two lines and one answer: {found:?}"),
    }
    let pieces: Vec<&[u8]> = data.chunks(7).collect();
    assert_eq!(find(&pieces), alone, "the pieces in which it is read matter");
    assert!(alone.is_ok_and(|thread| thread > 0) || alone.is_err());
}

fn find(pieces: &[&[u8]]) -> Result<i32, AuthLineError> {
    let serial = |raw| KeySerial::new(raw).ok_or(AuthLineError::Absent);
    let mut finder = Finder::new(Expected {
        auth_key: serial(0x1a2b_3c4d)?,
        key: serial(0x2f81_a3c0)?,
        uid: 1000,
        gid: 100,
        callout_length: 45,
    });
    pieces.iter().for_each(|piece| finder.feed(piece));
    finder.finish()
}

/// The answer of KEYCTL_DESCRIBE.
pub fn description(data: &[u8]) {
    let Ok(read) = KeyDescription::read(data.to_vec()) else { return };
    let KeyDescription { key_type, uid, gid, permissions, description } = &read;
    let mut written = format!("{key_type};{uid};{gid};{permissions:08x};").into_bytes();
    written.extend_from_slice(description);
    assert_eq!(KeyDescription::read(written), Ok(read));
}
