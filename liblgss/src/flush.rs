//! Contexts that lookups give no more.

use std::ffi::{c_char, c_int};

use lgss::security::{Flush, Manner, Security};

use crate::boundary::{put, run, run_or, text};
use crate::codes::{LGSS_FORCED, LGSS_GRACEFUL};
use crate::failure::{CError, Failure};
use crate::security::CSecurity;

/// Flushes contexts that were looked up through `security`, or all that this process has looked up if it is NULL, and forgets
/// failures: the next lookup negotiates anew. `manner` is LGSS_GRACEFUL or LGSS_FORCED.
///
/// Puts the number of contexts into `*flushed`, unless that is NULL.
///
/// Errors: LGSS_EINVAL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_flush(
    security: *const CSecurity,
    manner: c_int,
    flushed: *mut usize,
    error: *mut *mut CError,
) -> c_int {
    // SAFETY: the caller's pointers are as the header demands.
    unsafe { run(error, || flush(security, &Flush::All, manner, flushed)) }
}

/// lgss_flush for the contexts of one uid.
///
/// Errors: LGSS_EINVAL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_flush_owner(
    security: *const CSecurity,
    owner: u32,
    manner: c_int,
    flushed: *mut usize,
    error: *mut *mut CError,
) -> c_int {
    // SAFETY: the caller's pointers are as the header demands.
    unsafe { run(error, || flush(security, &Flush::Owner(owner), manner, flushed)) }
}

/// lgss_flush for the contexts with one service, "nfs@srv.example.com".
///
/// Errors: LGSS_EINVAL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_flush_service(
    security: *const CSecurity,
    service: *const c_char,
    manner: c_int,
    flushed: *mut usize,
    error: *mut *mut CError,
) -> c_int {
    // SAFETY: the caller's pointers are as the header demands.
    unsafe {
        run(error, || {
            let service = text(service, "service")?.parse();
            let service = service.map_err(|_| Failure::argument("service", "malformed"))?;
            flush(security, &Flush::Service(service), manner, flushed)
        })
    }
}

/// # Safety
/// `security` is NULL or lives, and `flushed` is NULL or may be written to.
unsafe fn flush(
    security: *const CSecurity,
    which: &Flush,
    manner: c_int,
    flushed: *mut usize,
) -> Result<(), Failure> {
    let manner = match manner {
        LGSS_GRACEFUL => Manner::Graceful,
        LGSS_FORCED => Manner::Forced,
        _ => return Err(Failure::argument("manner", "neither LGSS_GRACEFUL nor LGSS_FORCED")),
    };
    // SAFETY: as demanded above.
    let number = match unsafe { security.as_ref() } {
        Some(security) => security.0.flush(which, manner),
        None => Security::flush_everywhere(which, manner),
    };
    // SAFETY: as demanded above.
    unsafe { put(flushed, number) };
    Ok(())
}

/// Forgets the contexts of this process that have ended. Lookups do so for the context they want; a program with the contexts
/// of many users calls this now and then.
///
/// Returns their number.
#[unsafe(no_mangle)]
pub extern "C" fn lgss_gc() -> usize {
    run_or(0, Security::gc)
}
