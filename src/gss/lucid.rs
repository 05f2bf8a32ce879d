//! Takes key and state out of a complete context (gss_krb5_export_lucid_sec_context, version 1 of its structure).
//!
//! Called by [`super::context::EstablishedContext::export`]. Only RFC 4121 contexts ("CFX") with AES keys are accepted.

use std::ffi::c_void;
use std::ptr;

use super::ffi;
use super::status::{GssError, check_gss};
use crate::crypto::enctype::{Enctype, UnknownEnctype};
use crate::secret::Secret;

/// Everything needed to sign with a context without the library.
#[derive(Debug)]
pub(crate) struct Exported {
    /// Type of the base key.
    pub enctype: Enctype,
    /// The base key: the acceptor's subkey if there is one, else the initiator's.
    pub base_key: Secret,
    /// Whether the base key is the acceptor's.
    pub acceptor_subkey: bool,
    /// End of the context, seconds since the epoch.
    pub endtime: u32,
    /// Sequence number of the next token that we send.
    pub send_sequence: u64,
    /// Seconds that the context remains valid.
    pub lifetime: u32,
}

/// Why a context cannot be exported.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    /// The library refuses.
    #[error("export of the context: {0}")]
    Library(#[from] GssError),
    /// Structure, protocol or role is not the one asked for.
    #[error("export of the context: version {version}, protocol {protocol}, initiator {initiator}")]
    Layout {
        /// Version of the structure, wanted 1.
        version: u32,
        /// Wanted 1, RFC 4121; 0 is RFC 1964.
        protocol: u32,
        /// Wanted 1.
        initiator: u32,
    },
    /// DES, RC4 and the like.
    #[error(transparent)]
    Enctype(#[from] UnknownEnctype),
    /// The key's length does not fit its type.
    #[error("key of {0} bytes for {1}")]
    KeyLength(u32, Enctype),
}

/// Ends the context, which becomes null, and copies its key and state.
pub(super) fn export(context: &mut ffi::gss_ctx_id_t, lifetime: u32) -> Result<Exported, ExportError> {
    let mut lucid = Lucid(ptr::null_mut());
    let mut minor = 0;
    // SAFETY: the context is complete and owned by the caller; the result goes to a live local that frees it.
    let major = unsafe { ffi::gss_krb5_export_lucid_sec_context(&mut minor, context, 1, &mut lucid.0) };
    check_gss(major, minor)?;
    // SAFETY: the call succeeded with version 1, so this is that structure, alive until `lucid` is dropped.
    let fields = unsafe { &*lucid.0.cast::<ffi::gss_krb5_lucid_context_v1_t>() };
    if (fields.version, fields.protocol, fields.initiate) != (1, 1, 1) {
        let (version, protocol, initiator) = (fields.version, fields.protocol, fields.initiate);
        return Err(ExportError::Layout { version, protocol, initiator });
    }
    let acceptor_subkey = fields.cfx_kd.have_acceptor_subkey != 0;
    let key = if acceptor_subkey { &fields.cfx_kd.acceptor_subkey } else { &fields.cfx_kd.ctx_key };
    let enctype = Enctype::try_from(key.type_)?;
    if usize::try_from(key.length) != Ok(enctype.key_length()) || key.data.is_null() {
        return Err(ExportError::KeyLength(key.length, enctype));
    }
    // SAFETY: the library's block of that many bytes, alive until `lucid` is dropped, which zeroes it.
    let bytes = unsafe { std::slice::from_raw_parts(key.data.cast::<u8>(), enctype.key_length()) };
    Ok(Exported {
        enctype,
        base_key: Secret::new(bytes.to_vec()),
        acceptor_subkey,
        endtime: fields.endtime,
        send_sequence: fields.send_seq,
        lifetime,
    })
}

struct Lucid(*mut c_void);

impl Drop for Lucid {
    fn drop(&mut self) {
        if self.0.is_null() {
            return;
        }
        let mut minor = 0;
        // SAFETY: made by the export, freed here only; the library zeroes the keys before.
        unsafe { ffi::gss_krb5_free_lucid_sec_context(&mut minor, self.0) };
    }
}
