//! The kernel's random numbers ([getrandom(2)](https://man7.org/linux/man-pages/man2/getrandom.2.html)).

use nix::errno::Errno;

/// Random bytes.
///
/// # Errors
/// As [`fill`].
pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N], Errno> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}

/// Fills `bytes`. Waits until the kernel has collected enough entropy, which takes time only just after it has started.
///
/// # Errors
/// ENOSYS.
pub(crate) fn fill(mut bytes: &mut [u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        // SAFETY: pointer and length describe `bytes`, which the kernel fills at most to that length.
        match Errno::result(unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) }) {
            Ok(got) => bytes = bytes.get_mut(usize::try_from(got).unwrap_or(0)..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_draws_are_alike() {
        let draws: Vec<[u8; 16]> = (0..100).map(|_| random_bytes().unwrap()).collect();
        assert!((1..draws.len()).all(|at| !draws[..at].contains(&draws[at])));
    }

    #[test]
    fn every_byte_is_filled_however_many_there_are() {
        // More than the kernel gives at once where a signal may interrupt it.
        let mut bytes = vec![0; 1000];
        fill(&mut bytes).unwrap();
        // 16 zeros in a row are as good as impossible.
        assert!(bytes.chunks_exact(16).all(|part| part.iter().any(|&byte| byte != 0)));
        assert_eq!(fill(&mut []), Ok(()));
    }
}
