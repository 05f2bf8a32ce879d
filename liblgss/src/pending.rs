//! A negotiation that goes on, for event loops.

use std::ffi::c_int;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use lgss::security::Pending;

use crate::boundary::{borrowed, place, run, run_for_number, run_or};
use crate::context::CContext;
use crate::failure::{CError, Failure};
use crate::security::timeout;

/// A negotiation that goes on, whether it is waited for or not. Opaque; free it with lgss_pending_free. Threads may use it at the
/// same time. In a forked child it answers LGSS_EFORKED.
pub struct CPending(Pending);

impl CPending {
    pub(crate) fn given(pending: Pending) -> *mut Self {
        Box::into_raw(Box::new(Self(pending)))
    }

    /// # Errors
    /// `MessageError::Forked`.
    fn here(&self) -> Result<&Pending, Failure> {
        self.0.check()?;
        Ok(&self.0)
    }
}

/// The descriptor that becomes readable (POLLIN) when the negotiation has ended. Nothing is to be read from it, and it is the
/// library's to close, with the last one that waits.
///
/// Returns the descriptor, or LGSS_EINVAL or LGSS_EFORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_pending_fd(pending: *const CPending) -> c_int {
    // SAFETY: the caller's pointers are as the header demands.
    unsafe { run_for_number(|| Ok(borrowed(pending, "pending")?.here()?.as_fd().as_raw_fd())) }
}

/// The result, once there is one. May be asked for again.
///
/// Puts a reference into `*context`; the caller gives it back with lgss_context_free.
///
/// Errors: LGSS_EAGAIN while there is none, and those of lgss_lookup.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_pending_result(
    pending: *const CPending,
    context: *mut *mut CContext,
    error: *mut *mut CError,
) -> c_int {
    // SAFETY: the caller's pointers are as the header demands.
    unsafe {
        run(error, || {
            let given = place(context, ptr::null_mut(), "context")?;
            let result = borrowed(pending, "pending")?.here()?.result();
            *given = CContext::given(result.ok_or_else(Failure::not_yet)??);
            Ok(())
        })
    }
}

/// Waits for the result, up to `timeout_ms` milliseconds; -1 is for as long as it takes.
///
/// Puts a reference into `*context`; the caller gives it back with lgss_context_free.
///
/// Errors: LGSS_EAGAIN after the time, and those of lgss_lookup.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_pending_wait(
    pending: *const CPending,
    timeout_ms: c_int,
    context: *mut *mut CContext,
    error: *mut *mut CError,
) -> c_int {
    // SAFETY: the caller's pointers are as the header demands.
    unsafe {
        run(error, || {
            let given = place(context, ptr::null_mut(), "context")?;
            let pending = borrowed(pending, "pending")?.here()?;
            *given = CContext::given(pending.wait(timeout(timeout_ms)?)?);
            Ok(())
        })
    }
}

/// Frees it. The negotiation goes on, and the next lookup waits for the same one. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_pending_free(pending: *mut CPending) {
    if !pending.is_null() {
        // SAFETY: the caller gives back what the library has made, once.
        run_or((), || drop(unsafe { Box::from_raw(pending) }));
    }
}
