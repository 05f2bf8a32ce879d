//! Renewal of a ticket-granting ticket (RFC 4120 §2.3), and how the new one and its tickets get into a cache.
//!
//! Used by `creds::renewal`. Invariant: at any time the cache has the old ticket-granting ticket, the new one, or both.

use std::mem;
use std::ptr;

use super::ffi;
use super::krb5::Library;
use super::listing::{Granting, Listed};
use super::principal::{Krb5Principal, c_string, is_ticket_granting};
use super::private_cache::PrivateCache;
use super::status::Krb5Error;
use super::ticket::{Cache, Ticket};

/// Asks a KDC to renew the ticket-granting ticket in the memory cache `asked`, and puts the new one into the memory cache
/// `granted`. Opens its own context, so it can run in another thread.
///
/// # Errors
/// The library's; the KDC's error numbers among them.
pub(crate) fn renew(asked: &str, granted: &str) -> Result<(), Krb5Error> {
    let library = Library::open()?;
    let (from, to) = (Cache::resolve(&library, asked)?, Cache::resolve(&library, granted)?);
    to.store(&mut from.renewed(OldTicket::Renew, None)?)
}

/// What a KDC does with an old ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OldTicket {
    /// Gives it a new end.
    Renew,
    /// Makes a postdated one valid (RFC 4120 §2.2).
    #[cfg(feature = "tools")]
    Validate,
}

impl Cache {
    /// Has a KDC renew or validate a ticket, the ticket-granting one unless a service is named.
    fn renewed(&self, how: OldTicket, service: Option<&str>) -> Result<Listed<'_>, Krb5Error> {
        let (library, client) = (&self.library, self.principal()?);
        let service = service.map(c_string).transpose()?;
        let service = service.as_ref().map_or(ptr::null(), |service| service.as_ptr());
        let call = match how {
            OldTicket::Renew => ffi::krb5_get_renewed_creds,
            #[cfg(feature = "tools")]
            OldTicket::Validate => ffi::krb5_get_validated_creds,
        };
        // SAFETY: all zero is a valid value of this struct of pointers and numbers.
        let mut new: ffi::krb5_creds = unsafe { mem::zeroed() };
        // SAFETY: everything is alive; without a service the library takes the ticket-granting ticket.
        library.check(unsafe { call(library.raw(), &mut new, client.raw(), self.raw, service) })?;
        Ok(Listed(new, library))
    }

    /// The same, as the only ticket of a memory cache.
    ///
    /// # Errors
    /// The library's; the KDC's error numbers among them.
    pub(crate) fn renewed_alone(
        &self,
        how: OldTicket,
        service: Option<&str>,
    ) -> Result<PrivateCache, Krb5Error> {
        let mut new = self.renewed(how, service)?;
        let alone = PrivateCache::new(&self.library, &self.principal()?)?;
        alone.open()?.store(&mut new)?;
        Ok(alone)
    }
}

impl Cache {
    /// The ticket-granting ticket for the client's own realm that ends last. Postdated ones do not count.
    ///
    /// # Errors
    /// The library's, for a cache that cannot be read to its end.
    pub fn last_granting(&self, client: &Krb5Principal) -> Result<Option<(Granting, Ticket)>, Krb5Error> {
        let realm = client.name().realm;
        let mut last: Option<(Granting, Listed<'_>)> = None;
        let mut cursor = self.walk()?;
        while let Some(listed) = cursor.next()? {
            let found = listed.granting(&realm).filter(|found| !found.invalid);
            if let Some(found) = found
                && last.as_ref().is_none_or(|(last, _)| last.end < found.end)
            {
                last = Some((found, listed));
            }
        }
        last.map(|(granting, listed)| Ok((granting, Ticket::of(&listed)?))).transpose()
    }

    /// The client, and its ticket-granting ticket that ends last, if there is one.
    ///
    /// # Errors
    /// The library's, for a cache that cannot be read to its end.
    #[cfg(feature = "tools")]
    pub(crate) fn client_and_granting(
        &self,
    ) -> Result<(Krb5Principal, Option<(Granting, Ticket)>), Krb5Error> {
        let client = self.principal()?;
        let granting = self.last_granting(&client)?;
        Ok((client, granting))
    }

    /// A memory cache for the same client with this cache's entries that are no tickets, such as notes about the KDC.
    ///
    /// # Errors
    /// The library's.
    pub fn without_tickets(&self) -> Result<PrivateCache, Krb5Error> {
        let memory = PrivateCache::new(&self.library, &self.principal()?)?;
        let copy = memory.open()?;
        let mut cursor = self.walk()?;
        while let Some(mut listed) = cursor.next()? {
            if listed.is_config() {
                copy.store(&mut listed)?;
            }
        }
        drop(copy);
        Ok(memory)
    }

    /// Adds a ticket.
    ///
    /// # Errors
    /// The library's, for a cache that cannot be written.
    pub fn add(&self, ticket: &Ticket) -> Result<(), Krb5Error> {
        // SAFETY: cache and ticket are alive; the ticket is only read.
        self.library.check(unsafe { ffi::krb5_cc_store_cred(self.library.raw(), self.raw, ticket.raw) })
    }

    /// Replaces `old` by `new`: adds `new` first, so that a reader always finds at least one of them. Their times must
    /// differ. An `old` that cannot be removed, or that somebody else has removed, is no error: a KEYRING cache has stored
    /// the new one under the same name, and a KCM daemon, which removes no single ticket, has replaced the old one or
    /// finds the new one first.
    ///
    /// # Errors
    /// The library's, for a cache that cannot be written. Then the old one is still there.
    pub fn supersede(&self, old: &Ticket, new: &Ticket) -> Result<(), Krb5Error> {
        self.add(new)?;
        let which = ffi::KRB5_TC_MATCH_TIMES_EXACT | ffi::KRB5_TC_MATCH_KTYPE;
        // SAFETY: cache and ticket are alive; the ticket is only read.
        let _ =
            unsafe { ffi::krb5_cc_remove_cred(self.library.raw(), self.raw, which.cast_signed(), old.raw) };
        Ok(())
    }

    /// Removes ticket-granting tickets for other realms. libkrb5 would go on using them, and tickets got by them end when
    /// they do. A ticket that cannot be removed stays.
    ///
    /// # Errors
    /// The library's, for a cache that cannot be read to its end.
    pub fn forget_other_realms(&self, realm: &str) -> Result<(), Krb5Error> {
        let mut foreign = Vec::new();
        let mut cursor = self.walk()?;
        while let Some(listed) = cursor.next()? {
            // SAFETY: the server is a principal of the entry, which is alive.
            if unsafe { is_ticket_granting(listed.0.server) } && listed.granting(realm).is_none() {
                foreign.push(listed);
            }
        }
        drop(cursor);
        foreign.iter().for_each(|listed| self.remove_all_for(listed));
        Ok(())
    }

    /// Takes over the tickets of `other`. Each replaces this cache's tickets for the same service. Ticket-granting tickets
    /// for `realm` are left out.
    ///
    /// # Errors
    /// The library's, for a cache that cannot be written.
    pub fn take_over(&self, other: &Self, realm: &str) -> Result<(), Krb5Error> {
        let mut cursor = other.walk()?;
        while let Some(mut listed) = cursor.next()? {
            if listed.is_config() || listed.granting(realm).is_some() {
                continue;
            }
            self.remove_all_for(&listed);
            self.store(&mut listed)?;
        }
        Ok(())
    }

    /// Removes all tickets for the same client and service. It is no error if there is none or if one cannot be removed.
    fn remove_all_for(&self, listed: &Listed<'_>) {
        // SAFETY: all zero is the documented way to begin such a query: null pointers and zero numbers.
        let mut same: ffi::krb5_creds = unsafe { mem::zeroed() };
        (same.client, same.server) = (listed.0.client, listed.0.server);
        // SAFETY: cache and query are alive; client and service alone are compared.
        let _ = unsafe { ffi::krb5_cc_remove_cred(self.library.raw(), self.raw, 0, &mut same) };
    }

    pub(super) fn store(&self, listed: &mut Listed<'_>) -> Result<(), Krb5Error> {
        // SAFETY: cache and entry are alive; the entry is only read.
        self.library.check(unsafe { ffi::krb5_cc_store_cred(self.library.raw(), self.raw, &mut listed.0) })
    }
}

impl Listed<'_> {
    /// Whether the entry is a note of the library's rather than a ticket.
    pub(super) fn is_config(&self) -> bool {
        // SAFETY: the server is a principal of the entry, which is alive.
        unsafe { ffi::krb5_is_config_principal(self.1.raw(), self.0.server) != 0 }
    }
}
