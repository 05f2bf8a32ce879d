//! What is known of a context, and where it is kept.

use crate::crypto::enctype::Enctype;
use crate::ctx::client::ContextKey;
use crate::ctx::{Handle, Initiator, KeySerial, SeqWindow, Service};

/// What is known of a context.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) owner: u32,
    pub(super) service: Service,
    pub(super) enctype: Enctype,
    pub(super) handle: Handle,
    pub(super) window: SeqWindow,
    pub(super) endtime: u32,
    pub(super) initiator: Option<Initiator>,
}

/// Where the context is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ContextPlace {
    /// In this key, in the process's own ring: no other process uses it.
    Own { key: ContextKey, ring: KeySerial },
    /// In this key, which the user's other processes find, too.
    Shared(ContextKey),
    /// In no key: the program brought it.
    Nowhere,
}
