//! A filter of system calls (seccomp(2)) that limits which sockets a process can open. Needs no_new_privs.

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::io;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// Families of sockets that reach only the network namespace in which they are made.
pub(super) const WITHIN_A_NETWORK: [c_int; 3] = [libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// Marks the system calls of x32 programs (__X32_SYSCALL_BIT).
const X32_BIT: libc::c_long = 0x4000_0000;

/// From now on all threads of this process can open sockets of these families only; without a family, none. Open sockets
/// stay.
///
/// # Errors
/// The library's or the kernel's.
pub(crate) fn allow(families: &[c_int]) -> io::Result<()> {
    let filter = filter(families).map_err(io::Error::other)?;
    seccompiler::apply_filter_all_threads(&filter).map_err(io::Error::other)
}

/// Other families get EAFNOSUPPORT, as from a kernel without them. So does io_uring, which can open sockets too.
fn filter(families: &[c_int]) -> Result<BpfProgram, BackendError> {
    let other_than = |family: &c_int| {
        let family = u64::from(family.cast_unsigned());
        SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, family)
    };
    let others = families.iter().map(other_than).collect::<Result<Vec<_>, _>>()?;
    // A rule has conditions; a call without rules is always refused.
    let refused_sockets = if others.is_empty() { Vec::new() } else { vec![SeccompRule::new(others)?] };
    let mut rules = BTreeMap::new();
    // The second numbers are x32's, which a filter for x86-64 sees too; no other machine has such numbers.
    for compatible in [0, X32_BIT] {
        rules.insert(compatible | libc::SYS_socket, refused_sockets.clone());
        rules.insert(compatible | libc::SYS_io_uring_setup, Vec::new());
    }
    let refused = SeccompAction::Errno(libc::EAFNOSUPPORT.cast_unsigned());
    SeccompFilter::new(rules, SeccompAction::Allow, refused, std::env::consts::ARCH.try_into()?)?.try_into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::UdpSocket;
    use std::os::unix::net::{UnixDatagram, UnixStream};

    /// The errors of opening local sockets and one of another kind, and whether one of IP can be opened. The filter is
    /// for one thread, which no other test shares.
    fn with_filter(families: &'static [c_int]) -> ([Option<i32>; 3], bool) {
        let kept = UnixStream::pair().unwrap();
        let tried = std::thread::spawn(move || {
            seccompiler::apply_filter(&filter(families).unwrap()).unwrap();
            assert_eq!((&kept.0).write(b"x").unwrap(), 1);
            let errors = [
                UnixStream::connect("/dev/log").unwrap_err(),
                UnixDatagram::unbound().unwrap_err(),
                // SAFETY: plain numbers.
                io::Error::from_raw_os_error(unsafe {
                    libc::socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0);
                    *libc::__errno_location()
                }),
            ];
            (errors.map(|error| error.raw_os_error()), UdpSocket::bind("127.0.0.1:0").is_ok())
        });
        tried.join().unwrap()
    }

    #[test]
    fn no_local_socket_can_be_had_any_more() {
        assert_eq!(with_filter(&WITHIN_A_NETWORK), ([Some(libc::EAFNOSUPPORT); 3], true));
    }

    #[test]
    fn without_a_family_no_socket_can_be_had() {
        assert_eq!(with_filter(&[]), ([Some(libc::EAFNOSUPPORT); 3], false));
    }
}
