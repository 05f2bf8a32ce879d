//! The library's errors: codes with their texts, and the meaning of a code for callers.
//!
//! The other files of this layer make them; callers turn them into stage and cause.

use std::ffi::{CStr, c_int};
use std::fmt;
use std::ptr;

use super::ffi;

/// A failure of libkrb5 with its text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Krb5Error {
    /// com_err code.
    pub code: i32,
    /// The library's message in its words.
    pub message: String,
}

/// A failure of a GSS call (RFC 2744 §3.9): major status, and the mechanism's code as minor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GssError {
    /// Major status.
    pub major: u32,
    /// Minor status, of the krb5 mechanism: a com_err code.
    pub minor: u32,
    /// The mechanism's message.
    pub message: String,
}

impl fmt::Display for GssError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (GSS major {:#x}, minor {})", self.message, self.major, self.minor.cast_signed())
    }
}

impl std::error::Error for GssError {}

/// The meaning of a Kerberos error code, as far as callers distinguish codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Krb5Reason {
    /// Clocks differ too much, or a ticket is not valid yet.
    ClockSkew,
    /// The service cannot decrypt the ticket, since it does not have the key any more, or not yet.
    StaleKey,
    /// The KDC has no key of the types asked for, or the library knows none of these types.
    Enctype,
    /// The cache's ticket has a session key of a type that the library does not use, or that was not asked for.
    SessionKey,
    /// A ticket has expired.
    TicketExpired,
    /// The KDC does not know the service.
    UnknownService,
    /// No KDC of the realm is known, or not even the realm.
    UnknownRealm,
    /// No KDC's name has an address.
    KdcUnresolved,
    /// The KDC has locked or disabled the client.
    ClientRevoked,
    /// The client, or its password, has expired.
    ClientExpired,
    /// The service is locked, has expired, or may have no tickets of this kind.
    ServiceClosed,
    /// The KDC's policy forbids the ticket.
    Policy,
    /// The KDC does not accept the ticket that came with the request.
    TicketRejected,
    /// The answer is not one of this realm's KDC.
    BadAnswer,
    /// The KDC does not know the client.
    UnknownClient,
    /// A key differs from the KDC's, or the keytab has none that the KDC could use.
    WrongKey,
    /// No KDC could be reached.
    KdcUnreachable,
    /// There is no such credential cache.
    NoCache,
    /// Another error number of the protocol (RFC 4120 §7.5.9): somebody answered.
    ProtocolError,
    /// Anything else: the library itself, files, memory.
    Other,
}

impl Krb5Error {
    /// The code's meaning.
    pub fn reason(&self) -> Krb5Reason {
        Krb5Reason::of(self.code)
    }

    /// Whether the client's key, made from a password, is not the KDC's: the KDC could not decrypt the request's timestamp, or
    /// the library the KDC's answer.
    #[cfg(feature = "tools")]
    pub(crate) fn is_of_a_wrong_password(&self) -> bool {
        matches!(self.code, ffi::KRB5KDC_ERR_PREAUTH_FAILED | ffi::KRB5KRB_AP_ERR_BAD_INTEGRITY)
    }
}

impl GssError {
    /// The minor status's meaning.
    pub fn reason(&self) -> Krb5Reason {
        Krb5Reason::of_minor(self.minor)
    }
}

impl Krb5Reason {
    /// The meaning of a minor status of the krb5 mechanism: ours, or that of a server with MIT's library.
    pub fn of_minor(minor: u32) -> Self {
        Self::of(minor.cast_signed())
    }

    fn of(code: i32) -> Self {
        match code {
            ffi::KRB5KRB_AP_ERR_SKEW | ffi::KRB5_KDCREP_SKEW | ffi::KRB5KRB_AP_ERR_TKT_NYV => Self::ClockSkew,
            ffi::KRB5KRB_AP_ERR_TKT_EXPIRED => Self::TicketExpired,
            ffi::KRB5KRB_AP_ERR_MODIFIED
            | ffi::KRB5KRB_AP_ERR_BAD_INTEGRITY
            | ffi::KRB5KRB_AP_ERR_BADKEYVER
            | ffi::KRB5KRB_AP_ERR_NOKEY => Self::StaleKey,
            ffi::KRB5KDC_ERR_ETYPE_NOSUPP
            | ffi::KRB5_PROG_ETYPE_NOSUPP
            | ffi::KRB5_NOPERM_ETYPE
            | ffi::KRB5_CONFIG_ETYPE_NOSUPP => Self::Enctype,
            ffi::KRB5_CC_NOT_KTYPE => Self::SessionKey,
            ffi::KRB5KDC_ERR_S_PRINCIPAL_UNKNOWN => Self::UnknownService,
            ffi::KRB5_REALM_UNKNOWN | ffi::KRB5_ERR_HOST_REALM_UNKNOWN | ffi::KRB5_CONFIG_NODEFREALM => {
                Self::UnknownRealm
            }
            ffi::KRB5_REALM_CANT_RESOLVE => Self::KdcUnresolved,
            ffi::KRB5KDC_ERR_CLIENT_REVOKED | ffi::KRB5KDC_ERR_CLIENT_NOTYET => Self::ClientRevoked,
            ffi::KRB5KDC_ERR_KEY_EXP | ffi::KRB5KDC_ERR_NAME_EXP => Self::ClientExpired,
            ffi::KRB5KDC_ERR_SERVICE_REVOKED
            | ffi::KRB5KDC_ERR_SERVICE_EXP
            | ffi::KRB5KDC_ERR_SERVICE_NOTYET
            | ffi::KRB5KDC_ERR_MUST_USE_USER2USER => Self::ServiceClosed,
            ffi::KRB5KDC_ERR_POLICY | ffi::KRB5KDC_ERR_BADOPTION => Self::Policy,
            ffi::KRB5KDC_ERR_TGT_REVOKED | ffi::KRB5KRB_AP_ERR_BADMATCH | ffi::KRB5KRB_AP_ERR_NOT_US => {
                Self::TicketRejected
            }
            ffi::KRB5_KDCREP_MODIFIED | ffi::KRB5KRB_AP_ERR_MSG_TYPE | ffi::KRB5KRB_AP_ERR_BADVERSION => {
                Self::BadAnswer
            }
            // Broken encodings (the library's table of ASN.1 errors).
            other if (0..16).contains(&other.wrapping_sub(ASN1_TABLE)) => Self::BadAnswer,
            ffi::KRB5KDC_ERR_C_PRINCIPAL_UNKNOWN => Self::UnknownClient,
            ffi::KRB5KDC_ERR_PREAUTH_FAILED | ffi::KRB5_KT_NOTFOUND | ffi::KRB5_KT_KVNONOTFOUND => {
                Self::WrongKey
            }
            ffi::KRB5_KDC_UNREACH | ffi::KRB5KDC_ERR_SVC_UNAVAILABLE => Self::KdcUnreachable,
            ffi::KRB5_FCC_NOFILE | ffi::KRB5_CC_NOTFOUND => Self::NoCache,
            // The first 128 codes of the table are the protocol's numbers.
            other if (1..128).contains(&other.wrapping_sub(ffi::KRB5KDC_ERR_NONE)) => Self::ProtocolError,
            _ => Self::Other,
        }
    }
}

/// The first number of the library's table for encodings (asn1_err).
const ASN1_TABLE: i32 = 1_859_794_432;

/// The text of a code without a context, which might know more.
pub(super) fn text_of(code: ffi::krb5_error_code) -> String {
    // SAFETY: a null context is allowed; the library returns an owned string for any code, never null.
    let raw = unsafe { ffi::krb5_get_error_message(ptr::null_mut(), code) };
    let message = text(raw);
    // SAFETY: `raw` came from krb5_get_error_message and is not used after this.
    unsafe { ffi::krb5_free_error_message(ptr::null_mut(), raw) };
    message
}

/// Number of GSS_S_FAILURE among the routine errors (RFC 2744 §3.9.1).
const ROUTINE_FAILURE: u32 = 13;
/// GSS_S_FAILURE: the minor status explains it (RFC 2743 §1.2.1.1). bindgen cannot evaluate the definition in the headers.
pub(crate) const GSS_S_FAILURE: u32 = ROUTINE_FAILURE << 16;

/// Ok with the supplementary bits of the major status if the call succeeded, else both statuses with their text.
pub(super) fn check_gss(major: u32, minor: u32) -> Result<u32, GssError> {
    // Calling and routine errors are the upper sixteen bits (RFC 2744 §3.9.1).
    if major & 0xffff_0000 == 0 {
        return Ok(major);
    }
    // GSS_S_FAILURE only refers to the mechanism's text. For GSS's own errors, the mechanism's text may be "Success".
    let mechanism = message(minor, ffi::GSS_C_MECH_CODE);
    let message = match (major >> 16 & 0xff, mechanism.as_str()) {
        (ROUTINE_FAILURE, _) => mechanism,
        (_, "Success" | "") => message(major, ffi::GSS_C_GSS_CODE),
        _ => format!("{}: {mechanism}", message(major, ffi::GSS_C_GSS_CODE)),
    };
    Err(GssError { major, minor, message })
}

fn message(code: u32, kind: u32) -> String {
    let (mut minor, mut more) = (0, 0);
    let mut buffer = ffi::gss_buffer_desc { length: 0, value: ptr::null_mut() };
    let kind = c_int::try_from(kind).unwrap_or_default();
    // SAFETY: all pointers are to live locals; gss_mech_krb5 is a constant of the library. A code's first message is
    // enough, so the call is not repeated.
    unsafe { ffi::gss_display_status(&mut minor, code, kind, ffi::gss_mech_krb5, &mut more, &mut buffer) };
    let bytes = take_buffer(&mut buffer);
    if bytes.is_empty() { format!("error {code:#x}") } else { String::from_utf8_lossy(&bytes).into_owned() }
}

/// Copies a buffer that the library filled, and releases the original.
pub(super) fn take_buffer(buffer: &mut ffi::gss_buffer_desc) -> Vec<u8> {
    if buffer.value.is_null() {
        return Vec::new();
    }
    // SAFETY: the library set value and length to a block that it no longer changes.
    let bytes = unsafe { std::slice::from_raw_parts(buffer.value.cast::<u8>(), buffer.length) }.to_vec();
    let mut minor = 0;
    // SAFETY: the buffer came from the library and is released once; the call resets it to empty.
    unsafe { ffi::gss_release_buffer(&mut minor, buffer) };
    bytes
}

/// Copies a string of the library's; null becomes empty.
pub(super) fn text(raw: *const std::ffi::c_char) -> String {
    if raw.is_null() {
        return String::new();
    }
    // SAFETY: not null, and the library's strings end with a NUL.
    unsafe { CStr::from_ptr(raw) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_grouped_by_what_the_caller_does_about_them() {
        for (code, reason) in [
            (ffi::KRB5KRB_AP_ERR_SKEW, Krb5Reason::ClockSkew),
            (ffi::KRB5KRB_AP_ERR_TKT_EXPIRED, Krb5Reason::TicketExpired),
            (ffi::KRB5KDC_ERR_S_PRINCIPAL_UNKNOWN, Krb5Reason::UnknownService),
            (ffi::KRB5_KDC_UNREACH, Krb5Reason::KdcUnreachable),
            (ffi::KRB5_FCC_NOFILE, Krb5Reason::NoCache),
            (ffi::KRB5KDC_ERR_C_PRINCIPAL_UNKNOWN, Krb5Reason::UnknownClient),
            (ffi::KRB5KDC_ERR_PREAUTH_FAILED, Krb5Reason::WrongKey),
            (ffi::KRB5KDC_ERR_ETYPE_NOSUPP, Krb5Reason::Enctype),
            (ffi::KRB5_CC_NOT_KTYPE, Krb5Reason::SessionKey),
            (ffi::KRB5KRB_AP_ERR_BADKEYVER, Krb5Reason::StaleKey),
            (ffi::KRB5KDC_ERR_POLICY, Krb5Reason::Policy),
            (ffi::KRB5KDC_ERR_CLIENT_REVOKED, Krb5Reason::ClientRevoked),
            (ffi::KRB5KDC_ERR_KEY_EXP, Krb5Reason::ClientExpired),
            (ffi::KRB5KDC_ERR_SERVICE_EXP, Krb5Reason::ServiceClosed),
            (ffi::KRB5KDC_ERR_TGT_REVOKED, Krb5Reason::TicketRejected),
            (ffi::KRB5_REALM_UNKNOWN, Krb5Reason::UnknownRealm),
            (ffi::KRB5_REALM_CANT_RESOLVE, Krb5Reason::KdcUnresolved),
            (ffi::KRB5_KDCREP_MODIFIED, Krb5Reason::BadAnswer),
            (ASN1_TABLE + 7, Krb5Reason::BadAnswer),
            (ffi::KRB5KDC_ERR_NULL_KEY, Krb5Reason::ProtocolError),
            (ffi::KRB5KDC_ERR_NONE, Krb5Reason::Other),
            (ffi::KRB5_CC_END, Krb5Reason::Other),
            (libc::ENOENT, Krb5Reason::Other),
        ] {
            assert_eq!(Krb5Reason::of(code), reason, "{code}");
        }
    }

    #[test]
    fn a_gss_error_always_has_a_text_and_supplementary_bits_are_none() {
        let error = check_gss(9 << 16, 0).unwrap_err();
        assert!(error.message.to_lowercase().contains("token"), "{error}");
        assert!(!check_gss(13 << 16, 5).unwrap_err().message.is_empty());
        assert_eq!(check_gss(1, 0), Ok(1));
    }
}
