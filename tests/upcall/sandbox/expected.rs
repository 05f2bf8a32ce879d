//! What must come of each attempt of tests/hostile_worker/attempts.rs under each configuration, and why.
//!
//! Every attempt is in exactly one list, and every cell of its row has one meaning. A cell leaves the result open only where
//! the list says what it depends on.

/// The trials of tests/hostile_worker/captive.rs, in the order of the columns.
pub(crate) const TRIALS: [&str; 7] = ["none", "Landlock", "seccomp", "both", "relayed", "answers", "plugins"];

/// What a cell must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cell {
    /// The attempt succeeds.
    Possible,
    /// It gets an error or is its process's death, whatever kernel this is.
    Prevented,
    /// It is its process's death, whatever kernel this is.
    Killed,
    /// It is prevented from this version of Landlock on. Before, the result is that of the first column.
    ByLandlock(i32),
    /// The result is that of the first column: nothing here stands in the way.
    AsWithout,
    /// The machine decides.
    Open,
}

use Cell::{AsWithout as A, ByLandlock as L, Killed as K, Open as O, Possible as P, Prevented as X};

type Row = [Cell; 7];

/// A list of attempts and its row.
const LISTS: [(&[&str], Row); 25] = [
    (&OWN_WORK, [P, P, P, P, P, P, P]),
    (&OWN_WORK_BEFORE_THE_FIRST_TOKEN, [P, P, P, P, P, X, P]),
    (&OWN_WORK_WITH_NETWORKS, [P, P, P, P, X, X, P]),
    (&OPENED_FILES, [P, L(1), P, L(1), L(1), X, L(1)]),
    (&MEMORY_OF_OTHERS, [O, L(1), A, L(1), L(1), X, L(1)]),
    (&CHANGED_FILES, [P, L(1), X, X, X, X, X]),
    (&TRUNCATED_FILES, [P, L(3), X, X, X, X, X]),
    (&CONNECTIONS, [P, L(4), P, L(4), X, X, P]),
    (&LISTENING, [P, L(4), X, X, X, X, X]),
    (&BINDING, [P, L(4), X, X, X, X, L(4)]),
    (&SIGNALS, [P, L(6), X, X, X, X, X]),
    (&ABSTRACT_SOCKETS, [P, L(6), X, X, X, X, L(6)]),
    (&CALLS, [P, P, X, X, X, X, X]),
    (&CALLS_THAT_THE_KERNEL_MAY_LACK, [O, A, X, X, X, X, X]),
    (&CALLS_OF_OTHER_ARCHITECTURES, [O, A, X, X, X, X, X]),
    (&SOCKETS_THAT_THE_KERNEL_MAY_LACK, [O, A, X, X, X, X, X]),
    (&SEEN_BY_SOME_LANDLOCK, [O, O, X, X, X, X, X]),
    (&KEYRINGS_THAT_MAY_BE_GONE, [O, A, X, X, X, X, X]),
    (&BY_PLUGINS, [P, P, X, X, X, X, P]),
    (&BY_PLUGINS_WHERE_THE_KERNEL_ALLOWS_IT, [O, A, X, X, X, X, A]),
    (&LOCAL_SERVICES, [O, A, X, X, X, X, A]),
    (&WITHOUT_RIGHTS, [X, X, X, X, X, X, X]),
    (&NO_LONGER_THERE, [X, X, X, X, X, X, X]),
    (&OUT_OF_SIGHT, [X, X, X, X, X, X, X]),
    (&WITHOUT_VALID_ARGUMENTS, [X, X, X, X, X, X, X]),
];

const OWN_WORK: [&str; 2] = ["look at the time", "send to an open socket"];

/// Libraries map code when they are loaded, and stat(2) is not limited by Landlock. All of it ends with the first token.
const OWN_WORK_BEFORE_THE_FIRST_TOKEN: [&str; 4] =
    ["read /etc/hosts", "start a thread", "look at a file of the user's", "make code in memory"];

/// The C library asks for the host's addresses before it resolves a name.
const OWN_WORK_WITH_NETWORKS: [&str; 1] = ["make a netlink socket for routes"];

/// What the worker does too, with other files: only Landlock tells them apart, until nothing more is to be opened.
const OPENED_FILES: [&str; 10] = [
    "read a file of the user's",
    "write a file of the user's",
    "make a file in the user's directory",
    "list the user's directory",
    "read the user's ssh key",
    "make a file in /tmp",
    "list /tmp",
    "read the environment of a process of the user's",
    "list all processes",
    "list all keys",
];

/// The same; without Landlock, Yama may have it that no process opens another's memory.
const MEMORY_OF_OTHERS: [&str; 2] =
    ["read the memory of a process of the user's", "write the memory of a process of the user's"];

/// Both halves prevent it.
const CHANGED_FILES: [&str; 8] = [
    "make a directory",
    "make a link",
    "make a fifo",
    "make a second name of a file",
    "rename a file",
    "remove a file of the user's",
    "run a shell",
    "run a shell by its descriptor",
];

/// Both halves, the second since it knows truncate(2).
const TRUNCATED_FILES: [&str; 1] = ["empty a file by its name"];

/// KDCs of plugins may listen at any port.
const CONNECTIONS: [&str; 1] = ["connect to another port"];

/// Both halves.
const LISTENING: [&str; 1] = ["listen at a port"];

/// bind(2) is for netlink alone, but plugins have it.
const BINDING: [&str; 1] = ["bind a TCP port"];

/// Both halves. No other process than the worker's own is in its namespace.
const SIGNALS: [&str; 1] = ["signal its parent"];

/// Both halves, but plugins have local sockets.
const ABSTRACT_SOCKETS: [&str; 1] = ["reach an abstract socket"];

/// What Landlock has no rules for.
const CALLS: [&str; 18] = [
    "make a file executable",
    "change the times of a file",
    "fork",
    "clone a process",
    "clone a process in a user namespace",
    "watch files",
    "change its priority",
    "change its limits",
    "become dumpable",
    "outlive the monitor",
    "change its personality",
    "make a netlink socket for events",
    "listen at a port without binding",
    "make a key",
    "read the user's keyring",
    "find the user's keyring",
    "join another session keyring",
    "describe the key",
];

/// Without a filter: whether this kernel has the call, whom it lets read its log or make namespaces, and how much memory it lets
/// lock.
const CALLS_THAT_THE_KERNEL_MAY_LACK: [&str; 9] = [
    "use io_uring",
    "use userfaultfd",
    "make secret memory",
    "make memory without a name",
    "make shared memory",
    "make a message queue",
    "make a user namespace",
    "make a network namespace",
    "read the kernel's log",
];

/// Without a filter: whether this kernel runs such programs.
const CALLS_OF_OTHER_ARCHITECTURES: [&str; 2] = [A_32_BIT_CALL, "make an x32 call"];

/// The call that every filter answers by death.
pub(crate) const A_32_BIT_CALL: &str = "make a 32-bit call";

/// Without a filter: whether this kernel has the protocol.
const SOCKETS_THAT_THE_KERNEL_MAY_LACK: [&str; 7] = [
    "make a vsock",
    "make a netlink socket for audit",
    "make a netlink socket for packet filters",
    "make a socket for SCTP",
    "make a socket for multipath TCP",
    "make a bluetooth socket",
    "make a socket for the kernel's ciphers",
];

/// Without a filter: whether the kernel connects by the first packet, and whether its Landlock takes that for connecting.
const SEEN_BY_SOME_LANDLOCK: [&str; 1] = ["connect to another port by sending"];

/// Without a filter: whether the authority over the key is still there, and whether the parent's session is the same.
const KEYRINGS_THAT_MAY_BE_GONE: [&str; 2] =
    ["give its parent a session keyring", "describe the key's authority"];

/// Ways to talk to oneself, and what plugins may want of sockets.
const BY_PLUGINS: [&str; 6] = [
    "make a local socket",
    "make a pipe",
    "make a pair of sockets",
    "bind a UDP port",
    "filter a socket's packets",
    "share a port",
];

/// The same, from Linux 5.7 on.
const BY_PLUGINS_WHERE_THE_KERNEL_ALLOWS_IT: [&str; 1] = ["bind a socket to a device"];

/// Without a filter: whether the service is there.
const LOCAL_SERVICES: [&str; 2] = ["write to the system log", "write to the journal"];

/// The worker has a user's ids and no capability, is not dumpable, and has permissions of the key that let it see it only.
const WITHOUT_RIGHTS: [&str; 29] = [
    "read another user's file",
    "read /etc/shadow",
    "read the machine's memory",
    "read the kernel's memory",
    "make a device",
    "write below /proc",
    "open the monitor's memory",
    "list the monitor's descriptors",
    "mount by the new interface",
    "load a module",
    "open a file by its handle",
    "change the root directory",
    "write to the kernel's log",
    "make a raw socket",
    "make a socket for packets",
    "mark a socket's packets",
    "use others' addresses",
    "replace the firewall's rules",
    "repair a connection",
    "read the key",
    "update the key",
    "instantiate the key",
    "reject the key",
    "revoke the key",
    "invalidate the key",
    "change the key's permissions",
    "change the key's owner",
    "change the key's timeout",
    "link the key",
];

/// By then the key is instantiated, and the authority over it has gone.
const NO_LONGER_THERE: [&str; 5] = [
    "assume authority over the key",
    "read the key's authority",
    "update the key's authority",
    "instantiate the key's authority",
    "revoke the key's authority",
];

/// The worker's namespace of processes has no others. A request of its own for a key starts no upcall.
const OUT_OF_SIGHT: [&str; 12] = [
    "trace a process of the user's",
    "read memory by process_vm_readv",
    "signal a process of the user's",
    "signal all of its processes",
    "open a process of the user's",
    "signal the monitor",
    "trace the monitor",
    "read the monitor's memory by process_vm_readv",
    "compare itself with the monitor",
    "limit the monitor",
    "change the monitor's priority",
    "request a key",
];

/// The call itself is what is tried; without a filter the kernel goes on to look at the arguments.
const WITHOUT_VALID_ARGUMENTS: [&str; 7] = [
    "take a descriptor of the monitor's",
    "enter a namespace",
    "mount",
    "load a program for bpf",
    "use performance counters",
    "set the time",
    "have a protocol above TCP",
];

/// What only foreign code calls: by the second half's last filter it is death, but not with plugins.
const DEADLY: [&str; 24] = [
    "run a shell",
    "trace a process of the user's",
    "read memory by process_vm_readv",
    "trace the monitor",
    "read the monitor's memory by process_vm_readv",
    "take a descriptor of the monitor's",
    "compare itself with the monitor",
    "make a user namespace",
    "make a network namespace",
    "enter a namespace",
    "mount",
    "mount by the new interface",
    "load a program for bpf",
    "use io_uring",
    "use userfaultfd",
    "use performance counters",
    "load a module",
    "open a file by its handle",
    "change the root directory",
    "set the time",
    "read the kernel's log",
    "change its personality",
    "request a key",
    A_32_BIT_CALL,
];

/// bind(2) is for netlink's addresses, which have the length of IPv4's where systemd's library has them.
const WITH_SYSTEMDS_ADDRESSES: [&str; 2] = ["bind a UDP port", "bind a TCP port"];

/// Local sockets, which a strict worker has where names come from a daemon, too.
const WITH_DAEMONS: [&str; 4] =
    ["make a local socket", "write to the system log", "write to the journal", "reach an abstract socket"];

/// Whether nsswitch.conf names more for hosts than files and DNS.
pub(crate) fn daemons_know_names() -> bool {
    host_services().iter().any(|word| !["files", "dns", "myhostname"].contains(&word.as_str()))
}

/// What nsswitch.conf names for hosts.
fn host_services() -> Vec<String> {
    let text = std::fs::read_to_string("/etc/nsswitch.conf").unwrap_or_default();
    let hosts = text.lines().find_map(|line| line.strip_prefix("hosts:")).unwrap_or_default();
    // Actions such as [NOTFOUND=return] name no service.
    hosts.split_whitespace().filter(|word| !word.contains(['[', ']', '='])).map(str::to_owned).collect()
}

/// The row of an attempt.
///
/// # Panics
/// Unless it is in one list.
#[track_caller]
pub(crate) fn row(attempt: &str) -> Row {
    let mut rows = LISTS.iter().filter(|(names, _)| names.contains(&attempt)).map(|(_, row)| *row);
    let (Some(row), None) = (rows.next(), rows.next()) else {
        panic!("{attempt:?} must be in one list of tests/upcall/sandbox/expected.rs")
    };
    let [none, landlock, _, _, relayed, answers, plugins] = row;
    if DEADLY.contains(&attempt) {
        return [none, landlock, K, K, K, K, plugins];
    }
    if WITH_SYSTEMDS_ADDRESSES.contains(&attempt) && host_services().iter().any(|word| word == "myhostname") {
        return [none, landlock, O, O, O, answers, plugins];
    }
    if WITH_DAEMONS.contains(&attempt) && daemons_know_names() {
        // Of the two halves Landlock alone may still prevent it, as with plugins.
        return [none, landlock, A, plugins, relayed, answers, plugins];
    }
    row
}

/// How many attempts the lists have.
pub(crate) fn listed() -> usize {
    LISTS.iter().map(|(names, _)| names.len()).sum()
}

/// Whether a result is what the cell says. `without` is the first column's, `landlock` the kernel's version.
pub(crate) fn fits(cell: Cell, result: i32, without: i32, landlock: i32) -> bool {
    match cell {
        P => result == 0,
        X => result != 0,
        K => result == -libc::SIGSYS,
        L(version) if landlock >= version => result != 0,
        L(_) | A => (result == 0) == (without == 0),
        O => true,
    }
}
