//! The entries of a cache one by one, and what is reported of tickets.

use std::mem;
use std::ptr;

use super::ffi;
use super::krb5::Library;
use super::principal::{Name, name_of};
use super::status::Krb5Error;
use crate::renewal_times::half_life;

/// The properties of a ticket-granting ticket that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granting {
    /// When it begins to be valid, in seconds since the epoch.
    pub start: u32,
    /// When it ends.
    pub end: u32,
    /// Type of its session key by number.
    pub enctype: u32,
    /// It is postdated and the KDC has not validated it.
    pub invalid: bool,
    /// Until when it can be renewed, seconds since the epoch.
    pub renew_until: Option<u32>,
}

impl Granting {
    /// Whether a KDC can give it an end that is later.
    pub(crate) fn can_be_renewed(&self) -> bool {
        self.renew_until.is_some_and(|until| until > self.end)
    }

    /// When half of its life is over, in seconds since the epoch.
    pub(crate) fn half_life(&self) -> u64 {
        half_life(self.start, self.end).into()
    }
}

/// The properties of a ticket that can be read without using it; times in seconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketInfo {
    /// The service it is for.
    pub server: Name,
    /// When the client authenticated for it.
    pub authenticated: u32,
    /// When it begins to be valid.
    pub start: u32,
    /// When it ends.
    pub end: u32,
    /// Until when it can be renewed, 0 if it cannot.
    pub renewable_until: u32,
    /// It is postdated and the KDC has not validated it.
    pub invalid: bool,
}

impl TicketInfo {
    /// The realm it leads to, if it is a ticket-granting ticket, `krbtgt/REALM@…` (RFC 4120 §7.3).
    pub fn grants(&self) -> Option<&str> {
        match self.server.components.as_slice() {
            [name, realm] if name == "krbtgt" => Some(realm),
            _ => None,
        }
    }
}

/// A walk through a cache.
pub(super) struct CacheCursor<'a> {
    library: &'a Library,
    cache: ffi::krb5_ccache,
    raw: ffi::krb5_cc_cursor,
}

impl<'a> CacheCursor<'a> {
    /// # Safety
    /// `cache` is open for as long as this lives.
    pub(super) unsafe fn start(library: &'a Library, cache: ffi::krb5_ccache) -> Result<Self, Krb5Error> {
        let mut raw = ptr::null_mut();
        // SAFETY: the context is alive, and so is the cache by the caller's promise; the last pointer is to a live local.
        library.check(unsafe { ffi::krb5_cc_start_seq_get(library.raw(), cache, &mut raw) })?;
        Ok(Self { library, cache, raw })
    }

    pub(super) fn next(&mut self) -> Result<Option<Listed<'a>>, Krb5Error> {
        let library = self.library;
        // SAFETY: all zero is a valid value of this struct of pointers and numbers.
        let mut entry: ffi::krb5_creds = unsafe { mem::zeroed() };
        // SAFETY: the cursor was started on this cache and is not ended yet; the entry is filled or left alone.
        match unsafe { ffi::krb5_cc_next_cred(library.raw(), self.cache, &mut self.raw, &mut entry) } {
            0 => Ok(Some(Listed(entry, library))),
            ffi::KRB5_CC_END => Ok(None),
            code => library.check(code).map(|()| None),
        }
    }
}

impl Drop for CacheCursor<'_> {
    fn drop(&mut self) {
        // SAFETY: started once, ended here only.
        unsafe { ffi::krb5_cc_end_seq_get(self.library.raw(), self.cache, &mut self.raw) };
    }
}

/// One entry of a cache; its contents, a session key among them, are zeroed and freed by the library.
pub(super) struct Listed<'a>(pub(super) ffi::krb5_creds, pub(super) &'a Library);

impl Listed<'_> {
    /// Its properties, if it is a ticket-granting ticket for `realm` from that realm itself.
    pub(super) fn granting(&self, realm: &str) -> Option<Granting> {
        // SAFETY: the server is a principal of the entry, which is alive.
        let server = unsafe { name_of(self.0.server) };
        let (times, flags) = (self.0.times, self.0.ticket_flags.cast_unsigned());
        let start = if times.starttime == 0 { times.authtime } else { times.starttime };
        let renew_until = times.renew_till.cast_unsigned();
        (server.realm == realm && server.components == ["krbtgt", realm]).then(|| Granting {
            start: start.cast_unsigned(),
            end: times.endtime.cast_unsigned(),
            enctype: self.0.keyblock.enctype.cast_unsigned(),
            invalid: flags & ffi::TKT_FLG_INVALID != 0,
            renew_until: (flags & ffi::TKT_FLG_RENEWABLE != 0).then_some(renew_until),
        })
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        // SAFETY: filled by the library, freed here only.
        unsafe { ffi::krb5_free_cred_contents(self.1.raw(), &mut self.0) };
    }
}
