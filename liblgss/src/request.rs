//! What a program asks for.

use std::ffi::{c_char, c_int};
use std::time::Duration;

use lgss::ctx::{ContextRequest, Level, Principal, RequestError};

use crate::boundary::{borrowed_mut, optional_text, place, run, run_or, text};
use crate::codes::{LGSS_LEVEL_AUTHENTICATION, LGSS_LEVEL_INTEGRITY, LGSS_LEVEL_NULL, LGSS_LEVEL_PRIVACY};
use crate::failure::{CError, Failure};

/// With whom a context is wanted, and how. Opaque; free it with lgss_request_free.
pub struct CRequest(pub(crate) ContextRequest);

/// A request for a context with `service`, "nfs@srv.example.com", whose tokens go by `channel`,
/// "rpc:srv.example.com:2049,100003,4" (host, port, RPC program and version; an IPv6 address in brackets).
///
/// Puts the request into `*request`; the caller frees it with lgss_request_free. Both texts are copied.
///
/// Errors: LGSS_EINVAL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_request_new(
    service: *const c_char,
    channel: *const c_char,
    request: *mut *mut CRequest,
    error: *mut *mut CError,
) -> c_int {
    // SAFETY: the caller's pointers are as the header demands.
    unsafe {
        run(error, || {
            let made = place(request, std::ptr::null_mut(), "request")?;
            let refused = |name| move |why: RequestError| Failure::argument(name, &why.to_string());
            let service = text(service, "service")?.parse().map_err(refused("service"))?;
            let channel = text(channel, "channel")?.parse().map_err(refused("channel"))?;
            *made = Box::into_raw(Box::new(CRequest(ContextRequest::new(service, channel))));
            Ok(())
        })
    }
}

/// Which protection the context is to offer: LGSS_LEVEL_NULL, LGSS_LEVEL_AUTHENTICATION, which is the default,
/// LGSS_LEVEL_INTEGRITY or LGSS_LEVEL_PRIVACY.
///
/// This and the following setters are for one thread at a time, and do not change what has been made of the request.
///
/// Errors: LGSS_EINVAL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_request_set_level(
    request: *mut CRequest,
    level: c_int,
    error: *mut *mut CError,
) -> c_int {
    // SAFETY: the caller's pointers are as the header demands.
    unsafe {
        run(error, || {
            borrowed_mut(request, "request")?.0.level = match level {
                LGSS_LEVEL_NULL => Level::Null,
                LGSS_LEVEL_AUTHENTICATION => Level::Authentication,
                LGSS_LEVEL_INTEGRITY => Level::Integrity,
                LGSS_LEVEL_PRIVACY => Level::Privacy,
                _ => return Err(Failure::argument("level", "there is no such level")),
            };
            Ok(())
        })
    }
}

/// The one principal that the context may speak for, "alice@EXAMPLE.COM"; NULL for any. The text is copied.
///
/// Errors: LGSS_EINVAL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_request_set_principal(
    request: *mut CRequest,
    principal: *const c_char,
    error: *mut *mut CError,
) -> c_int {
    // SAFETY: the caller's pointers are as the header demands.
    unsafe {
        run(error, || {
            let request = borrowed_mut(request, "request")?;
            request.0.principal = match optional_text(principal, "principal")? {
                Some(name) => Some(Principal::new(name).ok_or_else(|| {
                    Failure::argument("principal", "it is empty, too long or not printable")
                })?),
                None => None,
            };
            Ok(())
        })
    }
}

/// The one credential cache to use, "FILE:/tmp/krb5cc_1000"; NULL to leave the choice to the upcall. The text is copied. One
/// that cannot be sent is an error of the lookup.
///
/// Errors: LGSS_EINVAL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_request_set_cache(
    request: *mut CRequest,
    cache: *const c_char,
    error: *mut *mut CError,
) -> c_int {
    // SAFETY: the caller's pointers are as the header demands.
    unsafe {
        run(error, || {
            let request = borrowed_mut(request, "request")?;
            request.0.cache = optional_text(cache, "cache")?.map(str::to_owned);
            Ok(())
        })
    }
}

/// Distinguishes contexts of one user with one service, 1 to 128 bytes of printable ASCII; NULL for none. The text is
/// copied. One that cannot be sent is an error of the lookup.
///
/// Errors: LGSS_EINVAL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_request_set_instance(
    request: *mut CRequest,
    instance: *const c_char,
    error: *mut *mut CError,
) -> c_int {
    // SAFETY: the caller's pointers are as the header demands.
    unsafe {
        run(error, || {
            let request = borrowed_mut(request, "request")?;
            request.0.instance = optional_text(instance, "instance")?.map(str::to_owned);
            Ok(())
        })
    }
}

/// Upper bound of the context's lifetime in seconds; 0 for none.
///
/// Errors: LGSS_EINVAL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_request_set_ttl(
    request: *mut CRequest,
    seconds: u32,
    error: *mut *mut CError,
) -> c_int {
    // SAFETY: the caller's pointers are as the header demands.
    unsafe {
        run(error, || {
            let bound = (seconds != 0).then(|| Duration::from_secs(seconds.into()));
            borrowed_mut(request, "request")?.0.ttl = bound;
            Ok(())
        })
    }
}

/// Frees the request. What has been made of it stays. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_request_free(request: *mut CRequest) {
    if !request.is_null() {
        // SAFETY: the caller gives back what `lgss_request_new` has made, once.
        run_or((), || drop(unsafe { Box::from_raw(request) }));
    }
}
