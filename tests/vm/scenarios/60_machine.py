"""Credentials of the node: from its keytab, its own cache, and root's default cache."""

import errno
import hashlib
import os
import signal
import subprocess
import time

import requester
from bed import KEYRING, scenario
from realm import CLIENT, CLIENT_KEYTAB, REALM, SERVER, SERVER_KEYTAB
from server import refusing
from verdicts import established, failed, klist, turned_away

NODE = f"lustre_root/{CLIENT}"


def targets(bed, count, flags="r", svc="i", **fields):
    """Requests for so many targets of a file system."""
    return [
        {"flags": flags, "svc": svc, "secid": 100_000 + 100 * bed.secid + number, "lustre_svc": 2}
        | {"obd": f"lustre-OST{number:04x}-osc-ff2d"}
        | fields
        for number in range(count)
    ]


@scenario
def a_mount_asks_the_kdc_once(bed):
    """Targets one after another: one AS exchange, the rest from the own cache below /run/lgss, which belongs to root."""
    bed.realm
    bed.upcall(KEYRING)
    for fields in targets(bed, 4):
        got = bed.user("root").ask(wait_ms=30000, **fields)
        made = established(bed, got, NODE)
        assert (made.rpc.uid, made.rpc.gid, made.rpc.obd) == (0, 0, fields["obd"]), made.rpc
    assert len(bed.realm.as_exchanges(NODE)) == 1, bed.realm.as_exchanges(NODE)
    for directory, _, files in os.walk("/run/lgss"):
        assert os.stat(directory).st_mode & 0o7777 == 0o700 and os.stat(directory).st_uid == 0, directory
        for name in files:
            assert os.stat(f"{directory}/{name}").st_mode & 0o77 == 0, name
    assert not os.path.exists("/tmp/krb5cc_0")


@scenario
def a_storm_of_targets_asks_the_kdc_once(bed):
    """Thirty targets at the same time."""
    bed.realm
    bed.upcall(KEYRING)
    asked = [bed.user("root").begin(wait_ms=60000, **fields) for fields in targets(bed, 30)]
    for one in asked:
        established(bed, one.result(80), NODE)
    assert len(bed.realm.as_exchanges(NODE)) == 1, bed.realm.as_exchanges(NODE)


@scenario
def a_storm_without_a_usable_key_fails_as_one(bed):
    """The KDC refuses the key: all eight are told, and it was asked no more often than there were turns."""
    bed.realm.keytab("/run/realm/stale", "lustre_mds/" + CLIENT)
    bed.realm.admin(f"cpw -randkey lustre_mds/{CLIENT}")
    subprocess.run(["cp", "/run/realm/stale", CLIENT_KEYTAB], check=True)
    bed.upcall(KEYRING)
    asked = [bed.user("root").begin(wait_ms=60000, **fields) for fields in targets(bed, 8, flags="m")]
    for one in asked:
        turned_away(bed, one.result(80), errno.EACCES, "kdc")
    tried = len(bed.realm.as_exchanges(f"lustre_mds/{CLIENT}"))
    assert 1 <= tried <= 8, tried


@scenario
def each_role_has_its_principal(bed):
    """MDT, OST, management client: the principal of the role; lustre_root without a host part for the client only."""
    bed.upcall(KEYRING)
    for count, (keys, flags, principal) in enumerate((
        ([f"lustre_mds/{CLIENT}", f"lustre_oss/{CLIENT}"], "m", f"lustre_mds/{CLIENT}"),
        ([f"lustre_mds/{CLIENT}", f"lustre_oss/{CLIENT}"], "o", f"lustre_oss/{CLIENT}"),
        ([f"lustre_mgs/{CLIENT}"], "rmo", f"lustre_mgs/{CLIENT}"),
        (["lustre_role/storage"], "r", "lustre_role/storage"),
        (["lustre_root"], "r", "lustre_root"),
        (["lustre_root"], "m", None),
        ([f"lustre_oss/{CLIENT}"], "m", None),
    )):
        if count != 1:
            bed.realm.keytab(CLIENT_KEYTAB, *keys)
        got = bed.user("root").ask(flags=flags, svc="i", secid=100_000 + 100 * bed.secid + count, wait_ms=30000)
        if principal:
            established(bed, got, principal)
        else:
            turned_away(bed, got, errno.ENOKEY, "wanted")


@scenario
def a_keytab_of_another_host_is_named_in_the_log(bed):
    """The log has what was wanted and what was found: ENOKEY, without a request to the KDC. The same without a keytab."""
    bed.realm.keytab(CLIENT_KEYTAB, "lustre_root/other.example.test", "nfs/" + CLIENT)
    bed.upcall(KEYRING)
    got = bed.user("root").ask(flags="r", svc="i", wait_ms=30000)
    line = turned_away(bed, got, errno.ENOKEY, "wanted")
    for words in (f"lustre_root/other.example.test@{REALM}", f"nfs/{CLIENT}@{REALM}", f"HOST {CLIENT}", "lustre_root", CLIENT_KEYTAB):
        assert words in line, (words, line)
    assert not bed.realm.as_exchanges("lustre_root/other.example.test")
    bed.log.lines.clear()
    os.unlink(CLIENT_KEYTAB)
    got = bed.user("root").ask(**targets(bed, 1)[0])
    assert "No such file" in turned_away(bed, got, errno.ENOKEY, "wanted"), bed.log.lines


@scenario
def a_keytab_that_others_may_write_to_is_not_used(bed):
    """Anybody could have put keys into it."""
    bed.realm
    bed.upcall(KEYRING)
    os.chmod(CLIENT_KEYTAB, 0o666)
    line = turned_away(bed, bed.user("root").ask(flags="r", svc="i", wait_ms=30000), errno.ENOKEY, "wanted")
    assert CLIENT_KEYTAB in line, bed.log.lines


@scenario
def a_changed_keytab_or_krb5_conf_is_noticed(bed):
    """Between two mounts: other keys, another ticket_lifetime, and back again."""
    bed.realm
    bed.upcall(KEYRING)
    first, second, third, fourth = targets(bed, 4)
    established(bed, bed.user("root").ask(wait_ms=30000, **first), NODE)
    bed.realm.configure("ticket_lifetime = 10m")
    made = established(bed, bed.user("root").ask(wait_ms=30000, **second), NODE)
    assert 0 < made.endtime - time.time() <= 600, made.endtime
    bed.realm.configure()
    made = established(bed, bed.user("root").ask(wait_ms=30000, **third), NODE)
    assert made.endtime - time.time() > 3600, made.endtime
    bed.realm.keytab(CLIENT_KEYTAB, "lustre_role/storage")
    established(bed, bed.user("root").ask(wait_ms=30000, **fourth), "lustre_role/storage")
    assert len(bed.realm.as_exchanges(NODE)) == 2, bed.realm.as_exchanges(NODE)


@scenario
def roots_default_cache_is_used_but_not_written(bed):
    """A fitting ticket saves the AS exchange; a user's ticket is passed over for the keytab. The bytes stay the same."""
    bed.realm
    bed.upcall(KEYRING)
    first, second = targets(bed, 2)
    subprocess.run(["kinit", "-k", "-t", CLIENT_KEYTAB, "-c", "/tmp/krb5cc_0", NODE], check=True)
    before = fingerprint("/tmp/krb5cc_0")
    established(bed, bed.user("root").ask(wait_ms=30000, **first), NODE)
    assert len(bed.realm.as_exchanges(NODE)) == 1, bed.realm.as_exchanges(NODE)
    assert fingerprint("/tmp/krb5cc_0") == before
    bed.realm.ticket(bed.user("root"), "dave")
    before = fingerprint("/tmp/krb5cc_0")
    established(bed, bed.user("root").ask(wait_ms=30000, **second), NODE)
    assert fingerprint("/tmp/krb5cc_0") == before


@scenario
def with_the_default_cache_as_own_one_it_is_written_and_serves_the_next_mount(bed):
    """By the setting: one AS exchange, readable for root alone, no cache below /run/lgss; a user's ticket in it is replaced."""
    bed.realm
    bed.settings('[machine]\ncache = "default"\n')
    bed.upcall(KEYRING)
    bed.realm.ticket(bed.user("root"), "dave")
    for fields in targets(bed, 2):
        established(bed, bed.user("root").ask(wait_ms=30000, **fields), NODE)
    assert len(bed.realm.as_exchanges(NODE)) == 1, bed.realm.as_exchanges(NODE)
    found = os.stat("/tmp/krb5cc_0")
    assert (found.st_uid, found.st_mode & 0o7777) == (0, 0o600), found
    listed = klist(bed.user("root"))
    assert f"{NODE}@{REALM}" in listed and "lustre_oss/srv.example.test" in listed and "dave" not in listed, listed
    left = os.listdir("/run/lgss/machine")
    assert all(name.endswith(".state") for name in left), left


def fingerprint(path):
    found = os.stat(path)
    with open(path, "rb") as file:
        return found.st_ino, found.st_mtime_ns, hashlib.sha256(file.read()).hexdigest()


@scenario
def a_namespace_has_the_credentials_that_its_table_names_and_no_others(bed):
    """The table matches by owner and sets keytab and principal. No other namespace shares the cache, and the KDC is asked in its network."""
    bed.realm.keytab("/run/realm/web.keytab", "lustre_root/web.example.test")
    web = 'keytab = "/run/realm/web.keytab"\nprincipal = "lustre_root/web.example.test"\n'
    bed.settings(f'[machine]\ncache = "default"\n[namespace.a]\nowner = 2001\n{web}[namespace.b]\nowner = 2002\n{web}')
    bed.upcall(f"{KEYRING} -R OTHER.TEST")
    number = 0

    def ask(pid):
        nonlocal number
        number += 1
        fields = {"flags": "r", "svc": "i", "pid": pid, "secid": 100_000 + 100 * bed.secid + number}
        return bed.user("root").ask(wait_ms=30000, **fields)

    alices, bobs, apart = (namespace_of(bed, *who) for who in ((2001, 0), (2002, 0), (2001, requester.CLONE_NEWNET)))
    for process, exchanges in ((alices, 1), (alices, 1), (bobs, 2)):
        established(bed, ask(process.pid), "lustre_root/web.example.test")
        made = bed.realm.as_exchanges("lustre_root/web.example.test")
        assert len(made) == exchanges and not os.path.exists("/tmp/krb5cc_0"), made
    # A ticket from one network is good in the other.
    bed.realm.keytab("/run/realm/web.keytab", "lustre_root/web.example.test")
    turned_away(bed, ask(apart.pid), errno.ECONNREFUSED, "kdc")
    assert len(bed.realm.as_exchanges("lustre_root/web.example.test")) == 2
    bed.upcall(KEYRING)
    established(bed, ask(os.getpid()), NODE)
    assert os.path.exists("/tmp/krb5cc_0")
    for process in (alices, bobs, apart):
        process.end()


def namespace_of(bed, uid, flags):
    """A process in a user and a mount namespace of that user, and in the namespaces of `flags`."""
    after = [requester.own_user_namespace, requester.unshare(flags)]
    process = requester.Requester(uid, after=after).start(signal.pause)
    ours = os.readlink("/proc/self/ns/net")

    def is_there():
        with open(f"/proc/{process.pid}/gid_map") as file:
            mapped = len(file.read().split()) == 3 and f" {uid} " in open(f"/proc/{process.pid}/uid_map").read()
        return mapped and (not flags or os.readlink(f"/proc/{process.pid}/ns/net") != ours)

    bed.until(is_there, "namespaces")
    return process


@scenario
def the_rules_realm_is_the_nodes(bed):
    """-R REALM takes precedence over krb5.conf; the log names a realm without keys."""
    bed.realm
    bed.upcall(f"{KEYRING} -R OTHER.TEST")
    line = turned_away(bed, bed.user("root").ask(flags="r", svc="i", wait_ms=30000), errno.ENOKEY, "wanted")
    assert "realm OTHER.TEST" in line, bed.log.lines
    bed.realm.configure("default_realm = OTHER.TEST")
    bed.upcall(f"{KEYRING} --realm {REALM}")
    established(bed, bed.user("root").ask(wait_ms=30000, **targets(bed, 1)[0]), NODE)


@scenario
def a_silent_kdc_costs_a_mount_its_time_once(bed):
    """Requests that wait for the same KDC fail together with the first; for some seconds after that nobody waits for it."""
    bed.realm.kdc.send_signal(19)
    bed.upcall(KEYRING)
    bed.settings('[timeouts]\nkdc = "6s"\n')
    asked = [bed.user("root").begin(wait_ms=60000, **fields) for fields in targets(bed, 4)]
    for one in asked:
        failed(bed, one.result(), errno.ETIMEDOUT)
    line = turned_away(bed, bed.user("root").ask(wait_ms=30000, **targets(bed, 5)[4]), errno.ETIMEDOUT, "not tried again")
    bed.realm.kdc.send_signal(18)
    assert "kdc: " in line, line
    # A mount is served.
    assert bed.user("root").mount(**targets(bed, 6)[5])[0] == 0, bed.log.lines


@scenario
def a_loop_of_requests_that_fail_is_damped(bed):
    """After some failures the KDC is left alone for a while, and so is the log; the errno stays the same."""
    bed.realm.keytab("/run/realm/stale", "lustre_mds/" + CLIENT)
    bed.realm.admin(f"cpw -randkey lustre_mds/{CLIENT}")
    subprocess.run(["cp", "/run/realm/stale", CLIENT_KEYTAB], check=True)
    bed.upcall(KEYRING)
    bed.settings("[backoff]\nafter = 2\nfirst = 30\n")
    for fields in targets(bed, 12, flags="m"):
        got = bed.user("root").ask(wait_ms=30000, **fields)
        told = -got.rpc_err if "rpc_err" in got else got.errno
        assert told == errno.EACCES, (got, bed.log.lines)
    assert len(bed.realm.as_exchanges(f"lustre_mds/{CLIENT}")) <= 2 * 4, bed.realm.as_exchanges(f"lustre_mds/{CLIENT}")
    lines = [line for line in bed.log.lines if "EACCES" in line]
    assert len(lines) == 5 and "not tried again" in lines[-1], lines


@scenario
def a_server_with_a_new_key_that_does_not_say_so_is_asked_once_more(bed):
    """GSS_S_FAILURE, minor status 0, as a real server answers: users and the node get a context with a new ticket, and the next one at once."""
    alice, root = bed.user("alice"), bed.user("root")
    bed.realm.ticket(alice, "alice")
    bed.upcall(KEYRING)
    node = {"flags": "r", "svc": "i", "lustre_svc": 1}
    established(bed, alice.ask(**bed.target(0)), "alice")
    established(bed, root.ask(**bed.target(1), **node), NODE)
    bed.realm.keytab(SERVER_KEYTAB, *(f"lustre_{service}/{SERVER}" for service in ("mds", "oss", "mgs")))

    def taciturn(rpc):
        accepted = len(bed.server.accepted)
        answer = bed.server.accept(rpc)
        return answer if len(bed.server.accepted) > accepted else refusing(0xD0000)(rpc)

    bed.server.answer = taciturn
    for who, name, fields, first in ((alice, "alice", {}, 2), (root, NODE, node, 12)):
        for number, tokens in ((first, 2), (first + 1, 1)):
            bed.server.rpcs.clear()
            established(bed, who.ask(**bed.target(number), **fields), name)
            assert len(bed.server.rpcs) == tokens, (name, number, len(bed.server.rpcs))
    # Without any key that fits, it fails after two tokens.
    bed.server.answer = refusing(0xD0000)
    bed.server.rpcs.clear()
    failed(bed, alice.ask(**bed.target(20)), errno.EACCES, major=0xD0000)
    assert len(bed.server.rpcs) == 2, len(bed.server.rpcs)
