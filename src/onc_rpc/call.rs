//! What calls of a program have in common (RFC 5531 §9, RFC 2203 §5).

/// Credential flavor RPCSEC_GSS (RFC 2203 §4).
pub(crate) const FLAVOR_GSS: u32 = 6;
/// Procedure 0, which every program has, and which does nothing.
pub const NULL_PROCEDURE: u32 = 0;

pub(crate) const CALL: u32 = 0;
pub(crate) const RPC_VERSION: u32 = 2;
pub(crate) const GSS_VERSION: u32 = 1;
/// rpc_gss_svc_none: arguments and results are not protected (RFC 2203 §5).
pub(crate) const SERVICE_NONE: u32 = 1;
