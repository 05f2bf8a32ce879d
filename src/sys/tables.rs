//! System call numbers in each table of the target machine: its own, and those of its compatible modes
//! (`arch/*/entry/syscalls/*.tbl` of the kernel). For a machine with other tables this does not compile, since rule S1 would
//! not hold there.

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
/// The bit that marks numbers of x32, a second table for 64-bit programs of x86; 0 elsewhere.
pub(crate) const X32_BIT: u64 = machine::X32_BIT;

#[cfg(target_arch = "x86_64")]
mod machine {
    pub(super) const X32_BIT: u64 = 0x4000_0000;
    const OWN: u64 = libc::SYS_request_key.cast_unsigned();
    /// Its own, i386's and x32's.
    pub(super) const REQUEST_KEY_CALLS: &[u64] = &[OWN, 287, X32_BIT | OWN];
}

#[cfg(target_arch = "aarch64")]
mod machine {
    pub(super) const X32_BIT: u64 = 0;
    /// Its own, and that of 32-bit Arm (EABI).
    pub(super) const REQUEST_KEY_CALLS: &[u64] = &[libc::SYS_request_key.cast_unsigned(), 310];
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!(
    "the numbers of request_key(2) on this machine are not known (rule S1): see src/sys/tables.rs"
);
