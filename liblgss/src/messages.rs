//! Messages in one piece: signed, encrypted, and what the peer made of its own.

use std::ffi::{c_int, c_void};

use lgss::crypto::wrap::Protection;
use lgss::security::{Arrival, ClientContext, MessageError};

use crate::boundary::{Room, borrowed, bytes, place, put, run};
use crate::codes::{LGSS_ENCRYPTED, LGSS_GAP, LGSS_IN_ORDER, LGSS_LATE, LGSS_SIGNED};
use crate::context::CContext;
use crate::failure::{CError, Failure};
use crate::sizes;

pub(crate) fn number_of(arrival: Arrival) -> c_int {
    match arrival {
        Arrival::InOrder => LGSS_IN_ORDER,
        Arrival::Gap => LGSS_GAP,
        Arrival::Late => LGSS_LATE,
    }
}

/// The token that proves the message to the peer (GSS_GetMIC).
///
/// `*token_size` says how much room there is at `token`, and afterwards how long the token is, lgss_mic_size. Threads may sign at
/// the same time; each token has a number of its own.
///
/// Errors: LGSS_EINVAL, LGSS_ERANGE, LGSS_EDEAD, LGSS_EEXPIRED, LGSS_EFORKED, LGSS_EEXHAUSTED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_sign(
    context: *const CContext,
    message: *const c_void,
    message_size: usize,
    token: *mut c_void,
    token_size: *mut usize,
    error: *mut *mut CError,
) -> c_int {
    // SAFETY: the caller's pointers are as the header demands.
    unsafe {
        run(error, || {
            let context = &borrowed(context, "context")?.context;
            let message = bytes(message, message_size, "message")?;
            let room = Room::of(token, token_size, sizes::mic(context.enctype()), "token")?;
            room.fill(&context.sign(message)?)
        })
    }
}

/// Checks that the peer signed the message (GSS_VerifyMIC), and that this token has not been received before.
///
/// Puts LGSS_IN_ORDER, LGSS_GAP or LGSS_LATE into `*arrival`, unless that is NULL.
///
/// Errors: LGSS_EINVAL, LGSS_EBADTOKEN, LGSS_EDUPLICATE, LGSS_EOLD, LGSS_EDEAD, LGSS_EEXPIRED, LGSS_EFORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_verify(
    context: *const CContext,
    message: *const c_void,
    message_size: usize,
    token: *const c_void,
    token_size: usize,
    arrival: *mut c_int,
    error: *mut *mut CError,
) -> c_int {
    // SAFETY: the caller's pointers are as the header demands.
    unsafe {
        run(error, || {
            let context = &borrowed(context, "context")?.context;
            let message = bytes(message, message_size, "message")?;
            let arrived = context.verify(message, bytes(token, token_size, "token")?)?;
            put(arrival, number_of(arrived));
            Ok(())
        })
    }
}

/// The message encrypted and signed, as one token (GSS_Wrap with confidentiality).
///
/// `*token_size` says how much room there is at `token`, and afterwards how long the token is, lgss_sealed_size. `token` may be
/// where the message is.
///
/// Errors: LGSS_EINVAL, LGSS_ERANGE, LGSS_ERANDOM, LGSS_EDEAD, LGSS_EEXPIRED, LGSS_EFORKED, LGSS_EEXHAUSTED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_seal(
    context: *const CContext,
    message: *const c_void,
    message_size: usize,
    token: *mut c_void,
    token_size: *mut usize,
    error: *mut *mut CError,
) -> c_int {
    // SAFETY: the caller's pointers are as the header demands.
    unsafe {
        run(error, || {
            let context = &borrowed(context, "context")?.context;
            let needed = sizes::sealed(context.enctype(), message_size)?;
            let whole =
                Whole { context, message: (message, message_size), room: (token, token_size), needed };
            whole.fill_with(ClientContext::seal)
        })
    }
}

/// The message signed, as one token in which it can be read (GSS_Wrap without confidentiality).
///
/// As lgss_seal; the token is as long as lgss_protected_size says.
///
/// Errors: as lgss_seal.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_protect(
    context: *const CContext,
    message: *const c_void,
    message_size: usize,
    token: *mut c_void,
    token_size: *mut usize,
    error: *mut *mut CError,
) -> c_int {
    // SAFETY: the caller's pointers are as the header demands.
    unsafe {
        run(error, || {
            let context = &borrowed(context, "context")?.context;
            let needed = sizes::protected(context.enctype(), message_size)?;
            let whole =
                Whole { context, message: (message, message_size), room: (token, token_size), needed };
            whole.fill_with(ClientContext::protect)
        })
    }
}

/// A message that becomes a token.
struct Whole<'a> {
    context: &'a ClientContext,
    message: (*const c_void, usize),
    room: (*mut c_void, *mut usize),
    needed: usize,
}

impl Whole<'_> {
    /// # Safety
    /// The pointers are as the header demands.
    unsafe fn fill_with(
        self,
        make: fn(&ClientContext, &[u8]) -> Result<Vec<u8>, MessageError>,
    ) -> Result<(), Failure> {
        // SAFETY: as demanded above; the token is written after the last use of the message.
        unsafe {
            let message = bytes(self.message.0, self.message.1, "message")?;
            let room = Room::of(self.room.0, self.room.1, self.needed, "token")?;
            let token = make(self.context, message)?;
            room.fill(&token)
        }
    }
}

/// The message in a token of the peer's (GSS_Unwrap).
///
/// `*message_size` says how much room there is at `message`, at least lgss_unsealed_size, and afterwards how long the message is.
/// `message` may be where the token is. `*protection` becomes LGSS_ENCRYPTED or LGSS_SIGNED: a token that is only signed is
/// accepted, too, so whoever wants secrecy must look. `*arrival` becomes LGSS_IN_ORDER, LGSS_GAP or LGSS_LATE, unless `arrival` is
/// NULL.
///
/// Errors: LGSS_EINVAL, LGSS_ERANGE, LGSS_EBADTOKEN, LGSS_EDUPLICATE, LGSS_EOLD, LGSS_EDEAD, LGSS_EEXPIRED, LGSS_EFORKED. After
/// LGSS_ERANGE the token can be received again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_unseal(
    context: *const CContext,
    token: *const c_void,
    token_size: usize,
    message: *mut c_void,
    message_size: *mut usize,
    protection: *mut c_int,
    arrival: *mut c_int,
    error: *mut *mut CError,
) -> c_int {
    // SAFETY: the caller's pointers are as the header demands; the message is written after the last use of the token.
    unsafe {
        run(error, || {
            let context = &borrowed(context, "context")?.context;
            let protection = place(protection, LGSS_SIGNED, "protection")?;
            let token = bytes(token, token_size, "token")?;
            let room = Room::of(message, message_size, sizes::unsealed(context.enctype(), token), "message")?;
            let received = context.unseal(token)?;
            room.fill(&received.message)?;
            *protection = match received.protection {
                Protection::Confidentiality => LGSS_ENCRYPTED,
                Protection::Integrity => LGSS_SIGNED,
            };
            put(arrival, number_of(received.arrival));
            Ok(())
        })
    }
}
