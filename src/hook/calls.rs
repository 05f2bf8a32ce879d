//! System calls that no hook may make: those of other processes, of namespaces and mounts, of keys, and without the network those
//! that make sockets. A local socket would lead out of an empty network, to the machine's services.
#![forbid(unsafe_code)]

use nix::errno::Errno;

use crate::sys::call_filter::{Argument, CallAnswer, CallRules};
use crate::sys::call_groups::{foreign, hide_clone3, with_namespaces};
use crate::sys::errno::errno_of;
use crate::sys::own_view::Reach;

/// Filters the calls of this process and all that it becomes and starts.
///
/// # Errors
/// The library's or the kernel's.
pub(super) fn refuse_calls(reach: Reach) -> Result<(), Errno> {
    refused(reach)
        .enforce(CallAnswer::Refuse(Errno::EPERM), CallAnswer::Allow)
        .and_then(|()| hide_clone3())
        .map_err(|error| errno_of(&error))
}

fn refused(reach: Reach) -> CallRules {
    let rules = with_namespaces(foreign()).calls(&[libc::SYS_add_key, libc::SYS_keyctl]);
    // What ends a hook with its caller stays.
    let rules = rules.call_with(libc::SYS_prctl, &[Argument::Is(0, libc::PR_SET_PDEATHSIG.unsigned_abs())]);
    match reach {
        Reach::Itself => rules.calls(&[libc::SYS_socket]),
        Reach::Network => rules,
    }
}
