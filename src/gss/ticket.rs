//! Credential caches and the tickets in them.
//!
//! Used by `creds`. A cache is always named explicitly; the default cache is never used.

use std::mem;
use std::ptr;

use super::ffi;
use super::file_format;
use super::krb5::Library;
use super::listing::{CacheCursor, Granting, Listed, TicketInfo};
use super::principal::{Krb5Principal, Name, c_string, name_of, name_service_instance, unparse};
use super::private_cache::PrivateCache;
use super::status::Krb5Error;
use crate::secret::Secret;

/// Most tickets of one cache that are read.
const CONTENTS_LIMIT: usize = 8192;

/// An opened credential cache.
#[derive(Debug)]
pub struct Cache {
    pub(super) library: Library,
    pub(super) raw: ffi::krb5_ccache,
}

impl Cache {
    /// Names a cache, `TYPE:rest`, or by a collection's name its primary cache. It need not exist yet.
    ///
    /// # Errors
    /// The library's, such as an unknown type.
    pub fn resolve(library: &Library, name: &str) -> Result<Self, Krb5Error> {
        let name = c_string(name)?;
        let mut raw = ptr::null_mut();
        // SAFETY: the context is alive, the name ends with NUL, the last pointer is to a live local.
        library.check(unsafe { ffi::krb5_cc_resolve(library.raw(), name.as_ptr(), &mut raw) })?;
        Ok(Self { library: library.clone(), raw })
    }

    /// Whose tickets are in it.
    ///
    /// # Errors
    /// The library's; [`super::status::Krb5Reason::NoCache`] if there is no such cache.
    pub fn principal(&self) -> Result<Krb5Principal, Krb5Error> {
        let mut raw = ptr::null_mut();
        // SAFETY: context and cache are alive, the last pointer is to a live local.
        let code = unsafe { ffi::krb5_cc_get_principal(self.library.raw(), self.raw, &mut raw) };
        self.library.check(code)?;
        Ok(Krb5Principal::from_raw(&self.library, raw))
    }

    /// The client and the tickets, in the cache's order. Reads the cache once.
    ///
    /// # Errors
    /// The library's, for a cache that cannot be read to its end.
    pub fn contents(&self) -> Result<(Name, Vec<TicketInfo>), Krb5Error> {
        let mut found = Vec::new();
        let mut client = None;
        let mut cursor = self.walk()?;
        while found.len() < CONTENTS_LIMIT
            && let Some(listed) = cursor.next()?
        {
            let server = listed.0.server;
            // SAFETY: the server is a principal of the entry, which lives to the end of this iteration.
            let (config, server) =
                unsafe { (ffi::krb5_is_config_principal(self.library.raw(), server) != 0, name_of(server)) };
            // SAFETY: as above.
            client.get_or_insert_with(|| unsafe { name_of(listed.0.client) });
            if !config {
                let (times, flags) = (listed.0.times, listed.0.ticket_flags.cast_unsigned());
                let start = if times.starttime == 0 { times.authtime } else { times.starttime };
                let renewable = flags & ffi::TKT_FLG_RENEWABLE != 0;
                found.push(TicketInfo {
                    server,
                    authenticated: times.authtime.cast_unsigned(),
                    start: start.cast_unsigned(),
                    end: times.endtime.cast_unsigned(),
                    renewable_until: if renewable { times.renew_till.cast_unsigned() } else { 0 },
                    invalid: flags & ffi::TKT_FLG_INVALID != 0,
                });
            }
        }
        let client = client.map_or_else(|| self.principal().map(|client| client.name()), Ok)?;
        Ok((client, found))
    }

    /// The tickets for the realm's own ticket-granting service.
    ///
    /// # Errors
    /// The library's, for a cache that cannot be read to its end.
    pub fn granting(&self, realm: &str) -> Result<Vec<Granting>, Krb5Error> {
        let mut found = Vec::new();
        let mut cursor = self.walk()?;
        while let Some(listed) = cursor.next()? {
            found.extend(listed.granting(realm));
        }
        Ok(found)
    }

    /// A copy of all of it in this process's memory.
    ///
    /// # Errors
    /// The library's, for a cache that cannot be read to its end.
    pub fn in_memory(&self) -> Result<PrivateCache, Krb5Error> {
        let library = &self.library;
        let copy = PrivateCache::new(library, &self.principal()?)?;
        // SAFETY: context and caches are alive.
        library.check(unsafe { ffi::krb5_cc_copy_creds(library.raw(), self.raw, copy.raw()) })?;
        Ok(copy)
    }

    /// Its contents in the format of a FILE cache, without tickets that ended by `now`, in seconds since the epoch.
    ///
    /// # Errors
    /// The library's, for a cache that cannot be read to its end; E2BIG for a field too long for the format.
    pub fn as_file(&self, now: u64) -> Result<Secret, Krb5Error> {
        let mut kept = Vec::new();
        let mut cursor = self.walk()?;
        while let Some(listed) = cursor.next()? {
            // SAFETY: the server is a principal of the entry, which is alive.
            let config = unsafe { ffi::krb5_is_config_principal(self.library.raw(), listed.0.server) != 0 };
            if config || u64::from(listed.0.times.endtime.cast_unsigned()) > now {
                kept.push(listed);
            }
        }
        let entries: Vec<&ffi::krb5_creds> = kept.iter().map(|listed| &listed.0).collect();
        // SAFETY: principal and entries are alive and the library's.
        let file = unsafe { file_format::write(self.principal()?.raw(), &entries) };
        file.map_err(|error| Krb5Error { code: libc::E2BIG, message: error.to_string() })
    }

    /// A ticket for the service: from the cache, else from the KDC, which is then stored in the cache if that is writable.
    ///
    /// # Errors
    /// The library's; the KDC's error numbers among them.
    pub fn service_ticket(
        &self,
        client: &Krb5Principal,
        service: &Krb5Principal,
    ) -> Result<Ticket, Krb5Error> {
        // SAFETY: cache and principals are alive.
        unsafe { get(&self.library, self.raw, 0, [client.raw(), service.raw()]) }
    }

    /// The same, but does not store a ticket from the KDC.
    ///
    /// # Errors
    /// As [`Cache::service_ticket`].
    pub fn unstored_ticket(
        &self,
        client: &Krb5Principal,
        service: &Krb5Principal,
    ) -> Result<Ticket, Krb5Error> {
        // SAFETY: cache and principals are alive.
        unsafe {
            get(&self.library, self.raw, ffi::KRB5_GC_NO_STORE.cast_signed(), [client.raw(), service.raw()])
        }
    }

    /// A ticket from the KDC for the service of `old`, whatever this cache holds for it. Not stored.
    ///
    /// # Errors
    /// The library's; the KDC's error numbers among them.
    pub fn another_ticket(&self, old: &Ticket) -> Result<Ticket, Krb5Error> {
        let library = &self.library;
        // SAFETY: the ticket and its parts are alive until the end of this function.
        let [client, server] = unsafe { [(*old.raw).client, (*old.raw).server] };
        // SAFETY: as above.
        let memory = unsafe { PrivateCache::of(library, client) }?;
        let mut cursor = self.walk()?;
        while let Some(mut listed) = cursor.next()? {
            // SAFETY: both principals are alive; the entry is copied.
            let code = unsafe {
                if ffi::krb5_principal_compare(library.raw(), listed.0.server, server) != 0 {
                    continue;
                }
                ffi::krb5_cc_store_cred(library.raw(), memory.raw(), &mut listed.0)
            };
            library.check(code)?;
        }
        // SAFETY: everything is alive.
        unsafe { get(library, memory.raw(), 0, [client, server]) }
    }

    /// Replaces `old`, and no other entry, by `new`. The inner result is that of the removal, which some cache daemons do
    /// not support.
    ///
    /// # Errors
    /// The library's, for a cache that cannot be written.
    pub fn replace(&self, old: &Ticket, new: &Ticket) -> Result<Result<(), Krb5Error>, Krb5Error> {
        let which = ffi::KRB5_TC_MATCH_TIMES_EXACT | ffi::KRB5_TC_MATCH_KTYPE;
        // SAFETY: cache and tickets are alive; the tickets are only read.
        let [removed, stored] = unsafe {
            [
                ffi::krb5_cc_remove_cred(self.library.raw(), self.raw, which.cast_signed(), old.raw),
                ffi::krb5_cc_store_cred(self.library.raw(), self.raw, new.raw),
            ]
        };
        self.library.check(stored)?;
        Ok(self.library.check(removed))
    }
}

/// # Safety
/// The cache and both principals, client and service, are alive.
unsafe fn get(
    library: &Library,
    cache: ffi::krb5_ccache,
    options: ffi::krb5_flags,
    [client, server]: [ffi::krb5_principal; 2],
) -> Result<Ticket, Krb5Error> {
    // A cache may hold the service under a name type that lets DNS rename it.
    // SAFETY: the service is alive.
    let named = unsafe { as_it_is(library, server) }?;
    // SAFETY: all zero is the documented start of such a query: null pointers and zero numbers.
    let mut wanted: ffi::krb5_creds = unsafe { mem::zeroed() };
    (wanted.client, wanted.server) = (client, named.raw());
    let (mut raw, asked) = (ptr::null_mut(), library.replies().count);
    // SAFETY: everything is alive; the query borrows both principals and is only read.
    let code = unsafe { ffi::krb5_get_credentials(library.raw(), options, cache, &mut wanted, &mut raw) };
    library.check(code)?;
    Ok(Ticket { library: library.clone(), raw, cached: library.replies().count == asked })
}

/// # Safety
/// The principal is alive.
unsafe fn as_it_is(library: &Library, service: ffi::krb5_principal) -> Result<Krb5Principal, Krb5Error> {
    let mut copy = ptr::null_mut();
    // SAFETY: context and principal are alive, the last pointer is to a live local; nobody else has the copy yet.
    unsafe {
        library.check(ffi::krb5_copy_principal(library.raw(), service, &mut copy))?;
        name_service_instance(copy);
    }
    Ok(Krb5Principal::from_raw(library, copy))
}

impl PrivateCache {
    /// Opens it to read its tickets and use them. The contents last as long as `self`.
    ///
    /// # Errors
    /// The library's.
    pub fn open(&self) -> Result<Cache, Krb5Error> {
        Cache::resolve(self.library(), &self.text())
    }
}

impl Cache {
    /// A walk through its entries.
    pub(super) fn walk(&self) -> Result<CacheCursor<'_>, Krb5Error> {
        // SAFETY: the walk borrows us, and we are open until we are dropped.
        unsafe { CacheCursor::start(&self.library, self.raw) }
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        // SAFETY: owned, closed here only. Closing keeps the cache's contents.
        unsafe { ffi::krb5_cc_close(self.library.raw(), self.raw) };
    }
}

/// A ticket with its session key.
#[derive(Debug)]
pub struct Ticket {
    library: Library,
    pub(super) raw: *mut ffi::krb5_creds,
    cached: bool,
}

impl Ticket {
    /// The service it was asked for, with the realm that the KDC found.
    pub fn server(&self) -> String {
        // SAFETY: the ticket is alive and owned by us.
        unparse(&self.library, unsafe { (*self.raw).server })
    }

    /// The service that the KDC issued it for, as the ticket says: the one that can decrypt it. If the ticket cannot be
    /// read, the service asked for.
    pub fn issued_for(&self) -> String {
        let mut decoded = ptr::null_mut();
        // SAFETY: the ticket is alive and owned by us, the last pointer is to a live local.
        if unsafe { ffi::krb5_decode_ticket(&(*self.raw).ticket, &mut decoded) } != 0 {
            return self.server();
        }
        // SAFETY: just decoded, freed once.
        unsafe {
            let service = unparse(&self.library, (*decoded).server);
            ffi::krb5_free_ticket(self.library.raw(), decoded);
            service
        }
    }

    /// The service that answers to it, for people, with the name asked for if that differs.
    pub fn answering(&self) -> String {
        let (issued, asked) = (self.issued_for(), self.server());
        // The request may have left the realm to the KDC.
        let same = issued == asked || asked.ends_with('@') && issued.starts_with(&asked);
        if same { issued } else { format!("{issued} (asked for as {})", asked.trim_end_matches('@')) }
    }

    /// Whether it came from the cache, so that no KDC was asked.
    pub fn cached(&self) -> bool {
        self.cached
    }

    /// Number of its session key's encryption type.
    pub fn enctype(&self) -> u32 {
        // SAFETY: the ticket is alive and owned by us.
        unsafe { (*self.raw).keyblock.enctype }.cast_unsigned()
    }

    /// When it becomes valid, seconds since the epoch.
    pub fn start(&self) -> u32 {
        // SAFETY: the ticket is alive and owned by us.
        unsafe { (*self.raw).times.starttime }.cast_unsigned()
    }

    /// When it ends, seconds since the epoch.
    pub fn end(&self) -> u32 {
        // SAFETY: the ticket is alive and owned by us.
        unsafe { (*self.raw).times.endtime }.cast_unsigned()
    }

    /// A copy of a cache's entry.
    ///
    /// # Errors
    /// The library's: no memory.
    pub(super) fn of(listed: &Listed<'_>) -> Result<Self, Krb5Error> {
        let mut raw = ptr::null_mut();
        // SAFETY: context and entry are alive, the last pointer is to a live local.
        listed.1.check(unsafe { ffi::krb5_copy_creds(listed.1.raw(), &listed.0, &mut raw) })?;
        Ok(Self { library: listed.1.clone(), raw, cached: true })
    }

    /// The library context that got it.
    pub(super) fn library(&self) -> &Library {
        &self.library
    }

    /// Puts this ticket alone into a memory cache. A user of that cache cannot ask a KDC for anything.
    ///
    /// # Errors
    /// The library's.
    pub fn alone_in_memory(&self) -> Result<PrivateCache, Krb5Error> {
        // SAFETY: the ticket is alive; the library copies principal and ticket.
        unsafe {
            let cache = PrivateCache::of(&self.library, (*self.raw).client)?;
            self.library.check(ffi::krb5_cc_store_cred(self.library.raw(), cache.raw(), self.raw))?;
            Ok(cache)
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // SAFETY: owned, made by the library, zeroed and freed by it here only.
        unsafe { ffi::krb5_free_creds(self.library.raw(), self.raw) };
    }
}
