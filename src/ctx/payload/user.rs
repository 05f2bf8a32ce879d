//! Payload of `user` keys, host byte order (docs/formats.md, "Payload of a `user` key").
//!
//! Established: `u32 window (≠ 0) · u32 length + handle · u32 length + context token`, the token being what Linux's
//! sunrpc module imports for krb5: `u32 flags · u32 endtime · u64 send sequence · u32 enctype · base key to the end`.
//! Not established: `u32 0 · i32 error · u32 GSS major`, with error `-EINPROGRESS` while the negotiation goes on.
//! After either there may be texts, for people: texts.rs. Where the owner's quota has no room for them they are left out.
//! written.rs writes it; here it is read.

#[cfg(feature = "upcall")]
mod written;

use super::super::context::{BaseKey, Context, HANDLE_LIMIT, Handle, SeqWindow};
use super::super::initiator::{Initiator, Principal};
use super::super::no_context::NoContext;
use super::super::os_error::OsError;
use super::flags;
use super::texts::{TextKind, Texts};
use crate::crypto::enctype::Enctype;
use crate::event::Reason;
use crate::secret::Secret;
use crate::wire::{Reader, WireError};
use nix::errno::Errno;

#[cfg(feature = "upcall")]
pub(crate) use written::GSS_S_CONTINUE_NEEDED;
#[cfg(feature = "upcall")]
pub use written::{established, failed, failed_because, in_progress};

/// The longest token of the four encryption types, 20 bytes before a key of 32.
const TOKEN_LIMIT: usize = 64;

/// What a key says of its context.
#[derive(Debug)]
pub enum State {
    /// The negotiation goes on.
    InProgress,
    /// The context may be used.
    Established(Context),
    /// The negotiation failed.
    Failed(NoContext),
}

/// A payload that does not follow the layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// Lengths do not fit.
    #[error("payload of the key: {0}")]
    Layout(#[from] WireError),
    /// The error of a context that is not established must be a negative errno of this system.
    #[error("payload of the key: error {0} is not a negative errno")]
    BadErrno(i32),
    /// No handle, or a handle over the limit.
    #[error("payload of the key: handle of {0} bytes")]
    BadHandle(usize),
    /// Flags other than initiator, CFX and acceptor subkey, or without the first two.
    #[error("payload of the key: flags {0:#x}")]
    BadFlags(u32),
    /// An encryption type that is not AES, or a key that does not fit it.
    #[error("payload of the key: encryption type {0} or its key length")]
    BadKey(u32),
}

/// Reads a payload.
///
/// # Errors
/// [`PayloadError`], one variant for each offence.
pub fn parse(payload: &[u8]) -> Result<State, PayloadError> {
    let mut reader = Reader::new(payload);
    let Some(window) = SeqWindow::new(reader.u32_host()?) else {
        return parse_not_established(reader);
    };
    let handle = reader.opaque_host(HANDLE_LIMIT)?;
    let mut token = Reader::new(reader.opaque_host(TOKEN_LIMIT)?);
    let texts = Texts::read(reader)?;
    let flags = token.u32_host()?;
    let key_origin = flags::origin(flags).ok_or(PayloadError::BadFlags(flags))?;
    let (endtime, send_sequence, number) = (token.u32_host()?, token.u64_host()?, token.u32_host()?);
    let base_key = Enctype::try_from(number)
        .ok()
        .and_then(|enctype| BaseKey::new(enctype, Secret::new(token.rest().to_vec())))
        .ok_or(PayloadError::BadKey(number))?;
    let handle = Handle::new(handle).ok_or(PayloadError::BadHandle(handle.len()))?;
    let principal = texts.text(TextKind::Principal).and_then(|text| Principal::new(&text));
    let initiator = principal.map(|principal| Initiator { principal, unmet: texts.text(TextKind::Unmet) });
    Ok(State::Established(Context {
        window,
        handle,
        base_key,
        key_origin,
        endtime,
        send_sequence,
        initiator,
    }))
}

fn parse_not_established(mut reader: Reader<'_>) -> Result<State, PayloadError> {
    let (error, gss_major) = (reader.u32_host()?.cast_signed(), reader.u32_host()?);
    let texts = Texts::read(reader)?;
    match error.checked_neg() {
        Some(errno) if errno > 0 && Errno::from_raw(errno) == Errno::EINPROGRESS => Ok(State::InProgress),
        Some(errno) if errno > 0 && Errno::from_raw(errno) != Errno::UnknownErrno => {
            let errno = OsError(Errno::from_raw(errno));
            Ok(State::Failed(NoContext { errno, gss_major, reason: parse_reason(&texts), no_upcall: false }))
        }
        _ => Err(PayloadError::BadErrno(error)),
    }
}

fn parse_reason(texts: &Texts<'_>) -> Option<Reason> {
    Some(Reason {
        stage: texts.text(TextKind::Stage)?,
        cause: texts.text(TextKind::Cause)?,
        detail: texts.text(TextKind::Detail)?,
        remedy: texts.text(TextKind::Remedy)?,
    })
}

#[cfg(test)]
#[cfg(feature = "upcall")]
mod tests {
    use super::*;
    use crate::crypto::mic::KeyOrigin;
    use crate::event::{Cause, Failure, Stage};
    use proptest::prelude::*;

    fn context() -> Context {
        Context {
            window: SeqWindow::new(32).unwrap(),
            handle: Handle::new(&[7; 16]).unwrap(),
            base_key: BaseKey::new(Enctype::Aes256Sha1, Secret::new(vec![9; 32])).unwrap(),
            key_origin: KeyOrigin::AcceptorSubkey,
            endtime: 0x6000_0000,
            send_sequence: 5,
            initiator: None,
        }
    }

    fn with_words() -> Context {
        let principal = Principal::new("alice@EXAMPLE.TEST").unwrap();
        let unmet = Some("FILE:/tmp/x, which KRB5CCNAME names, has no ticket".to_owned());
        Context { initiator: Some(Initiator { principal, unmet }), ..context() }
    }

    #[test]
    fn an_established_payload_has_the_documented_bytes() {
        let mut expected = Vec::new();
        expected.extend(32u32.to_ne_bytes());
        expected.extend(16u32.to_ne_bytes());
        expected.extend([7; 16]);
        expected.extend(52u32.to_ne_bytes());
        expected.extend(7u32.to_ne_bytes());
        expected.extend(0x6000_0000u32.to_ne_bytes());
        expected.extend(5u64.to_ne_bytes());
        expected.extend(18u32.to_ne_bytes());
        expected.extend([9; 32]);
        assert_eq!(established(&context()).unwrap().as_slice(), expected);
    }

    #[test]
    fn the_provisional_and_failure_payloads_have_twelve_bytes_with_a_negative_errno() {
        let mut expected = [0u8; 12];
        expected[4..8].copy_from_slice(&(-115i32).to_ne_bytes());
        expected[8..].copy_from_slice(&1u32.to_ne_bytes());
        assert_eq!(in_progress().as_slice(), expected);
        let failure = Failure::new(Stage::Credentials, Cause::NoTicket, "none").with_gss_major(0x70000);
        expected[4..8].copy_from_slice(&(-126i32).to_ne_bytes());
        expected[8..].copy_from_slice(&0x70000u32.to_ne_bytes());
        assert_eq!(failed(&failure).as_slice(), expected);
    }

    #[test]
    fn the_texts_follow_what_readers_of_the_first_layout_read() {
        let (plain, whole) = (established(&context()).unwrap(), established(&with_words()).unwrap());
        assert!(whole.as_slice().starts_with(plain.as_slice()));
        let State::Established(read) = parse(whole.as_slice()).unwrap() else { panic!("not established") };
        assert_eq!(read.initiator, with_words().initiator);
        let failure =
            Failure::new(Stage::Kdc, Cause::KdcDown, "127.0.0.1:88 refused").with_gss_major(0x70000);
        let reason = Reason::of(&failure).unwrap();
        let whole = failed_because(&failure, &reason).unwrap();
        assert!(whole.as_slice().starts_with(failed(&failure).as_slice()));
        let State::Failed(read) = parse(whole.as_slice()).unwrap() else { panic!("not failed") };
        let errno = OsError(Errno::ECONNREFUSED);
        assert_eq!(read, NoContext { errno, gss_major: 0x70000, reason: Some(reason), no_upcall: false });
    }

    /// A key of this name anybody can plant.
    #[test]
    fn planted_texts_are_printable_and_those_of_later_versions_passed_over() {
        let mut planted = established(&context()).unwrap();
        planted.u32_host(99).opaque_host(b"of a later version").unwrap();
        planted.u32_host(1).opaque_host(b"alice@R").unwrap();
        planted.u32_host(2).opaque_host(b"x\x1b[2J\xff\nlgss: established").unwrap();
        let State::Established(read) = parse(planted.as_slice()).unwrap() else { panic!("not established") };
        let Initiator { principal, unmet } = read.initiator.unwrap();
        assert_eq!(principal.as_str(), "alice@R");
        assert!(!unmet.unwrap().contains(['\x1b', '\n']));
        planted.u32_host(3).u32_host(1025).bytes(&[b'x'; 1025]);
        assert_eq!(parse(planted.as_slice()).unwrap_err(), WireError::TooLong(1025, 1024).into());
    }

    #[test]
    fn an_error_that_is_no_errno_of_this_system_is_refused() {
        for error in [0i32, 5, -4095, i32::MIN] {
            let mut planted = in_progress().as_slice().to_vec();
            planted[4..8].copy_from_slice(&error.to_ne_bytes());
            assert_eq!(parse(&planted).unwrap_err(), PayloadError::BadErrno(error));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn any_bytes_after_the_fixed_part_are_texts_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut whole = established(&context()).unwrap();
            whole.bytes(&bytes);
            if let Ok(State::Established(read)) = parse(whole.as_slice()) {
                prop_assert_eq!(read.base_key.secret().expose(), &[9; 32]);
            }
        }

        #[test]
        fn texts_cut_anywhere_but_between_them_are_refused(cut in 1usize..200) {
            let (plain, whole) = (established(&context()).unwrap(), established(&with_words()).unwrap());
            let end = plain.len() + cut;
            let first = plain.len() + 8 + "alice@EXAMPLE.TEST".len();
            prop_assume!(end < whole.len() && end != first);
            prop_assert!(parse(&whole.as_slice()[..end]).is_err());
        }

        #[test]
        fn a_payload_cut_anywhere_is_refused(cut in 0usize..80) {
            let whole = established(&context()).unwrap();
            prop_assert!(parse(&whole.as_slice()[..cut.min(whole.len() - 1)]).is_err());
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let State::Established(read) = parse(established(&context()).unwrap().as_slice()).unwrap() else {
            panic!("not established");
        };
        assert_eq!(
            (read.window.count(), read.handle.as_bytes(), read.endtime),
            (32, &[7u8; 16][..], 0x6000_0000)
        );
        assert_eq!(read.base_key.secret().expose(), &[9; 32]);
        assert_eq!((read.key_origin, read.send_sequence), (KeyOrigin::AcceptorSubkey, 5));
    }
}
