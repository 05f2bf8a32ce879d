//! The two ends of a context, and what both kinds of tokens say of them (RFC 4121 §4.2.2).
//!
//! Used by [`mic`](super::mic) and [`wrap`](super::wrap).
#![forbid(unsafe_code)]

/// An end of the context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The end that asked for the context.
    Initiator,
    /// The end that granted it.
    Acceptor,
}

impl Role {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Initiator => Self::Acceptor,
            Self::Acceptor => Self::Initiator,
        }
    }
}

/// The end that chose the base key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOrigin {
    /// The initiator: its subkey, or the ticket's session key if it sent none.
    Initiator,
    /// The acceptor: the subkey of its AP-REP.
    AcceptorSubkey,
}

// Flags of a token.
pub(super) const SENT_BY_ACCEPTOR: u8 = 0x01;
pub(super) const SEALED: u8 = 0x02;
pub(super) const ACCEPTOR_SUBKEY: u8 = 0x04;

/// Those that depend on the context: direction and key.
pub(super) fn token_flags(sender: Role, origin: KeyOrigin) -> u8 {
    let direction = match sender {
        Role::Initiator => 0,
        Role::Acceptor => SENT_BY_ACCEPTOR,
    };
    let key = match origin {
        KeyOrigin::Initiator => 0,
        KeyOrigin::AcceptorSubkey => ACCEPTOR_SUBKEY,
    };
    direction | key
}

// Major statuses (RFC 2744 §3.9.1).
pub(super) const GSS_S_DEFECTIVE_TOKEN: u32 = 9 << 16;
pub(super) const GSS_S_BAD_SIG: u32 = 6 << 16;
pub(super) const GSS_S_FAILURE: u32 = 13 << 16;
