//! System calls without errno, for a process that shares its maker's memory and so its errno.

use std::ffi::CStr;

use super::keyctl::RawSerial;

/// An operation on two keys, which may be special ids. Negative results are errors.
pub(super) fn keyctl(operation: u32, first: RawSerial, second: RawSerial) -> isize {
    let word = |id: RawSerial| id.cast_unsigned() as usize;
    // SAFETY: only operations whose arguments are plain numbers come here; the kernel dereferences none of them.
    unsafe { call(libc::SYS_keyctl, [operation as usize, word(first), word(second), 0, 0]) }
}

/// The start of a file, as much as one read gives; nothing if that fails.
pub(super) fn read_start<'a>(path: &CStr, buffer: &'a mut [u8]) -> &'a [u8] {
    let here = (libc::AT_FDCWD as isize).cast_unsigned();
    let flags = (libc::O_RDONLY | libc::O_CLOEXEC).cast_unsigned() as usize;
    // SAFETY: the path ends with NUL, and the kernel only reads it.
    let opened = unsafe { call(libc::SYS_openat, [here, path.as_ptr() as usize, flags, 0, 0]) };
    let Ok(file) = usize::try_from(opened) else { return &[] };
    // SAFETY: the kernel writes at most `len` bytes into the buffer, which is ours alone.
    let length = unsafe { call(libc::SYS_read, [file, buffer.as_mut_ptr() as usize, buffer.len(), 0, 0]) };
    // SAFETY: the descriptor is the one opened above, and nobody else knows it.
    unsafe { call(libc::SYS_close, [file, 0, 0, 0, 0]) };
    usize::try_from(length).ok().and_then(|length| buffer.get(..length)).unwrap_or_default()
}

/// Waits until a child has ended, of whatever kind.
pub(super) fn wait_for_end(child: libc::pid_t) {
    const EINTR: isize = -(libc::EINTR as isize);
    let [child, kinds] = [child, libc::__WALL].map(|number| number.cast_unsigned() as usize);
    // SAFETY: null pointers for results that are not wanted; the rest are numbers.
    while unsafe { call(libc::SYS_wait4, [child, 0, kinds, 0, 0]) } == EINTR {}
}

#[cfg(target_arch = "x86_64")]
unsafe fn call(number: i64, [a, b, c, d, e]: [usize; 5]) -> isize {
    let result;
    // SAFETY: by this function's contract; the registers that the kernel changes are named, and it leaves our stack alone.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

#[cfg(target_arch = "aarch64")]
unsafe fn call(number: i64, [a, b, c, d, e]: [usize; 5]) -> isize {
    let result;
    // SAFETY: by this function's contract; the kernel changes only the register of the result.
    unsafe {
        std::arch::asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a => result,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e,
            options(nostack),
        );
    }
    result
}

#[cfg(test)]
mod tests {
    use super::{keyctl, read_start};

    #[test]
    fn an_error_is_the_result_and_errno_stays_as_it_is() {
        nix::errno::Errno::EXFULL.set();
        let refused = keyctl(libc::KEYCTL_REVOKE, i32::MAX, 0);
        assert_eq!(nix::errno::Errno::last(), nix::errno::Errno::EXFULL);
        assert!((-4095..0).contains(&refused), "{refused}");
        assert!(read_start(c"/proc/none", &mut [0; 8]).is_empty());
        assert_eq!(nix::errno::Errno::last(), nix::errno::Errno::EXFULL);
    }

    #[test]
    fn of_a_file_as_much_is_read_as_there_is_room_for() {
        let all = std::fs::read("/proc/self/cmdline").unwrap();
        assert_eq!(read_start(c"/proc/self/cmdline", &mut [0; 4]), &all[..4]);
        assert_eq!(read_start(c"/proc/self/cmdline", &mut [0; 4096]), &all[..all.len().min(4096)]);
    }
}
