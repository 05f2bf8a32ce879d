"""Contexts by shared keys (mechanism sk): which key is used, what the kernel gets, and what a key or server that does not fit leads to."""

import errno
import os
import re
import secrets
import signal
import struct
from pathlib import Path

import kernel
import sk
from bed import KEYRING, processes, scenario
from requester import CLONE_NEWNS, Requester, context, unshare
from server import Answer, failed as rpc_failed, refusing, reply
from verdicts import established_by_shared_key, failed, mount_refused, refused, told_at_once
from written import Written

GSS_FAILURE = 0xD0000
GSS_UNAUTHORIZED = 0xF0000
MGS_NID = 0x20000C0A84D01
MGC = "MGC192.168.77.1@tcp"
# In µs, from the server's answer to the context's end: the worker derives keys before it looks at the rest of the answer.
DERIVED_WITHIN = 4_000_000
OPEN_TO_ALL = ("setperm", "0x3f3f3f3f")


def made(**options):
    return sk.SharedKey(secrets.token_bytes(32), **({"prime": sk.SHORT_PRIME} | options))


def name(bed, suffix=""):
    """Where a client's key for this scenario's file system is."""
    return f"lustre:{bed.file_system}{suffix}"


def load(bed, shared, suffix="", *orders, **others):
    return sk.load(name(bed, suffix), shared.form(**{"file_system": bed.file_system} | others), *orders)


def ready(bed, **options):
    """A key that the server has, too, loaded for the file system."""
    bed.upcall(KEYRING)
    shared = bed.server.shared_key = made(**options)
    load(bed, shared)
    return shared


def of_user(bed, number=0):
    """Fields of a user's request for one of the targets."""
    return bed.target(number) | {"mech": "sk", "obd": f"{bed.file_system}-MDT{number:04x}-mdc-ff2d"}


def of_node(bed, number=0):
    return of_user(bed, number) | {"flags": "r", "svc": "i"}


def mount(bed, number=0, **fields):
    fields = of_node(bed, number) | fields
    del fields["wait_ms"]
    return bed.user("root").mount(**fields)


def token_of(body):
    """Handle and token of a well-formed reply with a handle of eight bytes."""
    return body[20:28], body[32:][: struct.unpack_from("=I", body, 28)[0]]


@scenario
def a_shared_key_gives_contexts_at_every_level(bed):
    """The kernel gets the server's keys, for a client, an MDT and an OST; an encryption key for privacy and for users, whose contexts serve all
    levels. The prime has 2048 bits."""
    ready(bed, prime=sk.PRIME)
    root = bed.user("root")
    for number, (flags, svc, bits) in enumerate((
        ("r", "n", 0x11), ("r", "a", 0x21), ("r", "i", 0x41), ("r", "p", 0x81), ("m", "i", 0x42), ("o", "p", 0x84),
    )):
        made_context = established_by_shared_key(bed, root.ask(**of_node(bed, number) | {"flags": flags, "svc": svc}))
        assert (made_context.sk.flags, len(made_context.sk.integrity), len(made_context.sk.encryption)) == (bits, 32, 32 if svc == "p" else 0)
        assert (made_context.rpc.uid, made_context.rpc.mech) == (0, 2), made_context.rpc
    for number, who in enumerate(("alice", "root"), 10):
        made_context = established_by_shared_key(bed, bed.user(who).ask(**of_user(bed, number)))
        assert (made_context.sk.flags, len(made_context.sk.encryption)) == (0x80, 32), made_context.sk.flags
        assert made_context.rpc.uid == (2001 if who == "alice" else 0), made_context.rpc
    assert not bed.server.problems, bed.server.problems


@scenario
def a_management_server_has_a_key_that_names_it(bed):
    """It has no file system; the flags are those of a target and its client at once."""
    bed.upcall(KEYRING)
    shared = bed.server.shared_key = made()
    sk.load(f"lustre:{MGC}", shared.form(nids=[MGS_NID + 1, MGS_NID]))
    got = bed.user("root").ask(**of_node(bed) | {"obd": MGC, "flags": "rmo", "lustre_svc": 0})
    assert established_by_shared_key(bed, got).sk.flags == 0x47


@scenario
def algorithms_and_time_are_the_shared_keys(bed):
    """SHA-512; no cipher; nothing at all; the shortest time; a secret of 128 bytes; another nodemap."""
    bed.upcall(KEYRING)
    for number, (options, lengths) in enumerate((
        ({"hmac": "sha512"}, (64, 32)),
        ({"cipher_key_size": 0}, (32, 0)),
        ({"hmac": "null", "cipher_key_size": 0}, (0, 0)),
        ({"expire": 60}, (32, 32)),
        ({"secret": bytes(range(128)), "nodemap": "abcdefghijklmnop"}, (32, 32)),
    )):
        shared = bed.server.shared_key = sk.SharedKey(**{"secret": secrets.token_bytes(32), "prime": sk.SHORT_PRIME} | options)
        load(bed, shared)
        made_context = established_by_shared_key(bed, bed.user("alice").ask(**of_user(bed, number)))
        assert (len(made_context.sk.integrity), len(made_context.sk.encryption)) == lengths, options


@scenario
def a_cipher_without_hmac_is_refused(bed):
    """Lustre's form allows it, but there is nothing to derive the cipher's key with."""
    bed.upcall(KEYRING)
    load(bed, made(), hmac=0)
    mount_refused(bed, mount(bed), errno.EKEYREJECTED)
    assert "cipher but no HMAC" in bed.log.wait(name(bed)), bed.log.lines


@scenario
def the_key_of_a_mount_comes_before_that_of_the_file_system(bed):
    """By the client's uuid, which the kernel tells; other mounts have the file system's key."""
    bed.upcall(KEYRING)
    common, own = made(), made()
    load(bed, common)
    load(bed, own, ":5f471647-7cc6-4fb8-b1c2-f69a8ef76913")
    for number, (uuid, shared) in enumerate((("5f471647-7cc6-4fb8-b1c2-f69a8ef76913", own), ("5f471647", common))):
        bed.server.shared_key = shared
        established_by_shared_key(bed, bed.user("root").ask(**of_node(bed, number), uuid=uuid))
    assert not bed.server.problems, bed.server.problems
    bed.server.shared_key = common
    established_by_shared_key(bed, bed.user("root").ask(**of_node(bed, 2), fields=11))


@scenario
def of_many_targets_at_once_one_tests_the_prime(bed):
    """All twelve are established; the test's result is written once, and the next mount finds it."""
    ready(bed, prime=sk.PRIME)
    # The server shares a processor with all of them.
    kernel.set_parameters(rpc_timeout_ms=100000)
    os.makedirs("/run/lgss/primes", 0o700)
    os.chmod("/run/lgss", 0o700)
    with Written("/run/lgss/primes") as written:
        asked = [bed.user("root").begin(**of_node(bed, number) | {"wait_ms": 100000}) for number in range(12)]
        for one in asked:
            established_by_shared_key(bed, one.result(120))
        assert mount(bed, 12)[0] == 0, bed.log.lines
        assert written.count() == 1, written.count()
    assert [path.read_text() for path in Path("/run/lgss/primes").iterdir()] == ["safe\n"]


@scenario
def a_mount_by_shared_key_succeeds_without_a_kdc_or_names(bed):
    """With mount(2) and fsconfig(2); neither KDC nor name service nor keytab is needed."""
    ready(bed)
    for number, api in enumerate(("mount", "fsconfig")):
        failure, seconds = mount(bed, number, api=api)
        assert failure == 0, (api, errno.errorcode.get(failure), bed.log.lines)


@scenario
def without_a_shared_key_a_mount_fails_at_once(bed):
    """ENOKEY; the log has the names that were looked for. Once the key is loaded, the mount succeeds."""
    bed.upcall(KEYRING)
    shared = bed.server.shared_key = made()
    mount_refused(bed, mount(bed, uuid="5f471647"), errno.ENOKEY)
    line = bed.log.wait(name(bed))
    assert name(bed, ":5f471647") in line and "lgss_sk" in line, line
    refused(bed, bed.user("root").ask(**of_node(bed, 1) | {"obd": MGC}), errno.ENOKEY, f"lustre:{MGC}")
    got = bed.user("alice").ask(**of_user(bed, 2))
    failed(bed, got, errno.ENOKEY) if "state" in got else refused(bed, got, errno.ENOKEY, name(bed))
    load(bed, shared)
    assert mount(bed, 3)[0] == 0, bed.log.lines


@scenario
def a_key_whose_time_is_over_fails_a_mount_at_once(bed):
    """EKEYEXPIRED, in words; a revoked one is rejected. The predecessor of an expired key serves if it is still there."""
    bed.upcall(KEYRING)
    shared = bed.server.shared_key = made()
    serial = load(bed, shared, "", ("timeout", 1))
    bed.until(lambda: has_ended(serial), "the key's end")
    mount_refused(bed, mount(bed), errno.EKEYEXPIRED)
    bed.log.wait(f"{name(bed)}: it has expired")
    load(bed, shared, "#previous")
    assert mount(bed, 1)[0] == 0, bed.log.lines


def has_ended(serial):
    """A key's time is over, as /proc/keys shows it."""
    fields = next((line.split() for line in open("/proc/keys") if int(line.split()[0], 16) == serial), None)
    return fields is None or fields[3] == "expd"


@scenario
def a_key_that_does_not_fit_fails_a_mount_at_once(bed):
    """EKEYREJECTED, with the reason in words: for another file system or MGS, for servers, without the flavour's protection, malformed; or
    revoked, which no predecessor replaces. Nothing is instantiated."""
    bed.upcall(KEYRING)
    shared = bed.server.shared_key = made()
    good = shared.form(bed.file_system)
    number = 0
    for form, words, *svc in (
        (shared.form(bed.file_system, hmac=0, cipher=0), "no HMAC", "a"),
        (shared.form(bed.file_system, cipher=0), "no cipher", "p"),
        (shared.form("elsewhere"), "for file system elsewhere"),
        (shared.form(bed.file_system, types=sk.SERVER), "server"),
        (shared.form(bed.file_system, types=sk.MGS), "mgs"),
        (shared.form(bed.file_system, types=0), "no type"),
        (shared.form(bed.file_system, types=8), "type"),
        (shared.form(bed.file_system, version=2), "version is 2"),
        (shared.form(bed.file_system, hmac=3), "HMAC algorithm 3"),
        (shared.form(bed.file_system, cipher=2), "cipher 2"),
        (shared.form(bed.file_system, expire=59), "59 s"),
        (shared.form(bed.file_system, expire=1 << 31), "2147483648 s"),
        (shared.form(bed.file_system, secret_bits=255), "255 bits"),
        (shared.form(bed.file_system, secret_bits=0), "no secret"),
        (shared.form(bed.file_system, secret_bits=1032), "1032 bits"),
        (shared.form(bed.file_system, prime_bits=513), "513 bits"),
        (shared.form(bed.file_system, prime_bits=1 << 31), "bits"),
        (good[:-1], "2406 bytes"),
        (good + b"\0", "more than 2407 bytes"),
        (b"x", "1 bytes"),
    ):
        sk.load(name(bed), form)
        mount_refused(bed, mount(bed, number, svc=svc[0] if svc else "i"), errno.EKEYREJECTED)
        line = bed.log.wait(name(bed))
        assert words in line, (words, line)
        bed.log.lines.clear()
        number += 1
    sk.unload()
    for nids, words in (((), "no MGS"), ((MGS_NID + 1,), "192.168.77.2@tcp")):
        sk.load(f"lustre:{MGC}", shared.form(bed.file_system, nids))
        mount_refused(bed, mount(bed, number, obd=MGC), errno.EKEYREJECTED)
        assert words in bed.log.wait(f"lustre:{MGC}"), bed.log.lines
        bed.log.lines.clear()
        number += 1
    sk.unload()
    load(bed, shared, "", ("revoke",))
    load(bed, shared, "#previous")
    mount_refused(bed, mount(bed, number), errno.EKEYREJECTED)
    bed.log.wait("revoked")
    assert not bed.server.rpcs, bed.server.rpcs


@scenario
def a_prime_that_is_not_safe_fails_a_mount_at_once(bed):
    """EKEYREJECTED: composite, with a composite half, of a wrong form, or short. Nothing is sent, and nothing is remembered of it as safe."""
    bed.upcall(KEYRING)
    composite = next(number for number in range(sk.SHORT_PRIME + 24, 1 << 512, 24) if not passes(number))
    unsafe = next(n for n in range(sk.SHORT_PRIME + 24, 1 << 512, 24) if passes(n) and not passes(n // 2))
    for number, (prime, words) in enumerate((
        (composite, "composite"),
        (unsafe, "not safe"),
        (sk.SHORT_PRIME + 2, "modulo 24"),
        (167, "8 bits"),
    )):
        bed.server.shared_key = made(prime=prime)
        load(bed, bed.server.shared_key)
        mount_refused(bed, mount(bed, number), errno.EKEYREJECTED)
        assert words in bed.log.wait(name(bed)), (words, bed.log.lines)
        bed.log.lines.clear()
    assert not bed.server.rpcs, bed.server.rpcs
    assert not any(path.read_bytes() for path in Path("/run/lgss/primes").iterdir())


def passes(number):
    """Fermat's test."""
    return pow(3, number - 1, number) == 1


@scenario
def a_server_with_another_secret_is_told_apart(bed):
    """EACCES with its major status; the log names the key and, where there is one, the key before it."""
    bed.upcall(KEYRING)
    bed.server.shared_key = made()
    load(bed, made())
    got = bed.user("alice").ask(**of_user(bed))
    failed(bed, got, errno.EACCES, major=GSS_FAILURE)
    told_at_once(bed, got)
    assert f"with {name(bed)}" in bed.log.wait("EACCES") and len(bed.server.rpcs) == 1, bed.log.lines
    bed.log.lines.clear()
    load(bed, made(), "#previous")
    for number, (who, fields) in enumerate((("alice", of_user), ("root", of_node)), 1):
        bed.server.rpcs.clear()
        got = bed.user(who).ask(**fields(bed, number))
        failed(bed, got, errno.EACCES, major=GSS_FAILURE)
        told_at_once(bed, got)
        line = bed.log.wait(f"MDT{number:04x}")
        assert f"with {name(bed, '#previous')}" in line and re.search(f"with {name(bed)}[^#]", line), line
        assert len(bed.server.rpcs) == 2 and not bed.server.accepted, bed.server.rpcs
    # Without a shared key on the server the RPC itself is denied; that, too, is a refusal of each key.
    bed.server.shared_key = None
    bed.server.rpcs.clear()
    failed(bed, bed.user("alice").ask(**of_user(bed, 3)), errno.EACCES, major=GSS_UNAUTHORIZED)
    assert "it denies access" in bed.log.wait("MDT0003") and len(bed.server.rpcs) == 2, bed.log.lines


@scenario
def a_refusing_server_lets_a_mount_by_shared_key_try_until_it_is_given_up(bed):
    """A failure that only the server knows comes after the instantiation, as with Kerberos; once the server has the key, the mount goes on."""
    shared = ready(bed)
    bed.server.shared_key = made()
    running = bed.user("root").begin_mount(mech="sk", flags="r", svc="i", obd=of_node(bed)["obd"], secid=of_node(bed)["secid"])
    bed.until(lambda: len(bed.all_events("denied")) >= 2, "two tries", 60)
    bed.server.shared_key = shared
    assert running.result(60)[0] == 0, bed.log.lines


@scenario
def after_a_rotation_the_key_before_the_newest_still_serves(bed):
    """The server has not got the successor yet: the key before it is used, at the cost of one token, and the log says so. Contexts that exist stay."""
    kernel.set_debug_level(2)
    old, alice = ready(bed), bed.user("alice")
    first = alice.ask(**of_user(bed))
    established_by_shared_key(bed, first)
    bed.until(lambda: bed.usage(alice, first.serial) == 2, "usage count 2")
    new = made()
    load(bed, old, "#previous")
    load(bed, new)
    bed.server.rpcs.clear()
    bed.log.lines.clear()
    for number, (who, fields) in enumerate(((alice, of_user), (bed.user("root"), of_node)), 1):
        made_context = established_by_shared_key(bed, who.ask(**fields(bed, number)))
        assert made_context.sk.shared == old and len(bed.server.rpcs) == 2 * number, bed.server.rpcs
        line = bed.log.wait(f"MDT{number:04x}")
        assert f"{name(bed, '#previous')} (" in line and f"({name(bed)}: server refuses" in line, line
    assert context(first.ctx).state == "established"
    again = alice.ask(**of_user(bed))
    assert (again.serial, bed.usage(alice, first.serial)) == (first.serial, 2), again
    # A server that denies the RPC itself refuses the key, too.
    denials = iter([Answer(status=-errno.EACCES)])
    bed.server.answer = lambda rpc: next(denials, None) or bed.server.accept(rpc)
    made_context = established_by_shared_key(bed, alice.ask(**of_user(bed, 4)))
    assert made_context.sk.shared == old and "it denies access" in bed.log.wait("MDT0004"), bed.log.lines
    bed.server.answer = None
    # The server has it now.
    bed.server.shared_key = new
    bed.server.rpcs.clear()
    bed.log.lines.clear()
    made_context = established_by_shared_key(bed, alice.ask(**of_user(bed, 3)))
    assert made_context.sk.shared == new and len(bed.server.rpcs) == 1
    assert "#previous" not in bed.log.wait("MDT0003"), bed.log.lines


@scenario
def a_damaged_successor_does_not_stand_in_the_way(bed):
    """The key before it serves, and the log says what is wrong."""
    kernel.set_debug_level(2)
    shared = ready(bed)
    load(bed, shared, "#previous")
    load(bed, made(), expire=1)
    established_by_shared_key(bed, bed.user("root").ask(**of_node(bed)))
    line = bed.log.wait("MDT0000")
    assert f"{name(bed, '#previous')} ({name(bed)}: " in line and "1 s" in line, line


@scenario
def an_answer_that_was_changed_makes_no_context(bed):
    """Each field, with and without a right HMAC; a token cut off, doubled or empty; no window, no handle. All are told at once."""
    shared = ready(bed)
    p = shared.prime

    def unsigned(number):
        def change(fields):
            fields[number] = bytes([fields[number][0] ^ 1]) + fields[number][1:]
            return sk.to_netstrings(fields)

        return change

    def resigned(number, field):
        def change(fields):
            fields[number] = field
            return sk.signed(shared, fields[:3])

        return change

    def number(value, length=64):
        return value.to_bytes(length, "big")

    def whole(change):
        return lambda fields: change(sk.to_netstrings(fields))

    changes = [unsigned(field) for field in range(4)]
    changes += [
        resigned(0, struct.pack(">I", 2)),
        resigned(0, b"\1"),
        resigned(1, b"12345"),
        resigned(1, b""),
        *(resigned(2, number(public)) for public in (0, 1, p - 1, p, p + 1)),
        resigned(2, b""),
        resigned(2, number(4, 65)),
        whole(lambda token: token[:-1]),
        whole(lambda token: token + b"0:,"),
        whole(lambda token: token + token),
        whole(lambda token: b"0" + token),
        whole(lambda token: b"99999999:" + token),
        whole(lambda token: b""),
        lambda fields: sk.to_netstrings(fields[:3]),
        lambda fields: sk.signed(sk.SharedKey(secrets.token_bytes(32)), fields[:3]),
    ]
    answers = [lambda handle, token, change=change: reply(handle, change(sk.from_netstrings(token))) for change in changes]
    answers += [
        lambda handle, token: reply(handle, token, window=0),
        lambda handle, token: reply(b"", token),
        lambda handle, token: reply(handle, token, major=1),
        lambda handle, token: reply(handle, token, major=GSS_FAILURE),
    ]
    for count, answer in enumerate(answers):
        bed.server.answer = lambda rpc: Answer(answer(*token_of(bed.server.accept(rpc).body)))
        got = bed.user("alice").ask(**of_user(bed, count))
        assert got.get("state") == "failed" and -got.rpc_err in (errno.EPROTO, errno.EACCES), (count, got, bed.log.lines)
        told_at_once(bed, got, DERIVED_WITHIN)
    assert len(bed.server.rpcs) == len(answers), len(bed.server.rpcs)


@scenario
def an_answer_to_another_token_makes_no_usable_context(bed):
    """The server's token of an earlier exchange has a right HMAC; its keys would be others, since they depend on both tokens."""
    ready(bed)
    kept = []

    def replayed(rpc):
        body = bed.server.accept(rpc).body
        kept.append(token_of(body))
        return Answer(reply(kept[-1][0], kept[0][1]))

    bed.server.answer = replayed
    established_by_shared_key(bed, bed.user("alice").ask(**of_user(bed)))
    got = bed.user("alice").ask(**of_user(bed, 1))
    assert got.get("state") == "established", got
    first, second = (made.sk for made in bed.server.accepted)
    token = got.bytes("token")
    keys = [token[offset : offset + 32] for offset in (276, 312)]
    assert not {*keys} & {first.integrity, first.encryption, second.integrity, second.encryption}


@scenario
def equal_random_bytes_begin_the_exchange_again(bed):
    """Once, and the context is made with the second token; always, and it fails after four."""
    shared = ready(bed)

    def mirrored(rpc):
        handle, token = token_of(bed.server.accept(rpc).body)
        version, _, public, _ = sk.from_netstrings(token)
        return Answer(reply(handle, sk.signed(shared, [version, sk.from_netstrings(rpc.token)[1], public])))

    answers = iter([mirrored])
    bed.server.answer = lambda rpc: next(answers, bed.server.accept)(rpc)
    established_by_shared_key(bed, bed.user("alice").ask(**of_user(bed)))
    assert len(bed.server.rpcs) == 2 and len({sk.from_netstrings(rpc.token)[1] for rpc in bed.server.rpcs}) == 2
    bed.server.rpcs.clear()
    bed.server.answer = mirrored
    got = bed.user("alice").ask(**of_user(bed, 1))
    failed(bed, got, errno.EPROTO)
    told_at_once(bed, got)
    assert len(bed.server.rpcs) == 4, len(bed.server.rpcs)


@scenario
def the_worker_of_a_shared_key_has_no_rights_and_the_key_stays_as_it_is(bed):
    """Whether only a possessor or everybody may read it: no link is left while the server is asked, nor afterwards; the worker is user lgss. No line and
    no file has the secret or a key of the context."""
    bed.settings('[log]\nlevel = "debug"\n')
    kernel.set_debug_level(4)
    shared = ready(bed)
    root = bed.user("root")
    for number, orders in enumerate(((), (OPEN_TO_ALL,))):
        serial = load(bed, shared, "", *orders)
        before = keys_seen(root)
        held = bed.server.hold()
        asked = root.begin(**of_node(bed, number))
        assert held.begun.wait(30), bed.log.lines
        assert bed.usage(root, serial) == before[serial], bed.usage(root, serial)
        (worker,) = processes("lgss_negotiate")
        status = Path(f"/proc/{worker}/status").read_text()
        assert re.search(r"^Uid:\s990\s990\s990\s990$", status, re.M) and re.search(r"^CapEff:\s0+$", status, re.M), status
        held.go.set()
        made_context = established_by_shared_key(bed, asked.result())
        bed.until_gone()
        line = bed.log.wait(f"MDT{number:04x}")
        assert ("others than root may read" in line) == bool(orders), line
        bed.until(lambda: keys_seen(root).items() >= before.items(), "the keys as before")
        said = "\n".join(bed.log.lines).encode()
        files = [path.read_bytes() for path in Path("/run/lgss").rglob("*") if path.is_file()]
        for hidden in (shared.secret, made_context.sk.integrity):
            for form in (hidden, hidden.hex().encode(), hidden.hex().upper().encode(), repr(list(hidden))[1:-1].encode()):
                assert form not in said and not any(form in data for data in files), form


def keys_seen(root):
    """Usage counts of keys in /proc/keys by serial number, but of requests and processes."""
    lines = [line.split(maxsplit=8) for line in root.proc_keys()]
    return {int(words[0], 16): int(words[2]) for words in lines if words[7] == "user"}


@scenario
def a_shared_key_of_the_host_is_not_for_another_mount_namespace(bed):
    """EACCES, by rule S5, for the node; a user's access from there is served by the host's key, since it is the host that has the mount."""
    ready(bed)
    away = Requester(0, steps=[unshare(CLONE_NEWNS)]).start(signal.pause)
    bed.until(lambda: os.readlink(f"/proc/{away.pid}/ns/mnt") != os.readlink("/proc/self/ns/mnt"), "namespace")
    mount_refused(bed, mount(bed, pid=away.pid), errno.EACCES)
    bed.log.wait("S5")
    away.end()
    alice = Requester(2001, steps=[unshare(CLONE_NEWNS)])
    established_by_shared_key(bed, alice.ask(**of_user(bed, 1)))


@scenario
def a_silent_server_is_sent_another_token(bed):
    """What it may have taken without an answer is not sent again."""
    ready(bed)

    def lost(rpc):
        bed.server.accept(rpc)
        return rpc_failed(errno.ETIMEDOUT)(rpc)

    answers = iter([rpc_failed(errno.EAGAIN), lost])
    bed.server.answer = lambda rpc: next(answers, bed.server.accept)(rpc)
    established_by_shared_key(bed, bed.user("alice").ask(**of_user(bed)))
    assert len({rpc.token for rpc in bed.server.rpcs}) == 2 and len(bed.server.rpcs) == 3
    bed.server.answer = refusing(GSS_FAILURE)
    failed(bed, bed.user("alice").ask(**of_user(bed, 1)), errno.EACCES, major=GSS_FAILURE)
