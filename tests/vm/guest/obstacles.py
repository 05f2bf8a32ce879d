"""Obstacles: a file that cannot be opened for a while, a silent name service, the kernel's lock for links of keyrings."""

import contextlib
import ctypes
import os
import signal
import socket
import threading

from requester import LIBC, join_new_session, keyctl

FAN_CLASS_CONTENT, FAN_MARK_ADD, FAN_OPEN_PERM, AT_FDCWD = 0x04, 0x01, 0x10000, -100
RESOLV_CONF, NSSWITCH_CONF, HOSTS = "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/hosts"
LINK, UNLINK, SESSION = 8, 9, -3
SYS_ADD_KEY = 248


@contextlib.contextmanager
def held(path):
    """While the block runs, every open of the file waits (fanotify(7))."""
    ready, said = os.pipe()
    # In a separate process, so that nobody inherits the descriptor: the openers go on when its last copy is closed.
    holder = os.fork()
    if holder == 0:
        group = LIBC.fanotify_init(FAN_CLASS_CONTENT, os.O_RDONLY)
        marked = LIBC.fanotify_mark(group, FAN_MARK_ADD, ctypes.c_uint64(FAN_OPEN_PERM), AT_FDCWD, path.encode())
        os.write(said, b"x" if marked == 0 else b"-")
        while True:
            signal.pause()
    try:
        assert os.read(ready, 1) == b"x", f"{path} cannot be held"
        yield
    finally:
        os.kill(holder, signal.SIGKILL)
        os.waitpid(holder, 0)
        os.close(ready)
        os.close(said)


class SilentNames:
    """A silent DNS server, asked for every name that is not in /etc/hosts; `queries` are those it has received."""

    def __init__(self, *forgotten):
        """Removes the names `forgotten` from /etc/hosts."""
        self.files = {path: open(path).read() for path in (RESOLV_CONF, NSSWITCH_CONF, HOSTS)}
        self.queries = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 53))
        threading.Thread(target=self.listen, daemon=True).start()
        rest = [line for line in self.files[HOSTS].splitlines() if not any(name in line for name in forgotten)]
        write(RESOLV_CONF, "nameserver 127.0.0.1\noptions timeout:30 attempts:5\n")
        write(NSSWITCH_CONF, self.files[NSSWITCH_CONF].replace("hosts: files", "hosts: files dns"))
        write(HOSTS, "\n".join(rest) + "\n")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for path, text in self.files.items():
            write(path, text)
        self.socket.close()

    def listen(self):
        with contextlib.suppress(OSError):
            while True:
                self.queries.append(self.socket.recv(4096))


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def hold_keyring_lock(processes, layers=5, width=26):
    """Links one keyring of the user to another again and again. For each link the kernel searches a graph of all its keyrings for a
    cycle, and holds the one lock for such links. Writes a byte to `ready` when it begins."""

    def work(ready):
        join_new_session()
        below = []
        for layer in range(layers):
            holder = new_ring(f"layer{layer}", SESSION)
            rings = [new_ring(f"{layer}.{number}", holder) for number in range(width)]
            for above in rings:
                for ring in below:
                    change(LINK, ring, above)
            below = rings
        top = new_ring("top", SESSION)
        for ring in below:
            change(LINK, ring, top)
        others = [new_ring(f"other{number}", SESSION) for number in range(processes)]
        os.write(ready, b"x")
        for other in others[1:]:
            if os.fork() == 0:
                link_for_ever(top, other)
        link_for_ever(top, others[0])

    return work


def link_for_ever(top, other):
    # It ends with its parent.
    LIBC.prctl(1, 9)
    while True:
        keyctl(LINK, top, other)
        keyctl(UNLINK, top, other)


def new_ring(name, where):
    ring = LIBC.syscall(SYS_ADD_KEY, b"keyring", name.encode(), None, 0, ctypes.c_int(where))
    assert ring > 0, (name, os.strerror(ctypes.get_errno()))
    return ring


def change(operation, ring, where):
    rc, failure = keyctl(operation, ring, where)
    assert rc == 0, os.strerror(failure)
