//! What a key of either type holds while there is no context in it.

use nix::errno::Errno;

use crate::wire::{Writer, without_context};

pub(super) fn not_established(errno: Errno, gss_major: u32) -> Writer {
    let mut writer = Writer::new();
    writer.bytes(&without_context(errno, gss_major));
    writer
}
