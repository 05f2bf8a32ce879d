//! The caches of a collection that a daemon keeps.
//!
//! Used by `creds::survey`. Collections of files and keyrings are listed without the library.

use std::ffi::CStr;
use std::path::Path;
use std::ptr;

use super::ffi;
use super::krb5::Library;
use super::principal::c_string;
use super::private_cache::full_name;
use super::status::{Krb5Error, text};

/// Where the KCM daemon listens by default (krb5.conf(5), kcm_socket).
const KCM_SOCKET: &CStr = c"/var/run/.heim_org.h5l.kcm-socket";

/// Whether a KCM daemon may be there, by its socket. Asking it could take long.
pub(crate) fn daemon_is_there(library: &Library) -> bool {
    library.libdefault(c"kcm_socket", KCM_SOCKET).is_some_and(|socket| Path::new(&socket).exists())
}

/// Names of the caches in the collection that `name` belongs to, such as `KCM:`.
///
/// # Errors
/// The library's, for example if there is no daemon.
pub(crate) fn members(library: &Library, name: &str) -> Result<Vec<String>, Krb5Error> {
    let kind = name.split(':').next().unwrap_or_default();
    let default = c_string(name)?;
    // SAFETY: the context is alive, the name ends with NUL and is copied.
    library.check(unsafe { ffi::krb5_cc_set_default_name(library.raw(), default.as_ptr()) })?;
    let mut cursor = CollectionCursor::start(library)?;
    let mut names = Vec::new();
    while let Some(cache) = cursor.next()? {
        // SAFETY: the cache is alive until it is closed below; its type's name is the library's constant.
        let named = unsafe {
            let named = (text(ffi::krb5_cc_get_type(library.raw(), cache)), full_name(library, cache));
            ffi::krb5_cc_close(library.raw(), cache);
            named
        };
        // The walk visits the caches of every type that has collections, MEMORY included.
        if named.0 == kind {
            names.push(named.1?);
        }
    }
    Ok(names)
}

/// A walk through the caches of all collections that the library knows.
struct CollectionCursor<'a> {
    library: &'a Library,
    raw: ffi::krb5_cccol_cursor,
}

impl<'a> CollectionCursor<'a> {
    fn start(library: &'a Library) -> Result<Self, Krb5Error> {
        let mut raw = ptr::null_mut();
        // SAFETY: the context is alive, the pointer is to a live local.
        library.check(unsafe { ffi::krb5_cccol_cursor_new(library.raw(), &mut raw) })?;
        Ok(Self { library, raw })
    }

    /// The next cache, which the caller closes.
    fn next(&mut self) -> Result<Option<ffi::krb5_ccache>, Krb5Error> {
        let mut cache = ptr::null_mut();
        // SAFETY: the cursor was started on this context and is not freed yet; the pointer is to a live local.
        let code = unsafe { ffi::krb5_cccol_cursor_next(self.library.raw(), self.raw, &mut cache) };
        self.library.check(code)?;
        Ok((!cache.is_null()).then_some(cache))
    }
}

impl Drop for CollectionCursor<'_> {
    fn drop(&mut self) {
        // SAFETY: started once, freed here only.
        unsafe { ffi::krb5_cccol_cursor_free(self.library.raw(), &mut self.raw) };
    }
}
