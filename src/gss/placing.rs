//! Where a person's tickets go: the default cache, the cache of a client in a collection, and how one cache takes the place
//! of another.
//!
//! Used by `kinit`. Invariant: a cache has all its new contents, or its old ones.

use std::ptr;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::ffi;
use super::file_format;
use super::krb5::Library;
use super::principal::{Krb5Principal, c_string};
use super::private_cache::{PrivateCache, full_name};
use super::status::{Krb5Error, Krb5Reason, text};
use super::ticket::{Cache, Ticket};
use crate::secret::Secret;
use crate::sys::signals::SignalsBlocked;

/// How long the kernel may take to free the room of removed keys, and the pause between two tries.
pub(crate) const FREED_WITHIN: Duration = Duration::from_secs(3);
pub(crate) const FREED_LOOK: Duration = Duration::from_millis(50);

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

impl Ticket {
    /// The ticket alone, in the format of a FILE cache of the client's.
    ///
    /// # Errors
    /// E2BIG for a field too long for the format.
    pub(crate) fn as_file(&self, client: &Krb5Principal) -> Result<Secret, Krb5Error> {
        // SAFETY: principal and ticket are alive and the library's.
        let file = unsafe { file_format::write(client.raw(), &[&*self.raw]) };
        file.map_err(|error| Krb5Error { code: libc::E2BIG, message: error.to_string() })
    }
}

impl Krb5Error {
    /// An error of the kernel's, whose numbers are among the library's codes.
    pub(crate) fn of_kernel(errno: Errno) -> Self {
        Self { code: errno as i32, message: errno.desc().to_owned() }
    }

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

    /// Replaces everything in it by what `new` has. After an error it has what could be read of its old contents; signals
    /// that would end the process wait meanwhile.
    ///
    /// # Errors
    /// The library's, for a cache that cannot be written; it says so if the old contents could not be put back, whose place
    /// somebody else must have taken.
    pub(crate) fn replace_by(&self, new: &PrivateCache) -> Result<(), Krb5Error> {
        let _blocked = SignalsBlocked::now();
        let old = self.principal().and_then(|_| self.readable()).ok();
        // Without old contents there is nothing to be freed.
        let patience = if old.is_some() { FREED_WITHIN } else { Duration::ZERO };
        self.copy_from(new, patience).map_err(|mut error| {
            match old {
                Some(old) if self.copy_from(&old, FREED_WITHIN).is_err() => {
                    error.message.push_str(", and the old tickets could not be put back,");
                }
                Some(_) => {}
                None => self.empty(),
            }
            error
        })
    }

    /// The kernel frees the room of removed keys some time later, so a full quota is given that time.
    fn copy_from(&self, other: &PrivateCache, patience: Duration) -> Result<(), Krb5Error> {
        let start = Instant::now();
        loop {
            match self.try_to_copy_from(other) {
                Err(error) if error.code == libc::EDQUOT && start.elapsed() < patience => {
                    std::thread::sleep(FREED_LOOK);
                }
                done => return done,
            }
        }
    }

    fn try_to_copy_from(&self, other: &PrivateCache) -> Result<(), Krb5Error> {
        let (library, client) = (&self.library, other.open()?.principal()?);
        // SAFETY: context, caches and principal are alive.
        unsafe {
            library.check(ffi::krb5_cc_initialize(library.raw(), self.raw, client.raw()))?;
            library.check(ffi::krb5_cc_copy_creds(library.raw(), other.raw(), self.raw))
        }
    }

    /// Removes it, with all that it has.
    pub(crate) fn destroy(self) {
        // SAFETY: destroying closes this handle, which is not dropped.
        unsafe { ffi::krb5_cc_destroy(self.library.raw(), self.raw) };
        std::mem::forget(self);
    }

    fn empty(&self) {
        // A second handle, since destroying closes one.
        if let Ok(again) = self.full_name().and_then(|name| Self::resolve(&self.library, &name)) {
            again.destroy();
        }
    }

    /// A copy in memory, up to an entry that cannot be read.
    fn readable(&self) -> Result<PrivateCache, Krb5Error> {
        let copy = PrivateCache::new(&self.library, &self.principal()?)?;
        let (to, mut cursor) = (copy.open()?, self.walk()?);
        while let Ok(Some(mut listed)) = cursor.next() {
            to.store(&mut listed)?;
        }
        Ok(copy)
    }

    /// A copy in memory of what has not expired by `now`, in seconds since the epoch; notes of the library's are kept.
    ///
    /// # Errors
    /// The library's, for a cache that cannot be read to its end.
    pub(crate) fn unexpired(&self, now: u64) -> Result<PrivateCache, Krb5Error> {
        let copy = PrivateCache::new(&self.library, &self.principal()?)?;
        let (to, mut cursor) = (copy.open()?, self.walk()?);
        while let Some(mut listed) = cursor.next()? {
            if listed.is_config() || u64::from(listed.0.times.endtime.cast_unsigned()) > now {
                to.store(&mut listed)?;
            }
        }
        Ok(copy)
    }
}
