//! The flags of an established context, the same in both layouts (RFC 4121 §4.2.2 has the first and the third).

use crate::crypto::mic::KeyOrigin;

/// Initiator, and tokens by RFC 4121 ("CFX").
const ALWAYS: u32 = 0x1 | 0x2;
const ACCEPTOR_SUBKEY: u32 = 0x4;

/// The flags of a context with a key of this origin.
pub(super) fn of(origin: KeyOrigin) -> u32 {
    match origin {
        KeyOrigin::Initiator => ALWAYS,
        KeyOrigin::AcceptorSubkey => ALWAYS | ACCEPTOR_SUBKEY,
    }
}

/// The origin; `None` for other flags, or without those that are always set.
pub(super) fn origin(flags: u32) -> Option<KeyOrigin> {
    [KeyOrigin::Initiator, KeyOrigin::AcceptorSubkey].into_iter().find(|&origin| of(origin) == flags)
}
