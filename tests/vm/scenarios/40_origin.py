"""Only the kernel gets lgssc keys, whichever process it runs in (rules S1, S3, S5, S6); the keys belong to the kernel alone (S16)."""

import ctypes
import errno
import os
import signal
import threading
import time
from dataclasses import dataclass

import kernel
import requester
from bed import KEYRING, RUN_DIRECTORY, USERS, scenario
from requester import Requester, keyctl
from verdicts import TOLD_WITHIN, Stopwatch, established, failed, refused

OBD = "lustre-MDT0000-mdc-ff2dfdc40a66a800"
NODE = "lustre_root/client.example.test"
THREAD, PROCESS, SESSION, USER = -1, -2, -3, -4
UPDATE, REVOKE, CHOWN, SETPERM, CLEAR, LINK, READ, SET_TIMEOUT = 2, 3, 4, 5, 7, 8, 11, 15


@dataclass(frozen=True)
class Wanted:
    """For whom a key is asked; without a pid, this process is the reference process."""

    uid: int = 2001
    flags: str = ""
    svc: str = "-"
    pid: int | None = None


def words(bed, count, wanted=Wanted()):
    """Description and callout in the kernel's form."""
    secid = bed.secid + 4096 + count
    uid, pid = wanted.uid, os.getpid() if wanted.pid is None else wanted.pid
    ids = f"{uid}:{uid}:{wanted.flags}:{wanted.svc}"
    return f"{uid}@{secid:x}", f"{secid}:krb5:{ids}:1:0x20000c0a84d01:{OBD}:0x20000c0a84d02:{pid}:"


def new_ring(name, into):
    ring = requester.LIBC.syscall(248, b"keyring", name.encode(), None, 0, into)
    assert ring > 0, ctypes.get_errno()
    return ring


def ring_called(name, into):
    """A step: makes a keyring with this name in a special one, which the kernel makes for it."""
    return lambda: new_ring(name, into)


def session_called(name):
    def step():
        rc, failure = keyctl(1, name.encode())
        assert rc > 0, failure

    return step


def own_ring_linked(into):
    """A step: links the user's own keyring, with which the kernel proves its requests, into another."""

    def step():
        ring, failure = keyctl(0, USER, 1)
        assert ring > 0, failure
        keyctl(0, into, 1)
        assert keyctl(LINK, ring, into)[0] == 0

    return step


def by_number(number):
    """request_key(2) with another number that the kernel takes for the same system call."""

    def call(key_type, description, callout, ring):
        serial = requester.LIBC.syscall(ctypes.c_long(number), key_type, description, callout, ctypes.c_int(ring))
        return serial, ctypes.get_errno() if serial < 0 else 0

    return call


def by_a_thread(key_type, description, callout, ring):
    """The request comes from a thread other than the process's first."""
    found = []
    thread = threading.Thread(target=lambda: found.append(requester.request_key(key_type, description, callout, ring)))
    thread.start()
    thread.join()
    return found[0]


NATIVE = requester.request_key
CALLS = {
    "native": NATIVE,
    "int 0x80": requester.request_key_by_32_bit,
    "x32": requester.request_key_by_x32,
    "native with high bits": by_number(0xFFFFFFFF << 32 | requester.SYS_REQUEST_KEY),
    "x32 with high bits": by_number(1 << 32 | requester.X32_SYSCALL_BIT | requester.SYS_REQUEST_KEY),
    "by a thread": by_a_thread,
}
PREPARATIONS = {
    "thread ring with another's name": [ring_called("_uid.2002", THREAD)],
    "own user ring in the thread ring": [own_ring_linked(THREAD)],
    "own user ring in the process ring": [own_ring_linked(PROCESS)],
    "a ring of the user ring's name in the thread ring": [ring_called("_uid.2001", THREAD)],
    "a session of the user ring's name": [session_called("_uid.2001")],
    "a session of another's name": [session_called("_uid.2002")],
    "own user namespace": [requester.own_user_namespace],
}
ASKED_FOR = {
    "itself": Wanted(),
    "another user": Wanted(uid=2002),
    "root": Wanted(uid=0),
    "the node": Wanted(uid=0, flags="rmo", svc="i", pid=1),
}


def attempt(call, arguments, ring):
    """Runs in the attacker's process."""
    description, callout = arguments
    start = time.monotonic()
    serial, failure = call(b"lgssc", description.encode(), callout.encode(), ring)
    return serial, failure, time.monotonic() - start


@scenario
def a_users_own_request_is_refused_whatever_it_has_prepared(bed):
    """With every system call that requests keys, in every arrangement of keyrings, for any owner; nothing is touched."""
    bed.upcall(KEYRING)
    attacks = [(name, call, (), Wanted()) for name, call in CALLS.items()]
    attacks += [(name, NATIVE, after, Wanted()) for name, after in PREPARATIONS.items()]
    attacks += [(name, NATIVE, (), wanted) for name, wanted in ASKED_FOR.items()]
    for count, (name, call, after, wanted) in enumerate(attacks):
        who = Requester(USERS["alice"], after=after)
        serial, failure, seconds = who.run(lambda: attempt(call, words(bed, count, wanted), THREAD if after else PROCESS))
        assert (serial, failure) == (-1, errno.EACCES), (name, serial, failure, bed.log.lines)
        assert seconds < 5, (name, seconds)
    bed.until(lambda: len([line for line in bed.log.lines if "S1" in line]) == len(attacks), "a line each in the log")
    assert not bed.all_events("act", act="instantiate") and not bed.all_events("rpc")
    # Only the user's number of log lines is left, none for root or the node.
    left = {os.path.relpath(os.path.join(path, name), RUN_DIRECTORY) for path, _, names in os.walk(RUN_DIRECTORY) for name in names}
    assert left - {"swept"} == {"log/uid-2001", "log/refused"}, left


@scenario
def roots_own_request_is_refused_too(bed):
    """Not even root may request these keys; words that the kernel does not use are refused as such."""
    bed.upcall(KEYRING)
    for count, wanted in enumerate(ASKED_FOR.values()):
        serial, failure, _ = Requester().run(lambda: attempt(NATIVE, words(bed, count, wanted), PROCESS))
        assert (serial, failure) == (-1, errno.EACCES), (wanted, serial, failure)
    description, callout = words(bed, 50)
    for bad in ((description, callout.replace("krb5", "KRB5")), (description, "x"), (description, ":" * 11)):
        assert Requester(2001).run(lambda: attempt(NATIVE, bad, PROCESS))[:2] == [-1, errno.EINVAL], bad
    other = words(bed, 51)[0], callout
    assert Requester(2001).run(lambda: attempt(NATIVE, other, PROCESS))[:2] == [-1, errno.EACCES]
    bed.log.wait("S3")
    assert not bed.all_events("act", act="instantiate")


@scenario
def the_kernels_request_is_served_wherever_it_comes_from(bed):
    """For a user in every system call that may need the file system, on a page fault, and from a kernel thread on its behalf."""
    bed.realm.ticket(bed.user("alice"), "alice")
    bed.upcall(KEYRING)
    by_thread = {"at": "worker", "uid": 2001, "gid": 2001, "fsuid": 2001}
    for count, at in enumerate(("write", "ioctl", "fault", "open", "close", "worker")):
        secid = 100_000 + 100 * bed.secid + count
        fields = by_thread if at == "worker" else {"at": at}
        asked = bed.user("alice").begin(secid=secid, wait_ms=30000, **fields)
        asked_for = bed.event("request", desc=f"2001@{secid:x}")
        assert asked_for.errno == 0, (at, asked_for, bed.log.lines)
        end = bed.event("end", key=asked_for.serial)
        assert end.state == "established", (at, end, bed.log.lines)
        asked.running.end()
    assert {made.initiator for made in bed.server.accepted} == {"alice@EXAMPLE.TEST"}


@scenario
def in_the_exit_of_a_process_the_hosts_user_is_served_and_a_namespaces_is_not(bed):
    """The process has lost its root directory: in our user namespace the host's takes its place, in others S6 refuses at once."""
    bed.realm.ticket(bed.user("alice"), "alice")
    bed.upcall(KEYRING)
    secid = 100_000 + 100 * bed.secid
    for count, flags in enumerate(("", "r")):
        asked = bed.user("alice").begin(at="exit", secid=secid + count, flags=flags, svc="i" if flags else "-")
        asked_for = bed.event("request", desc=f"{0 if flags else 2001}@{secid + count:x}")
        end = bed.event("end", key=asked_for.serial)
        assert end.state == "established", (flags, end, bed.log.lines)
        asked.running.end()
    assert [made.initiator.split("@")[0].split("/")[0] for made in bed.server.accepted] == ["alice", "lustre_root"]
    inside = Requester(2001, after=[requester.own_user_namespace])
    asked = inside.begin(at="exit", secid=secid + 7)
    asked_for = bed.event("request", desc=f"2001@{secid + 7:x}")
    assert asked_for.errno == errno.EACCES and asked_for.blocked_us < 2_000_000, asked_for
    bed.log.wait("S6")
    asked.running.end()


@scenario
def the_nodes_request_is_served_wherever_it_comes_from(bed):
    """In a user's process, in one without a ticket, on a page fault, in mount(2), in a kernel thread."""
    bed.realm
    bed.upcall(KEYRING)
    for count, (who, at) in enumerate((("alice", "write"), ("bob", "fault"), ("root", "mount"), ("root", "worker"))):
        secid = 100_000 + 100 * bed.secid + count
        asked = bed.user(who).begin(at=at, flags="r", svc="i", secid=secid, wait_ms=30000)
        asked_for = bed.event("request", desc=f"0@{secid:x}")
        assert asked_for.errno == 0, (who, at, asked_for, bed.log.lines)
        end = bed.event("end", key=asked_for.serial)
        assert end.state == "established", (who, at, end, bed.log.lines)
        asked.running.end()
    assert {made.initiator for made in bed.server.accepted} == {f"{NODE}@EXAMPLE.TEST"}


@scenario
def whoever_the_process_seems_to_be_the_context_is_the_real_users(bed):
    """For a setuid program, a file server with another fsuid, root of its own user namespace, a uid without a name."""
    bed.realm.ticket(bed.user("alice"), "alice")
    bed.realm.ticket(bed.user("root"), "dave")
    bed.realm.ticket(Requester(3333), "carol")
    bed.upcall(KEYRING)
    requesters = (
        (Requester((2001, 0, 0)), "alice"),
        (Requester((2001, 2002, 2002)), "alice"),
        (Requester(after=[requester.set_fsuid(2001)]), "dave"),
        (Requester(2001, after=[requester.own_user_namespace]), "alice"),
        (Requester(3333), "carol"),
    )
    for count, (who, principal) in enumerate(requesters):
        got = who.ask(secid=100_000 + 100 * bed.secid + count, wait_ms=30000)
        made = established(bed, got, principal)
        # The key is given to the real user, from whose keyring the kernel removes it at its end.
        assert bed.act("instantiate", key=got.serial).owner == who.uids[0], (count, got)
        assert (made.rpc.uid, made.rpc.gid) == (who.uids[0], who.gid), made.rpc


@scenario
def the_nodes_credentials_are_not_for_another_mount_namespace(bed):
    """S5 refuses before any negotiation, whatever other tables say; S6 refuses a reference process that does not exist."""
    bed.realm.ticket(bed.user("alice"), "alice")
    bed.upcall(KEYRING)
    elsewhere = Requester(steps=[requester.unshare(requester.CLONE_NEWNS)]).start(signal.pause)
    ours = os.readlink("/proc/self/ns/mnt")
    bed.until(lambda: os.readlink(f"/proc/{elsewhere.pid}/ns/mnt") != ours, "another mount namespace")
    tables = '[namespace.other]\nowner = 0\nkeytab = "/etc/krb5.keytab"\n[namespace.bare]\ncgroup = "/*"\n'
    for number, settings in enumerate(("", tables)):
        bed.settings(settings)
        asked = {"flags": "r", "pid": elsewhere.pid, "secid": 800_000 + 10 * bed.secid + number}
        refused(bed, bed.user("root").ask(wait_ms=30000, **asked), errno.EACCES, "S5")
        bed.log.lines.clear()
    elsewhere.end()
    assert not os.path.exists("/run/lgss/machine")
    for who, fields in (("root", {"flags": "rmo"}), ("alice", {})):
        bed.log.lines.clear()
        line = refused(bed, bed.user(who).ask(pid=4_000_000, secid=900_000 + bed.secid, **fields), errno.EACCES, "S6")
        assert "gone" in line, line
    assert not bed.all_events("rpc") and not bed.all_events("act", act="instantiate")


@scenario
def a_users_key_can_be_changed_by_nobody_but_us(bed):
    """Permissions and group are set at the instantiation; neither the user nor who is in root's group can update, clear, replace, prolong or take the key."""
    alice = bed.user("alice")
    bed.realm.ticket(alice, "alice")
    bed.upcall(KEYRING)
    held = bed.server.hold()
    asked = alice.begin(wait_ms=30000)
    assert held.begun.wait(20)
    made = bed.act("instantiate")
    assert (made.owner, made.group, made.perm, made.len) == (2001, 0x7FFFF000, 0x19012500, 0), made
    of_roots_group = bed.user("bob", gid=0)
    tamper(alice, bed, made.key)
    tamper(of_roots_group, bed, made.key)
    held.go.set()
    got = asked.result()
    established(bed, got, "alice")
    tamper(alice, bed, got.serial)
    tamper(of_roots_group, bed, got.serial)
    bed.until(lambda: bed.usage(alice, got.serial) == 2, "usage count 2")
    line = next(line for line in alice.proc_keys() if int(line.split()[0], 16) == got.serial)
    assert line.split()[3] == "perm", line
    again = alice.ask(wait_ms=1000)
    assert (again.serial, again.state, again.updates) == (got.serial, "established", 1), again
    bed.until_gone()


def tamper(who, bed, key):
    forged = b"\0\0\0\0\x82\xff\xff\xff\0\0\0\0"
    attempts = {
        "update": (UPDATE, key, forged, len(forged)),
        "revoke": (REVOKE, key),
        "chown": (CHOWN, key, -1, 2001),
        "permissions": (SETPERM, key, 0x3F3F0000),
        "clear": (CLEAR, key),
        "read": (READ, key, None, 0),
        "timeout": (SET_TIMEOUT, key, 1),
    }

    def work():
        done = {name: keyctl(*arguments) for name, arguments in attempts.items()}
        description = f"2001@{bed.secid:x}".encode()
        added = requester.LIBC.syscall(248, b"lgssc", description, forged, len(forged), USER)
        return done | {"add_key": (added, ctypes.get_errno())}

    found = who.run(work)
    for name, (rc, failure) in found.items():
        assert rc == -1 and failure in (errno.EACCES, errno.EPERM, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTDIR), (name, rc, failure)


@scenario
def a_key_for_the_node_is_not_touched_after_its_update(bed):
    """Owner 0, permissions of S16; the kernel has invalidated it, and nothing follows the one update."""
    bed.realm
    bed.upcall(KEYRING)
    got = bed.user("root").ask(flags="r", svc="i", wait_ms=30000)
    established(bed, got, NODE)
    made = bed.act("instantiate")
    assert (made.owner, made.group, made.perm, made.len) == (0, 0x7FFFF000, 0x19250000, 0), made
    bed.event("destroy", key=got.serial)
    bed.until_gone()
    done = [(act.act, act.rc) for act in bed.all_events("act") if act.rc != -errno.EAGAIN]
    assert done == [("instantiate", 0), ("update", 0)], done


@scenario
def a_failure_leaves_the_next_key_alone(bed):
    """Ten first accesses in a row fail at once; then one succeeds and keeps its link."""
    bed.realm
    bed.upcall(KEYRING)
    bob, serials = bed.user("bob"), set()
    for _ in range(10):
        got = bob.ask(wait_ms=20000)
        failed(bed, got, errno.ENOKEY)
        serials.add(got.serial)
    assert len(serials) == 10, serials
    bed.realm.ticket(bob, "bob")
    got = bob.ask(wait_ms=30000)
    established(bed, got, "bob")
    bed.until(lambda: bed.usage(bob, got.serial) == 2, "usage count 2")


@scenario
def a_late_binding_is_waited_for(bed):
    """EAGAIN until the kernel uses the key; after that, success and failure get through at once."""
    bed.realm.ticket(bed.user("alice"), "alice")
    bed.upcall(KEYRING)
    for count, delay in enumerate((5, 60, 2500)):
        kernel.set_parameters(bind_delay_ms=delay)
        secid = 100_000 + 100 * bed.secid + count
        established(bed, bed.user("alice").ask(secid=secid, wait_ms=30000), "alice")
        got = bed.user("bob").ask(secid=secid, wait_ms=30000)
        failed(bed, got, errno.ENOKEY)
    assert got.after_us < TOLD_WITHIN, got


@scenario
def a_key_that_is_never_bound_ends_at_the_deadline(bed):
    """A forged key costs no more than that; no process is left, and the next request is served."""
    bed.realm.ticket(bed.user("alice"), "alice")
    bed.upcall(KEYRING)
    bed.settings('[timeouts]\ndeadline = "3s"\n')
    kernel.set_parameters(never_bind=1)
    watch = Stopwatch()
    got = bed.user("alice").ask()
    assert got.errno == 0 and "ctx" not in got, got
    bed.until_gone(15)
    assert 2.5 < watch() < 20, watch()
    assert {act.rc for act in bed.all_events("act", act="update")} == {-errno.EAGAIN}
    assert "key could not be updated" in bed.log.wait("publish")
    kernel.set_parameters(never_bind=0)
    bed.settings("")
    bed.until(lambda: key_has_ended(bed.user("alice"), got.serial), "the key's own end, by its timeout", 10)
    again = bed.user("alice").ask(wait_ms=30000)
    assert again.serial != got.serial
    established(bed, again, "alice")


def key_has_ended(who, serial):
    lines = [line.split() for line in who.proc_keys() if int(line.split()[0], 16) == serial]
    return not lines or lines[0][3] == "expd"
