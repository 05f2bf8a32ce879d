"""Processes that request keys: through the stand-in, as users of the file system do, or with request_key(2)."""

import ctypes
import fcntl
import json
import mmap
import os
import select
import signal
import sys
import time
import traceback

# When executed, it runs isolated from the environment and from its own directory.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from kernel import Fields

CLIENT = "/dev/lgss-client"
LIBC = ctypes.CDLL(None, use_errno=True)
SYS_REQUEST_KEY = 249
SYS_KEYCTL = 250
SYS_FSOPEN, SYS_FSCONFIG, FSCONFIG_CMD_CREATE = 430, 431, 6
X32_SYSCALL_BIT = 0x40000000
PR_SET_DUMPABLE = 4
MAP_32BIT = 0x40
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x20000, 0x10000000, 0x20000000, 0x40000000
# The secid of requests that name none; the bed gives each scenario another, so that no earlier key is found.
SECID = 4
# push rbx; mov ebx,edi; mov eax,ecx; mov ecx,esi; mov esi,eax; mov eax,287; int 0x80; pop rbx; ret
REQUEST_KEY_BY_32_BIT = bytes.fromhex("5389fb89c889f189c6b81f010000cd805bc3")


class Running:
    """A process of a scenario, and its result."""

    alive = set()

    def __init__(self, work):
        reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(reader)
            run_and_report(work, writer)
        os.close(writer)
        self.reader = reader
        Running.alive.add(self)

    def result(self, seconds=60):
        """Waits for the result; a process that takes longer is killed."""
        deadline = time.monotonic() + seconds
        said = b""
        try:
            while True:
                ready, _, _ = select.select([self.reader], [], [], max(0, deadline - time.monotonic()))
                if not ready:
                    raise AssertionError(f"process {self.pid} has not finished in {seconds} s")
                chunk = os.read(self.reader, 65536)
                if not chunk:
                    break
                said += chunk
        finally:
            self.end()
        assert said, "it has ended without a word"
        found = json.loads(said)
        if "broken" in found:
            raise AssertionError(found["broken"])
        return found["found"]

    def end(self):
        if self.reader is not None:
            os.close(self.reader)
            self.reader = None
            Running.alive.discard(self)
            try:
                os.kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.reap()

    def reap(self):
        """Waits for it: a process in request_key() cannot be killed before its upcall has ended."""
        deadline = time.monotonic() + 10
        while os.waitpid(self.pid, os.WNOHANG) == (0, 0):
            assert time.monotonic() < deadline, f"process {self.pid} cannot be killed"
            time.sleep(0.005)


# In a scenario's process, the descriptor for the result.
report = None


def run_and_report(work, writer):
    global report
    report = writer
    try:
        said = {"found": work()}
    except BaseException:
        said = {"broken": traceback.format_exc()}
    try:
        os.write(writer, json.dumps(said).encode())
    finally:
        os._exit(0)


class Requester:
    """A requester: uid, or real, effective and saved uid; `steps` are done before it takes its ids, `after` after that.

    With an environment, a program executed with it makes the requests through the stand-in.
    """

    def __init__(self, uid=0, gid=None, steps=(), after=(), environment=None):
        self.uids = uid if isinstance(uid, tuple) else (uid, uid, uid)
        self.gid = self.uids[0] if gid is None else gid
        self.steps = steps
        self.after = after
        self.environment = environment

    def start(self, work):
        def become_and_work():
            for step in self.steps:
                step()
            os.setgroups([])
            os.setresgid(self.gid, self.gid, self.gid)
            os.setresuid(*self.uids)
            if len(set(self.uids)) == 1:
                # As for a program that this user has started, which has not just changed its ids.
                LIBC.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
            for step in self.after:
                step()
            return work()

        return Running(become_and_work)

    def run(self, work, seconds=60):
        return self.start(work).result(seconds)

    def begin(self, at="write", **fields):
        """A request through the stand-in; its result is a dictionary, or None where nothing can be reported (close, exit, mount)."""
        if self.environment is None:
            return Asked(self.start(lambda: ask(at, fields)))
        return Asked(self.start(lambda: ask_by_program(at, fields, self.environment)))

    def ask(self, at="write", seconds=60, **fields):
        return self.begin(at, **fields).result(seconds)

    def begin_mount(self, api="mount", **fields):
        """A mount that waits for its connection, with mount(2) or fsconfig(2); its result is (errno or 0, seconds)."""
        return self.start(lambda: mount(api, fields))

    def mount(self, seconds=60, **fields):
        return self.begin_mount(**fields).result(seconds)

    def request_key(self, key_type, description, callout, ring=0, abi=64):
        """A direct request_key(2): (serial or -1, errno, microseconds). abi is 64, 32 (int 0x80) or "x32"."""
        call = {64: request_key, 32: request_key_by_32_bit, "x32": request_key_by_x32}[abi]

        def timed():
            start = time.monotonic()
            serial, failure = call(key_type.encode(), description.encode(), callout.encode(), ring)
            return serial, failure, int((time.monotonic() - start) * 1e6)

        return self.run(timed, 70)

    def proc_keys(self):
        """The lines of /proc/keys that it sees."""
        return self.run(lambda: open("/proc/keys").read().splitlines())


class Asked:
    def __init__(self, running):
        self.running = running
        self.pid = running.pid

    def result(self, seconds=60):
        text = self.running.result(seconds)
        return Fields.parse(text) if text is not None else None


def mount(api, fields):
    prepare("mount", {"reconnect": 1} | fields)
    start = time.monotonic()
    failure = mount_by_fsconfig() if api == "fsconfig" else mount_by_mount()
    return failure, time.monotonic() - start


def mount_by_mount():
    if LIBC.mount(b"none", b"/mnt", b"lgss_client", 0, None) != 0:
        return ctypes.get_errno()
    LIBC.umount2(b"/mnt", 2)
    return 0


def mount_by_fsconfig():
    """Makes the superblock only, which ends with its descriptor."""
    context = LIBC.syscall(SYS_FSOPEN, b"lgss_client", 0)
    assert context >= 0, ctypes.get_errno()
    made = LIBC.syscall(SYS_FSCONFIG, context, FSCONFIG_CMD_CREATE, None, None, 0)
    return ctypes.get_errno() if made != 0 else 0


def prepare(at, fields):
    callout = fields.pop("callout", None)
    fields = {"secid": SECID} | fields
    words = [f"at={'close' if at == 'exit' else at}"] + [f"{name}={value}" for name, value in fields.items()]
    if callout is not None:
        words.append(f"callout={callout}")
    client = os.open(CLIENT, os.O_RDWR)
    os.write(client, " ".join(words).encode())
    return client


def ask(at, fields):
    client = prepare(at, fields)
    if at == "ioctl":
        fcntl.ioctl(client, 0x4C01, 0)
    elif at == "fault":
        _ = mmap.mmap(client, 4096)[0]
    elif at == "open":
        client = os.open(CLIENT, os.O_RDWR)
    elif at == "mount":
        assert LIBC.mount(b"none", b"/mnt", b"lgss_client", 0, None) == -1
        return None
    elif at == "close":
        os.close(client)
        return None
    elif at == "exit":
        os._exit(0)
    return os.read(client, 8192).decode()


def ask_by_program(at, fields, environment):
    os.set_inheritable(report, True)
    words = [str(report), str(SECID), at, json.dumps(fields)]
    os.execve("/usr/bin/python3", ["python3", "-BIS", __file__, *words], environment)


def context(number):
    """The present state of a context, by its number."""
    client = os.open(CLIENT, os.O_RDWR)
    try:
        fcntl.ioctl(client, 0x4C01, number)
        return Fields.parse(os.read(client, 8192).decode())
    finally:
        os.close(client)


def request_key(key_type, description, callout, ring, number=SYS_REQUEST_KEY):
    serial = LIBC.syscall(number, key_type, description, callout, ctypes.c_int(ring))
    return serial, ctypes.get_errno() if serial < 0 else 0


def request_key_by_x32(key_type, description, callout, ring):
    return request_key(key_type, description, callout, ring, X32_SYSCALL_BIT | SYS_REQUEST_KEY)


def request_key_by_32_bit(key_type, description, callout, ring):
    """Uses the 32-bit system call table: int 0x80, with all addresses below 4 GiB."""
    area = mmap.mmap(-1, 8192, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_32BIT, prot=7)
    at = ctypes.addressof(ctypes.c_char.from_buffer(area))
    texts, end = [], 64
    area[: len(REQUEST_KEY_BY_32_BIT)] = REQUEST_KEY_BY_32_BIT
    for text in (key_type, description, callout):
        area[end : end + len(text) + 1] = text + b"\0"
        texts.append(at + end)
        end += len(text) + 1
    call = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_int)(at)
    rc = call(*texts, ring)
    return (rc, 0) if rc >= 0 else (-1, -rc)


def keyctl(operation, *arguments):
    rc = LIBC.syscall(SYS_KEYCTL, operation, *arguments)
    return rc, ctypes.get_errno() if rc < 0 else 0


def join_new_session():
    """A step: joins a new anonymous session keyring."""
    rc, failure = keyctl(1, None)
    assert rc > 0, failure


def set_fsuid(uid):
    """A step after the ids of root: the process becomes a file server that acts for a user."""
    return lambda: LIBC.setfsuid(uid)


def own_user_namespace():
    """A step after the ids: the user becomes root of a user and a mount namespace."""
    uid, gid = os.getuid(), os.getgid()
    unshare(CLONE_NEWUSER | CLONE_NEWNS)()
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def unshare(flags):
    """A step: makes new namespaces."""

    def step():
        assert LIBC.unshare(flags) == 0, os.strerror(ctypes.get_errno())

    return step


if __name__ == "__main__":
    SECID = int(sys.argv[2])
    run_and_report(lambda: ask(sys.argv[3], json.loads(sys.argv[4])), int(sys.argv[1]))
