//! The name service as getaddrinfo(3) and getnameinfo(3) see it: what the standard library does not ask them for.
//!
//! May block for as long as the resolver's configuration lets it; callers have a watch.

use std::ffi::{CStr, CString, c_char, c_int};
use std::io;
use std::mem;
use std::net::Ipv4Addr;
use std::ptr;

/// Room for a name, with its NUL (NI_MAXHOST).
const NAME_ROOM: usize = 1025;

/// The name of an address; never the address itself as text (NI_NAMEREQD).
///
/// # Errors
/// The resolver's, with its message.
pub fn name_of(address: Ipv4Addr) -> io::Result<String> {
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
    // SAFETY: as said, the buffer holds a string with its NUL.
    Ok(unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned())
}

/// The name of a host as the name service writes it in full (AI_CANONNAME).
///
/// # Errors
/// The resolver's, with its message; InvalidInput for a name with a NUL.
pub fn canonical_name(host: &str) -> io::Result<String> {
    let host = CString::new(host)?;
    // SAFETY: all zero is the documented way to begin hints: null pointers and zero numbers.
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

fn check(code: c_int) -> io::Result<()> {
    match code {
        0 => Ok(()),
        libc::EAI_SYSTEM => Err(io::Error::last_os_error()),
        code => {
            // SAFETY: the function returns a constant string for any code.
            let text = unsafe { CStr::from_ptr(libc::gai_strerror(code)) };
            Err(io::Error::other(text.to_string_lossy()))
        }
    }
}

fn size_of_u32<T>() -> u32 {
    u32::try_from(size_of::<T>()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_name_is_an_error_and_not_its_own_text() {
        // Reserved for documentation (RFC 5737): nobody has it.
        let error = name_of(Ipv4Addr::new(192, 0, 2, 77)).unwrap_err().to_string();
        assert!(!error.is_empty() && !error.contains("192.0.2.77"), "{error}");
    }

    #[test]
    fn a_name_in_full_is_that_of_the_hosts_own_files() {
        assert_eq!(canonical_name("localhost").unwrap(), "localhost");
        assert!(canonical_name("host.invalid").is_err());
        assert!(canonical_name("a\0b").is_err());
    }
}
