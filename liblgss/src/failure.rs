//! Failures: a code for programs, and words for people.

use std::ffi::{CString, c_char, c_int};

use lgss::crypto::wrap::WrapError;
use lgss::ctx::client::ClientError;
use lgss::security::{LookupError, MessageError};

use crate::boundary::run_or;
use crate::codes::{
    LGSS_EAGAIN, LGSS_EBADTOKEN, LGSS_EDEAD, LGSS_EDUPLICATE, LGSS_EEXHAUSTED, LGSS_EEXPIRED, LGSS_EFAILED,
    LGSS_EFORKED, LGSS_EINVAL, LGSS_EKEEPING, LGSS_EOLD, LGSS_EOTHER, LGSS_EPANIC, LGSS_ERANDOM, LGSS_ERANGE,
    LGSS_EREQUEST, LGSS_ESHARED, LGSS_ETHREAD,
};

/// Why a function failed.
#[derive(Debug)]
pub(crate) struct Failure(Box<Words>);

#[derive(Debug, Default)]
struct Words {
    code: c_int,
    message: String,
    stage: String,
    cause: String,
    detail: String,
    remedy: String,
    errno: c_int,
    gss_major: u32,
}

impl Failure {
    /// Of the library's messages, which are `CAUSE; REMEDY` or `CAUSE`.
    fn worded(code: c_int, message: String) -> Self {
        let (cause, remedy) = message.split_once("; ").unwrap_or((&message, ""));
        let (cause, remedy) = (cause.to_owned(), remedy.to_owned());
        Self(Box::new(Words { code, message, cause, remedy, ..Words::default() }))
    }

    pub(crate) fn argument(name: &'static str, fault: &str) -> Self {
        Self::worded(LGSS_EINVAL, format!("argument {name}: {fault}"))
    }

    pub(crate) fn missing(name: &'static str) -> Self {
        Self::argument(name, "it is NULL")
    }

    pub(crate) fn no_room(name: &'static str, needed: usize) -> Self {
        Self::worded(LGSS_ERANGE, format!("buffer {name} is too small; it needs {needed} bytes"))
    }

    pub(crate) fn not_yet() -> Self {
        LookupError::InProgress.into()
    }

    pub(crate) fn panicked() -> Self {
        Self::worded(LGSS_EPANIC, "a fault of liblgss; end the context, and report it".to_owned())
    }

    pub(crate) fn code(&self) -> c_int {
        self.0.code
    }

    fn with_errno(mut self, errno: c_int) -> Self {
        self.0.errno = errno;
        self
    }
}

impl From<LookupError> for Failure {
    fn from(error: LookupError) -> Self {
        let message = error.to_string();
        match error {
            LookupError::Failed(no_context) => {
                let (cause, remedy) = (no_context.cause().to_owned(), no_context.remedy().to_owned());
                let (stage, detail) =
                    no_context.reason.map_or_else(Default::default, |reason| (reason.stage, reason.detail));
                let (errno, gss_major) = (no_context.errno.code(), no_context.gss_major);
                let code = LGSS_EFAILED;
                Self(Box::new(Words { code, message, stage, cause, detail, remedy, errno, gss_major }))
            }
            LookupError::InProgress => Self::worded(LGSS_EAGAIN, message),
            LookupError::Client(error) => Self::worded(LGSS_EREQUEST, message).with_errno(errno_of(&error)),
            LookupError::Keeping(errno) => Self::worded(LGSS_EKEEPING, message).with_errno(errno.code()),
            LookupError::Thread(_) => Self::worded(LGSS_ETHREAD, message),
            LookupError::Ended(error) => error.into(),
            _ => Self::worded(LGSS_EOTHER, message),
        }
    }
}

fn errno_of(error: &ClientError) -> c_int {
    match error {
        ClientError::Session(errno) | ClientError::Request(errno) | ClientError::Read(errno) => errno.code(),
        ClientError::NoUpcall => libc::ENOKEY,
        _ => 0,
    }
}

impl From<MessageError> for Failure {
    fn from(error: MessageError) -> Self {
        let code = match error {
            MessageError::Wrap(WrapError::Random) => LGSS_ERANDOM,
            MessageError::Mic(_) | MessageError::Wrap(_) => LGSS_EBADTOKEN,
            MessageError::Duplicate(_) => LGSS_EDUPLICATE,
            MessageError::Old(_) => LGSS_EOLD,
            MessageError::Expired(_) => LGSS_EEXPIRED,
            MessageError::Dead => LGSS_EDEAD,
            MessageError::Forked => LGSS_EFORKED,
            MessageError::Exhausted => LGSS_EEXHAUSTED,
            MessageError::Shared => LGSS_ESHARED,
            _ => LGSS_EOTHER,
        };
        let mut failure = Self::worded(code, error.to_string());
        failure.0.gss_major = error.gss_major();
        failure
    }
}

/// Why a function failed, for programs and people. Opaque; free it with lgss_error_free.
pub struct CError {
    code: c_int,
    message: CString,
    stage: CString,
    cause: CString,
    detail: CString,
    remedy: CString,
    errno: c_int,
    gss_major: u32,
}

#[cfg(test)]
impl CError {
    pub(crate) fn code(&self) -> c_int {
        self.code
    }
}

impl From<Failure> for CError {
    fn from(Failure(words): Failure) -> Self {
        Self {
            code: words.code,
            message: c_text(&words.message),
            stage: c_text(&words.stage),
            cause: c_text(&words.cause),
            detail: c_text(&words.detail),
            remedy: c_text(&words.remedy),
            errno: words.errno,
            gss_major: words.gss_major,
        }
    }
}

/// Text for C: a zero in it, which no text of the library has, is left out.
pub(crate) fn c_text(text: &str) -> CString {
    CString::new(text.replace('\0', "")).unwrap_or_default()
}

/// # Safety
/// `error` is NULL or an error that lives.
unsafe fn part_of(error: *const CError, part: impl FnOnce(&CError) -> &CString) -> *const c_char {
    // SAFETY: as demanded above.
    run_or(c"".as_ptr(), || unsafe { error.as_ref() }.map_or(c"".as_ptr(), |error| part(error).as_ptr()))
}

/// The code that the function returned; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_error_code(error: *const CError) -> c_int {
    // SAFETY: an error or NULL.
    unsafe { error.as_ref() }.map_or(0, |error| error.code)
}

/// The whole failure on one line, such as
/// "no context: ENOKEY: no usable ticket was found (DETAIL); get a ticket with kinit".
///
/// This and the following texts are UTF-8, never NULL, empty where there is nothing to say, and live as long as the error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_error_message(error: *const CError) -> *const c_char {
    // SAFETY: an error or NULL.
    unsafe { part_of(error, |error| &error.message) }
}

/// The step of the negotiation that failed, a word such as "credentials"; empty if no negotiation failed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_error_stage(error: *const CError) -> *const c_char {
    // SAFETY: an error or NULL.
    unsafe { part_of(error, |error| &error.stage) }
}

/// What went wrong, in a few words.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_error_cause(error: *const CError) -> *const c_char {
    // SAFETY: an error or NULL.
    unsafe { part_of(error, |error| &error.cause) }
}

/// Details of the cause, such as the name of a cache.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_error_detail(error: *const CError) -> *const c_char {
    // SAFETY: an error or NULL.
    unsafe { part_of(error, |error| &error.detail) }
}

/// What the user can do about it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_error_remedy(error: *const CError) -> *const c_char {
    // SAFETY: an error or NULL.
    unsafe { part_of(error, |error| &error.remedy) }
}

/// The kind of failure as a number of errno(3), such as ENOKEY; 0 if it has none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_error_errno(error: *const CError) -> c_int {
    // SAFETY: an error or NULL.
    unsafe { error.as_ref() }.map_or(0, |error| error.errno)
}

/// The GSS major status (RFC 2744, section 3.9.1); 0 if GSS had no part in it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_error_gss_major(error: *const CError) -> u32 {
    // SAFETY: an error or NULL.
    unsafe { error.as_ref() }.map_or(0, |error| error.gss_major)
}

/// Frees the error and its texts. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_error_free(error: *mut CError) {
    if !error.is_null() {
        // SAFETY: the caller gives back what `run` has made, once.
        run_or((), || drop(unsafe { Box::from_raw(error) }));
    }
}
