//! Tickets as a person asks for them: new ones by password, certificate or keytab (RFC 4120 §3.1), or an old one renewed
//! or validated (§2.3, §2.2).
//!
//! Used by `kinit`. The library itself asks for the password, on the terminal or by a line of standard input, and zeroes
//! what it read. Here, and nowhere else, its default keytabs count.

use std::ffi::CString;
use std::mem;
use std::ptr;

use super::ffi;
use super::keytab::Keytab;
use super::krb5::Library;
use super::principal::{Krb5Principal, c_string};
use super::private_cache::PrivateCache;
use super::status::Krb5Error;
use super::ticket::Cache;

/// What proves who the client is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Proof<'a> {
    /// A password, or what else the KDC has the library ask for.
    Asked,
    /// The client's key.
    Keytab(&'a Keytab),
}

/// Addresses that the ticket is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Addresses {
    /// None, so that it can be used from anywhere.
    None,
    /// Those of this machine.
    Local,
}

/// What a new ticket shall be; what is left open is as krb5.conf says.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    /// Seconds until it ends.
    pub(crate) lifetime: Option<i32>,
    /// Seconds until which it can be renewed.
    pub(crate) renewable: Option<i32>,
    /// Seconds from now until it begins; 0 for at once.
    pub(crate) start: i32,
    /// The service it is for, other than the ticket-granting service of the client's realm.
    pub(crate) service: Option<String>,
    pub(crate) forwardable: Option<bool>,
    pub(crate) proxiable: Option<bool>,
    pub(crate) addresses: Option<Addresses>,
    /// Whether it has authorisation data of Microsoft's kind.
    pub(crate) pac: Option<bool>,
    /// The KDC may say another name of the client's.
    pub(crate) canonicalize: bool,
    /// The KDC shall not say who the client is (RFC 8062).
    pub(crate) anonymous: bool,
    /// A cache whose ticket protects the exchange (RFC 6113, FAST).
    pub(crate) armour: Option<String>,
    /// A cache with notes about what the KDC took last time.
    pub(crate) notes: Option<String>,
    /// Attributes of methods of pre-authentication, such as `X509_user_identity`.
    pub(crate) attributes: Vec<(String, String)>,
}

/// What a KDC does with an old ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// Gives it a new end.
    Renew,
    /// Makes a postdated one valid.
    Validate,
}

/// Asks a KDC for a new ticket, which goes into a memory cache.
///
/// # Errors
/// The library's; the KDC's error numbers among them.
pub(crate) fn ask(
    library: &Library,
    client: &Krb5Principal,
    proof: Proof<'_>,
    wishes: &Wishes,
) -> Result<PrivateCache, Krb5Error> {
    let cache = PrivateCache::new(library, client)?;
    let options = InitialOptions::new(library, wishes, &cache)?;
    let service = wishes.service.as_deref().map(c_string).transpose()?;
    let service = service.as_ref().map_or(ptr::null(), |service| service.as_ptr());
    // SAFETY: all zero is a valid value of this struct of pointers and numbers.
    let mut ticket: ffi::krb5_creds = unsafe { mem::zeroed() };
    // SAFETY: context, client, keytab, options and the service's name are alive; a null password has the library ask by
    // the function given, which is its own. On success the ticket is filled and freed, which zeroes its key.
    let code = unsafe {
        let (context, client, start) = (library.raw(), client.raw(), wishes.start);
        let code = match proof {
            Proof::Asked => ffi::krb5_get_init_creds_password(
                context,
                &mut ticket,
                client,
                ptr::null(),
                Some(ffi::krb5_prompter_posix),
                ptr::null_mut(),
                start,
                service,
                options.raw,
            ),
            Proof::Keytab(keytab) => ffi::krb5_get_init_creds_keytab(
                context,
                &mut ticket,
                client,
                keytab.raw(),
                start,
                service,
                options.raw,
            ),
        };
        if code == 0 {
            ffi::krb5_free_cred_contents(context, &mut ticket);
        }
        code
    };
    library.check(code)?;
    Ok(cache)
}

/// Has a KDC renew or validate the cache's ticket, its ticket-granting one unless a service is named. The new one goes into
/// a memory cache.
///
/// # Errors
/// The library's; the KDC's error numbers among them.
pub(crate) fn again(cache: &Cache, how: Again, service: Option<&str>) -> Result<PrivateCache, Krb5Error> {
    let library = &cache.library;
    let client = cache.principal()?;
    let service = service.map(c_string).transpose()?;
    let service = service.as_ref().map_or(ptr::null(), |service| service.as_ptr());
    let new = PrivateCache::new(library, &client)?;
    let call = match how {
        Again::Renew => ffi::krb5_get_renewed_creds,
        Again::Validate => ffi::krb5_get_validated_creds,
    };
    // SAFETY: all zero is a valid value of this struct of pointers and numbers.
    let mut ticket: ffi::krb5_creds = unsafe { mem::zeroed() };
    // SAFETY: everything is alive; on success the ticket is filled, copied into the cache, and freed once, which zeroes its
    // key.
    let code = unsafe {
        match call(library.raw(), &mut ticket, client.raw(), cache.raw, service) {
            0 => {
                let code = ffi::krb5_cc_store_cred(library.raw(), new.raw(), &mut ticket);
                ffi::krb5_free_cred_contents(library.raw(), &mut ticket);
                code
            }
            code => code,
        }
    };
    library.check(code)?;
    Ok(new)
}

impl Keytab {
    /// The default keytab: KRB5_KTNAME, else as krb5.conf says.
    ///
    /// # Errors
    /// The library's.
    pub(crate) fn of_the_host(library: &Library) -> Result<Self, Krb5Error> {
        let mut raw = ptr::null_mut();
        // SAFETY: the context is alive, the pointer is to a live local.
        library.check(unsafe { ffi::krb5_kt_default(library.raw(), &mut raw) })?;
        Ok(Self::from_raw(library, raw))
    }

    /// The default client keytab: KRB5_CLIENT_KTNAME, else as krb5.conf says.
    ///
    /// # Errors
    /// The library's.
    pub(crate) fn of_the_client(library: &Library) -> Result<Self, Krb5Error> {
        let mut raw = ptr::null_mut();
        // SAFETY: the context is alive, the pointer is to a live local.
        library.check(unsafe { ffi::krb5_kt_client_default(library.raw(), &mut raw) })?;
        Ok(Self::from_raw(library, raw))
    }
}

/// Seconds of a duration as kinit(1) has it: `10h`, `1d2h`, `10:30`, `3600`.
pub(crate) fn duration(text: &str) -> Option<i32> {
    let text = CString::new(text).ok()?;
    let mut seconds = 0;
    // SAFETY: the text ends with NUL and is only read, whatever the declaration says; the pointer is to a live local.
    let code = unsafe { ffi::krb5_string_to_deltat(text.as_ptr().cast_mut(), &mut seconds) };
    (code == 0).then_some(seconds)
}

/// Seconds since the epoch of a time as kinit(1) has it: `20261231235959` and the like, in the local time zone.
pub(crate) fn time(text: &str) -> Option<u32> {
    let text = CString::new(text).ok()?;
    let mut seconds = 0;
    // SAFETY: as above.
    let code = unsafe { ffi::krb5_string_to_timestamp(text.as_ptr().cast_mut(), &mut seconds) };
    (code == 0).then_some(seconds.cast_unsigned())
}

/// The options of a request, and what they point to.
struct InitialOptions<'a> {
    library: &'a Library,
    raw: *mut ffi::krb5_get_init_creds_opt,
    addresses: *mut *mut ffi::krb5_address,
    /// The library keeps a pointer to it.
    notes: Option<Cache>,
}

impl<'a> InitialOptions<'a> {
    /// Options of a request whose ticket goes into `cache`, which outlives them.
    fn new(library: &'a Library, wishes: &Wishes, cache: &PrivateCache) -> Result<Self, Krb5Error> {
        let mut raw = ptr::null_mut();
        // SAFETY: the context is alive, the pointer is to a live local.
        library.check(unsafe { ffi::krb5_get_init_creds_opt_alloc(library.raw(), &mut raw) })?;
        let mut options = Self { library, raw, addresses: ptr::null_mut(), notes: None };
        options.set_flags(wishes);
        options.set_addresses(wishes.addresses)?;
        options.set_caches(wishes, cache)?;
        options.set_attributes(wishes)?;
        Ok(options)
    }

    fn set_flags(&self, wishes: &Wishes) {
        // SAFETY: the options are alive; these calls take numbers.
        unsafe {
            if let Some(lifetime) = wishes.lifetime {
                ffi::krb5_get_init_creds_opt_set_tkt_life(self.raw, lifetime);
            }
            if let Some(renewable) = wishes.renewable {
                ffi::krb5_get_init_creds_opt_set_renew_life(self.raw, renewable);
            }
            if let Some(forwardable) = wishes.forwardable {
                ffi::krb5_get_init_creds_opt_set_forwardable(self.raw, forwardable.into());
            }
            if let Some(proxiable) = wishes.proxiable {
                ffi::krb5_get_init_creds_opt_set_proxiable(self.raw, proxiable.into());
            }
            if wishes.canonicalize {
                ffi::krb5_get_init_creds_opt_set_canonicalize(self.raw, 1);
            }
            if wishes.anonymous {
                ffi::krb5_get_init_creds_opt_set_anonymous(self.raw, 1);
            }
        }
    }

    fn set_addresses(&mut self, addresses: Option<Addresses>) -> Result<(), Krb5Error> {
        // SAFETY: context and options are alive; the list is the library's, and lives as long as the options.
        unsafe {
            match addresses {
                None => return Ok(()),
                Some(Addresses::None) => {}
                Some(Addresses::Local) => {
                    self.library.check(ffi::krb5_os_localaddr(self.library.raw(), &mut self.addresses))?
                }
            }
            ffi::krb5_get_init_creds_opt_set_address_list(self.raw, self.addresses);
        }
        Ok(())
    }

    fn set_caches(&mut self, wishes: &Wishes, cache: &PrivateCache) -> Result<(), Krb5Error> {
        let (library, context) = (self.library, self.library.raw());
        // SAFETY: context, options and cache are alive; names are copied.
        unsafe {
            library.check(ffi::krb5_get_init_creds_opt_set_out_ccache(context, self.raw, cache.raw()))?;
            if let Some(armour) = &wishes.armour {
                let armour = c_string(armour)?;
                library.check(ffi::krb5_get_init_creds_opt_set_fast_ccache_name(
                    context,
                    self.raw,
                    armour.as_ptr(),
                ))?;
            }
        }
        if let Some(notes) = &wishes.notes {
            let notes = self.notes.insert(Cache::resolve(library, notes)?);
            // SAFETY: the cache lives as long as the options.
            let code = unsafe { ffi::krb5_get_init_creds_opt_set_in_ccache(context, self.raw, notes.raw) };
            library.check(code)?;
        }
        Ok(())
    }

    fn set_attributes(&self, wishes: &Wishes) -> Result<(), Krb5Error> {
        let (library, context) = (self.library, self.library.raw());
        for (name, value) in &wishes.attributes {
            let (name, value) = (c_string(name)?, c_string(value)?);
            // SAFETY: context and options are alive; both strings end with NUL and are copied.
            library.check(unsafe {
                ffi::krb5_get_init_creds_opt_set_pa(context, self.raw, name.as_ptr(), value.as_ptr())
            })?;
        }
        if let Some(pac) = wishes.pac {
            // SAFETY: context and options are alive.
            library.check(unsafe {
                ffi::krb5_get_init_creds_opt_set_pac_request(context, self.raw, pac.into())
            })?;
        }
        Ok(())
    }
}

impl Drop for InitialOptions<'_> {
    fn drop(&mut self) {
        // SAFETY: both are owned, freed here only; a null list is allowed.
        unsafe {
            ffi::krb5_get_init_creds_opt_free(self.library.raw(), self.raw);
            ffi::krb5_free_addresses(self.library.raw(), self.addresses);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_times_are_those_of_kinit() {
        for (text, seconds) in [
            ("10h", Some(36_000)),
            ("1d2h", Some(93_600)),
            ("10:30", Some(37_800)),
            ("90", Some(90)),
            ("x", None),
        ] {
            assert_eq!(duration(text), seconds, "{text}");
        }
        assert_eq!(duration("1\0"), None);
        let [one, other] = ["20300101000000", "20300102000000"].map(|text| time(text).unwrap());
        assert_eq!(other - one, 86_400);
        assert_eq!(time("tomorrow"), None);
    }
}
