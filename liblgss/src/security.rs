//! What contexts are for, and the ways to one.

use std::ffi::c_int;
use std::ptr;
use std::time::Duration;

use lgss::security::{Lookup, Security};

use crate::boundary::{borrowed, place, run, run_or};
use crate::codes::{LGSS_OWN, LGSS_SHARED};
use crate::context::CContext;
use crate::failure::{CError, Failure};
use crate::pending::CPending;
use crate::request::CRequest;

/// One service over one channel at one level; makes contexts with it, one for each uid that asks, and keeps them. Opaque; free it
/// with lgss_security_free. Threads may use it at the same time, and a forked child what it inherits.
pub struct CSecurity(pub(crate) Security);

/// A value that looks up contexts for `request`. `keeping` is LGSS_OWN, contexts of this process alone, or LGSS_SHARED, those
/// that all processes of the user find: for protocols that do not mind gaps between the numbers of tokens.
///
/// Puts it into `*security`; the caller frees it with lgss_security_free. The request is copied. Nothing is negotiated yet.
///
/// Errors: LGSS_EINVAL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_security_new(
    request: *const CRequest,
    keeping: c_int,
    security: *mut *mut CSecurity,
    error: *mut *mut CError,
) -> c_int {
    // SAFETY: the caller's pointers are as the header demands.
    unsafe {
        run(error, || {
            let made = place(security, ptr::null_mut(), "security")?;
            let request = borrowed(request, "request")?.0.clone();
            let security = match keeping {
                LGSS_OWN => Security::new(request),
                LGSS_SHARED => Security::shared(request),
                _ => return Err(Failure::argument("keeping", "neither LGSS_OWN nor LGSS_SHARED")),
            };
            *made = Box::into_raw(Box::new(CSecurity(security)));
            Ok(())
        })
    }
}

/// Frees it. Contexts that were looked up may be used to their end. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_security_free(security: *mut CSecurity) {
    if !security.is_null() {
        // SAFETY: the caller gives back what `lgss_security_new` has made, once.
        run_or((), || drop(unsafe { Box::from_raw(security) }));
    }
}

/// The context of the calling thread's effective uid: the present one if it may be used, else a new one, for which the thread
/// waits up to `timeout_ms` milliseconds; -1 is for as long as it takes, 0 for not at all. Threads that ask at the same time
/// wait for one negotiation.
///
/// Puts a reference into `*context`; the caller gives it back with lgss_context_free. Signals do not end the wait.
///
/// Errors: LGSS_EINVAL, LGSS_EAGAIN after the time, LGSS_EFAILED, LGSS_EREQUEST, LGSS_EKEEPING, LGSS_ETHREAD, and those of a
/// context that has ended at once. A failure is remembered for some seconds; lgss_flush forgets it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_lookup(
    security: *const CSecurity,
    timeout_ms: c_int,
    context: *mut *mut CContext,
    error: *mut *mut CError,
) -> c_int {
    // SAFETY: the caller's pointers are as the header demands.
    unsafe {
        run(error, || {
            let given = place(context, ptr::null_mut(), "context")?;
            let security = &borrowed(security, "security")?.0;
            *given = CContext::given(security.lookup(timeout(timeout_ms)?)?);
            Ok(())
        })
    }
}

/// lgss_lookup for event loops: does not wait. Of `*context` and `*pending` one is set, the other NULL: a reference to a
/// context that is there, to be given back with lgss_context_free, or a negotiation that goes on, to be freed with
/// lgss_pending_free.
///
/// Errors: as lgss_lookup, without LGSS_EAGAIN.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_start(
    security: *const CSecurity,
    context: *mut *mut CContext,
    pending: *mut *mut CPending,
    error: *mut *mut CError,
) -> c_int {
    // SAFETY: the caller's pointers are as the header demands.
    unsafe {
        run(error, || {
            let at_once = place(context, ptr::null_mut(), "context")?;
            let later = place(pending, ptr::null_mut(), "pending")?;
            match borrowed(security, "security")?.0.start()? {
                Lookup::Ready(context) => *at_once = CContext::given(context),
                Lookup::Pending(pending) => *later = CPending::given(pending),
            }
            Ok(())
        })
    }
}

/// Starts the negotiation of a new context, or joins one that goes on. Lookups give the old one until the new one is there, and
/// it may be used until its own end.
///
/// Puts the negotiation into `*pending`; the caller frees it with lgss_pending_free.
///
/// Errors: as lgss_start.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_refresh(
    security: *const CSecurity,
    pending: *mut *mut CPending,
    error: *mut *mut CError,
) -> c_int {
    // SAFETY: the caller's pointers are as the header demands.
    unsafe {
        run(error, || {
            let given = place(pending, ptr::null_mut(), "pending")?;
            *given = CPending::given(borrowed(security, "security")?.0.refresh()?);
            Ok(())
        })
    }
}

/// Another context than `useless`, which the server does not know any more, say. No lookup gives that one again, but who has it may use it
/// on; a shared one ends for all, as with lgss_context_die. If others have replaced it already, theirs is given, so that many
/// threads that find out cause one negotiation. The caller's reference to `useless` stays the caller's.
///
/// Puts a reference into `*context`; the caller gives it back with lgss_context_free.
///
/// Errors: as lgss_lookup.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_replace(
    security: *const CSecurity,
    useless: *const CContext,
    timeout_ms: c_int,
    context: *mut *mut CContext,
    error: *mut *mut CError,
) -> c_int {
    // SAFETY: the caller's pointers are as the header demands.
    unsafe {
        run(error, || {
            let given = place(context, ptr::null_mut(), "context")?;
            let security = &borrowed(security, "security")?.0;
            let useless = &borrowed(useless, "useless")?.context;
            *given = CContext::given(security.replace(useless, timeout(timeout_ms)?)?);
            Ok(())
        })
    }
}

/// # Errors
/// A failure if it is below -1.
pub(crate) fn timeout(milliseconds: c_int) -> Result<Duration, Failure> {
    match u64::try_from(milliseconds) {
        Ok(milliseconds) => Ok(Duration::from_millis(milliseconds)),
        Err(_) if milliseconds == -1 => Ok(Duration::MAX),
        Err(_) => Err(Failure::argument("timeout_ms", "neither a time nor -1")),
    }
}
