//! System call numbers in each table of the target machine: its own, and those of its compatible modes
//! (`arch/*/entry/syscalls/*.tbl` of the kernel). For a machine with other tables, and for programs of 32 bits such as x32's,
//! this does not compile, since rule S1 would not hold there.

/// request_key(2).
pub(crate) const REQUEST_KEY_CALLS: &[u64] = machine::REQUEST_KEY_CALLS;
/// mount(2) in the machine's own table.
pub(crate) const MOUNT: u64 = libc::SYS_mount.cast_unsigned();
/// mount(2) in the table of 32-bit programs, the same for x86 and Arm.
pub(crate) const MOUNT_32: u64 = 21;
/// fsconfig(2), fsmount(2), move_mount(2): the same number in all tables.
pub(crate) const NEW_MOUNT_CALLS: [u64; 3] = [
    libc::SYS_fsconfig.cast_unsigned(),
    libc::SYS_fsmount.cast_unsigned(),
    libc::SYS_move_mount.cast_unsigned(),
];
/// The bit that marks numbers of x32, a second table of x86.
pub(crate) const X32_BIT: u32 = 0x4000_0000;
/// The bits of a number that choose among the machine's tables.
pub(crate) const TABLE_BITS: u64 = if cfg!(target_arch = "x86_64") { X32_BIT as u64 } else { 0 };

#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
mod machine {
    use super::TABLE_BITS;

    const OWN: u64 = libc::SYS_request_key.cast_unsigned();
    /// Its own, i386's and x32's.
    pub(super) const REQUEST_KEY_CALLS: &[u64] = &[OWN, 287, TABLE_BITS | OWN];
}

#[cfg(all(target_arch = "aarch64", target_pointer_width = "64"))]
mod machine {
    /// Its own, and that of 32-bit Arm (EABI).
    pub(super) const REQUEST_KEY_CALLS: &[u64] = &[libc::SYS_request_key.cast_unsigned(), 310];
}

#[cfg(not(all(target_pointer_width = "64", any(target_arch = "x86_64", target_arch = "aarch64"))))]
compile_error!(
    "the numbers of request_key(2) on this machine are not known (rule S1): see src/sys/tables.rs"
);
