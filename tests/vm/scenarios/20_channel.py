"""init_channel answers as specified; the scenario itself writes to it."""

import errno
import threading

import kernel
import server
from bed import scenario
from requester import Requester

OBD = "lustre-MDT0000-mdc-ff2dfdc40a66a800"


def known(state="up", secid=4):
    kernel.order(f"obd {OBD} {secid} {state}")


@scenario
def a_token_reaches_the_server_and_its_answer_the_caller(bed):
    """Secid, service, mechanism and ids arrive as sent."""
    known()
    body = server.reply(b"12345678", b"token back")
    bed.server.answer = lambda rpc: server.Answer(body)
    failure, status, reply = kernel.channel_write(OBD, b"token", uid=2001, gid=2002, lustre_svc=1 | 2 << 16)
    assert (failure, status, reply[: len(body)]) == (0, 0, body), (failure, status)
    got = bed.server.rpcs[0]
    assert (got.obd, got.token, got.secid, got.lustre_svc, got.mech, got.uid, got.gid) == (OBD, b"token", 4, 1, 2, 2001, 2002)
    event = bed.event("rpc")
    assert event.bytes("raw")[:4] == b"\2\0\0\0" and event.bytes("token") == b"token" and event.bytes("reply") == body


@scenario
def the_write_fails_for_what_cannot_be_sent(bed):
    """EINVAL for size, version, an unknown or stopping target; EFAULT for pointers."""
    known()
    bed.server.answer = lambda rpc: server.Answer(server.reply(b"12345678", b""))
    for change in ({"length": 71}, {"length": 73}, {"version": 1}, {"version": 3}):
        assert kernel.channel_write(OBD, b"t", **change)[0] == errno.EINVAL, change
    assert kernel.channel_write("lustre-MDT0001-mdc", b"t")[0] == errno.EINVAL
    assert kernel.channel_write("x" * 64, b"t")[0] == errno.EINVAL
    for pointer in ("obd_at", "token_at", "reply_at", "status_at"):
        assert kernel.channel_write(OBD, b"t", **{pointer: 1})[0] == errno.EFAULT, pointer
    known("stopping")
    assert kernel.channel_write(OBD, b"t")[0] == errno.EINVAL


@scenario
def the_status_tells_what_became_of_the_rpc(bed):
    """For a secid that has changed, a token or an answer that is too large, and whatever the server says."""
    known()
    assert kernel.channel_write(OBD, b"t", secid=5)[:2] == (0, -errno.EINVAL)
    kernel.set_parameters(max_token=100)
    assert kernel.channel_write(OBD, bytes(101))[:2] == (0, -errno.E2BIG)
    for number in (errno.EACCES, errno.ETIMEDOUT, errno.EAGAIN):
        bed.server.answer = server.failed(number)
        assert kernel.channel_write(OBD, b"t")[:2] == (0, -number)
    bed.server.answer = server.garbage(bytes(9000))
    assert kernel.channel_write(OBD, b"t")[:2] == (0, -errno.EFAULT)
    assert kernel.channel_write(OBD, b"t", reply_size=9000)[:2] == (0, 0)
    bed.server.answer = server.refused_write(errno.EINVAL)
    assert kernel.channel_write(OBD, b"t")[0] == errno.EINVAL


@scenario
def a_silent_server_costs_the_rpcs_time(bed):
    """Then the status is ETIMEDOUT; a killed writer ends earlier."""
    known()
    bed.server.answer = server.silent
    kernel.set_parameters(rpc_timeout_ms=500)
    assert kernel.channel_write(OBD, b"t")[:2] == (0, -errno.ETIMEDOUT)
    kernel.set_parameters(rpc_timeout_ms=60000)
    hanging = Requester().start(lambda: kernel.channel_write(OBD, b"t")[0])
    bed.until(lambda: len(bed.server.rpcs) == 2, "the RPC")
    hanging.end()
    assert bed.event("rpc", rc=-errno.EINTR).us < 30_000_000


@scenario
def an_answer_may_take_its_time(bed):
    """Two writers do not wait for each other."""
    known()
    go = threading.Event()

    def answer(rpc):
        if rpc.token == b"slow":
            go.wait(20)
        return server.Answer(server.reply(b"12345678", rpc.token))

    bed.server.answer = answer
    slow = Requester().start(lambda: kernel.channel_write(OBD, b"slow")[1])
    bed.until(lambda: bed.server.rpcs, "the slow RPC")
    assert kernel.channel_write(OBD, b"quick")[1] == 0
    go.set()
    assert slow.result() == 0


@scenario
def the_channel_is_roots(bed):
    """Its mode is 0200; the timeout and the log level can be read."""
    try:
        found = bed.user("alice").run(lambda: kernel.channel_write(OBD, b"t")[0])
    except AssertionError as failure:
        found = str(failure)
    assert "PermissionError" in str(found), found
    assert open("/sys/fs/lustre/timeout").read() == "100\n"
    assert open("/sys/fs/lustre/sptlrpc/gss/lgss_keyring/debug_level").read() == "1\n"
