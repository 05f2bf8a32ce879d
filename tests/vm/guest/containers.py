"""Steps that root does to put a requester into a container's namespaces."""

import os
import subprocess

from requester import CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER, LIBC, unshare

MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000


def private_tmp(principal, uid, *commands, cache=None):
    """A mount namespace with this user's ticket in its /tmp and a useless /etc/krb5.conf; the user runs `commands` before that."""
    kinit = ["kinit"] + (["-c", cache] if cache else []) + [principal]

    def step():
        unshare(CLONE_NEWNS)()
        mount(None, b"/", None, MS_REC | MS_PRIVATE, None)
        mount(b"tmpfs", b"/tmp", b"tmpfs", 0, b"mode=1777")
        for words in (kinit, *commands):
            done = subprocess.run(words, input="secret\n", text=True, user=uid, group=uid, capture_output=True)
            assert done.returncode == 0, (words, done.stderr)
        mount(b"/dev/null", b"/etc/krb5.conf", None, MS_BIND, None)

    return step


def mount(*arguments):
    assert LIBC.mount(*arguments) == 0, arguments


def subordinate_uids(first, owner=0):
    """A user namespace of `owner`, in which the requester is root; its uids from 0 are those from `first` outside."""

    def step():
        reader, writer = os.pipe()
        inside = os.getpid()
        mapper = os.fork()
        if mapper == 0:
            os.read(reader, 1)
            for name in ("uid_map", "gid_map"):
                with open(f"/proc/{inside}/{name}", "w") as file:
                    file.write(f"0 {first} 65536")
            os._exit(0)
        os.seteuid(owner)
        unshare(CLONE_NEWUSER)()
        os.write(writer, b"x")
        assert os.waitpid(mapper, 0)[1] == 0
        os.close(reader)
        os.close(writer)
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)

    return step


def own_process_numbers():
    """A process-id namespace in which the requester is process 1."""
    unshare(CLONE_NEWPID)()
    first = os.fork()
    if first:
        os.waitpid(first, 0)
        os._exit(0)
