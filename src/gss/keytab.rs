//! A keytab: whose keys it holds, and tickets got with them.
//!
//! Used by `creds`, which always names a keytab explicitly, and by `kinit`. Its keys never leave the library.

use std::mem;
use std::ptr;

use super::ffi;
use super::krb5::Library;
use super::principal::{Krb5Principal, c_string};
use super::private_cache::PrivateCache;
use super::status::Krb5Error;
use crate::crypto::enctype::Enctype;

/// An opened keytab.
#[derive(Debug)]
pub(crate) struct Keytab {
    library: Library,
    raw: ffi::krb5_keytab,
}

/// One entry, without its key.
#[derive(Debug)]
pub(crate) struct KeytabEntry {
    /// Whose it is.
    pub principal: Krb5Principal,
    /// The key's type by number, even if it is not accepted here.
    pub enctype: u32,
}

impl Keytab {
    /// Names a keytab, `FILE:/path`. It need not exist yet.
    ///
    /// # Errors
    /// The library's, such as an unknown type.
    pub(crate) fn resolve(library: &Library, name: &str) -> Result<Self, Krb5Error> {
        let name = c_string(name)?;
        let mut raw = ptr::null_mut();
        // SAFETY: the context is alive, the name ends with NUL, the last pointer is to a live local.
        library.check(unsafe { ffi::krb5_kt_resolve(library.raw(), name.as_ptr(), &mut raw) })?;
        Ok(Self { library: library.clone(), raw })
    }

    /// The default keytab: KRB5_KTNAME, else as krb5.conf says.
    ///
    /// # Errors
    /// The library's.
    #[cfg(feature = "tools")]
    pub(crate) fn of_the_host(library: &Library) -> Result<Self, Krb5Error> {
        let mut raw = ptr::null_mut();
        // SAFETY: the context is alive, the pointer is to a live local.
        library.check(unsafe { ffi::krb5_kt_default(library.raw(), &mut raw) })?;
        Ok(Self { library: library.clone(), raw })
    }

    /// The default client keytab: KRB5_CLIENT_KTNAME, else as krb5.conf says.
    ///
    /// # Errors
    /// The library's.
    #[cfg(feature = "tools")]
    pub(crate) fn of_the_client(library: &Library) -> Result<Self, Krb5Error> {
        let mut raw = ptr::null_mut();
        // SAFETY: the context is alive, the pointer is to a live local.
        library.check(unsafe { ffi::krb5_kt_client_default(library.raw(), &mut raw) })?;
        Ok(Self { library: library.clone(), raw })
    }

    #[cfg(feature = "tools")]
    pub(super) fn raw(&self) -> ffi::krb5_keytab {
        self.raw
    }

    /// Its entries in order, `limit` at most.
    ///
    /// # Errors
    /// The library's, for a keytab that cannot be read to its end.
    pub(crate) fn entries(&self, limit: usize) -> Result<Vec<KeytabEntry>, Krb5Error> {
        let mut cursor = KeytabCursor::start(self)?;
        let mut entries = Vec::new();
        while entries.len() < limit {
            match cursor.next()? {
                Some(entry) => entries.push(entry),
                None => break,
            }
        }
        Ok(entries)
    }

    /// Asks a KDC for a ticket-granting ticket for the client, which goes into a memory cache. Only types of `enctypes` are
    /// asked for. The ticket is neither forwardable nor proxiable, whatever krb5.conf says, since nothing is ever delegated.
    ///
    /// # Errors
    /// The library's; the KDC's error numbers among them.
    pub(crate) fn ticket_granting(
        &self,
        client: &Krb5Principal,
        enctypes: &[Enctype],
    ) -> Result<PrivateCache, Krb5Error> {
        let library = &self.library;
        let cache = PrivateCache::new(library, client)?;
        let options = Options::new(library, enctypes, &cache)?;
        // SAFETY: all zero is a valid value of this struct of pointers and numbers.
        let mut ticket: ffi::krb5_creds = unsafe { mem::zeroed() };
        // SAFETY: context, client, keytab and options are alive; no start time and service are given, which means now
        // and the realm's ticket-granting service. On success the ticket is filled and freed, which zeroes its key.
        let code = unsafe {
            let code = ffi::krb5_get_init_creds_keytab(
                library.raw(),
                &mut ticket,
                client.raw(),
                self.raw,
                0,
                ptr::null(),
                options.raw,
            );
            if code == 0 {
                ffi::krb5_free_cred_contents(library.raw(), &mut ticket);
            }
            code
        };
        library.check(code)?;
        Ok(cache)
    }
}

impl Drop for Keytab {
    fn drop(&mut self) {
        // SAFETY: owned, closed here only.
        unsafe { ffi::krb5_kt_close(self.library.raw(), self.raw) };
    }
}

/// A walk through a keytab.
struct KeytabCursor<'a> {
    keytab: &'a Keytab,
    raw: ffi::krb5_kt_cursor,
}

impl<'a> KeytabCursor<'a> {
    fn start(keytab: &'a Keytab) -> Result<Self, Krb5Error> {
        let mut raw = ptr::null_mut();
        // SAFETY: context and keytab are alive, the last pointer is to a live local.
        let code = unsafe { ffi::krb5_kt_start_seq_get(keytab.library.raw(), keytab.raw, &mut raw) };
        keytab.library.check(code)?;
        Ok(Self { keytab, raw })
    }

    fn next(&mut self) -> Result<Option<KeytabEntry>, Krb5Error> {
        let library = &self.keytab.library;
        // SAFETY: all zero is a valid value of this struct of pointers and numbers.
        let mut entry: ffi::krb5_keytab_entry = unsafe { mem::zeroed() };
        // SAFETY: the cursor was started on this keytab and is not ended yet; the entry is filled or left alone.
        match unsafe { ffi::krb5_kt_next_entry(library.raw(), self.keytab.raw, &mut entry, &mut self.raw) } {
            0 => {}
            ffi::KRB5_KT_END => return Ok(None),
            code => return library.check(code).map(|()| None),
        }
        let enctype = entry.key.enctype.cast_unsigned();
        let mut copy = ptr::null_mut();
        // SAFETY: the entry was just filled; it is freed once, which zeroes its key, after the principal was copied.
        let code = unsafe {
            let code = ffi::krb5_copy_principal(library.raw(), entry.principal, &mut copy);
            ffi::krb5_free_keytab_entry_contents(library.raw(), &mut entry);
            code
        };
        library.check(code)?;
        let principal = Krb5Principal::from_raw(library, copy);
        Ok(Some(KeytabEntry { principal, enctype }))
    }
}

impl Drop for KeytabCursor<'_> {
    fn drop(&mut self) {
        // SAFETY: started once, ended here only.
        unsafe { ffi::krb5_kt_end_seq_get(self.keytab.library.raw(), self.keytab.raw, &mut self.raw) };
    }
}

/// Options of a request for a ticket.
struct Options<'a> {
    library: &'a Library,
    raw: *mut ffi::krb5_get_init_creds_opt,
    /// The library keeps a pointer to this list.
    _enctypes: Vec<ffi::krb5_enctype>,
}

impl<'a> Options<'a> {
    fn new(library: &'a Library, enctypes: &[Enctype], cache: &PrivateCache) -> Result<Self, Krb5Error> {
        let mut enctypes: Vec<_> = enctypes.iter().map(|enctype| enctype.number().cast_signed()).collect();
        let mut raw = ptr::null_mut();
        // SAFETY: the context is alive, the pointer is to a live local.
        library.check(unsafe { ffi::krb5_get_init_creds_opt_alloc(library.raw(), &mut raw) })?;
        let count = i32::try_from(enctypes.len()).unwrap_or(i32::MAX);
        // SAFETY: options and cache are alive. The list is moved into the owner of the options, and its heap memory stays
        // where it is. The cache outlives the options in the only caller.
        let code = unsafe {
            ffi::krb5_get_init_creds_opt_set_etype_list(raw, enctypes.as_mut_ptr(), count);
            ffi::krb5_get_init_creds_opt_set_forwardable(raw, 0);
            ffi::krb5_get_init_creds_opt_set_proxiable(raw, 0);
            ffi::krb5_get_init_creds_opt_set_out_ccache(library.raw(), raw, cache.raw())
        };
        let options = Self { library, raw, _enctypes: enctypes };
        library.check(code)?;
        Ok(options)
    }
}

impl Drop for Options<'_> {
    fn drop(&mut self) {
        // SAFETY: owned, freed here only.
        unsafe { ffi::krb5_get_init_creds_opt_free(self.library.raw(), self.raw) };
    }
}
