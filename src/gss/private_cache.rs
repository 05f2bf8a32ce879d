//! Caches in this process's memory: nobody else sees them, and they end with their owner.

use std::ffi::{CString, c_char};
use std::ptr;

use super::ffi;
use super::krb5::Library;
use super::principal::{Krb5Principal, c_string};
use super::status::{Krb5Error, text};

/// A cache in this process's memory, destroyed on drop.
#[derive(Debug)]
pub struct PrivateCache {
    library: Library,
    raw: ffi::krb5_ccache,
    name: CString,
}

impl PrivateCache {
    /// An empty cache of the client.
    ///
    /// # Errors
    /// The library's.
    pub(super) fn new(library: &Library, client: &Krb5Principal) -> Result<Self, Krb5Error> {
        // SAFETY: the principal is alive.
        unsafe { Self::of(library, client.raw()) }
    }

    /// A new cache without tickets.
    ///
    /// # Safety
    /// `client` is alive.
    pub(super) unsafe fn of(library: &Library, client: ffi::krb5_principal) -> Result<Self, Krb5Error> {
        let mut raw = ptr::null_mut();
        // SAFETY: the context is alive; the type is a NUL-terminated constant, the hint may be null.
        let code =
            unsafe { ffi::krb5_cc_new_unique(library.raw(), c"MEMORY".as_ptr(), ptr::null(), &mut raw) };
        library.check(code)?;
        let mut cache = Self { library: library.clone(), raw, name: CString::default() };
        // SAFETY: everything is alive; the library copies the principal.
        library.check(unsafe { ffi::krb5_cc_initialize(library.raw(), raw, client) })?;
        cache.name = c_string(&full_name(library, raw)?)?;
        Ok(cache)
    }

    /// Leaves the cache in memory until the process ends, for every context of the library. Returns its name.
    pub fn left_in_memory(self) -> String {
        let name = self.text();
        // A drop would empty it. The rest that leaks here is small, and the process short-lived.
        std::mem::forget(self);
        name
    }

    /// The library's name for it, `MEMORY:…`.
    pub fn text(&self) -> String {
        self.name.to_string_lossy().into_owned()
    }

    pub(super) fn raw(&self) -> ffi::krb5_ccache {
        self.raw
    }

    pub(super) fn library(&self) -> &Library {
        &self.library
    }

    /// Its name, by which GSS finds it.
    pub(super) fn name(&self) -> *const c_char {
        self.name.as_ptr()
    }
}

impl Drop for PrivateCache {
    fn drop(&mut self) {
        // SAFETY: owned; destroying closes the handle and zeroes and frees the contents.
        unsafe { ffi::krb5_cc_destroy(self.library.raw(), self.raw) };
    }
}

/// `TYPE:residual`.
pub(super) fn full_name(library: &Library, cache: ffi::krb5_ccache) -> Result<String, Krb5Error> {
    let mut raw = ptr::null_mut();
    // SAFETY: context and cache are alive, the last pointer is to a live local.
    library.check(unsafe { ffi::krb5_cc_get_full_name(library.raw(), cache, &mut raw) })?;
    let name = text(raw);
    // SAFETY: the string is owned by us; krb5_free_string is what this function of the library is documented with.
    unsafe { ffi::krb5_free_string(library.raw(), raw) };
    Ok(name)
}
