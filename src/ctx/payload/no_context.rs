//! What a key of either type holds while there is no context in it: `u32 0 · i32 −errno · u32 GSS major`.

use nix::errno::Errno;

use crate::wire::Writer;

pub(super) fn not_established(errno: Errno, gss_major: u32) -> Writer {
    let mut writer = Writer::new();
    writer.u32_host(0).i32_host(-(errno as i32)).u32_host(gss_major);
    writer
}
