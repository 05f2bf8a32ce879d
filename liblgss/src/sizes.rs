//! How long tokens are, which is known before a number is used for them.

use std::ffi::c_void;

use lgss::crypto::enctype::Enctype;
use lgss::crypto::mic::mic_length;
use lgss::crypto::wrap::Affixes;

use crate::boundary::{borrowed, bytes, put, run_or};
use crate::context::CContext;
use crate::failure::Failure;

/// The flag of an encrypted token, in its third byte (RFC 4121 §4.2.2).
const SEALED: u8 = 2;

/// Of a MIC token.
pub(crate) fn mic(enctype: Enctype) -> usize {
    mic_length(enctype)
}

/// Of the head of an encrypted token, before the message.
pub(crate) const HEAD: usize = Affixes::HEAD_LENGTH;

/// Of its tail.
pub(crate) fn tail(enctype: Enctype) -> usize {
    Affixes::tail_length(enctype)
}

/// Of an encrypted message.
pub(crate) fn sealed(enctype: Enctype, message: usize) -> Result<usize, Failure> {
    longer(message, HEAD + tail(enctype))
}

/// Of a signed message.
pub(crate) fn protected(enctype: Enctype, message: usize) -> Result<usize, Failure> {
    longer(message, mic_length(enctype))
}

fn longer(message: usize, by: usize) -> Result<usize, Failure> {
    message.checked_add(by).ok_or_else(|| Failure::argument("message_size", "no buffer has such a size"))
}

/// At most, of the message in a token; what is no token is refused later.
pub(crate) fn unsealed(enctype: Enctype, token: &[u8]) -> usize {
    let is_sealed = token.get(2).is_some_and(|flags| flags & SEALED != 0);
    let overhead = if is_sealed { HEAD + tail(enctype) } else { mic_length(enctype) };
    token.len().saturating_sub(overhead)
}

/// # Safety
/// `context` is NULL or lives.
unsafe fn of(context: *const CContext, size: impl FnOnce(Enctype) -> Result<usize, Failure>) -> usize {
    run_or(0, || {
        // SAFETY: as demanded above.
        let context = unsafe { borrowed(context, "context") };
        context.and_then(|context| size(context.context.enctype())).unwrap_or(0)
    })
}

/// How long the tokens of lgss_sign are; 0 for NULL. The same for the whole life of a context.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_mic_size(context: *const CContext) -> usize {
    // SAFETY: a context or NULL.
    unsafe { of(context, |enctype| Ok(mic(enctype))) }
}

/// How long lgss_seal makes a message of `message_size` bytes; 0 for NULL, and if no buffer has such a size.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_sealed_size(context: *const CContext, message_size: usize) -> usize {
    // SAFETY: a context or NULL.
    unsafe { of(context, |enctype| sealed(enctype, message_size)) }
}

/// How long lgss_protect makes a message of `message_size` bytes; 0 for NULL, and if no buffer has such a size.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_protected_size(context: *const CContext, message_size: usize) -> usize {
    // SAFETY: a context or NULL.
    unsafe { of(context, |enctype| protected(enctype, message_size)) }
}

/// How much room lgss_unseal needs for the message in this token, which may be some bytes more than the message has; 0 for
/// NULL, and for what is no token.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_unsealed_size(
    context: *const CContext,
    token: *const c_void,
    token_size: usize,
) -> usize {
    // SAFETY: the caller's pointers are as the header demands.
    unsafe { of(context, |enctype| Ok(unsealed(enctype, bytes(token, token_size, "token")?))) }
}

/// How long head and tail are that lgss_wrap_bulk makes. Either may be NULL; 0 for both if `context` is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_bulk_sizes(context: *const CContext, head: *mut usize, tail_size: *mut usize) {
    // SAFETY: the caller's pointers are as the header demands.
    unsafe {
        put(head, of(context, |_| Ok(HEAD)));
        put(tail_size, of(context, |enctype| Ok(tail(enctype))));
    }
}
