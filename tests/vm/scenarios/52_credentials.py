"""Which of a user's credentials a context is made with. Principals tell the caches apart: alice is the user, the others are tickets."""

import contextlib
import errno
import os
import subprocess
import time

import kernel
import requester
from bed import KEYRING, USERS, scenario
from containers import own_process_numbers, private_tmp, subordinate_uids
from realm import REALM, kinit
from requester import Requester, join_new_session, keyctl
from verdicts import established, failed, has_expired, klist

SERVICE = "lustre_mds/srv.example.test"
PROCESS, SESSION, USER = -2, -3, -4
CLEAR, SEARCH, READ, GET_PERSISTENT = 7, 10, 11, 22


def target(bed, number):
    """One of many, so that no context of before is found."""
    return {"secid": 100_000 + 100 * bed.secid + number, "wait_ms": 30000}


def in_session(user, *after, environment=None):
    """A user in a session of its own, in which these steps have been done."""
    return Requester(USERS[user], after=[join_new_session, *after], environment=environment)


@contextlib.contextmanager
def keyrings_of(user):
    """The user's keyrings that outlive a session are empty before and afterwards."""
    empty = lambda: [keyctl(CLEAR, ring) for ring in (USER, keyctl(GET_PERSISTENT, -1, PROCESS)[0])]
    user.run(empty)
    try:
        yield
    finally:
        user.run(empty)


@scenario
def what_krb5ccname_is_worth_is_a_setting(bed):
    """By itself it is one cache of many, "first" puts a usable one before better ones, "ignored" leaves it unread."""
    bed.upcall(KEYRING)
    kernel.set_debug_level(2)
    bed.realm.ticket(bed.user("alice"), "dave", lifetime="2h")
    number = 0

    def ask(setting, name, *after):
        nonlocal number
        number += 1
        bed.settings(f'[caches]\nkrb5ccname = "{setting}"\n' if setting else "")
        return in_session("alice", *after, environment={"KRB5CCNAME": name}).ask(**target(bed, number))

    os.mkdir("/tmp/alices", 0o700)
    os.chown("/tmp/alices", 2001, 2001)
    for name in ("FILE:/tmp/named", "DIR:/tmp/alices", "KEYRING:session:named"):
        established(bed, ask("first", name, kinit("alice", cache=name)), "alice")
    established(bed, ask(None, "FILE:/tmp/named"), "dave")
    bed.log.lines.clear()
    established(bed, ask("first", "MEMORY:mine"), "dave")
    assert "KRB5CCNAME MEMORY:mine" in bed.log.wait("chosen: dave@"), bed.log.lines
    os.unlink("/tmp/krb5cc_2001")
    failed(bed, ask("ignored", "FILE:/tmp/named"), errno.ENOKEY)
    established(bed, ask(None, "FILE:/tmp/named"), "alice")


@scenario
def every_cache_of_a_collection_is_looked_at(bed):
    """The primary one ends sooner than another: in a directory, in the session, user and persistent keyring; named and unnamed."""
    bed.upcall(KEYRING)
    os.mkdir("/tmp/alices", 0o700)
    os.chown("/tmp/alices", 2001, 2001)
    collections = (
        ("DIR:/tmp/alices", "DIR::/tmp/alices/tkt"),
        ("KEYRING:session:work", "KEYRING:session:work:"),
        ("KEYRING:user:work", "KEYRING:user:work:"),
        ("KEYRING:persistent:2001", "KEYRING:persistent:2001:"),
    )
    for number, (name, member) in enumerate(collections):
        with keyrings_of(bed.user("alice")):
            after = [kinit("dave", cache=name, lifetime="10m"), kinit("alice", cache=f"{member}other")]
            alice = in_session("alice", *after, environment={"KRB5CCNAME": name})
            established(bed, alice.ask(**target(bed, number)), "alice")
            if name.startswith("KEYRING"):
                established(bed, in_session("alice", *after).ask(**target(bed, 10 + number)), "alice")


@scenario
def a_cache_in_the_process_keyring_serves_and_one_in_the_thread_keyring_cannot(bed):
    """The kernel puts the user's keyring in the place of the thread's for its request, so that nothing leads to that."""
    bed.upcall(KEYRING)
    for number, (place, wanted) in enumerate((("process", "established"), ("thread", "failed"))):
        alice = in_session("alice", ticket_of_this_process("alice", f"KEYRING:{place}:mine"))
        got = alice.ask(**target(bed, number))
        assert got.state == wanted, (place, got, bed.log.lines)
    failed(bed, got, errno.ENOKEY)


def ticket_of_this_process(user, cache):
    """A step: no program could leave one there."""

    def step():
        from gssapi import Name
        from gssapi.raw import acquire_cred_with_password, store_cred_into

        made = acquire_cred_with_password(Name(f"{user}@{REALM}"), b"secret", usage="initiate")
        store_cred_into({b"ccache": cache.encode()}, made.creds, usage="initiate", overwrite=True)

    return step


@scenario
def a_cache_of_sssds_kcm_is_found_and_a_daemon_that_hangs_is_passed_over(bed):
    """Nobody names it; the service ticket is stored there; stopped, it costs some seconds and a better one is used."""
    bed.realm
    bed.upcall(KEYRING)
    alice = bed.user("alice")
    with kcm(bed) as daemon:
        bed.realm.ticket(alice, "alice", cache="KCM:", lifetime="2h")
        established(bed, alice.ask(**target(bed, 0)), "alice")
        assert SERVICE in klist(alice, "KCM:"), klist(alice, "KCM:")
        bed.realm.ticket(alice, "dave", lifetime="10m")
        established(bed, alice.ask(**target(bed, 1)), "alice")
        daemon.send_signal(19)
        established(bed, alice.ask(**target(bed, 2)), "dave")
        daemon.send_signal(18)


@contextlib.contextmanager
def kcm(bed):
    for directory in ("/etc/sssd", "/var/lib/sss/db", "/var/lib/sss/secrets", "/var/log/sssd", "/run/sssd"):
        os.makedirs(directory, exist_ok=True)
    with open("/etc/sssd/sssd.conf", "w") as file:
        file.write("[sssd]\nservices =\n[kcm]\n")
    os.chmod("/etc/sssd/sssd.conf", 0o600)
    subprocess.run(["sssd", "--genconf-section=kcm"], check=True, capture_output=True)
    words = ["/usr/libexec/sssd/sssd_kcm", "--uid", "0", "--gid", "0", "--logger=stderr"]
    with open("/run/kcm.log", "w") as log:
        daemon = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        bed.until(lambda: os.path.exists("/run/.heim_org.h5l.kcm-socket"), "the socket of the KCM daemon")
        yield daemon
    finally:
        daemon.kill()
        daemon.wait()
        if os.path.exists("/run/.heim_org.h5l.kcm-socket"):
            os.unlink("/run/.heim_org.h5l.kcm-socket")


@scenario
def the_longest_life_wins_and_the_log_says_why_no_other(bed):
    """An expired default cache, a short one below /run/user, rubbish; without usable ones the failure has every reason."""
    bed.upcall(KEYRING)
    kernel.set_debug_level(2)
    alice = bed.user("alice")
    bed.realm.ticket(alice, "bob", lifetime="1s")
    os.makedirs("/run/user/2001", exist_ok=True)
    os.chown("/run/user/2001", 2001, 2001)
    bed.realm.ticket(alice, "carol", cache="/run/user/2001/krb5cc", lifetime="30m")
    bed.realm.ticket(alice, "alice", cache="/tmp/krb5cc_2001_long", lifetime="2h")
    bed.realm.ticket(alice, "dave", cache="/tmp/krb5cc_2001_middle", lifetime="1h")
    alice.run(lambda: write_private("/tmp/krb5cc_2001_rubbish", b"\5\4rubbish"))
    bed.until(lambda: has_expired(alice), "the ticket has expired")
    established(bed, alice.ask(**target(bed, 0)), "alice")
    line = bed.log.wait("chosen: ")
    chosen, others = line.split("; not: ")
    assert f"alice@{REALM} in FILE:/tmp/krb5cc_2001_long" in chosen, line
    first, second, *rest = others.split("; ")
    assert "krb5cc_2001_middle" in first and f"dave@{REALM}" in first, line
    assert "/run/user/2001/krb5cc" in second and f"carol@{REALM}" in second, line
    assert any("krb5cc_2001: ticket expired" in reason for reason in rest), line
    assert any("krb5cc_2001_rubbish" in reason for reason in rest), line
    for left in ("/run/user/2001/krb5cc", "/tmp/krb5cc_2001_long", "/tmp/krb5cc_2001_middle"):
        os.unlink(left)
    failed(bed, alice.ask(**target(bed, 1)), errno.EKEYEXPIRED)
    line = bed.log.wait("EKEYEXPIRED")
    assert "krb5cc_2001: ticket expired" in line and "krb5cc_2001_rubbish" in line, line


def write_private(path, content):
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(content)


@scenario
def the_targets_realm_comes_before_a_longer_life_and_a_trusted_realm_leads_there(bed):
    """Tickets of two realms: that of the server's is used; alone, the other's serves by the trust between them."""
    bed.upcall(KEYRING)
    alice = bed.user("alice")
    with bed.realm.trusted("OTHER.TEST", "alice"):
        bed.realm.ticket(alice, "alice@OTHER.TEST", cache="/tmp/krb5cc_2001_other", lifetime="2h")
        bed.realm.ticket(alice, "bob", lifetime="10m")
        established(bed, alice.ask(**target(bed, 0)), "bob")
        os.unlink("/tmp/krb5cc_2001")
        got = alice.ask(**target(bed, 1))
        assert got.state == "established", (got, bed.log.lines)
        assert bed.server.accepted[-1].initiator == "alice@OTHER.TEST", bed.server.accepted[-1]


@scenario
def a_setuid_program_has_the_real_users_caches_whatever_names_them(bed):
    """Its environment is that user's: root's and others' caches cannot be named there, the user's own can."""
    bed.settings('[caches]\nkrb5ccname = "first"\n')
    bed.upcall(KEYRING)
    bed.realm.ticket(bed.user("alice"), "alice")
    bed.realm.ticket(bed.user("alice"), "carol", cache="/tmp/alices_own")
    bed.realm.ticket(bed.user("root"), "dave", cache="/tmp/roots", lifetime="2h")
    bed.realm.ticket(bed.user("bob"), "bob", cache="/tmp/bobs", lifetime="2h")
    names = (("/tmp/roots", "alice"), ("/tmp/bobs", "alice"), ("/tmp/alices_own", "carol"))
    for number, (name, principal) in enumerate(names):
        setuid = Requester((2001, 0, 0), environment={"KRB5CCNAME": f"FILE:{name}"})
        made = established(bed, setuid.ask(**target(bed, number)), principal)
        assert made.rpc.uid == 2001, made.rpc
    assert SERVICE in klist(bed.user("alice"), "/tmp/alices_own")
    assert SERVICE not in klist(bed.user("root"), "/tmp/roots")


@scenario
def a_user_of_a_container_is_served_from_a_cache_that_is_only_there(bed):
    """By its number inside, in mount, user and process-id namespaces; in a network of its own with a ticket that it has."""
    bed.realm
    bed.upcall(KEYRING)
    inside = [subordinate_uids(100_000), private_tmp("alice", 1000, ["kvno", SERVICE])]
    for number, more in enumerate(([], [own_process_numbers], [requester.unshare(requester.CLONE_NEWNET)])):
        got = Requester(1000, steps=[*inside, *more]).ask(**target(bed, number))
        made = established(bed, got, "alice")
        assert made.rpc.uid == 101_000, made.rpc
    without = [subordinate_uids(100_000), private_tmp("alice", 1000, ["kdestroy"])]
    failed(bed, Requester(1000, steps=without).ask(**target(bed, 9)), errno.ENOKEY)


@scenario
def a_users_container_has_the_krb5_conf_that_a_table_names(bed):
    """By its owner: where caches are by default is that file's to say; a container of another's has the host's."""
    bed.realm
    bed.upcall(KEYRING)
    with open("/etc/krb5.conf") as hosts, open("/etc/krb5-alices.conf", "w") as alices:
        alices.write(hosts.read().replace("/tmp/krb5cc_%", "/tmp/elsewhere_%"))
    bed.settings('[namespace.alices]\nowner = 2001\nkrb5_config = "/etc/krb5-alices.conf"\n')
    for number, owner in enumerate((2001, 2002)):
        steps = [subordinate_uids(100_000, owner), private_tmp("alice", 1000, cache="/tmp/elsewhere_1000")]
        got = Requester(1000, steps=steps).ask(**target(bed, number))
        if owner == 2001:
            established(bed, got, "alice")
        else:
            failed(bed, got, errno.ENOKEY)


@scenario
def after_logout_what_outlives_the_session_serves(bed):
    """A kernel thread that writes back and a process without a session: by file, user and persistent keyring; not by the session's."""
    bed.realm
    bed.upcall(KEYRING)
    by_thread = {"at": "worker", "uid": 2001, "gid": 2001, "fsuid": 2001}
    asking = ((bed.user("root"), by_thread), (bed.user("alice"), {"session": "drop"}))
    caches = ("FILE:/tmp/krb5cc_2001", "KEYRING:user:mine", "KEYRING:persistent:2001", "KEYRING:session:mine")
    for number, cache in enumerate(caches):
        with keyrings_of(bed.user("alice")):
            in_session("alice", kinit("alice", cache=cache)).run(lambda: None)
            for more, (who, fields) in enumerate(asking):
                got = who.ask(**target(bed, 10 * number + more), **fields)
                if "session" in cache:
                    failed(bed, got, errno.ENOKEY)
                    assert "kinit" in bed.log.wait("ENOKEY"), bed.log.lines
                else:
                    established(bed, got, "alice")
        if cache.startswith("FILE"):
            os.unlink("/tmp/krb5cc_2001")


@scenario
def a_ticket_in_one_key_serves(bed):
    """Of type `user` or `big_key`, in the session or the user keyring, with no cache anywhere; where the kernel has that type caches use it, too."""
    bed.realm
    bed.upcall(KEYRING)
    with big_keys():
        for number, (key_type, ring) in enumerate((("user", USER), ("big_key", USER), ("user", SESSION), ("big_key", SESSION))):
            with keyrings_of(bed.user("alice")):
                got = in_session("alice", ticket_in_one_key("alice", key_type, ring)).ask(**target(bed, number))
                established(bed, got, "alice")
                bed.until_gone()
        keys = []
        alice = in_session("alice", kinit("alice", cache="KEYRING:session:mine"))
        got = alice.run(lambda: (requester.ask("write", target(bed, 9)), open("/proc/keys").read()))
        established(bed, kernel.Fields.parse(got[0]), "alice")
        keys = [line for line in got[1].splitlines() if " big_key " in line and f"krbtgt/{REALM}@{REALM}" in line]
        assert keys, got[1]


@contextlib.contextmanager
def big_keys():
    """Debian's kernel has no keys of that type: a module's stand in for them."""
    subprocess.run(["/run/busybox", "insmod", "/run/vm/big_key_standin.ko"], check=True)
    try:
        yield
    finally:
        subprocess.run(["/run/busybox", "rmmod", "big_key_standin"], check=True)


def ticket_in_one_key(user, key_type, ring):
    """A step: what the library keeps in a key of a cache, in one that is none's."""

    def step():
        kinit(user, cache="KEYRING:session:x")()
        name = f"krbtgt/{REALM}@{REALM}".encode()
        key, failure = keyctl(SEARCH, SESSION, b"big_key", name, 0)
        assert key > 0, failure
        content = requester.ctypes.create_string_buffer(65536)
        length, failure = keyctl(READ, key, content, len(content))
        assert length > 0, failure
        subprocess.run(["kdestroy", "-c", "KEYRING:session:x"], check=True)
        made = requester.LIBC.syscall(248, key_type.encode(), name, content, length, ring)
        assert made > 0, requester.ctypes.get_errno()

    return step


@scenario
def two_hundred_caches_of_a_user_are_ranked(bed):
    """The one that lives longest is found among them; those of others are not opened."""
    bed.upcall(KEYRING)
    kernel.set_debug_level(2)
    alice = bed.user("alice")
    bed.realm.ticket(alice, "dave", lifetime="30m")
    established(bed, alice.ask(**target(bed, 0)), "dave")
    with open("/tmp/krb5cc_2001", "rb") as file:
        content = file.read()
    alice.run(lambda: [write_private(f"/tmp/krb5cc_2001_{number:03}", content) for number in range(199)])
    bed.realm.ticket(alice, "alice", cache="/tmp/krb5cc_2001_100")
    established(bed, alice.ask(**target(bed, 1)), "alice")
    assert "krb5cc_2001_100" in bed.log.wait("chosen: alice@"), bed.log.lines


@scenario
def a_lustre_users_ticket_is_renewed_before_use(bed):
    """With `renew = true`, once less than half of its life is left; in its cache, so that the context lives longer than it would have."""
    bed.settings("[kerberos]\nrenew = true\n")
    bed.upcall(KEYRING)
    kernel.set_debug_level(2)
    alice = bed.user("alice")
    bed.realm.ticket(alice, "alice", lifetime="20s", renewable="1h")
    end = time.time() + 20
    bed.until(lambda: time.time() > end - 9, "half of its life", 30)
    made = established(bed, alice.ask(**target(bed, 0)), "alice")
    assert made.endtime > end + 2, (made.endtime, end)
    assert "renewed" in bed.log.wait("established"), bed.log.lines
