//! What KDCs answer, as the library passes it to us: how often, and what their clocks show (RFC 4120 §5.9.1, stime).
//!
//! An error message is not signed. Its contents are for people, and nothing is decided by them.

use std::cell::Cell;
use std::ffi::c_void;
use std::ptr;

use super::clock::Offset;
use super::ffi;

/// What KDCs have answered to one context of the library.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Replies {
    /// How many answers there were.
    pub(super) count: u32,
    /// The clock in the last answer that was an error message.
    pub(super) clock: Option<Offset>,
    /// The text of the last answer, if that was an error message.
    words: ErrorWords,
}

/// The start of an error message's text, in printable ASCII.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ErrorWords([u8; 32]);

impl Replies {
    /// The text of the last answer, if it was an error message with a text.
    pub(super) fn in_words(&self) -> Option<String> {
        let ErrorWords(words) = self.words;
        let words: String = words.iter().take_while(|byte| **byte != 0).copied().map(char::from).collect();
        Some(words).filter(|words| !words.trim().is_empty())
    }
}

/// Has the library report each KDC's answer to `replies`.
///
/// # Safety
/// `context` is alive, and `replies` stays where it is until `context` is freed.
pub(super) unsafe fn listen(context: ffi::krb5_context, replies: &Cell<Replies>) {
    let replies = std::ptr::from_ref(replies).cast_mut().cast();
    // SAFETY: by the caller's promise; `note` has the type asked for and expects a cell of replies.
    unsafe { ffi::krb5_set_kdc_recv_hook(context, Some(note), replies) };
}

/// Called by the library with a KDC's answer, which it leaves as it is.
unsafe extern "C" fn note(
    context: ffi::krb5_context,
    replies: *mut c_void,
    code: ffi::krb5_error_code,
    _realm: *const ffi::krb5_data,
    _message: *const ffi::krb5_data,
    reply: *const ffi::krb5_data,
    _instead: *mut *mut ffi::krb5_data,
) -> ffi::krb5_error_code {
    if code == 0 && !reply.is_null() {
        // SAFETY: `replies` is the cell given to `listen`; the reply is alive for the time of this call.
        let (replies, error) = unsafe { (&*replies.cast::<Cell<Replies>>(), read_error(context, reply)) };
        let Replies { count, clock: before, .. } = replies.get();
        let (clock, words) =
            error.map_or((None, ErrorWords::default()), |(clock, words)| (Some(clock), words));
        replies.set(Replies { count: count.saturating_add(1), clock: clock.or(before), words });
    }
    code
}

/// The sender's clock and text, if the message is a KRB-ERROR.
///
/// # Safety
/// `context` and `message` are alive.
pub(super) unsafe fn read_error(
    context: ffi::krb5_context,
    message: *const ffi::krb5_data,
) -> Option<(Offset, ErrorWords)> {
    let mut error = ptr::null_mut();
    // SAFETY: by the caller's promise; on success the structure is ours and freed once, and its text has the length
    // that it says.
    unsafe {
        if ffi::krb5_rd_error(context, message, &mut error) != 0 || error.is_null() {
            return None;
        }
        let (there, text) = ((*error).stime.cast_unsigned(), (*error).text);
        let mut words = ErrorWords::default();
        if !text.data.is_null() {
            let text = std::slice::from_raw_parts(text.data.cast::<u8>(), text.length as usize);
            words
                .0
                .iter_mut()
                .zip(text.iter().filter(|byte| matches!(byte, 0x20..0x7f)))
                .for_each(|(to, from)| *to = *from);
        }
        ffi::krb5_free_error(context, error);
        Some((Offset::of(there), words))
    }
}
