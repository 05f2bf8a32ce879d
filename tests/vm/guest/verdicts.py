"""The outcome of a request, seen from both ends: the kernel that holds the context and the server that made it."""

import struct
import subprocess
import time

from server import kernel_keys

# Limit from the moment that a failure is known until the kernel has it, in µs, on a machine as slow and busy as this.
TOLD_WITHIN = 1_000_000
# For a mount whose failure can be known without a KDC, in seconds: only processes take time.
MOUNT_WITHIN = 5
# When requests for the node are released, in µs; mounts are not.
RELEASED_AFTER = 1_000_000


def established(bed, got, initiator):
    """The kernel took the context that the server made for this principal. Returns the server's side of it."""
    made = made_by_server(bed, got)
    assert made.initiator == f"{initiator}@EXAMPLE.TEST", made.initiator
    _, keys = kernel_keys(made)
    assert got.bytes("token")[32:] == b"".join(keys), got
    return made


def established_by_shared_key(bed, got):
    """The kernel took the context that the server made: algorithms and time of the server's shared key, both sides' random bytes,
    and the server's keys. Returns the server's side of it."""
    made = made_by_server(bed, got)
    shared, keys = made.sk.shared, made.sk
    token = struct.pack("=I128s128sI", 1, shared.hmac.encode(), shared.cipher.encode(), shared.expire)
    token += keys.client_random + keys.server_random
    for key in (keys.integrity, keys.encryption):
        token += struct.pack("=I", len(key)) + key
    assert got.bytes("token") == token, (got, token.hex())
    return made


def made_by_server(bed, got):
    """The server's side of an established context."""
    assert got.get("state") == "established", (got, bed.log.lines)
    return next(made for made in bed.server.accepted if made.handle.hex() == got.handle)


def failed(bed, got, *errnos, major=0):
    """The context failed with one of these errnos, by a single update that the kernel took and nothing followed."""
    assert got.get("state") == "failed" and -got.rpc_err in errnos, (got, bed.log.lines)
    assert got.gss_major == major, got
    assert got.after_us >= 0
    # The update is recorded when it returns, the context's end before that.
    bed.act("update", key=got.serial, rc=0)
    acts = [(act.act, act.rc) for act in bed.all_events("act", key=got.serial) if not is_early(act)]
    assert acts == [("instantiate", 0), ("update", 0)], acts


def is_early(act):
    """Whether this is an update that came before the binding."""
    return act.act == "update" and act.rc == -11


def refused(bed, got, errno, rule):
    """request_key() itself failed, and the log names the rule."""
    assert (got.get("serial"), got.errno) == (0, errno), (got, bed.log.lines)
    assert "state" not in got, got
    return bed.log.wait(rule)


def mount_refused(bed, mounted, errno):
    """A mount failed at once with this errno, and nothing was instantiated."""
    failure, seconds = mounted
    assert failure == errno and seconds < MOUNT_WITHIN, (failure, seconds, bed.log.lines)
    assert not bed.all_events("act", act="instantiate") and not bed.all_events("denied")


def turned_away(bed, got, errno, rule):
    """Without credentials for the node the request is refused, or it fails later if a second did not suffice to know. The log names the rule."""
    if got.errno:
        return refused(bed, got, errno, rule)
    assert got.blocked_us >= RELEASED_AFTER, (got, bed.log.lines)
    failed(bed, got, errno)
    return bed.log.wait(rule)


def told_at_once(bed, got, within=TOLD_WITHIN):
    """Little time passed between the channel's last answer and the context's end."""
    end = bed.event("end", key=got.serial)
    rpc = bed.all_events("rpc")[-1]
    assert 0 <= end.t - rpc.t < within, (end.t - rpc.t, got)


def klist(who, cache=None):
    """Contents of the cache in klist's words; empty if there is no cache."""
    words = ["klist"] + (["-c", cache] if cache else [])
    return who.run(lambda: subprocess.run(words, capture_output=True, text=True).stdout)


def has_expired(who, cache=None):
    words = ["klist", "-s"] + (["-c", cache] if cache else [])
    return who.run(lambda: subprocess.run(words).returncode) != 0


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self):
        self.start = time.monotonic()

    def __call__(self):
        return time.monotonic() - self.start
