"""Users' contexts: the payload byte for byte, and which credential cache is used."""

import errno
import os
import struct
import subprocess
import time

import kernel
import requester
import server
from bed import KEYRING, USERS, scenario
from containers import private_tmp
from realm import ENCTYPES
from requester import Requester
from verdicts import established, failed, has_expired, klist

SERVICE = "lustre_mds/srv.example.test"


def payload_of(made, endtime):
    """The payload that the kernel must get for this context, computed from the server's side."""
    enctype, keys = server.kernel_keys(made)
    flags = 0x3 | (0x4 if made.subkey else 0)
    token = struct.pack("=IIIQIII", 2, endtime, flags, made.sequence, enctype, len(keys[0]), 3) + b"".join(keys)
    return struct.pack("=II", 2048, len(made.handle)) + made.handle + struct.pack("=I", len(token)) + token


@scenario
def a_users_payload_is_byte_for_byte_what_the_server_has(bed):
    """For every encryption type, first as the session key's, then as the only permitted one."""
    alice = bed.user("alice")
    bed.upcall(KEYRING)
    seen = set()
    for count, (number, name) in enumerate([(19, ENCTYPES[3]), *zip((18, 17, 20, 19), ENCTYPES)]):
        permitted = [f"permitted_enctypes = {name}"] if count else []
        bed.realm.configure(f"default_tkt_enctypes = {name}", f"default_tgs_enctypes = {name}", *permitted)
        bed.realm.ticket(alice, "alice", lifetime="50m")
        got = alice.ask(secid=100_000 + 100 * bed.secid + count, wait_ms=30000)
        made = established(bed, got, "alice")
        assert made.key[0] == number, made.key
        payload = bed.act("update", key=got.serial, rc=0).payload
        assert payload == payload_of(made, made.endtime).hex(), (payload, payload_of(made, made.endtime).hex())
        assert 2900 < made.endtime - time.time() <= 3000, made.endtime
        seen.add(server.kernel_keys(made)[0])
    assert seen == {17, 18, 19, 20}, seen


@scenario
def a_user_with_a_ticket_gets_a_context(bed):
    """The channel gets what the callout says, the service ticket is in the cache, and the log has a line at level info."""
    alice = bed.user("alice")
    bed.realm.ticket(alice, "alice")
    bed.upcall(KEYRING)
    kernel.set_debug_level(2)
    got = alice.ask(obd="lustre-OST00a1-osc-ff2dfdc40a66a800", lustre_svc=2, wait_ms=30000)
    made = established(bed, got, "alice")
    rpc = made.rpc
    assert (rpc.obd, rpc.lustre_svc, rpc.mech) == ("lustre-OST00a1-osc-ff2dfdc40a66a800", 2, 0), rpc
    assert (rpc.secid, rpc.uid, rpc.gid) == (bed.secid, 2001, 2001), rpc
    assert "lustre_oss/srv.example.test" in klist(alice)
    line = bed.log.wait("established")
    assert "alice@EXAMPLE.TEST" in line and got.bytes("token")[32:48].hex() not in line, line
    # The second server needs no ticket-granting ticket from the KDC, also without a client's uuid.
    got = alice.ask(secid=900_000 + bed.secid, fields=11, wait_ms=30000)
    established(bed, got, "alice")
    assert len(bed.realm.as_exchanges("alice")) == 1, bed.realm.as_exchanges("alice")


@scenario
def eight_first_accesses_make_one_context(bed):
    """All at once."""
    bed.realm.ticket(bed.user("bob"), "bob")
    bed.upcall(KEYRING)
    asked = [bed.user("bob").begin(wait_ms=40000) for _ in range(8)]
    results = [one.result() for one in asked]
    established(bed, results[0], "bob")
    assert {result.state for result in results} == {"established"} and len({result.ctx for result in results}) == 1
    assert len(bed.server.rpcs) == 1 and len(bed.all_events("act", act="instantiate")) == 1


def fifo(path, uid):
    os.mkfifo(path, 0o600)
    os.chown(path, uid, uid)


def link_to(target):
    return lambda path, uid: (os.symlink(target, path), os.lchown(path, uid, uid))


@scenario
def a_users_cache_is_found_where_caches_use_to_be(bed):
    """Through KRB5CCNAME, as a file or a directory; by default; in /tmp, then below /run/user. The service ticket is stored there."""
    bed.upcall(KEYRING)
    os.makedirs("/run/user/2003", exist_ok=True)
    os.chown("/run/user/2003", 2003, 2003)
    os.mkdir("/tmp/krb5cc_dir")
    os.chown("/tmp/krb5cc_dir", 2003, 2003)
    os.chmod("/tmp/krb5cc_dir", 0o700)
    for count, (name, named) in enumerate((
        ("FILE:/tmp/carols_own", True),
        ("DIR:/tmp/krb5cc_dir", True),
        ("/tmp/krb5cc_2003_x7Yz", False),
        ("/tmp/login_krb5cc", False),
        ("/run/user/2003/krb5cc", False),
    )):
        carol = bed.user("carol", environment={"KRB5CCNAME": name} if named else None)
        bed.realm.ticket(carol, "carol", cache=name)
        got = carol.ask(secid=100_000 + 100 * bed.secid + count, wait_ms=30000)
        established(bed, got, "carol")
        assert SERVICE in klist(bed.user("carol"), name), (name, klist(bed.user("carol"), name))
        subprocess.run(["kdestroy", "-c", name], check=True)


@scenario
def an_expired_cache_does_not_hide_a_good_one(bed):
    """The default one has expired and a later one is used; with expired ones alone the request fails with EKEYEXPIRED."""
    alice = bed.user("alice")
    bed.upcall(KEYRING)
    bed.realm.ticket(alice, "alice", lifetime="1s")
    bed.until(lambda: has_expired(alice), "the ticket has expired")
    got = alice.ask(wait_ms=30000)
    failed(bed, got, errno.EKEYEXPIRED)
    assert "kinit" in bed.log.wait("expired")
    bed.realm.ticket(alice, "alice", cache="FILE:/tmp/krb5cc_2001_late")
    got = alice.ask(wait_ms=30000)
    established(bed, got, "alice")
    assert SERVICE in klist(alice, "/tmp/krb5cc_2001_late") and SERVICE not in klist(alice)


@scenario
def what_is_no_cache_of_the_user_is_passed_over(bed):
    """Another user's file, a link, a FIFO, a file that others may write, rubbish: ENOKEY at once, or the good one among them serves."""
    bob, dave = bed.user("bob"), bed.user("dave")
    bed.realm.ticket(bob, "bob", cache="FILE:/tmp/bobs")
    bed.upcall(KEYRING)
    os.link("/tmp/bobs", "/tmp/krb5cc_2004")
    link_to("/tmp/bobs")("/tmp/krb5cc_2004_link", 2004)
    fifo("/tmp/krb5cc_2004_fifo", 2004)
    with open("/tmp/krb5cc_2004_rubbish", "wb") as file:
        file.write(b"\5\4" + bytes(range(256)))
    os.chown("/tmp/krb5cc_2004_rubbish", 2004, 2004)
    os.chmod("/tmp/krb5cc_2004_rubbish", 0o600)
    got = dave.ask(wait_ms=30000)
    failed(bed, got, errno.ENOKEY)
    assert got.after_us < 5_000_000 and not bed.server.rpcs, got
    bed.realm.ticket(dave, "dave", cache="FILE:/tmp/krb5cc_2004_a")
    os.chmod("/tmp/krb5cc_2004_a", 0o666)
    failed(bed, dave.ask(wait_ms=30000), errno.ENOKEY)
    bed.realm.ticket(dave, "dave", cache="FILE:/tmp/krb5cc_2004_z")
    established(bed, dave.ask(wait_ms=30000), "dave")


@scenario
def a_hostile_environment_names_no_other_caches(bed):
    """Another user's cache, /proc, a FIFO, other types: an unusable KRB5CCNAME is passed over for the default cache."""
    bed.realm.ticket(bed.user("bob"), "bob", cache="FILE:/tmp/bobs")
    bed.realm.ticket(bed.user("alice"), "alice")
    bed.upcall(KEYRING)
    fifo("/tmp/alices_fifo", 2001)
    names = ("FILE:/tmp/bobs", "FILE:/proc/self/fd/3", "FILE:/tmp/alices_fifo", "MEMORY:x", "FILE:" + "x" * 5000, "KEYRING:persistent:2002", "")
    for count, name in enumerate(names):
        alice = bed.user("alice", environment={"KRB5CCNAME": name, "KRB5_CONFIG": "/dev/null", "KRB5_TRACE": "/dev/stderr"})
        got = alice.ask(secid=100_000 + 100 * bed.secid + count, wait_ms=30000)
        established(bed, got, "alice")


@scenario
def a_user_in_another_mount_namespace_has_its_caches_there(bed):
    """With a private /tmp and the host's configuration; this includes a setuid program there; the host's cache is another user's."""
    bed.realm.ticket(bed.user("alice"), "carol")
    bed.upcall(KEYRING)

    def ask_and_list():
        text = requester.ask("write", {"wait_ms": 30000})
        return text, subprocess.run(["klist"], env={"KRB5_CONFIG": "/run/realm.conf", "PATH": os.environ["PATH"]}, capture_output=True, text=True).stdout

    subprocess.run(["cp", "/etc/krb5.conf", "/run/realm.conf"], check=True)
    inside = Requester(USERS["alice"], steps=[private_tmp("alice", 2001)])
    text, listed = inside.run(ask_and_list)
    established(bed, kernel.Fields.parse(text), "alice")
    assert SERVICE in listed and SERVICE not in klist(bed.user("alice")), listed
    setuid = Requester((2001, 0, 0), steps=[private_tmp("alice", 2001)])
    established(bed, setuid.ask(secid=900_000 + bed.secid, wait_ms=30000), "alice")
