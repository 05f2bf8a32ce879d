"""Contexts without security (mechanism gssnull): one token of random bits and roles; the server's token goes to the kernel."""

import errno
import os
import struct

from bed import KEYRING, processes, scenario
from server import GSSNULL, failed as status, garbage, refused_write, refusing, reply, silent
from verdicts import failed, made_by_server, told_at_once

GSS_FAILURE, GSS_CONTINUE = 0xD0000, 1


def of_user(bed, number=0):
    return bed.target(number) | {"mech": "gssnull", "obd": f"{bed.file_system}-MDT{number:04x}-mdc-ff2d"}


def of_node(bed, number=0):
    return of_user(bed, number) | {"flags": "r", "svc": "n"}


def mount_fields(bed, number=0):
    fields = of_node(bed, number)
    del fields["wait_ms"]
    return fields


@scenario
def gssnull_gives_contexts_to_the_node_and_to_users(bed):
    """The kernel gets the server's token. Ours has four random bytes and the roles, and no two are the same. No worker is started."""
    bed.upcall(KEYRING)
    os.chmod("/usr/libexec/lgss/lgss_negotiate", 0)
    try:
        for number, (who, flags, svc, bits) in enumerate((
            ("root", "r", "n", 1), ("root", "m", "n", 2), ("root", "o", "i", 4), ("root", "rmo", "n", 7), ("alice", "", "-", 0),
        )):
            got = bed.user(who).ask(**of_user(bed, number) | ({"flags": flags, "svc": svc} if flags else {}))
            made = made_by_server(bed, got)
            assert got.bytes("token") == made.token and got.seq_win == 2048, (got, made)
            assert (len(made.rpc.token), made.rpc.mech, made.rpc.token[4:]) == (8, GSSNULL, struct.pack(">I", bits)), made.rpc
            assert made.rpc.uid == (2001 if who == "alice" else 0), made.rpc
        assert len({made.rpc.token[:4] for made in bed.server.accepted}) == 5, bed.server.accepted
        assert len(bed.server.rpcs) == 5 and not processes("lgss_negotiate")
    finally:
        os.chmod("/usr/libexec/lgss/lgss_negotiate", 0o711)


@scenario
def a_mount_by_gssnull_succeeds(bed):
    """With mount(2) and fsconfig(2), without keytab, KDC or names."""
    bed.upcall(KEYRING)
    for number, api in enumerate(("mount", "fsconfig")):
        failure, _ = bed.user("root").mount(api=api, **mount_fields(bed, number))
        assert failure == 0, (api, errno.errorcode.get(failure), bed.log.lines)


@scenario
def every_refusal_of_gssnull_is_told_at_once(bed):
    """By the server's status, by the RPC's, by an answer that is none; a server that is silent twice."""
    bed.upcall(KEYRING)
    head = struct.pack("=IIII", 0, 0, 0, 2048)
    for number, (answer, expected, major, tries) in enumerate((
        (refusing(GSS_FAILURE), errno.EACCES, GSS_FAILURE, 1),
        (garbage(reply(b"12345678", b"12345678", major=GSS_CONTINUE)), errno.EPROTO, 0, 1),
        (status(errno.EACCES), errno.EACCES, 0, 1),
        (status(errno.EINVAL), errno.EKEYREVOKED, 0, 1),
        (status(errno.ETIMEDOUT), errno.ETIMEDOUT, 0, 2),
        (refused_write(errno.EINVAL), errno.ECONNREFUSED, 0, 1),
        (garbage(b""), errno.EPROTO, 0, 1),
        (garbage(b"\7" * 64), errno.EPROTO, 0, 1),
        (garbage(head + b"\xff\xff\xff\xff" + bytes(64)), errno.EPROTO, 0, 1),
        (garbage(reply(b"12345678", b"")), errno.EPROTO, 0, 1),
        (garbage(reply(b"", b"12345678")), errno.EPROTO, 0, 1),
        (garbage(reply(b"12345678", b"12345678", window=0)), errno.EPROTO, 0, 1),
    )):
        bed.server.rpcs.clear()
        bed.server.answer = answer
        got = bed.user("alice").ask(**of_user(bed, number))
        failed(bed, got, expected, major=major)
        assert len(bed.server.rpcs) == tries, (number, len(bed.server.rpcs))
        told_at_once(bed, got)


@scenario
def a_token_of_gssnull_that_was_lost_is_followed_by_another(bed):
    """The server has taken the first and has not answered."""
    bed.upcall(KEYRING)

    def lost(rpc):
        bed.server.accept(rpc)
        return status(errno.ETIMEDOUT)(rpc)

    answers = iter([lost])
    bed.server.answer = lambda rpc: next(answers, bed.server.accept)(rpc)
    got = bed.user("alice").ask(**of_user(bed))
    assert got.bytes("token") == made_by_server(bed, got).token
    assert len({rpc.token for rpc in bed.server.rpcs}) == 2, bed.server.rpcs


@scenario
def a_silent_server_of_gssnull_costs_the_time_until_the_deadline(bed):
    """ETIMEDOUT, and no process is left."""
    bed.upcall(KEYRING)
    bed.server.answer = silent
    bed.settings('[timeouts]\ndeadline = "2s"\nround = "1s"\n')
    got = bed.user("alice").ask(**of_user(bed))
    failed(bed, got, errno.ETIMEDOUT)
    assert 900_000 < got.after_us < 10_000_000, got
    bed.until_gone(5)


@scenario
def a_refusing_server_lets_a_mount_by_gssnull_try_until_it_is_given_up(bed):
    """As with Kerberos: it fails after the instantiation, so the kernel asks again; once the server agrees, the mount goes on."""
    bed.upcall(KEYRING)
    bed.server.answer = refusing(GSS_FAILURE)
    mount = bed.user("root").begin_mount(**mount_fields(bed))
    bed.until(lambda: len(bed.all_events("denied")) >= 2, "two tries", 60)
    bed.server.answer = None
    assert mount.result(60)[0] == 0, bed.log.lines
