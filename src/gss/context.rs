//! The initiator's GSS context as states that consume each other: [`GssInitiator`] until the exchange is complete, then
//! [`EstablishedContext`], which verifies the server's code and is exported (RFC 2743 §2.2).
//!
//! Used by `negotiate::mech::krb5`. Invariants: delegation is never asked for; the credential is one ticket in memory, so no
//! call here waits for anything.

use std::ptr;

use super::ffi;
use super::lucid::{self, ExportError, Exported};
use super::private_cache::PrivateCache;
use super::status::{GSS_S_FAILURE, GssError, check_gss, take_buffer};
use super::ticket::Ticket;
use crate::secret::Secret;
use crate::wire::Reader;

/// How the context's messages are to be protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProtectionFlags {
    /// Integrity: message integrity codes, which RPCSEC_GSS puts on every call header.
    Integrity,
    /// Integrity and confidentiality.
    Confidentiality,
}

/// The services that the context has, as the library reports them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GrantedFlags(u32);

impl GrantedFlags {
    /// Whether the server has proved its identity.
    pub(crate) fn mutual(self) -> bool {
        self.0 & ffi::GSS_C_MUTUAL_FLAG != 0
    }

    /// Whether our credentials were delegated to the server.
    pub(crate) fn delegated(self) -> bool {
        self.0 & ffi::GSS_C_DELEG_FLAG != 0
    }

    /// Whether the context has this protection.
    pub(crate) fn protects(self, protection: ProtectionFlags) -> bool {
        let flags = protection.flags();
        self.0 & flags == flags
    }
}

impl ProtectionFlags {
    fn flags(self) -> u32 {
        match self {
            Self::Integrity => ffi::GSS_C_INTEG_FLAG,
            Self::Confidentiality => ffi::GSS_C_INTEG_FLAG | ffi::GSS_C_CONF_FLAG,
        }
    }
}

/// A context that still exchanges tokens.
#[derive(Debug)]
pub(crate) struct GssInitiator {
    context: RawGssContext,
    credential: Credential,
    target: GssTarget,
    request: u32,
    /// When the ticket becomes valid.
    start: u32,
}

/// The result of one token from the server.
#[derive(Debug)]
pub(crate) enum InitiatorStep {
    /// The server's answer to this token is needed.
    Continue(GssInitiator, Secret),
    /// Complete on our side. The token, unless empty, is still to be sent.
    Complete(EstablishedContext, Secret),
}

impl GssInitiator {
    /// Prepares a context with the ticket's service, using nothing but the ticket.
    ///
    /// Neither replay detection nor sequencing is asked for: RPCSEC_GSS has its own window (RFC 2203 §5.3.3.1).
    ///
    /// # Errors
    /// The library's.
    pub(crate) fn new(ticket: &Ticket, protection: ProtectionFlags) -> Result<Self, GssError> {
        let target = GssTarget::import(&ticket.server())?;
        let cache = ticket.alone_in_memory().map_err(|error| GssError {
            major: GSS_S_FAILURE,
            minor: error.code.cast_unsigned(),
            message: error.message,
        })?;
        let mut credential = Credential::acquire(cache)?;
        // These also limit the server's choice for its subkey.
        if let Some(mut enctypes) = ticket.library().asked_for() {
            credential.allow(&mut enctypes)?;
        }
        let request = ffi::GSS_C_MUTUAL_FLAG | protection.flags();
        let context = RawGssContext(ptr::null_mut());
        Ok(Self { context, credential, target, request, start: ticket.start() })
    }

    /// What is known of a clock difference that the server's token complains about.
    pub(crate) fn explain_skew(&self, token: &[u8]) -> Option<String> {
        let library = self.credential.cache.library();
        let clock = error_message(token).and_then(|message| library.clock_of_error(message));
        library.explain_skew("server", clock, Some(self.start))
    }

    /// Takes the server's token (empty at the start) and makes the next one.
    ///
    /// # Errors
    /// The library's, including what the server says in an error token. The context is gone then.
    pub(crate) fn step(mut self, token: &[u8]) -> Result<InitiatorStep, GssError> {
        let mut input = buffer_of(token);
        let mut output = ffi::gss_buffer_desc { length: 0, value: ptr::null_mut() };
        let (mut minor, mut granted, mut lifetime) = (0, 0, 0);
        // SAFETY: handles are alive, or null where that is allowed; buffers point to live memory, and the input is only
        // read; the mechanism is a constant of the library; there are no channel bindings.
        let major = unsafe {
            ffi::gss_init_sec_context(
                &mut minor,
                self.credential.raw,
                &mut self.context.0,
                self.target.0,
                ffi::gss_mech_krb5,
                self.request,
                0,
                ptr::null_mut(),
                if token.is_empty() { ptr::null_mut() } else { &mut input },
                ptr::null_mut(),
                &mut output,
                &mut granted,
                &mut lifetime,
            )
        };
        let output = Secret::new(take_buffer(&mut output));
        let granted = GrantedFlags(granted);
        if check_gss(major, minor)? & ffi::GSS_S_CONTINUE_NEEDED != 0 {
            return Ok(InitiatorStep::Continue(self, output));
        }
        Ok(InitiatorStep::Complete(EstablishedContext { context: self.context, granted, lifetime }, output))
    }
}

/// The KRB-ERROR in an acceptor's token: `60 length · 06 length OID · 03 00 · KRB-ERROR` (RFC 4121 §4.1).
fn error_message(token: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::new(token);
    if reader.u8().ok()? != 0x60 {
        return None;
    }
    let length = reader.u8().ok()?;
    if length & 0x80 != 0 {
        reader.take(usize::from(length & 0x7f)).ok()?;
    }
    if reader.u8().ok()? != 0x06 {
        return None;
    }
    let mechanism = usize::from(reader.u8().ok()?);
    reader.take(mechanism).ok()?;
    (reader.take(2).ok()? == [3, 0]).then(|| reader.rest())
}

/// A context whose token exchange is complete on our side.
#[derive(Debug)]
pub(crate) struct EstablishedContext {
    context: RawGssContext,
    granted: GrantedFlags,
    lifetime: u32,
}

impl EstablishedContext {
    /// The services that it has.
    pub(crate) fn granted(&self) -> GrantedFlags {
        self.granted
    }

    /// Verifies the server's message integrity code over `message` (RFC 2743 §2.3.2).
    ///
    /// # Errors
    /// GSS_S_BAD_SIG and others of the library.
    pub(crate) fn verify_mic(&self, message: &[u8], mic: &[u8]) -> Result<(), GssError> {
        let (mut message, mut mic) = (buffer_of(message), buffer_of(mic));
        let mut minor = 0;
        // SAFETY: the context is alive; both buffers point to live memory that is only read; the quality of protection is
        // not asked for.
        let major = unsafe {
            ffi::gss_verify_mic(&mut minor, self.context.0, &mut message, &mut mic, ptr::null_mut())
        };
        check_gss(major, minor).map(drop)
    }

    /// Ends the library's context and returns its key and state.
    ///
    /// # Errors
    /// [`ExportError`], for example for keys that are not of the four AES types.
    pub(crate) fn export(mut self) -> Result<Exported, ExportError> {
        lucid::export(&mut self.context.0, self.lifetime)
    }
}

#[derive(Debug)]
struct RawGssContext(ffi::gss_ctx_id_t);

impl Drop for RawGssContext {
    fn drop(&mut self) {
        let mut minor = 0;
        // SAFETY: owned. Null, as before the first step and after an export, is allowed and does nothing.
        unsafe { ffi::gss_delete_sec_context(&mut minor, &mut self.0, ptr::null_mut()) };
    }
}

/// Initiator credentials from one private cache and nothing else.
#[derive(Debug)]
struct Credential {
    raw: ffi::gss_cred_id_t,
    cache: PrivateCache,
}

impl Credential {
    fn acquire(cache: PrivateCache) -> Result<Self, GssError> {
        // Without this the default keytab would be used, which the user or a home directory may control (rule S7).
        let mut elements = [
            ffi::gss_key_value_element_desc { key: c"ccache".as_ptr(), value: cache.name() },
            ffi::gss_key_value_element_desc {
                key: c"client_keytab".as_ptr(),
                value: c"MEMORY:lgss_none".as_ptr(),
            },
        ];
        let store = ffi::gss_key_value_set_desc { count: 2, elements: elements.as_mut_ptr() };
        let usage = ffi::GSS_C_INITIATE.cast_signed();
        let (mut minor, mut raw) = (0, ptr::null_mut());
        // SAFETY: the store and its strings live through the call; the set of mechanisms is only read; no name, no time
        // and no results but the credential are asked for.
        let major = unsafe {
            let mut mechanisms = ffi::gss_OID_set_desc_struct { count: 1, elements: ffi::gss_mech_krb5 };
            ffi::gss_acquire_cred_from(
                &mut minor,
                ptr::null_mut(),
                0,
                &mut mechanisms,
                usage,
                &store,
                &mut raw,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        check_gss(major, minor)?;
        Ok(Self { raw, cache })
    }

    /// Restricts the types that contexts offer the server for its subkey.
    fn allow(&mut self, enctypes: &mut [ffi::krb5_enctype]) -> Result<(), GssError> {
        let (mut minor, count) = (0, u32::try_from(enctypes.len()).unwrap_or_default());
        // SAFETY: the credential is alive; the list has `count` entries and is copied.
        let major = unsafe {
            ffi::gss_krb5_set_allowable_enctypes(&mut minor, self.raw, count, enctypes.as_mut_ptr())
        };
        check_gss(major, minor).map(drop)
    }
}

impl Drop for Credential {
    fn drop(&mut self) {
        let mut minor = 0;
        // SAFETY: owned, released here only; the cache it refers to is dropped after it.
        unsafe { ffi::gss_release_cred(&mut minor, &mut self.raw) };
    }
}

#[derive(Debug)]
struct GssTarget(ffi::gss_name_t);

impl GssTarget {
    /// Imports a principal's full name, so that the host is not resolved again, perhaps to another name. The result is the
    /// mechanism's own name: of any other the library makes one at each step, for which it reads krb5.conf.
    fn import(principal: &str) -> Result<Self, GssError> {
        let mut name = buffer_of(principal.as_bytes());
        let (mut minor, mut raw) = (0, ptr::null_mut());
        // SAFETY: the buffer points to live memory that is only read; the name type is a constant of the library.
        let major =
            unsafe { ffi::gss_import_name(&mut minor, &mut name, ffi::GSS_KRB5_NT_PRINCIPAL_NAME, &mut raw) };
        check_gss(major, minor)?;
        let (any_mechanisms, mut own) = (Self(raw), ptr::null_mut());
        // SAFETY: the name is alive, the mechanism is a constant of the library, the last pointer is to a live local.
        let major =
            unsafe { ffi::gss_canonicalize_name(&mut minor, any_mechanisms.0, ffi::gss_mech_krb5, &mut own) };
        check_gss(major, minor)?;
        Ok(Self(own))
    }
}

impl Drop for GssTarget {
    fn drop(&mut self) {
        let mut minor = 0;
        // SAFETY: owned, released here only.
        unsafe { ffi::gss_release_name(&mut minor, &mut self.0) };
    }
}

/// A view of bytes as the library's buffer; the library only reads through it.
fn buffer_of(bytes: &[u8]) -> ffi::gss_buffer_desc {
    ffi::gss_buffer_desc { length: bytes.len(), value: bytes.as_ptr().cast_mut().cast() }
}
