//! Initial tickets as a person asks for them, by password, certificate or keytab (RFC 4120 §3.1).
//!
//! Used by `kinit`. The library itself asks for the password, on the terminal or by a line of standard input, and zeroes
//! what it read.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem;
use std::ptr;

use super::ffi;
use super::keytab::Keytab;
use super::krb5::Library;
use super::principal::{Krb5Principal, c_string};
use super::private_cache::PrivateCache;
use super::status::Krb5Error;
use super::ticket::Cache;
use crate::text::escaped;

/// The library's own default, a day.
const USUAL_LIFETIME: i32 = 24 * 3600;

/// What proves who the client is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum InitialKey<'a> {
    /// A password, or what else the KDC has the library ask for.
    Prompted,
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
pub(crate) struct InitialRequest {
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
    pub(crate) input_cache: Option<String>,
    /// Attributes of methods of pre-authentication, such as `X509_user_identity`.
    pub(crate) attributes: Vec<(String, String)>,
}

/// Asks a KDC for a new ticket, which goes into a memory cache.
///
/// # Errors
/// The library's; the KDC's error numbers among them.
pub(crate) fn ask(
    library: &Library,
    client: &Krb5Principal,
    key: InitialKey<'_>,
    request: &InitialRequest,
) -> Result<PrivateCache, Krb5Error> {
    let cache = PrivateCache::new(library, client)?;
    let options = InitialOptions::new(library, request, &cache)?;
    let service = request.service.as_deref().map(c_string).transpose()?;
    let service = service.as_ref().map_or(ptr::null(), |service| service.as_ptr());
    // SAFETY: all zero is a valid value of this struct of pointers and numbers.
    let mut ticket: ffi::krb5_creds = unsafe { mem::zeroed() };
    // SAFETY: context, client, keytab, options and the service's name are alive; a null password has the library ask by
    // the function given. On success the ticket is filled and freed, which zeroes its key.
    let code = unsafe {
        let (context, client, start) = (library.raw(), client.raw(), request.start);
        let code = match key {
            InitialKey::Prompted => ffi::krb5_get_init_creds_password(
                context,
                &mut ticket,
                client,
                ptr::null(),
                Some(prompt),
                ptr::null_mut(),
                start,
                service,
                options.raw,
            ),
            InitialKey::Keytab(keytab) => ffi::krb5_get_init_creds_keytab(
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

impl Library {
    /// Seconds that a new ticket shall last, unless somebody says: `ticket_lifetime` of krb5.conf.
    pub(crate) fn ticket_lifetime(&self) -> i32 {
        let set = self.libdefault(c"ticket_lifetime", c"");
        set.and_then(|text| duration(&text)).filter(|&seconds| seconds > 0).unwrap_or(USUAL_LIFETIME)
    }
}

/// Asks a person by the library's own function. The texts may come from a KDC, and are made fit for a terminal.
///
/// # Safety
/// Called by the library, with strings of its own, null or ended by NUL, and so many questions.
unsafe extern "C" fn prompt(
    context: ffi::krb5_context,
    data: *mut c_void,
    name: *const c_char,
    banner: *const c_char,
    count: c_int,
    questions: *mut ffi::krb5_prompt,
) -> ffi::krb5_error_code {
    let length = usize::try_from(count).unwrap_or_default();
    let shown = |raw: *const c_char| {
        // SAFETY: by this function's contract.
        let text = (!raw.is_null()).then(|| unsafe { CStr::from_ptr(raw) }.to_string_lossy().into_owned());
        // There is no NUL within.
        text.and_then(|text| CString::new(escaped(&text).into_owned()).ok())
    };
    let pointer = |text: &Option<CString>| text.as_ref().map_or(ptr::null(), |text| text.as_ptr());
    let (name, banner) = (shown(name), shown(banner));
    // SAFETY: by this function's contract; without questions nothing is read.
    let asked = if length == 0 { &[][..] } else { unsafe { std::slice::from_raw_parts(questions, length) } };
    let texts: Vec<_> = asked.iter().map(|question| shown(question.prompt)).collect();
    let mut asked: Vec<ffi::krb5_prompt> = asked.to_vec();
    for (question, text) in asked.iter_mut().zip(&texts) {
        question.prompt = pointer(text).cast_mut();
    }
    // SAFETY: the texts live until the call has returned; the answers go to the library's own buffers. What it has written is
    // flushed, so that it stands before what we write.
    unsafe {
        let (name, banner) = (pointer(&name), pointer(&banner));
        let code = ffi::krb5_prompter_posix(context, data, name, banner, count, asked.as_mut_ptr());
        libc::fflush(ptr::null_mut());
        code
    }
}

/// Seconds of a duration as kinit(1) has it: `10h`, `1d2h`, `10:30`, `3600`. Words that the library would pass over are none.
pub(crate) fn duration(text: &str) -> Option<i32> {
    if !text.bytes().all(|byte| byte.is_ascii_digit() || b"-: \tdhms".contains(&byte)) {
        return None;
    }
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
    input_cache: Option<Cache>,
}

impl<'a> InitialOptions<'a> {
    /// Options of a request whose ticket goes into `cache`, which outlives them.
    fn new(library: &'a Library, request: &InitialRequest, cache: &PrivateCache) -> Result<Self, Krb5Error> {
        let mut raw = ptr::null_mut();
        // SAFETY: the context is alive, the pointer is to a live local.
        library.check(unsafe { ffi::krb5_get_init_creds_opt_alloc(library.raw(), &mut raw) })?;
        let mut options = Self { library, raw, addresses: ptr::null_mut(), input_cache: None };
        options.set_flags(request);
        options.set_addresses(request.addresses)?;
        options.set_caches(request, cache)?;
        options.set_attributes(request)?;
        Ok(options)
    }

    fn set_flags(&self, request: &InitialRequest) {
        // SAFETY: the options are alive; these calls take numbers.
        unsafe {
            if let Some(lifetime) = request.lifetime {
                ffi::krb5_get_init_creds_opt_set_tkt_life(self.raw, lifetime);
            }
            if let Some(renewable) = request.renewable {
                ffi::krb5_get_init_creds_opt_set_renew_life(self.raw, renewable);
            }
            if let Some(forwardable) = request.forwardable {
                ffi::krb5_get_init_creds_opt_set_forwardable(self.raw, forwardable.into());
            }
            if let Some(proxiable) = request.proxiable {
                ffi::krb5_get_init_creds_opt_set_proxiable(self.raw, proxiable.into());
            }
            if request.canonicalize {
                ffi::krb5_get_init_creds_opt_set_canonicalize(self.raw, 1);
            }
            if request.anonymous {
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

    fn set_caches(&mut self, request: &InitialRequest, cache: &PrivateCache) -> Result<(), Krb5Error> {
        let (library, context) = (self.library, self.library.raw());
        // SAFETY: context, options and cache are alive; names are copied.
        unsafe {
            library.check(ffi::krb5_get_init_creds_opt_set_out_ccache(context, self.raw, cache.raw()))?;
            if let Some(armour) = &request.armour {
                let armour = c_string(armour)?;
                library.check(ffi::krb5_get_init_creds_opt_set_fast_ccache_name(
                    context,
                    self.raw,
                    armour.as_ptr(),
                ))?;
            }
        }
        if let Some(name) = &request.input_cache {
            let cache = self.input_cache.insert(Cache::resolve(library, name)?);
            // SAFETY: the cache lives as long as the options.
            let code = unsafe { ffi::krb5_get_init_creds_opt_set_in_ccache(context, self.raw, cache.raw) };
            library.check(code)?;
        }
        Ok(())
    }

    fn set_attributes(&self, request: &InitialRequest) -> Result<(), Krb5Error> {
        let (library, context) = (self.library, self.library.raw());
        for (name, value) in &request.attributes {
            let (name, value) = (c_string(name)?, c_string(value)?);
            // SAFETY: context and options are alive; both strings end with NUL and are copied.
            library.check(unsafe {
                ffi::krb5_get_init_creds_opt_set_pa(context, self.raw, name.as_ptr(), value.as_ptr())
            })?;
        }
        if let Some(pac) = request.pac {
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
            ("20x", None),
            ("8hours", None),
        ] {
            assert_eq!(duration(text), seconds, "{text}");
        }
        assert_eq!(duration("1\0"), None);
        let [one, other] = ["20300101000000", "20300102000000"].map(|text| time(text).unwrap());
        assert_eq!(other - one, 86_400);
        assert_eq!(time("tomorrow"), None);
    }
}
