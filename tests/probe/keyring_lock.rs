//! Holds the kernel's lock for links of keyrings to keyrings: the kernel keeps it while it looks for a cycle, in a
//! graph that leads to every keyring many times. All this is within one user's quota.

use crate::become_requester::die_with_parent;
use crate::keys::{SESSION_RING, link, new_ring, unlink};
use nix::errno::Errno;
use nix::unistd::{ForkResult, fork};
use std::ffi::CString;

const LAYERS: usize = 5;
const WIDTH: usize = 26;

/// Makes the graph, and so many processes that link its top to another keyring again and again.
pub(crate) fn hold(processes: usize) -> Result<(), Errno> {
    let ring = |name: String, to| new_ring(&CString::new(name).expect("no NUL"), to);
    // Each keyring is reached from the layer above. The lowest layer comes first, while there is little to look
    // through.
    let mut below: Vec<i32> = Vec::new();
    for layer in 0..LAYERS {
        let holder = ring(format!("layer{layer}"), SESSION_RING)?;
        let rings: Vec<_> =
            (0..WIDTH).map(|number| ring(format!("{layer}.{number}"), holder)).collect::<Result<_, _>>()?;
        for &above in &rings {
            below.iter().try_for_each(|&below| link(below, above))?;
        }
        below = rings;
    }
    let top = ring("top".to_owned(), SESSION_RING)?;
    below.iter().try_for_each(|&below| link(below, top))?;
    for number in 0..processes {
        let other = ring(format!("other{number}"), SESSION_RING)?;
        // SAFETY: the probe has only this thread, so the child may do anything.
        if let ForkResult::Child = unsafe { fork()? } {
            die_with_parent();
            loop {
                let _ = link(top, other);
                let _ = unlink(top, other);
            }
        }
    }
    Ok(())
}
