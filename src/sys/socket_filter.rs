//! A filter of system calls (seccomp(2)) that limits which sockets a process can open. Needs no_new_privs.

use std::ffi::c_int;
use std::io;

use nix::errno::Errno;

use super::call_filter::{Argument, CallAnswer, CallFilter, CallRules};

/// Families of sockets that reach only the network namespace in which they are made.
pub(super) const WITHIN_A_NETWORK: [c_int; 3] = [libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// From now on all threads of this process can open sockets of these families only; without a family, none. Open sockets
/// stay.
///
/// # Errors
/// The library's or the kernel's.
pub(crate) fn allow(families: &[c_int]) -> io::Result<()> {
    filter(families)?.enforce()
}

/// Other families get EAFNOSUPPORT, as from a kernel without them. So does io_uring, which can open sockets too.
fn filter(families: &[c_int]) -> io::Result<CallFilter> {
    let rules = CallRules::default().calls(&[libc::SYS_io_uring_setup]);
    let others: Vec<_> = families.iter().map(|family| Argument::IsNot(0, family.cast_unsigned())).collect();
    let rules = match others.as_slice() {
        [] => rules.calls(&[libc::SYS_socket]),
        others => rules.call_with(libc::SYS_socket, others),
    };
    rules.compile(CallAnswer::Refuse(Errno::EAFNOSUPPORT), CallAnswer::Allow)
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
            filter(families).unwrap().enforce_for_this_thread().unwrap();
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
    fn every_filter_of_sockets_begins_with_the_death_of_calls_of_another_architecture() {
        for families in [WITHIN_A_NETWORK.as_slice(), &[]] {
            assert!(filter(families).unwrap().kills_other_architectures_first(), "{families:?}");
        }
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
