//! Random bytes of the kernel's.

use nix::errno::Errno;

/// Random bytes (getrandom(2)).
///
/// # Errors
/// ENOSYS; EIO for more than 256 bytes.
pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N], Errno> {
    let mut bytes = [0; N];
    // SAFETY: the buffer has this many bytes.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), N, 0) };
    match usize::try_from(got) {
        Ok(got) if got == N => Ok(bytes),
        // Only a large request is cut short (getrandom(2)).
        Ok(_) => Err(Errno::EIO),
        Err(_) => Err(Errno::last()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_draws_are_alike() {
        let draws: Vec<[u8; 16]> = (0..100).map(|_| random_bytes().unwrap()).collect();
        assert!((1..draws.len()).all(|at| !draws[..at].contains(&draws[at])));
    }
}
