//! Where a person's tickets go: the default cache, the cache of a client in a collection, and how one cache takes the place
//! of another.
//!
//! Used by `kinit`. Invariant: a cache has all its new contents, or its old ones.

use std::ptr;

use super::ffi;
use super::krb5::Library;
use super::principal::{Krb5Principal, c_string};
use super::private_cache::{PrivateCache, full_name};
use super::status::{Krb5Error, Krb5Reason, text};
use super::ticket::Cache;

impl Library {
    /// Name of the default cache: KRB5CCNAME, else as krb5.conf says.
    pub(crate) fn default_cache(&self) -> String {
        // SAFETY: the context is alive; the string is the library's, and copied at once.
        text(unsafe { ffi::krb5_cc_default_name(self.raw()) })
    }

    /// Makes a collection, or a cache, the default one of this library.
    ///
    /// # Errors
    /// The library's.
    pub(crate) fn set_default_cache(&self, name: &str) -> Result<(), Krb5Error> {
        let name = c_string(name)?;
        // SAFETY: the context is alive; the name ends with NUL and is copied.
        self.check(unsafe { ffi::krb5_cc_set_default_name(self.raw(), name.as_ptr()) })
    }

    /// The client's cache in the default collection.
    ///
    /// # Errors
    /// The library's; [`Krb5Reason::NoCache`] becomes `None`.
    pub(crate) fn cache_of(&self, client: &Krb5Principal) -> Result<Option<Cache>, Krb5Error> {
        let mut raw = ptr::null_mut();
        // SAFETY: context and client are alive, the last pointer is to a live local.
        let code = unsafe { ffi::krb5_cc_cache_match(self.raw(), client.raw(), &mut raw) };
        match self.check(code) {
            Ok(()) => Ok(Some(Cache { library: self.clone(), raw })),
            Err(error) if error.reason() == Krb5Reason::NoCache => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A new cache in the default collection, which must be one of KEYRING.
    ///
    /// # Errors
    /// The library's.
    pub(crate) fn new_cache(&self) -> Result<Cache, Krb5Error> {
        let mut raw = ptr::null_mut();
        // SAFETY: the context is alive; the type ends with NUL, the hint may be null, the last pointer is to a live local.
        let code = unsafe { ffi::krb5_cc_new_unique(self.raw(), c"KEYRING".as_ptr(), ptr::null(), &mut raw) };
        self.check(code)?;
        Ok(Cache { library: self.clone(), raw })
    }
}

impl Krb5Error {
    /// As the library's where there is no cache, in words of the caller's.
    pub(crate) fn no_cache(message: &str) -> Self {
        Self { code: ffi::KRB5_CC_NOTFOUND, message: message.to_owned() }
    }
}

impl Cache {
    /// `TYPE:residual`.
    ///
    /// # Errors
    /// The library's.
    pub(crate) fn full_name(&self) -> Result<String, Krb5Error> {
        full_name(&self.library, self.raw)
    }

    /// Makes it its collection's primary cache.
    ///
    /// # Errors
    /// The library's.
    pub(crate) fn switch_to(&self) -> Result<(), Krb5Error> {
        // SAFETY: context and cache are alive.
        self.library.check(unsafe { ffi::krb5_cc_switch(self.library.raw(), self.raw) })
    }

    /// Replaces everything in it by what `new` has. After an error it has what it had before, or nothing if that was
    /// nothing that can be read.
    ///
    /// # Errors
    /// The library's, for a cache that cannot be written; it says so if the old contents could not be put back, whose place
    /// somebody else must have taken.
    pub(crate) fn replace_by(&self, new: &PrivateCache) -> Result<(), Krb5Error> {
        let old = self.in_memory().ok();
        self.copy_from(new).map_err(|mut error| {
            match old {
                Some(old) if self.copy_from(&old).is_err() => {
                    error.message.push_str(", and the old tickets could not be put back,");
                }
                Some(_) => {}
                None => self.empty(),
            }
            error
        })
    }

    fn copy_from(&self, other: &PrivateCache) -> Result<(), Krb5Error> {
        let (library, client) = (&self.library, other.open()?.principal()?);
        // SAFETY: context, caches and principal are alive.
        unsafe {
            library.check(ffi::krb5_cc_initialize(library.raw(), self.raw, client.raw()))?;
            library.check(ffi::krb5_cc_copy_creds(library.raw(), other.raw(), self.raw))
        }
    }

    fn empty(&self) {
        // A second handle, since destroying closes one.
        if let Ok(again) = self.full_name().and_then(|name| Self::resolve(&self.library, &name)) {
            // SAFETY: destroying closes this handle, which is not dropped.
            unsafe { ffi::krb5_cc_destroy(self.library.raw(), again.raw) };
            std::mem::forget(again);
        }
    }

    /// A copy in memory of what has not ended by `now`, in seconds since the epoch; notes of the library's are kept.
    ///
    /// # Errors
    /// The library's, for a cache that cannot be read to its end.
    pub(crate) fn living(&self, now: u64) -> Result<PrivateCache, Krb5Error> {
        let library = &self.library;
        let copy = PrivateCache::new(library, &self.principal()?)?;
        let mut cursor = self.walk()?;
        while let Some(mut listed) = cursor.next()? {
            // SAFETY: the entry, its server among it, is alive and copied.
            unsafe {
                let note = ffi::krb5_is_config_principal(library.raw(), listed.0.server) != 0;
                if note || u64::from(listed.0.times.endtime.cast_unsigned()) > now {
                    library.check(ffi::krb5_cc_store_cred(library.raw(), copy.raw(), &mut listed.0))?;
                }
            }
        }
        Ok(copy)
    }
}

impl Library {
    /// An enterprise name, `user@domain` as one component (RFC 6806 §5).
    ///
    /// # Errors
    /// The library's, for text that is no principal.
    pub(crate) fn enterprise(&self, name: &str) -> Result<Krb5Principal, Krb5Error> {
        let name = c_string(name)?;
        let flags = i32::try_from(ffi::KRB5_PRINCIPAL_PARSE_ENTERPRISE).unwrap_or_default();
        let mut raw = ptr::null_mut();
        // SAFETY: the context is alive, the name ends with NUL, the last pointer is to a live local.
        self.check(unsafe { ffi::krb5_parse_name_flags(self.raw(), name.as_ptr(), flags, &mut raw) })?;
        Ok(Krb5Principal::from_raw(self, raw))
    }

    /// The client that is nobody, of this realm or the default one (RFC 8062 §3).
    ///
    /// # Errors
    /// The library's, if there is no default realm.
    pub(crate) fn nobody(&self, realm: Option<&str>) -> Result<Krb5Principal, Krb5Error> {
        let name = match realm {
            Some(realm) => format!("WELLKNOWN/ANONYMOUS@{realm}"),
            None => format!("WELLKNOWN/ANONYMOUS@{}", self.default_realm()?),
        };
        let nobody = self.principal(&name)?;
        // SAFETY: the principal was just made; nobody else knows it.
        unsafe { (*nobody.raw()).type_ = i32::try_from(ffi::KRB5_NT_WELLKNOWN).unwrap_or_default() };
        Ok(nobody)
    }

    /// The principal `host/NAME` of this machine.
    ///
    /// # Errors
    /// The library's.
    pub(crate) fn host(&self) -> Result<Krb5Principal, Krb5Error> {
        let kind = i32::try_from(ffi::KRB5_NT_SRV_HST).unwrap_or_default();
        let mut raw = ptr::null_mut();
        // SAFETY: the context is alive; null names mean this host and "host"; the last pointer is to a live local.
        let code =
            unsafe { ffi::krb5_sname_to_principal(self.raw(), ptr::null(), ptr::null(), kind, &mut raw) };
        self.check(code)?;
        Ok(Krb5Principal::from_raw(self, raw))
    }
}
