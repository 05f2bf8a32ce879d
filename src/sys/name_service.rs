//! Calls of getaddrinfo(3) and getnameinfo(3) that the standard library does not offer.
//!
//! In another network than the host's, [`stay_in_this_network`] comes first. Calls may block as long as the resolver's
//! configuration allows, so callers have a watch.

use std::ffi::{CStr, CString, c_char, c_int};
use std::fmt;
use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ptr;

use super::socket_filter::{self, WITHIN_A_NETWORK};

/// Room for a name, with its NUL (NI_MAXHOST).
const NAME_ROOM: usize = 1025;

/// The name of an address, never the address as text (NI_NAMEREQD).
///
/// # Errors
/// The resolver's, with its message.
pub(crate) fn name_of(address: Ipv4Addr) -> io::Result<String> {
    // SAFETY: all zero is a valid value of this structure of integers.
    let mut socket: libc::sockaddr_in = unsafe { mem::zeroed() };
    // Lossless: AF_INET is 2.
    socket.sin_family = libc::sa_family_t::try_from(libc::AF_INET).unwrap_or_default();
    socket.sin_addr.s_addr = u32::from(address).to_be();
    let mut name = [0 as c_char; NAME_ROOM];
    let (length, room) = (size_of_u32::<libc::sockaddr_in>(), u32::try_from(NAME_ROOM).unwrap_or_default());
    // SAFETY: the address is a live structure of the length given, the buffer has the room given; no service is asked
    // for. The result ends with NUL if the call succeeds.
    let code = unsafe {
        libc::getnameinfo(
            (&raw const socket).cast(),
            length,
            name.as_mut_ptr(),
            room,
            ptr::null_mut(),
            0,
            libc::NI_NAMEREQD,
        )
    };
    check(code)?;
    // SAFETY: after success the buffer holds a string with its NUL.
    Ok(unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned())
}

/// The full name of a host according to the name service (AI_CANONNAME).
///
/// # Errors
/// The resolver's, with its message; InvalidInput for a name with a NUL.
pub(crate) fn canonical_name(host: &str) -> io::Result<String> {
    let host = CString::new(host)?;
    // SAFETY: all zero is the documented start of hints: null pointers and zero numbers.
    let mut hints: libc::addrinfo = unsafe { mem::zeroed() };
    (hints.ai_flags, hints.ai_socktype) = (libc::AI_CANONNAME, libc::SOCK_STREAM);
    let mut found = ptr::null_mut();
    // SAFETY: the name ends with NUL, the hints are alive, no service is asked for; the last pointer is to a live local.
    check(unsafe { libc::getaddrinfo(host.as_ptr(), ptr::null(), &raw const hints, &raw mut found) })?;
    // SAFETY: on success `found` is the head of a list of the resolver's; the canonical name, in its first element, is null
    // or a string with its NUL. The list is freed once, after the copy.
    let name = unsafe {
        let raw = found.as_ref().map_or(ptr::null(), |first| first.ai_canonname.cast_const());
        let name = (!raw.is_null()).then(|| CStr::from_ptr(raw).to_string_lossy().into_owned());
        libc::freeaddrinfo(found);
        name
    };
    name.ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Why a name has no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameServiceError {
    /// The name does not exist or has no address.
    NotFound,
    /// No server answered.
    Silent,
    /// Another error of getaddrinfo(3), by number.
    Other(c_int),
}

impl fmt::Display for NameServiceError {
    /// Text to follow the name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NotFound => f.write_str(" not found"),
            Self::Silent => f.write_str(": the name service does not answer"),
            Self::Other(code) => write!(f, ": {}", text_of(code)),
        }
    }
}

/// The addresses of a name or literal, in the resolver's order.
///
/// # Errors
/// [`NameServiceError`].
pub(crate) fn addresses(host: &str) -> Result<Vec<IpAddr>, NameServiceError> {
    let host = CString::new(host).map_err(|_| NameServiceError::NotFound)?;
    // SAFETY: all zero is the documented start of hints: null pointers and zero numbers.
    let mut hints: libc::addrinfo = unsafe { mem::zeroed() };
    hints.ai_socktype = libc::SOCK_STREAM;
    let mut found = ptr::null_mut();
    // SAFETY: the name ends with NUL, the hints are alive, no service is asked for; the last pointer is to a live local.
    match unsafe { libc::getaddrinfo(host.as_ptr(), ptr::null(), &raw const hints, &raw mut found) } {
        0 => {}
        libc::EAI_NONAME | libc::EAI_NODATA => return Err(NameServiceError::NotFound),
        libc::EAI_AGAIN => return Err(NameServiceError::Silent),
        code => return Err(NameServiceError::Other(code)),
    }
    let mut addresses = Vec::new();
    let mut next = found;
    // SAFETY: `found` is the head of the resolver's list, which ends with null; each entry has an address of its family.
    while let Some(entry) = unsafe { next.as_ref() } {
        // SAFETY: as above.
        addresses.extend(unsafe { address_of(entry) });
        next = entry.ai_next;
    }
    // SAFETY: the list is freed once, after the copies.
    unsafe { libc::freeaddrinfo(found) };
    if addresses.is_empty() { Err(NameServiceError::NotFound) } else { Ok(addresses) }
}

/// # Safety
/// The entry is the resolver's: its address has its family.
unsafe fn address_of(entry: &libc::addrinfo) -> Option<IpAddr> {
    match entry.ai_family {
        libc::AF_INET => {
            // SAFETY: by the caller's promise; read unaligned.
            let address = unsafe { entry.ai_addr.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let address = unsafe { entry.ai_addr.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(Ipv6Addr::from(address.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

/// Keeps all threads of this process from asking daemons of the host, which local sockets reach from any network. From now on
/// names come from /etc/hosts and from DNS servers in this network, and sockets can be opened only for IP and for the kernel
/// (rule S23). Open sockets stay. Needs no_new_privs.
///
/// # Errors
/// The library's or the kernel's.
pub(crate) fn stay_in_this_network() -> io::Result<()> {
    #[cfg(target_env = "gnu")]
    only_files_and_dns()?;
    socket_filter::allow(&WITHIN_A_NETWORK)
}

/// Overrides the sources for hosts in nsswitch.conf, and avoids nscd(8). With a C library that lacks this function, the
/// filter has to do: it leaves files, DNS and modules that use IP.
#[cfg(target_env = "gnu")]
fn only_files_and_dns() -> io::Result<()> {
    unsafe extern "C" {
        fn __nss_configure_lookup(database: *const c_char, services: *const c_char) -> c_int;
    }
    // SAFETY: glibc's nss.h declares it so; both strings are constants that end with NUL.
    match unsafe { __nss_configure_lookup(c"hosts".as_ptr(), c"files dns".as_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn check(code: c_int) -> io::Result<()> {
    match code {
        0 => Ok(()),
        libc::EAI_SYSTEM => Err(io::Error::last_os_error()),
        code => Err(io::Error::other(text_of(code))),
    }
}

fn text_of(code: c_int) -> String {
    // SAFETY: the function returns a constant string for any code.
    unsafe { CStr::from_ptr(libc::gai_strerror(code)) }.to_string_lossy().into_owned()
}

fn size_of_u32<T>() -> u32 {
    u32::try_from(size_of::<T>()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_name_is_an_error_and_not_its_own_text() {
        // Reserved for documentation (RFC 5737), so nobody uses it.
        let error = name_of(Ipv4Addr::new(192, 0, 2, 77)).unwrap_err().to_string();
        assert!(!error.is_empty() && !error.contains("192.0.2.77"), "{error}");
    }

    #[test]
    fn a_name_that_there_is_not_is_told_apart_from_a_silent_server() {
        assert_eq!(addresses("127.0.0.1"), Ok(vec![Ipv4Addr::LOCALHOST.into()]));
        assert_eq!(addresses("::1"), Ok(vec![Ipv6Addr::LOCALHOST.into()]));
        assert!(addresses("localhost").is_ok_and(|found| found.iter().all(IpAddr::is_loopback)));
        assert_eq!(addresses("a\0b"), Err(NameServiceError::NotFound));
        assert_eq!(NameServiceError::NotFound.to_string(), " not found");
    }

    #[test]
    fn a_name_in_full_is_that_of_the_hosts_own_files() {
        assert_eq!(canonical_name("localhost").unwrap(), "localhost");
        assert!(canonical_name("host.invalid").is_err());
        assert!(canonical_name("a\0b").is_err());
    }
}
