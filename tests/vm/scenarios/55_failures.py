"""What the requester learns when there is no context: the errno and the server's status, at once, and never -ERESTART."""

import errno
import os
import signal
import struct
from pathlib import Path

import kernel
from bed import KEYRING, kill, processes, scenario
from server import WINDOW, Answer, failed as status, garbage, padded, refused_write, refusing, reply, silent
from verdicts import Stopwatch, established, failed, refused, told_at_once

GSS_FAILURE, GSS_CONTINUE = 0xD0000, 1
NID = 0x20000_00000000


def ready(bed, *users):
    for user in users:
        bed.realm.ticket(bed.user(user), user)
    bed.upcall(KEYRING)


@scenario
def a_user_without_a_ticket_is_told_at_once(bed):
    """ENOKEY; the line in the log gives the remedy."""
    ready(bed)
    got = bed.user("bob").ask(wait_ms=30000)
    failed(bed, got, errno.ENOKEY)
    assert got.after_us < 5_000_000, got
    assert "kinit" in bed.log.wait("ENOKEY") and not bed.server.rpcs


@scenario
def what_the_kdc_says_or_does_not_say_is_told(bed):
    """For an unknown service, no KDC, and a silent KDC."""
    ready(bed, "alice")
    alice, secid = bed.user("alice"), 100_000 + 100 * bed.secid
    got = alice.ask(secid=secid, nid=hex(NID + 0xC0A84D02), wait_ms=30000)
    failed(bed, got, errno.EACCES)
    assert "lustre_mds/client.example.test" in bed.log.wait("kdc:"), bed.log.lines
    bed.realm.kdc.send_signal(signal.SIGSTOP)
    bed.settings('[timeouts]\nkdc = "1s"\n')
    watch = Stopwatch()
    got = alice.ask(secid=secid + 1, wait_ms=30000)
    bed.realm.kdc.send_signal(signal.SIGCONT)
    failed(bed, got, errno.ETIMEDOUT)
    assert watch() < 15, watch()
    bed.realm.stop_kdc()
    got = alice.ask(secid=secid + 2, wait_ms=30000)
    failed(bed, got, errno.ECONNREFUSED)
    assert got.after_us < 8_000_000, got


@scenario
def a_server_without_a_name_is_told(bed):
    """An unknown address, a network without addresses, the wildcard identifier: EHOSTUNREACH, with the remedy in the log."""
    ready(bed, "alice")
    for count, nid in enumerate((NID + 0xC0A84D63, 0x000D_0000_00000005, 0xFFFF_FFFF_FFFF_FFFF)):
        got = bed.user("alice").ask(secid=100_000 + 100 * bed.secid + count, nid=hex(nid), wait_ms=30000)
        failed(bed, got, errno.EHOSTUNREACH)
    assert "lustre.nids" in bed.log.wait("resolve:"), bed.log.lines
    bed.settings('[lustre.nids]\n"192.168.77.99@tcp" = "srv.example.test"\n')
    got = bed.user("alice").ask(nid=hex(NID + 0xC0A84D63), wait_ms=30000)
    established(bed, got, "alice")


@scenario
def a_server_that_refuses_is_told_to_the_requester(bed):
    """EACCES with the server's major status; one token, and a second attempt only with a new ticket."""
    ready(bed, "alice")
    for count, major in enumerate((GSS_FAILURE, 0xA0000, 0xC0000)):
        bed.server.rpcs.clear()
        bed.server.answer = refusing(major, 5)
        got = bed.user("alice").ask(secid=100_000 + 100 * bed.secid + count, wait_ms=30000)
        failed(bed, got, errno.EACCES, major=major)
        assert len(bed.server.rpcs) <= 2, bed.server.rpcs
        told_at_once(bed, got)


@scenario
def every_status_of_the_channel_ends_in_a_failure(bed):
    """Errors of the RPC and of the write; ETIMEDOUT is tried twice, the others once."""
    ready(bed, "alice")
    for count, (answer, fields, expected, tries) in enumerate((
        (status(errno.EACCES), {}, errno.EACCES, 1),
        (status(errno.EINVAL), {}, errno.EKEYREVOKED, 1),
        (status(errno.E2BIG), {}, errno.E2BIG, 1),
        (status(errno.EFAULT), {}, errno.EPROTO, 1),
        (status(errno.ETIMEDOUT), {}, errno.ETIMEDOUT, 2),
        (status(errno.EIO), {}, errno.ETIMEDOUT, 1),
        (status(errno.ERESTART), {}, errno.ETIMEDOUT, 1),
        (status(512), {}, errno.ETIMEDOUT, 1),
        (refused_write(errno.EINVAL), {}, errno.ECONNREFUSED, 1),
        (refused_write(errno.EFAULT), {}, errno.EIO, 1),
        (silent, {"known_obd": 0, "obd": "other-MDT0000-mdc-ff2d"}, errno.ECONNREFUSED, 0),
    )):
        bed.server.rpcs.clear()
        bed.server.answer = answer
        got = bed.user("alice").ask(secid=100_000 + 100 * bed.secid + count, wait_ms=30000, **fields)
        failed(bed, got, expected)
        assert len(bed.server.rpcs) == tries, (count, len(bed.server.rpcs))
        told_at_once(bed, got)


@scenario
def answers_that_are_none_end_in_a_failure(bed):
    """Rubbish, lengths beyond the end and of 2^32 - 1, a buffer of the wrong size, an endless negotiation."""
    ready(bed, "alice")
    head = struct.pack("=IIII", 0, 0, 0, WINDOW)
    endless = reply(b"12345678", b"token", major=GSS_CONTINUE)
    for count, (body, *expected) in enumerate((
        (b"", errno.EPROTO),
        (b"\7" * 64, errno.EPROTO),
        (bytes(72 * 1024), errno.EPROTO),
        (struct.pack("=I", 1) + head[4:] + padded(b"12345678") + padded(b""), errno.EPROTO),
        (head + b"\xff\xff\xff\xff" + bytes(64), errno.EPROTO),
        (head + padded(b"12345678") + b"\xff\xff\xff\x7f" + bytes(64), errno.EPROTO),
        (head + padded(b"h" * 4096) + padded(b""), errno.EPROTO),
        (head + padded(b"12345678") + padded(b"t" * 65537), errno.EPROTO),
        (reply(b"12345678", b""), errno.EPROTO, errno.EACCES),
        (reply(b"12345678", b"not a token"), errno.EPROTO, errno.EACCES),
        (endless, errno.EPROTO, errno.EACCES),
    )):
        bed.server.answer = garbage(body)
        got = bed.user("alice").ask(secid=100_000 + 100 * bed.secid + count, wait_ms=30000)
        assert got.get("state") == "failed", (count, got, bed.log.lines)
        assert -got.rpc_err in expected, (count, got, bed.log.lines)
        told_at_once(bed, got)
    assert len(bed.server.rpcs) < 11 * 16


@scenario
def an_answer_that_lacks_one_thing_makes_no_context(bed):
    """Without window, without handle, with a token that is not the server's, with a token of another context (S12)."""
    ready(bed, "alice")
    kept = []

    def changed(change):
        def answer(rpc):
            honest = bed.server.accept(rpc).body
            handle, token = honest[20:28], honest[32:][: struct.unpack_from("=I", honest, 28)[0]]
            kept.append(token)
            return Answer(change(handle, token))

        return answer

    for count, change in enumerate((
        lambda handle, token: reply(handle, token, window=0),
        lambda handle, token: reply(b"", token),
        lambda handle, token: reply(handle, token[:-1] + bytes([token[-1] ^ 1])),
        lambda handle, token: reply(handle, token[:-1]),
        lambda handle, token: reply(handle, kept[0]),
    )):
        bed.server.answer = changed(change)
        got = bed.user("alice").ask(secid=100_000 + 100 * bed.secid + count, wait_ms=30000)
        assert got.get("state") == "failed" and -got.rpc_err in (errno.EPROTO, errno.EACCES), (count, got, bed.log.lines)
        told_at_once(bed, got)


@scenario
def a_server_that_is_silent_once_is_asked_again(bed):
    """EAGAIN several times for one token; ETIMEDOUT once, after the server has taken it, for another; then the context."""
    ready(bed, "alice")

    def lost(rpc):
        bed.server.accept(rpc)
        return status(errno.ETIMEDOUT)(rpc)

    answers = iter([status(errno.EAGAIN), status(errno.EAGAIN), lost])
    bed.server.answer = lambda rpc: next(answers, bed.server.accept)(rpc)
    established(bed, bed.user("alice").ask(wait_ms=30000), "alice")
    assert len({rpc.token for rpc in bed.server.rpcs}) == 2 and len(bed.server.rpcs) == 4


@scenario
def a_silent_server_costs_the_time_until_the_deadline(bed):
    """ETIMEDOUT; the kernel decides how long one RPC may take. The hanging write is ended, and no process is left."""
    ready(bed, "alice")
    bed.server.answer = silent
    bed.settings('[timeouts]\ndeadline = "2s"\nround = "1s"\n')
    got = bed.user("alice").ask(wait_ms=30000)
    failed(bed, got, errno.ETIMEDOUT)
    assert 1_600_000 < got.after_us < 10_000_000, got
    bed.until_gone(5)
    assert bed.event("rpc").rc == -errno.EINTR
    bed.server.answer = status(errno.EAGAIN)
    got = bed.user("alice").ask(secid=900_000 + bed.secid, wait_ms=30000)
    failed(bed, got, errno.ETIMEDOUT, errno.EAGAIN)
    assert 1_500_000 < got.after_us < 10_000_000, got


@scenario
def a_server_or_kdc_that_hangs_is_waited_for_once_in_an_access(bed):
    """The kernel asks twice; the second request fails at once with the same errno, and the log says why. One token is sent.

    The line has the time of every stage, including the one that hung.
    """
    ready(bed, "alice")
    kernel.set_parameters(rpc_timeout_ms=6000)
    bed.server.answer = silent
    got = bed.user("alice").ask(wait_ms=30000)
    failed(bed, got, errno.ETIMEDOUT)
    line = bed.log.wait("ETIMEDOUT")
    stages = line.rsplit("[", 1)[1].split("]")[0]
    times = {word.split()[0]: float(word.split()[1]) for word in stages.split(", ")}
    assert {"authorise", "launch", "credentials", "kdc", "negotiate"} <= set(times), line
    assert 5000 < times["negotiate"] < 60000, line
    bed.log.lines.clear()
    again = bed.user("alice").ask(wait_ms=30000)
    failed(bed, again, errno.ETIMEDOUT)
    assert "not tried again" in bed.log.wait("ETIMEDOUT") and len(bed.server.rpcs) == 1, bed.log.lines
    # The same with a KDC that hangs.
    bed.realm.kdc.send_signal(signal.SIGSTOP)
    bed.settings('[timeouts]\nkdc = "3s"\n')
    fields = {"secid": 900_000 + bed.secid, "lustre_svc": 2, "obd": "lustre-OST0000-osc-ff2d"}
    for words in ("no answer", "not tried again"):
        bed.log.lines.clear()
        failed(bed, bed.user("alice").ask(wait_ms=30000, **fields), errno.ETIMEDOUT)
        assert words in bed.log.wait("kdc:"), bed.log.lines
    bed.realm.kdc.send_signal(signal.SIGCONT)


@scenario
def the_kernels_patience_is_the_deadline_of_an_upcall(bed):
    """None of our processes goes on when the context has expired."""
    ready(bed, "alice")
    bed.server.answer = silent
    kernel.set_timeout(1)
    got = bed.user("alice").ask(wait_ms=30000)
    assert got.state == "expired" or (got.state, got.rpc_err) == ("failed", -errno.ETIMEDOUT), got
    bed.until_gone(5)
    kernel.set_timeout(100)
    bed.server.answer = None
    # Another target, because the silence of the first is remembered for some seconds.
    established(bed, bed.user("alice").ask(secid=900_000 + bed.secid, wait_ms=30000), "alice")


def a_negotiation_at_the_server(bed):
    """Begins a negotiation that stays at the server until the event is set."""
    held = bed.server.hold()
    asked = bed.user("alice").begin(wait_ms=60000)
    assert held.begun.wait(20), bed.log.lines
    return asked, held.go


@scenario
def a_worker_that_is_killed_fails_the_key(bed):
    """EIO at once, although the server has not answered; the next request is served."""
    ready(bed, "alice")
    asked, go = a_negotiation_at_the_server(bed)
    watch = Stopwatch()
    for pid in processes("lgss_negotiate"):
        kill(pid)
    failed(bed, asked.result(), errno.EIO)
    assert watch() < 5, watch()
    go.set()
    bed.until_gone(5)
    bed.server.answer = None
    established(bed, bed.user("alice").ask(wait_ms=30000), "alice")


@scenario
def while_a_server_is_waited_for_roots_processes_have_one_right_and_few_calls(bed):
    """The monitor, and the process that exchanges the token, which has a filter more: CAP_KILL, and no way to another right."""
    ready(bed, "alice")
    asked, go = a_negotiation_at_the_server(bed)
    filters = []
    for pid in processes("lgss_keyring"):
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        rights = [status[name] for name in ("CapPrm", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp")]
        assert rights == [f"{1 << 5:016x}", f"{1 << 5:016x}", "0" * 16, "1", "2"], status
        filters.append(int(status["Seccomp_filters"]))
    monitor, exchange = sorted(filters)
    assert exchange == monitor + 1, filters
    go.set()
    established(bed, asked.result(), "alice")


@scenario
def without_a_monitor_the_kernel_ends_the_context(bed):
    """None of our processes is left to do it, and the worker has gone too; the next request is served."""
    ready(bed, "alice")
    kernel.set_timeout(3)
    asked, go = a_negotiation_at_the_server(bed)
    for pid in processes("lgss_keyring"):
        kill(pid)
    assert asked.result().state == "expired"
    go.set()
    bed.until_gone(5)
    kernel.set_timeout(100)
    bed.server.answer = None
    established(bed, bed.user("alice").ask(wait_ms=30000), "alice")


@scenario
def programs_can_be_replaced_while_they_run(bed):
    """As in a package update: requests that have begun end well, later ones get the new programs."""
    ready(bed, "alice", "bob")
    asked, go = a_negotiation_at_the_server(bed)
    for program in (KEYRING, "/usr/libexec/lgss/lgss_negotiate"):
        with open(program, "rb") as old, open(program + ".new", "wb") as new:
            new.write(old.read())
        os.chmod(program + ".new", 0o755 if program == KEYRING else 0o711)
        os.rename(program + ".new", program)
    bob = bed.user("bob").begin(secid=900_000 + bed.secid, wait_ms=30000)
    go.set()
    established(bed, asked.result(), "alice")
    established(bed, bob.result(), "bob")


@scenario
def users_wait_for_a_place(bed):
    """With one place for all, the second requester is released and its context waits; at the deadline it fails with EAGAIN."""
    ready(bed, "alice", "bob")
    bed.settings("[limits]\nkernel = 1\n")
    asked, go = a_negotiation_at_the_server(bed)
    secid = 900_000 + bed.secid
    bed.settings('[limits]\nkernel = 1\n[timeouts]\ndeadline = "1s"\n')
    failed(bed, bed.user("bob").ask(secid=secid + 1, obd="lustre-MDT0002-mdc-ff2d", wait_ms=30000), errno.EAGAIN)
    bed.settings("[limits]\nkernel = 1\n")
    bob = bed.user("bob").begin(secid=secid, obd="lustre-MDT0001-mdc-ff2d", wait_ms=30000)
    assert bed.event("request", desc=f"2002@{secid:x}").errno == 0
    # The node's requests have separate places.
    fields = {"flags": "r", "svc": "i", "secid": secid + 2, "obd": "lustre-MDT0003-mdc-ff2d"}
    node = bed.user("root").begin(wait_ms=30000, **fields)
    bed.until(lambda: len(bed.server.rpcs) == 2, "the node's token")
    assert {rpc.obd for rpc in bed.server.rpcs} == {"lustre-MDT0000-mdc-ff2dfdc40a66a800", "lustre-MDT0003-mdc-ff2d"}
    go.set()
    established(bed, asked.result(), "alice")
    established(bed, bob.result(), "bob")
    established(bed, node.result(), "lustre_root/client.example.test")


@scenario
def a_mechanism_that_there_is_not_is_refused(bed):
    """EINVAL, before anything is instantiated."""
    ready(bed)
    got = bed.user("alice").ask(mech="krb4", wait_ms=1000)
    refused(bed, got, errno.EINVAL, "mechanism")
