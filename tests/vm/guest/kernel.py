"""The scenarios' view of the stand-in module: its events, its settings, orders to it, and init_channel."""

import ctypes
import os
import struct
import threading
import time

CONTROL = "/dev/lgss-control"
PARAMETERS = "/sys/module/lustre_standin/parameters"
CHANNEL = "/sys/fs/lustre/sptlrpc/gss/init_channel"
SETTINGS = {
    "bind_delay_ms": 0,
    "never_bind": 0,
    "drop_updates": 0,
    "serialise": 1,
    "rpc_timeout_ms": 20000,
    "max_token": 65536,
}
HEX_FIELDS = ("key", "perm")


def landlock_version():
    """Version of this kernel's Landlock; 0 without it."""
    create_ruleset, version = 444, 1
    return max(ctypes.CDLL(None, use_errno=True).syscall(create_ruleset, None, 0, version), 0)


class Fields(dict):
    """Words of the form `name=value`: numbers become integers, `-` the empty string."""

    __getattr__ = dict.__getitem__

    @classmethod
    def parse(cls, text):
        found = cls()
        for word in text.split():
            name, _, value = word.partition("=")
            found[name] = number(name, value)
        return found

    def bytes(self, name):
        value = self[name]
        return bytes.fromhex(value if isinstance(value, str) else str(value))


def number(name, value):
    if value == "-":
        return ""
    if name in ("payload", "token", "handle", "reply", "raw", "desc"):
        return value
    try:
        return int(value, 16 if name in HEX_FIELDS else 0)
    except ValueError:
        return value


class Events:
    """The events that the module has recorded since it was loaded, in order."""

    def __init__(self):
        self.seen = []
        self.more = threading.Condition()
        threading.Thread(target=self.follow, daemon=True).start()

    def follow(self):
        control = os.open(CONTROL, os.O_RDONLY)
        while True:
            line = os.read(control, 1 << 20).decode("ascii", "replace")
            name, _, rest = line.partition(" ")
            with self.more:
                self.seen.append(Fields.parse(rest) | {"event": name})
                self.seen[-1] = Fields(self.seen[-1])
                self.more.notify_all()

    def mark(self):
        """Mark for `wait` and `all`: later events only. Events before the call have been read."""
        word = f"{os.getpid()}.{time.monotonic_ns()}"
        order(f"note {word}")
        self.wait("note", word=word, since=0)
        return len(self.seen)

    def wait(self, name, since, seconds=20, **fields):
        """Waits for an event with this name and these fields; returns the first."""
        deadline = time.monotonic() + seconds
        with self.more:
            while True:
                for event in self.seen[since:]:
                    if event.event == name and all(str(event.get(k)) == str(v) for k, v in fields.items()):
                        return event
                left = deadline - time.monotonic()
                if left <= 0 or not self.more.wait(left):
                    raise AssertionError(f"no event {name} {fields}; seen: {self.seen[since:]}")

    def all(self, name, since, **fields):
        self.mark()
        return [
            event
            for event in self.seen[since:]
            if event.event == name and all(str(event.get(k)) == str(v) for k, v in fields.items())
        ]


def order(text):
    """Gives the module an order: flush UID|all, obd NAME SECID STATE, note WORD."""
    control = os.open(CONTROL, os.O_WRONLY)
    try:
        os.write(control, text.encode())
    finally:
        os.close(control)


def set_parameters(**values):
    for name, value in values.items():
        with open(f"{PARAMETERS}/{name}", "w") as file:
            file.write(str(value))


def set_timeout(seconds):
    with open("/sys/fs/lustre/timeout", "w") as file:
        file.write(str(seconds))


def set_debug_level(level):
    with open("/sys/fs/lustre/sptlrpc/gss/lgss_keyring/debug_level", "w") as file:
        file.write(str(level))


def reset():
    set_parameters(**SETTINGS)
    set_timeout(100)
    set_debug_level(1)
    order("flush all")


def channel_write(obd, token, length=72, reply_size=8192, **change):
    """One write to init_channel by this process, of so many bytes: (errno, status, reply buffer).

    `change`: other values for fields of the block, by their names below.
    """
    name = ctypes.create_string_buffer(obd.encode())
    sent = ctypes.create_string_buffer(token, len(token) or 1)
    reply = ctypes.create_string_buffer(reply_size or 1)
    status = ctypes.c_int64(-1)
    fields = {
        "version": 2,
        "secid": 4,
        "obd_at": ctypes.addressof(name),
        "lustre_svc": 1,
        "uid": 0,
        "gid": 0,
        "padding": 0x61400,
        "token_len": len(token),
        "token_at": ctypes.addressof(sent),
        "reply_size": reply_size,
        "reply_at": ctypes.addressof(reply),
        "status_at": ctypes.addressof(status),
    }
    assert change.keys() <= fields.keys(), change
    block = struct.pack("=IIQIIIIQQQQQ", *(fields | change).values())
    block = (block + bytes(64))[:length]
    channel = os.open(CHANNEL, os.O_WRONLY)
    try:
        written = os.write(channel, block)
        assert written == 72, written
        return 0, status.value, reply.raw
    except OSError as failure:
        return failure.errno, None, reply.raw
    finally:
        os.close(channel)

