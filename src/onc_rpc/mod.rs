//! ONC RPC over TCP (RFC 5531): records, replies, and connections with deadlines.
//!
//! Used by the worker, which makes contexts by RPCSEC_GSS, and by [`crate::rpc`], which makes calls with them. Nothing here
//! knows a mechanism.
#![forbid(unsafe_code)]

pub(crate) mod call;
pub(crate) mod record;
pub(crate) mod reply;
pub mod tcp;
