"""Which of a user's credentials make a context. Principals distinguish the caches: alice is the user, the others are tickets."""

import errno
import os
import subprocess
import time

import kernel
from bed import KEYRING, scenario
from kcm import kcm
from realm import REALM, kinit
from requester import Requester, join_new_session
from sessions import big_keys, in_session
from verdicts import established, failed, has_expired, klist

SERVICE = "lustre_mds/srv.example.test"
HEIMDAL = "/usr/local/lib/lgss-test/heimdal/usr"


@scenario
def what_krb5ccname_is_worth_is_a_setting(bed):
    """By default its cache is used if possible; "ranked" makes it one cache of many, "ignored" leaves it unread."""
    bed.upcall(KEYRING)
    kernel.set_debug_level(2)
    bed.realm.ticket(bed.user("alice"), "dave", lifetime="2h")
    number = 0

    def ask(setting, name, *after):
        nonlocal number
        number += 1
        bed.settings(f'[caches]\nkrb5ccname = "{setting}"\n' if setting else "")
        return in_session("alice", *after, environment={"KRB5CCNAME": name}).ask(**bed.target(number))

    os.mkdir("/tmp/alices", 0o700)
    os.chown("/tmp/alices", 2001, 2001)
    for name in ("FILE:/tmp/named", "DIR:/tmp/alices", "KEYRING:session:named"):
        established(bed, ask("first", name, kinit("alice", cache=name)), "alice")
    established(bed, ask(None, "FILE:/tmp/named"), "alice")
    established(bed, ask("ranked", "FILE:/tmp/named"), "dave")
    bed.log.lines.clear()
    established(bed, ask("first", "MEMORY:mine"), "dave")
    assert "KRB5CCNAME MEMORY:mine" in bed.log.wait("chosen: dave@"), bed.log.lines
    os.unlink("/tmp/krb5cc_2001")
    failed(bed, ask("ignored", "FILE:/tmp/named"), errno.ENOKEY)
    established(bed, ask(None, "FILE:/tmp/named"), "alice")


@scenario
def the_longest_life_wins_and_the_log_says_why_no_other(bed):
    """An expired default cache, a short-lived one below /run/user, rubbish. Without usable ones the failure lists every reason."""
    bed.settings('[caches]\nchoice = "longest"\n')
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
    established(bed, alice.ask(**bed.target(0)), "alice")
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
    failed(bed, alice.ask(**bed.target(1)), errno.EKEYEXPIRED)
    line = bed.log.wait("EKEYEXPIRED")
    assert "krb5cc_2001: ticket expired" in line and "krb5cc_2001_rubbish" in line, line


def write_private(path, content):
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(content)


@scenario
def the_targets_realm_comes_before_a_longer_life_and_a_trusted_realm_leads_there(bed):
    """Tickets of two realms: the server's realm comes first; the other alone serves because the server's realm trusts it."""
    bed.upcall(KEYRING)
    alice = bed.user("alice")
    with bed.realm.trusted("OTHER.TEST", "alice"):
        bed.realm.ticket(alice, "alice@OTHER.TEST", cache="/tmp/krb5cc_2001_other", lifetime="2h")
        bed.realm.ticket(alice, "bob", lifetime="10m")
        established(bed, alice.ask(**bed.target(0)), "bob")
        os.unlink("/tmp/krb5cc_2001")
        got = alice.ask(**bed.target(1))
        assert got.state == "established", (got, bed.log.lines)
        assert bed.server.accepted[-1].initiator == "alice@OTHER.TEST", bed.server.accepted[-1]


@scenario
def two_hundred_caches_of_a_user_are_ranked(bed):
    """The one that lives longest is found among them; other users' caches are not opened."""
    bed.settings('[caches]\nchoice = "longest"\n')
    bed.upcall(KEYRING)
    kernel.set_debug_level(2)
    alice = bed.user("alice")
    bed.realm.ticket(alice, "dave", lifetime="30m")
    established(bed, alice.ask(**bed.target(0)), "dave")
    with open("/tmp/krb5cc_2001", "rb") as file:
        content = file.read()
    alice.run(lambda: [write_private(f"/tmp/krb5cc_2001_{number:03}", content) for number in range(199)])
    bed.realm.ticket(alice, "alice", cache="/tmp/krb5cc_2001_100")
    established(bed, alice.ask(**bed.target(1)), "alice")
    assert "krb5cc_2001_100" in bed.log.wait("chosen: alice@"), bed.log.lines


@scenario
def a_lustre_users_ticket_is_renewed_before_use(bed):
    """With `renew = true`, once less than half of its lifetime is left. The cache gets the new ticket, and the context lives longer for it."""
    bed.settings("[kerberos]\nrenew = true\n")
    bed.upcall(KEYRING)
    kernel.set_debug_level(2)
    alice = bed.user("alice")
    bed.realm
    end = time.time() + 20
    half = lambda: bed.until(lambda: time.time() > end - 9, "half of its life", 30)
    in_ring = in_session("bob", kinit("bob", cache="KEYRING:session:mine", lifetime="20s", renewable="1h"), half)
    bobs = in_ring.begin(obd="lustre-OST0001-osc-ff2dfdc40a66a800", **bed.target(1))
    bed.realm.ticket(alice, "alice", lifetime="20s", renewable="1h")
    half()
    for got, user in ((alice.ask(**bed.target(0)), "alice"), (bobs.result(), "bob")):
        made = established(bed, got, user)
        assert made.endtime > end + 2, (user, made.endtime, end)
    assert "renewed" in bed.log.wait("established"), bed.log.lines


@scenario
def a_setuid_program_has_the_real_users_caches_whatever_names_them(bed):
    """The user sets its environment: it cannot name root's or others' caches there, only its own."""
    bed.settings('[caches]\nkrb5ccname = "first"\n')
    bed.upcall(KEYRING)
    bed.realm.ticket(bed.user("alice"), "alice")
    bed.realm.ticket(bed.user("alice"), "carol", cache="/tmp/alices_own")
    bed.realm.ticket(bed.user("root"), "dave", cache="/tmp/roots", lifetime="2h")
    bed.realm.ticket(bed.user("bob"), "bob", cache="/tmp/bobs", lifetime="2h")
    names = (("/tmp/roots", "alice"), ("/tmp/bobs", "alice"), ("/tmp/alices_own", "carol"))
    for number, (name, principal) in enumerate(names):
        setuid = Requester((2001, 0, 0), environment={"KRB5CCNAME": f"FILE:{name}"})
        made = established(bed, setuid.ask(**bed.target(number)), principal)
        assert made.rpc.uid == 2001, made.rpc
    setuid = Requester((2001, 0, 0), steps=[session_of_alice])
    os.unlink("/tmp/krb5cc_2001")
    established(bed, setuid.ask(**bed.target(9)), "alice")
    assert SERVICE in klist(bed.user("alice"), "/tmp/alices_own")
    assert SERVICE not in klist(bed.user("root"), "/tmp/roots")


def session_of_alice():
    """A step of root: joins the session of alice's login, which has a ticket."""
    os.seteuid(2001)
    join_new_session()
    os.seteuid(0)
    words = ["kinit", "-c", "KEYRING:session:mine", "-l", "3h", "alice"]
    subprocess.run(words, input=b"secret\n", user=2001, group=2001, check=True, capture_output=True)


@scenario
def a_cache_of_sssds_kcm_is_found_and_a_daemon_that_hangs_is_passed_over(bed):
    """Nothing names the cache, and it gets the service ticket. A stopped daemon costs some seconds, then another cache serves."""
    bed.settings('[caches]\nchoice = "longest"\n')
    bed.realm
    bed.upcall(KEYRING)
    alice = bed.user("alice")
    with kcm(bed) as daemon:
        bed.realm.ticket(alice, "alice", cache="KCM:", lifetime="2h")
        established(bed, alice.ask(**bed.target(0)), "alice")
        assert SERVICE in klist(alice, "KCM:"), klist(alice, "KCM:")
        bed.realm.ticket(alice, "dave", lifetime="10m")
        established(bed, alice.ask(**bed.target(1)), "alice")
        daemon.send_signal(19)
        established(bed, alice.ask(**bed.target(2)), "dave")
        daemon.send_signal(18)


@scenario
def what_heimdals_programs_write_serves(bed):
    """A file and a directory collection, named by the environment."""
    bed.realm
    bed.upcall(KEYRING)
    os.mkdir("/tmp/alices", 0o700)
    os.chown("/tmp/alices", 2001, 2001)
    for number, name in enumerate(("FILE:/tmp/heimdals", "DIR:/tmp/alices")):
        words = [f"{HEIMDAL}/bin/kinit.heimdal", "--password-file=STDIN", "-c", name, "alice"]
        done = subprocess.run(words, input="secret\n", user=2001, group=2001, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        alice = bed.user("alice", environment={"KRB5CCNAME": name})
        established(bed, alice.ask(**bed.target(number)), "alice")


@scenario
def a_user_without_a_passwd_entry_and_one_with_a_service_ticket_only_are_served(bed):
    """Neither the name service nor a ticket-granting ticket is needed; with the service ticket no KDC is needed either."""
    bed.realm
    bed.upcall(KEYRING)
    nobodys = Requester(5000)
    nobodys.run(kinit("alice"))
    made = established(bed, nobodys.ask(**bed.target(0)), "alice")
    assert made.rpc.uid == 5000, made.rpc
    bob = bed.user("bob")
    bob.run(kinit("bob", service=SERVICE))
    assert "krbtgt" not in klist(bob), klist(bob)
    bed.realm.stop_kdc()
    established(bed, bob.ask(**bed.target(1)), "bob")


@scenario
def a_users_keytab_serves_when_no_cache_does(bed):
    """The setting names it, with uid and owner. A cache takes precedence, and another user's keytab is not used."""
    bed.realm.keytab("/run/2001.keytab", "alices-robot")
    os.chown("/run/2001.keytab", 2001, 2001)
    os.link("/run/2001.keytab", "/run/2002.keytab")
    bed.settings('[caches]\nclient_keytab = "/run/%{uid}.keytab"\n')
    bed.upcall(KEYRING)
    failed(bed, bed.user("bob").ask(**bed.target(0)), errno.ENOKEY)
    os.unlink("/run/2002.keytab")
    alice = bed.user("alice")
    established(bed, alice.ask(**bed.target(1)), "alices-robot")
    bed.realm.ticket(alice, "alice")
    established(bed, alice.ask(**bed.target(2)), "alice")
    os.unlink("/run/2001.keytab")


@scenario
def large_tickets_serve_from_files_and_keyrings(bed):
    """Users in many groups have ticket-granting tickets, and so tokens for the server, of these sizes; in keyrings it is a `big_key`."""
    bed.realm
    bed.upcall(KEYRING)

    def enlarge(cache, size):
        words = ["/run/vm/large_ticket", cache, f"krbtgt/{REALM}", str(size)]
        return lambda: subprocess.run(words, check=True, capture_output=True)

    with big_keys():
        for number, (cache, size) in enumerate((("FILE:/tmp/large", 8_000), ("FILE:/tmp/large", 60_000), ("KEYRING:session:x", 24_000))):
            after = [kinit("alice", cache=cache), enlarge(cache, size)]
            alice = in_session("alice", *after, environment={"KRB5CCNAME": cache})
            made = established(bed, alice.ask(**bed.target(number)), "alice")
            assert len(made.rpc.token) > size, (size, len(made.rpc.token))
