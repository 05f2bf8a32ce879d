//! Calls that the attempts of a captive worker make, each with its errno. Those that no honest worker makes are made here as
//! the kernel takes them, since libraries would refuse or change some.

use crate::errno::errno_of;
use libc::{c_int, c_long, c_ulong};
use nix::errno::Errno;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork};
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::Path;

fn check(result: c_long) -> Result<(), Errno> {
    Errno::result(result).map(drop)
}

pub(crate) fn number(value: c_int) -> c_ulong {
    value as c_long as c_ulong
}

pub(crate) fn call(what: c_long, [a, b, c, d, e]: [c_ulong; 5]) -> Result<(), Errno> {
    // SAFETY: callers pass plain numbers, or addresses of what outlives the call.
    check(unsafe { libc::syscall(what, a, b, c, d, e) })
}

pub(crate) fn read(path: impl AsRef<Path>) -> Result<(), Errno> {
    File::open(path).and_then(|mut file| file.read(&mut [0; 16])).map(drop).map_err(errno_of)
}

pub(crate) fn write_to(path: impl AsRef<Path>) -> Result<(), Errno> {
    OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write(b"x"))
        .map(drop)
        .map_err(errno_of)
}

pub(crate) fn read_memory(process: Pid) -> Result<(), Errno> {
    File::open(format!("/proc/{process}/mem")).map(drop).map_err(errno_of)
}

pub(crate) fn write_memory(process: Pid) -> Result<(), Errno> {
    OpenOptions::new().write(true).open(format!("/proc/{process}/mem")).map(drop).map_err(errno_of)
}

pub(crate) fn process_vm_readv(process: Pid) -> Result<(), Errno> {
    let mut byte = 0u8;
    let local = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let remote = libc::iovec { iov_base: 0x40_0000 as *mut _, iov_len: 1 };
    // SAFETY: one byte of ours; the kernel checks the remote address.
    let read = check(unsafe { libc::process_vm_readv(process.as_raw(), &local, 1, &remote, 1, 0) } as c_long);
    // The address need not exist there; the right to read has been granted then.
    read.or_else(|errno| if errno == Errno::EFAULT { Ok(()) } else { Err(errno) })
}

pub(crate) fn run(program: &std::ffi::CStr) -> Result<(), Errno> {
    let arguments = [program, c"-c", c"exit 0"];
    nix::unistd::execve(program, &arguments, &[] as &[CString]).map(|_| ())
}

pub(crate) fn run_by_descriptor(program: &str) -> Result<(), Errno> {
    let file = File::open(program).map_err(errno_of)?;
    let arguments = [c"sh", c"-c", c"exit 0"];
    nix::unistd::fexecve(file, &arguments, &[] as &[CString]).map(|_| ())
}

pub(crate) fn fork_once() -> Result<(), Errno> {
    // SAFETY: this process has one thread.
    match unsafe { fork() }? {
        ForkResult::Child => lgss::private_to_lgss::end(0),
        ForkResult::Parent { child } => waitpid(child, None).map(drop),
    }
}

pub(crate) fn clone_process(flags: c_int) -> Result<(), Errno> {
    // SAFETY: without a stack and CLONE_VM the child goes on here with a copy of everything, as after fork(2).
    match unsafe { libc::syscall(libc::SYS_clone, number(flags), 0, 0, 0, 0) } {
        0 => lgss::private_to_lgss::end(0),
        other => check(other),
    }
}

pub(crate) fn socket(family: c_int, kind: c_int, protocol: c_int) -> Result<(), Errno> {
    // SAFETY: plain numbers.
    check(unsafe { libc::socket(family, kind, protocol) }.into())
}

pub(crate) fn keyctl(operation: u32, [a, b, c]: [c_ulong; 3]) -> Result<(), Errno> {
    call(libc::SYS_keyctl, [operation.into(), a, b, c, 0])
}

pub(crate) fn add_key() -> Result<(), Errno> {
    let (kind, name) = (c"user".as_ptr() as c_ulong, c"lgss-captive".as_ptr() as c_ulong);
    call(libc::SYS_add_key, [kind, name, c"x".as_ptr() as c_ulong, 1, number(libc::KEY_SPEC_PROCESS_KEYRING)])
}

pub(crate) fn executable_memory() -> Result<(), Errno> {
    let protection = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping at an address that the kernel chooses; nothing uses it.
    let made = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
    if made == libc::MAP_FAILED { Err(Errno::last()) } else { Ok(()) }
}

/// Takes descriptor 0 of another process.
pub(crate) fn take_descriptor(process: Pid) -> Result<(), Errno> {
    // SAFETY: plain numbers.
    let opened = unsafe { libc::syscall(libc::SYS_pidfd_open, process.as_raw(), 0) };
    // Without the process, which may be out of sight, the call is made all the same: it is a call of foreign code.
    call(libc::SYS_pidfd_getfd, [opened as c_ulong, 0, 0, 0, 0])
}

pub(crate) fn set_option<T>(
    socket: &impl AsRawFd,
    [level, name]: [c_int; 2],
    value: &T,
) -> Result<(), Errno> {
    let (address, length) = ((&raw const *value) as c_ulong, size_of::<T>() as c_ulong);
    call(libc::SYS_setsockopt, [number(socket.as_raw_fd()), number(level), number(name), address, length])
}

/// Gives a socket a program that looks at each packet.
pub(crate) fn attach_filter(socket: &impl AsRawFd) -> Result<(), Errno> {
    let code = (libc::BPF_RET | libc::BPF_K) as u16;
    let mut whole = [libc::sock_filter { code, jt: 0, jf: 0, k: u32::MAX }];
    let program = libc::sock_fprog { len: 1, filter: whole.as_mut_ptr() };
    set_option(socket, [libc::SOL_SOCKET, libc::SO_ATTACH_FILTER], &program)
}

/// Binds it to a port that the kernel chooses.
pub(crate) fn bind(socket: &impl AsRawFd) -> Result<(), Errno> {
    let address = loopback(0);
    let length = size_of_val(&address) as c_ulong;
    call(libc::SYS_bind, [number(socket.as_raw_fd()), (&raw const address) as c_ulong, length, 0, 0])
}

/// Listens at a port that the kernel chooses.
pub(crate) fn listen(socket: &impl AsRawFd) -> Result<(), Errno> {
    call(libc::SYS_listen, [number(socket.as_raw_fd()), 1, 0, 0, 0])
}

/// Connects a socket by sending to it.
pub(crate) fn connect_by_sending(socket: &impl AsRawFd, port: u16) -> Result<(), Errno> {
    let address = loopback(port);
    let length = size_of_val(&address) as libc::socklen_t;
    let (socket, flags) = (socket.as_raw_fd(), libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL);
    // SAFETY: one byte and an address with its length, which outlive the call.
    let sent =
        unsafe { libc::sendto(socket, b"x".as_ptr().cast(), 1, flags, (&raw const address).cast(), length) };
    check(sent as c_long)
}

fn loopback(port: u16) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: libc::INADDR_LOOPBACK.to_be() },
        sin_zero: [0; 8],
    }
}

/// getpid(2) as a 32-bit program calls it. A kernel that has no such calls ends the process by SIGSEGV.
#[cfg(target_arch = "x86_64")]
pub(crate) fn call_of_32_bits() -> Result<(), Errno> {
    const GETPID: i64 = 20;
    let result: i64;
    // SAFETY: the call has no arguments. It changes no register but these, which some kernels clear.
    unsafe {
        std::arch::asm!(
            "int 0x80",
            inlateout("rax") GETPID => result,
            out("r8") _,
            out("r9") _,
            out("r10") _,
            out("r11") _,
        );
    }
    if result < 0 { Err(Errno::from_raw(-result as i32)) } else { Ok(()) }
}

/// Other machines have no instruction for it.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn call_of_32_bits() -> Result<(), Errno> {
    Err(Errno::ENOSYS)
}

/// getppid(2) as an x32 program calls it; on other machines, a number that no call has.
pub(crate) fn call_of_x32() -> Result<(), Errno> {
    call(libc::SYS_getppid | 0x4000_0000, [0; 5])
}
