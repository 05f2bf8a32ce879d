//! keyctl(2), add_key(2) and request_key(2) as the probe needs them; separate from src/, so that tests do not rely on
//! the code under test.

use crate::plan::Request;
use libc::{c_int, c_long, c_ulong};
use nix::errno::Errno;
use std::ffi::{CStr, CString};

pub(crate) const SESSION_RING: i32 = libc::KEY_SPEC_SESSION_KEYRING;

fn keyctl(operation: u32, arguments: [c_ulong; 4]) -> Result<c_long, Errno> {
    let [a, b, c, d] = arguments;
    // SAFETY: callers pass plain numbers, or addresses with lengths of buffers that outlive the call.
    Errno::result(unsafe { libc::syscall(libc::SYS_keyctl, c_ulong::from(operation), a, b, c, d) })
}

fn id(serial: i32) -> c_ulong {
    serial as c_long as c_ulong
}

pub(crate) fn join_anonymous_session() -> Result<(), Errno> {
    keyctl(libc::KEYCTL_JOIN_SESSION_KEYRING, [0; 4]).map(drop)
}

pub(crate) fn link(key: i32, ring: i32) -> Result<(), Errno> {
    keyctl(libc::KEYCTL_LINK, [id(key), id(ring), 0, 0]).map(drop)
}

pub(crate) fn unlink(key: i32, ring: i32) -> Result<(), Errno> {
    keyctl(libc::KEYCTL_UNLINK, [id(key), id(ring), 0, 0]).map(drop)
}

pub(crate) fn revoke(key: i32) -> Result<(), Errno> {
    keyctl(libc::KEYCTL_REVOKE, [id(key), 0, 0, 0]).map(drop)
}

pub(crate) fn set_timeout(key: i32, seconds: u32) -> Result<(), Errno> {
    keyctl(libc::KEYCTL_SET_TIMEOUT, [id(key), c_ulong::from(seconds), 0, 0]).map(drop)
}

pub(crate) fn invalidate(key: i32) -> Result<(), Errno> {
    keyctl(libc::KEYCTL_INVALIDATE, [id(key), 0, 0, 0]).map(drop)
}

/// Finds a keyring below another.
pub(crate) fn search_ring(ring: i32, description: &CStr) -> Result<i32, Errno> {
    let strings = [c"keyring", description].map(|text| text.as_ptr() as c_ulong);
    keyctl(libc::KEYCTL_SEARCH, [id(ring), strings[0], strings[1], 0]).map(|serial| serial as i32)
}

/// Makes the user's keyrings if they do not exist.
pub(crate) fn keyring_id(special: i32) -> Result<i32, Errno> {
    keyctl(libc::KEYCTL_GET_KEYRING_ID, [id(special), 1, 0, 0]).map(|serial| serial as i32)
}

pub(crate) fn read(key: i32) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0u8; 4096];
    let length =
        keyctl(libc::KEYCTL_READ, [id(key), buffer.as_mut_ptr() as c_ulong, buffer.len() as c_ulong, 0])?;
    buffer.truncate(length as usize);
    Ok(buffer)
}

pub(crate) fn update(key: i32, payload: &[u8]) -> Result<(), Errno> {
    keyctl(libc::KEYCTL_UPDATE, [id(key), payload.as_ptr() as c_ulong, payload.len() as c_ulong, 0]).map(drop)
}

pub(crate) fn add(description: &CStr, payload: &[u8], ring: i32) -> Result<i32, Errno> {
    // SAFETY: the strings end in NUL and the payload has that length; the kernel only reads.
    let serial = Errno::result(unsafe {
        libc::syscall(
            libc::SYS_add_key,
            c"user".as_ptr(),
            description.as_ptr(),
            payload.as_ptr(),
            payload.len(),
            ring as c_int,
        )
    })?;
    Ok(serial as i32)
}

pub(crate) fn new_ring(description: &CStr, ring: i32) -> Result<i32, Errno> {
    let nothing = std::ptr::null::<u8>();
    // SAFETY: the strings end in NUL; a keyring has no payload.
    let serial = Errno::result(unsafe {
        libc::syscall(
            libc::SYS_add_key,
            c"keyring".as_ptr(),
            description.as_ptr(),
            nothing,
            0usize,
            ring as c_int,
        )
    })?;
    Ok(serial as i32)
}

/// A request with its strings ready, so that only the call itself is measured.
pub(crate) struct ReadyRequest {
    key_type: CString,
    description: CString,
    callout: Option<CString>,
    ring: c_int,
}

impl ReadyRequest {
    pub(crate) fn new(request: &Request) -> Self {
        let string = |bytes: &[u8]| CString::new(bytes).expect("a test put a NUL into a request");
        Self {
            key_type: string(request.key_type.as_bytes()),
            description: string(&request.description),
            callout: request.callout.as_deref().map(string),
            ring: request.ring,
        }
    }

    pub(crate) fn make(&self) -> Result<i32, Errno> {
        let callout = self.callout.as_ref().map_or(std::ptr::null(), |callout| callout.as_ptr());
        // SAFETY: the strings end in NUL and outlive the call; a null callout is allowed.
        let serial = Errno::result(unsafe {
            libc::syscall(
                libc::SYS_request_key,
                self.key_type.as_ptr(),
                self.description.as_ptr(),
                callout,
                self.ring,
            )
        })?;
        Ok(serial as i32)
    }

    /// With `int 0x80`, whose pointers have 32 bits. A kernel without that table kills the caller with SIGSEGV.
    pub(crate) fn make_by_32_bit(&self) -> Result<i32, Errno> {
        const REQUEST_KEY: c_long = 287;
        let strings = [Some(&self.key_type), Some(&self.description), self.callout.as_ref()];
        let [key_type, description, callout] = low_copies(strings)?;
        let result: c_long;
        // SAFETY: the strings end in NUL and are never freed; the kernel only reads them. LLVM reserves rbx, so it is
        // exchanged; the code does not touch the stack. Registers that the entry does not preserve are named.
        unsafe {
            std::arch::asm!(
                "xchg {key_type}, rbx",
                "int 0x80",
                "xchg {key_type}, rbx",
                key_type = inout(reg) key_type => _,
                inout("rax") REQUEST_KEY => result,
                in("rcx") description,
                in("rdx") callout,
                in("rsi") i64::from(self.ring),
                out("r8") _,
                out("r9") _,
                out("r10") _,
                out("r11") _,
            );
        }
        // The 32-bit table's result is an int.
        let result = result as i32;
        if result < 0 { Err(Errno::from_raw(-result)) } else { Ok(result) }
    }
}

/// Copies the strings to addresses below 4 GiB; 0 for none.
fn low_copies(strings: [Option<&CString>; 3]) -> Result<[usize; 3], Errno> {
    const SIZE: usize = 16 * 1024;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
    // SAFETY: a new mapping at an address that the kernel chooses.
    let start =
        unsafe { libc::mmap(std::ptr::null_mut(), SIZE, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    let mut used = 0;
    Ok(strings.map(|string| {
        let Some(bytes) = string.map(|string| string.as_bytes_with_nul()) else { return 0 };
        assert!(used + bytes.len() <= SIZE, "a request too long for the probe");
        // SAFETY: nobody else has the mapping, and it has that many bytes left.
        let copy = unsafe {
            let copy = start.cast::<u8>().add(used);
            copy.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            copy
        };
        used += bytes.len();
        copy as usize
    }))
}

/// The kernel keeps `_uid.<uid>` for ever; invalidating it removes it with its contents.
pub(crate) fn forget_keyrings() {
    let special = [libc::KEY_SPEC_USER_KEYRING, libc::KEY_SPEC_USER_SESSION_KEYRING].map(keyring_id);
    // By serial: its special id would make both keyrings again.
    for ring in special.into_iter().flatten() {
        // They may be gone already.
        let _ = invalidate(ring);
    }
}
