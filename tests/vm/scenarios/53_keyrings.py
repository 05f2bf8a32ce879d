"""Users' credentials in keyrings: which ones a request of the kernel finds, and which not."""

import ctypes
import errno
import os
import subprocess

import kernel
import requester
from bed import KEYRING, scenario
from realm import REALM, kinit
from requester import Requester, join_new_session, keyctl
from sessions import LINK, PROCESS, READ, REVOKE, SEARCH, SESSION, SET_TIMEOUT, USER, big_keys, in_session, lasting_keyrings_of
from verdicts import established, failed


@scenario
def every_cache_of_a_collection_is_looked_at(bed):
    """The primary cache ends sooner than another: in a directory, in the session, user and persistent keyring; named and unnamed."""
    bed.settings('[caches]\nchoice = "longest"\n')
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
        with lasting_keyrings_of(bed.user("alice")):
            after = [kinit("dave", cache=name, lifetime="10m"), kinit("alice", cache=f"{member}other")]
            alice = in_session("alice", *after, environment={"KRB5CCNAME": name})
            established(bed, alice.ask(**bed.target(number)), "alice")
            if name.startswith("KEYRING"):
                established(bed, in_session("alice", *after).ask(**bed.target(10 + number)), "alice")


@scenario
def a_cache_in_the_process_keyring_serves_and_one_in_the_thread_keyring_cannot(bed):
    """For its request the kernel puts the user's keyring in place of the thread keyring, so nothing leads to that."""
    bed.upcall(KEYRING)
    for number, (place, wanted) in enumerate((("process", "established"), ("thread", "failed"))):
        alice = in_session("alice", ticket_of_this_process("alice", f"KEYRING:{place}:mine"))
        got = alice.ask(**bed.target(number))
        assert got.state == wanted, (place, got, bed.log.lines)
    failed(bed, got, errno.ENOKEY)


def ticket_of_this_process(user, cache):
    """A step: gets a ticket in this very process; a program run by it could not leave one in its thread or process keyring."""

    def step():
        from gssapi import Name
        from gssapi.raw import acquire_cred_with_password, store_cred_into

        made = acquire_cred_with_password(Name(f"{user}@{REALM}"), b"secret", usage="initiate")
        store_cred_into({b"ccache": cache.encode()}, made.creds, usage="initiate", overwrite=True)

    return step


@scenario
def after_logout_what_outlives_the_session_serves(bed):
    """A kernel thread that writes back and a process without a session find caches in a file, the user and the persistent keyring; not in the session's."""
    bed.realm
    bed.upcall(KEYRING)
    by_thread = {"at": "worker", "uid": 2001, "gid": 2001, "fsuid": 2001}
    asking = ((bed.user("root"), by_thread), (bed.user("alice"), {"session": "drop"}))
    caches = ("FILE:/tmp/krb5cc_2001", "KEYRING:user:mine", "KEYRING:persistent:2001", "KEYRING:session:mine")
    for number, cache in enumerate(caches):
        with lasting_keyrings_of(bed.user("alice")):
            in_session("alice", kinit("alice", cache=cache)).run(lambda: None)
            for more, (who, fields) in enumerate(asking):
                got = who.ask(**bed.target(10 * number + more), **fields)
                if "session" in cache:
                    failed(bed, got, errno.ENOKEY)
                    assert "kinit" in bed.log.wait("ENOKEY"), bed.log.lines
                else:
                    established(bed, got, "alice")
        if cache.startswith("FILE"):
            os.unlink("/tmp/krb5cc_2001")


@scenario
def a_ticket_in_one_key_serves(bed):
    """Of type `user` or `big_key`, in the session or the user keyring, without any cache; where the kernel has `big_key`, caches use it, too."""
    bed.realm
    bed.upcall(KEYRING)
    with big_keys():
        for number, (key_type, ring) in enumerate((("user", USER), ("big_key", USER), ("user", SESSION), ("big_key", SESSION))):
            with lasting_keyrings_of(bed.user("alice")):
                got = in_session("alice", ticket_in_one_key("alice", key_type, ring)).ask(**bed.target(number))
                established(bed, got, "alice")
                bed.until_gone()
        alice = in_session("alice", kinit("alice", cache="KEYRING:session:mine"))
        got = alice.run(lambda: (requester.ask("write", bed.target(9)), open("/proc/keys").read()))
        established(bed, kernel.Fields.parse(got[0]), "alice")
        keys = [line for line in got[1].splitlines() if " big_key " in line and f"krbtgt/{REALM}@{REALM}" in line]
        assert keys, got[1]


def ticket_in_one_key(user, key_type, ring):
    """A step: puts a ticket, in the library's form, into a key outside any cache."""

    def step():
        kinit(user, cache="KEYRING:session:x")()
        name = f"krbtgt/{REALM}@{REALM}".encode()
        key, failure = keyctl(SEARCH, SESSION, b"big_key", name, 0)
        assert key > 0, failure
        content = ctypes.create_string_buffer(65536)
        length, failure = keyctl(READ, key, content, len(content))
        assert length > 0, failure
        subprocess.run(["kdestroy", "-c", "KEYRING:session:x"], check=True)
        made = requester.LIBC.syscall(248, key_type.encode(), name, content, length, ring)
        assert made > 0, ctypes.get_errno()

    return step


@scenario
def a_session_keyring_that_is_gone_is_told_and_the_next_cache_serves(bed):
    """The keyring is revoked or expires while its processes run; without other credentials the request fails with ENOKEY and this reason."""
    bed.upcall(KEYRING)
    kernel.set_debug_level(2)
    alice = bed.user("alice")
    ends = {
        "revoked": [lambda: keyctl(REVOKE, SESSION)],
        "expired": [lambda: keyctl(SET_TIMEOUT, SESSION, 1), lambda: bed.until(lambda: keyctl(READ, SESSION, None, 0)[1], "its end")],
    }
    for number, (word, steps) in enumerate(ends.items()):
        inside = in_session("alice", kinit("dave", cache="KEYRING:session:mine", lifetime="2h"), *steps)
        bed.realm.ticket(alice, "alice")
        established(bed, inside.ask(**bed.target(number)), "alice")
        os.unlink("/tmp/krb5cc_2001")
        bed.log.lines.clear()
        failed(bed, inside.ask(**bed.target(10 + number)), errno.ENOKEY)
        line = bed.log.wait("KEYRING:session")
        assert word in line, line
        bed.log.lines.clear()


@scenario
def a_session_inherited_from_root_gives_no_ticket_of_roots(bed):
    """As with su, which makes no new session: root's credentials there stay root's, even if KRB5CCNAME names them."""
    bed.upcall(KEYRING)
    bed.realm
    steps = [join_new_session, kinit("dave", cache="KEYRING:session:roots", lifetime="2h")]
    for number, environment in enumerate((None, {"KRB5CCNAME": "KEYRING:session:roots"})):
        alice = Requester(2001, steps=steps, environment=environment)
        failed(bed, alice.ask(**bed.target(number)), errno.ENOKEY)


@scenario
def rubbish_in_keyrings_is_passed_over_with_a_reason(bed):
    """Endless and empty collections, keys that are no tickets: they do not serve, and a cache in a file still does."""
    bed.upcall(KEYRING)
    kernel.set_debug_level(2)
    bed.realm.ticket(bed.user("alice"), "alice")
    with lasting_keyrings_of(bed.user("alice")):
        alice = in_session("alice", *(rubbish(ring) for ring in (SESSION, USER)))
        established(bed, alice.ask(**bed.target(0)), "alice")
        line = bed.log.wait("chosen: alice@")
        assert "; and " in line and " more" in line, line
        rubbish_caches = [reason for reason in line.split("; ") if reason.startswith("KEYRING:")]
        assert rubbish_caches and not any("/proc/" in reason or "key krbtgt" in reason for reason in rubbish_caches), line
        os.unlink("/tmp/krb5cc_2001")
        failed(bed, alice.ask(**bed.target(1)), errno.ENOKEY)
        line = bed.log.wait("ENOKEY")
        assert "KEYRING:session:rubbish" in line, line


def rubbish(ring):
    """A step: plants contents that libkrb5 would not write."""

    def add(key_type, name, content, into):
        key = requester.LIBC.syscall(248, key_type, name.encode(), content, len(content or b""), into)
        assert key > 0, (name, ctypes.get_errno())
        return key

    def step():
        # A keyring that only the user keyring leads to could not be changed.
        keyctl(LINK, ring, PROCESS)
        add(b"user", f"krbtgt/{REALM}@{REALM}", b"\5\4rubbish", ring)
        add(b"user", "krbtgt/OTHER.TEST@OTHER.TEST", bytes(24), ring)
        add(b"user", "krbtgt/A\n@A\n", b"rubbish", ring)
        for number in range(12):
            collection = add(b"keyring", f"_krb_rubbish{number}", None, ring)
            member = add(b"keyring", "tkt", None, collection)
            add(b"user", "__krb5_princ__", b"rubbish", member)
        keyctl(LINK, ring, add(b"keyring", "_krb_round", None, ring))

    return step
