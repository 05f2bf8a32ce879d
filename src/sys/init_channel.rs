//! Lustre's negotiation channel: one write(2) to a parameter file sends a token to a server and brings back the answer
//! (docs/formats.md, "Lustre's channel").

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use nix::errno::Errno;

/// A token with everything that the kernel needs to send it.
#[derive(Debug)]
pub(crate) struct Exchange<'a> {
    /// Number of the kernel's security context.
    pub secid: u32,
    /// Name of the target.
    pub target: &'a CStr,
    /// Kind of the server in bits 15..0, mechanism in bits 31..16.
    pub service: u32,
    /// The context's user.
    pub uid: u32,
    /// That user's primary group.
    pub gid: u32,
    /// The token for the server.
    pub token: &'a [u8],
}

/// The block as the kernel reads it, in host byte order. Pointers lead into our memory.
#[repr(C)]
struct Block {
    version: u32,
    secid: u32,
    target: *const libc::c_char,
    service: u32,
    uid: u32,
    gid: u32,
    padding: u32,
    token_size: u64,
    token: *const u8,
    reply_size: u64,
    reply: *mut u8,
    status: *mut i64,
}

const BLOCK_VERSION: u32 = 2;
const EXCHANGE_BLOCK_SIZE: usize = 72;
const _: () = assert!(size_of::<Block>() == EXCHANGE_BLOCK_SIZE);

/// Sends the token and waits for the answer, which goes into `reply`, as long as server and network take. Returns the
/// kernel's status: 0, or a negative errno.
///
/// # Errors
/// Those of write(2): EINVAL for a target that does not exist or is not in use; EFAULT; EIO if it took only a part.
pub(crate) fn exchange(
    channel: BorrowedFd<'_>,
    exchange: &Exchange<'_>,
    reply: &mut [u8],
) -> Result<i64, Errno> {
    let mut status: i64 = 0;
    let block = Block {
        version: BLOCK_VERSION,
        secid: exchange.secid,
        target: exchange.target.as_ptr(),
        service: exchange.service,
        uid: exchange.uid,
        gid: exchange.gid,
        padding: 0,
        token_size: exchange.token.len() as u64,
        token: exchange.token.as_ptr(),
        reply_size: reply.len() as u64,
        reply: reply.as_mut_ptr(),
        status: &raw mut status,
    };
    // SAFETY: the block and everything it points to live through the call. The name ends with NUL, the lengths are those of
    // the slices. The kernel reads the token, and writes to reply and status, which are ours alone.
    let written =
        unsafe { libc::write(channel.as_raw_fd(), ptr::from_ref(&block).cast(), EXCHANGE_BLOCK_SIZE) };
    // SAFETY: a live local. Volatile, because the compiler does not see that the kernel writes to it.
    let status = unsafe { ptr::read_volatile(&raw const status) };
    match Errno::result(written)? {
        written if usize::try_from(written) == Ok(EXCHANGE_BLOCK_SIZE) => Ok(status),
        _ => Err(Errno::EIO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::ffi::CString;
    use std::mem::offset_of;
    use std::os::fd::AsFd;

    #[test]
    fn the_block_has_the_layout_that_the_kernel_reads() {
        let offsets = [
            offset_of!(Block, version),
            offset_of!(Block, secid),
            offset_of!(Block, target),
            offset_of!(Block, service),
            offset_of!(Block, uid),
            offset_of!(Block, gid),
            offset_of!(Block, token_size),
            offset_of!(Block, token),
            offset_of!(Block, reply_size),
            offset_of!(Block, reply),
            offset_of!(Block, status),
        ];
        assert_eq!(offsets, [0, 4, 8, 16, 20, 24, 32, 40, 48, 56, 64]);
    }

    /// Blocks that Lustre's own tool wrote on a real file system (tests/golden).
    #[test]
    fn every_captured_block_is_written_again_but_for_the_pointers() {
        let captured: Vec<Value> =
            serde_json::from_str(include_str!("../../tests/golden/lustre-exchanges.json")).unwrap();
        assert!(captured.len() > 20);
        let (reader, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_NONBLOCK).unwrap();
        for record in captured {
            let number = |name: &str| u32::try_from(record[name].as_u64().unwrap()).unwrap();
            let size = |name: &str| usize::try_from(number(name)).unwrap();
            let target = CString::new(record["target"].as_str().unwrap()).unwrap();
            let request = Exchange {
                secid: number("secid"),
                target: &target,
                service: number("service"),
                uid: number("uid"),
                gid: number("gid"),
                token: &vec![0; size("token_size")],
            };
            assert_eq!(exchange(writer.as_fd(), &request, &mut vec![0; size("reply_size")]), Ok(0));
            let mut block = [0; EXCHANGE_BLOCK_SIZE];
            assert_eq!(nix::unistd::read(&reader, &mut block), Ok(EXCHANGE_BLOCK_SIZE));
            let mut wanted = bytes(record["block"].as_str().unwrap());
            assert_eq!(wanted.len(), EXCHANGE_BLOCK_SIZE);
            // Pointers, and the padding, which the tool does not set.
            for meaningless in [8..16, 28..32, 40..48, 56..64, 64..72] {
                block[meaningless.clone()].fill(0);
                wanted[meaningless].fill(0);
            }
            assert_eq!(block, wanted.as_slice());
        }
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(digits).collect()
    }

    #[test]
    fn a_file_that_takes_nothing_is_an_error() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let request = Exchange { secid: 7, target: c"target", service: 1, uid: 2, gid: 3, token: b"token" };
        assert_eq!(exchange(full.as_fd(), &request, &mut [0; 16]), Err(Errno::ENOSPC));
    }
}
