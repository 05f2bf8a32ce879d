//! A context: its life and what is known of it.

use std::ffi::{CString, c_char, c_int, c_void};
use std::sync::Arc;

use lgss::security::ClientContext;

use crate::boundary::{borrowed, bytes_mut, put, run, run_for_number, run_or, text};
use crate::failure::{CError, Failure, c_text};

/// An established context. Opaque; it counts its references: lgss_context_ref, lgss_context_free. Threads may use it at the
/// same time.
pub struct CContext {
    pub(crate) context: ClientContext,
    service: CString,
    principal: Option<CString>,
    unmet: Option<CString>,
}

impl CContext {
    /// A new reference for the caller.
    pub(crate) fn given(context: ClientContext) -> *mut Self {
        let service = context.service();
        let service = c_text(&format!("{}@{}", service.name(), service.host()));
        let principal = context.principal().map(|principal| c_text(principal.as_str()));
        let unmet = context.initiator().and_then(|initiator| initiator.unmet.as_deref()).map(c_text);
        Arc::into_raw(Arc::new(Self { context, service, principal, unmet })).cast_mut()
    }
}

/// One more reference to the context, to be given back with lgss_context_free.
///
/// Returns `context`; NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_context_ref(context: *mut CContext) -> *mut CContext {
    if !context.is_null() {
        // SAFETY: the pointer comes from `CContext::given`, and the caller has a reference.
        unsafe { Arc::increment_strong_count(context.cast_const()) };
    }
    context
}

/// Gives a reference back. With the last one the context's key goes away, if the context is this process's own and no
/// lookup would give it any more. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_context_free(context: *mut CContext) {
    if !context.is_null() {
        // SAFETY: the pointer comes from `CContext::given`, and the caller gives its reference back.
        run_or((), || drop(unsafe { Arc::from_raw(context.cast_const()) }));
    }
}

/// Whether the context may be used and its key is still there. Costs a system call; every use checks what can be told
/// without one.
///
/// Errors: LGSS_EINVAL, LGSS_EDEAD, LGSS_EEXPIRED, LGSS_EFORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_context_validate(context: *const CContext, error: *mut *mut CError) -> c_int {
    // SAFETY: the caller's pointers are as the header demands.
    unsafe { run(error, || Ok(borrowed(context, "context")?.context.validate()?)) }
}

/// Ends the context at once, for all that use it: their next use fails with LGSS_EDEAD, and its key goes away. For one of
/// LGSS_SHARED that holds for the user's other processes, too. References stay to be given back.
///
/// Errors: LGSS_EINVAL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_context_die(context: *const CContext, error: *mut *mut CError) -> c_int {
    // SAFETY: the caller's pointers are as the header demands.
    unsafe {
        run(error, || {
            borrowed(context, "context")?.context.die();
            Ok(())
        })
    }
}

/// Whether it is a context of the user `owner` with `service` that may be used and whose key is still there.
///
/// Returns 1 or 0, or LGSS_EINVAL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_context_matches(
    context: *const CContext,
    owner: u32,
    service: *const c_char,
) -> c_int {
    // SAFETY: the caller's pointers are as the header demands.
    unsafe {
        run_for_number(|| {
            let context = &borrowed(context, "context")?.context;
            let service =
                text(service, "service")?.parse().map_err(|_| Failure::argument("service", "malformed"))?;
            Ok(c_int::from(context.matches(owner, &service)))
        })
    }
}

/// Whether both are the same context: lookups give the same one under other pointers.
///
/// Returns 1 or 0, or LGSS_EINVAL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_context_is(context: *const CContext, other: *const CContext) -> c_int {
    // SAFETY: the caller's pointers are as the header demands.
    unsafe {
        run_for_number(|| {
            let (context, other) = (borrowed(context, "context")?, borrowed(other, "other")?);
            Ok(c_int::from(context.context.is(&other.context)))
        })
    }
}

/// One line for people: service, owner, principal, encryption type, end and key. Written as snprintf(3) does: at most `size`
/// bytes with a zero at the end. `buffer` may be NULL if `size` is 0.
///
/// Returns the length of the whole line without the zero, or LGSS_EINVAL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_context_display(
    context: *const CContext,
    buffer: *mut c_char,
    size: usize,
) -> c_int {
    // SAFETY: the caller's pointers are as the header demands.
    unsafe {
        run_for_number(|| {
            let line = c_text(&borrowed(context, "context")?.context.to_string());
            let buffer = bytes_mut(buffer.cast::<c_void>(), size, "buffer")?;
            if let Some((end, room)) = buffer.split_last_mut() {
                let written = room.iter_mut().zip(line.as_bytes_with_nul());
                written.for_each(|(to, from)| *to = *from);
                *end = 0;
            }
            c_int::try_from(line.as_bytes().len()).map_err(|_| Failure::panicked())
        })
    }
}

/// The principal that the context speaks for; NULL if its key does not say so, and for NULL. Lives as long as the context.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_context_principal(context: *const CContext) -> *const c_char {
    // SAFETY: a context or NULL.
    let principal = unsafe { context.as_ref() }.and_then(|context| context.principal.as_ref());
    principal.map_or(std::ptr::null(), |principal| principal.as_ptr())
}

/// The wish for a cache or principal that was not met, with the reason; NULL if all were, and for NULL. Lives as long as the
/// context.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_context_unmet(context: *const CContext) -> *const c_char {
    // SAFETY: a context or NULL.
    let unmet = unsafe { context.as_ref() }.and_then(|context| context.unmet.as_ref());
    unmet.map_or(std::ptr::null(), |unmet| unmet.as_ptr())
}

/// The service, "nfs@srv.example.com"; NULL for NULL. Lives as long as the context.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_context_service(context: *const CContext) -> *const c_char {
    // SAFETY: a context or NULL.
    unsafe { context.as_ref() }.map_or(std::ptr::null(), |context| context.service.as_ptr())
}

/// The uid that the context belongs to; the largest number, which no user has, for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_context_owner(context: *const CContext) -> u32 {
    // SAFETY: a context or NULL.
    unsafe { context.as_ref() }.map_or(u32::MAX, |context| context.context.owner())
}

/// The end of the context in seconds since the epoch; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_context_endtime(context: *const CContext) -> i64 {
    // SAFETY: a context or NULL.
    unsafe { context.as_ref() }.map_or(0, |context| context.context.endtime().into())
}

/// The serial number of the kernel's key that holds the context; 0 if none does, and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_context_key(context: *const CContext) -> i32 {
    // SAFETY: a context or NULL.
    let key = unsafe { context.as_ref() }.and_then(|context| context.context.key());
    key.map_or(0, |key| key.serial().raw())
}

/// The server's name for the context, as RPCSEC_GSS calls carry it; its length goes to `*size`. NULL for NULL. Lives as long
/// as the context.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_context_handle(context: *const CContext, size: *mut usize) -> *const c_void {
    // SAFETY: a context or NULL.
    let handle = unsafe { context.as_ref() }.map(|context| context.context.handle().as_bytes());
    // SAFETY: the caller's pointers are as the header demands.
    unsafe { put(size, handle.map_or(0, <[u8]>::len)) };
    handle.map_or(std::ptr::null(), |handle| handle.as_ptr().cast())
}

/// The server's sequence window (RFC 2203, section 5.2.3.1); 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_context_window(context: *const CContext) -> u32 {
    // SAFETY: a context or NULL.
    unsafe { context.as_ref() }.map_or(0, |context| context.context.window().count())
}

/// The number of the encryption type, 17 to 20 (RFC 3962, RFC 8009); 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_context_enctype(context: *const CContext) -> u32 {
    // SAFETY: a context or NULL.
    unsafe { context.as_ref() }.map_or(0, |context| context.context.enctype().number())
}
