//! The meaning of an errno for a requester that may know no more (rule S15). Used by the tools.

use nix::errno::Errno;

/// The meaning of a context's errno for a requester that may know no more (rule S15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meaning {
    /// What happened, in general.
    pub cause: &'static str,
    /// What the requester can try.
    pub remedy: &'static str,
}

/// ENOKEY as the kernel's own answer: the upcall puts that error into keys only, and never rejects a program's key with it.
pub(crate) const NO_UPCALL: Meaning = Meaning {
    cause: "no upcall answered the request",
    remedy: "check the installation (as root: lgss config check), then run lgss flush --service for that service: the kernel remembers the failure for a minute",
};

/// The meaning of the errnos that [`Cause::errno`] gives, and of those that the front and the kernel add.
pub(crate) fn meaning(errno: Errno) -> Meaning {
    let (cause, remedy) = match errno {
        Errno::ENOKEY => {
            ("no usable ticket was found", "get a ticket with kinit, or name the cache that has one")
        }
        Errno::EKEYEXPIRED => ("the ticket or the context has expired", "get a new ticket with kinit"),
        Errno::EKEYREVOKED => ("the context was revoked", "request a new one"),
        Errno::EKEYREJECTED => ("the clocks differ too much", "set the clocks of client, KDC and server"),
        Errno::EACCES | Errno::EPERM => (
            "the upcall, the KDC or the server refuses the request",
            "check the service's name, and that the server knows your principal",
        ),
        Errno::EINVAL => ("the request is malformed", "check service, channel and cache name"),
        Errno::ETIMEDOUT => (
            "the name service, the KDC or the server did not answer in time",
            "check the network towards them",
        ),
        Errno::ECONNREFUSED => {
            ("the KDC or the server is down", "check host and port, and that both services run")
        }
        Errno::EHOSTUNREACH => {
            ("a host name or a realm cannot be found", "check the host name, krb5.conf and the resolver")
        }
        Errno::E2BIG => ("your ticket is too large for the server", "ask the KDC's admin for a smaller one"),
        Errno::EPROTO => (
            "the server's answer is not that of an RPCSEC_GSS server",
            "check that host, port, program and version are the right ones",
        ),
        Errno::EPROTONOSUPPORT => {
            ("the server does not have the program, or not in this version", "check program and version")
        }
        Errno::EAGAIN => (
            "too many negotiations are running, or too many of yours have failed",
            "try again in half a minute",
        ),
        Errno::EDQUOT => (
            "your quota of keys is used up",
            "remove keys (keyctl show), or ask for more in /proc/sys/kernel/keys",
        ),
        _ => ("the upcall could not do its work on this machine", "ask its admin to look at the log"),
    };
    Meaning { cause, remedy }
}
