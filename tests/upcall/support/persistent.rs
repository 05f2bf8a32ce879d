//! A user's persistent keyring, which the kernel keeps for days after the user's last process.

use super::process::command_as;

/// Of this uid; removed on drop.
#[derive(Debug)]
pub(crate) struct PersistentRing(pub(crate) u32);

impl Drop for PersistentRing {
    fn drop(&mut self) {
        let script = "exec keyctl invalidate $(keyctl get_persistent @s)";
        let _ = command_as(self.0, "keyctl").args(["session", "-", "sh", "-c", script]).output();
    }
}
