"""Credentials of the node in keys of root's user keyring, by `machine.cache = "keyring"`."""

import os
import re
import subprocess
import time

import requester
from bed import KEYRING, scenario
from realm import CLIENT
from verdicts import established

NODE = f"lustre_root/{CLIENT}"
USER_KEYRING, SESSION = -4, -3
LINK = 8
# Of a key: its owner's rights to everything, and nobody else's.
OWNERS = "003f0000"
LIMITS = "/proc/sys/kernel/keys/root_maxbytes"


def asked(bed, number, service="oss", **fields):
    """A request for another target: the context is established by the node's ticket."""
    target = {"flags": "r", "svc": "i", "secid": 100_000 + 100 * bed.secid + number, "wait_ms": 60000}
    target |= {"lustre_svc": {"mds": 1, "oss": 2}[service], "obd": f"lustre-OST{number:04x}-osc-ff2d"}
    return established(bed, bed.user("root").ask(**target | fields), NODE)


def kept(name=""):
    """Keys in root's user keyring that stand in for files: serial, rights, seconds or words until their end, owner, name."""
    found = []
    ring = {int(line.split()[0]) for line in told("keyctl", "show", "@u").splitlines() if "lgss:" in line}
    for line in open("/proc/keys"):
        fields = line.split(None, 8)
        if int(fields[0], 16) in ring and name in line:
            described = fields[8].rsplit(":", 1)[0]
            found.append((int(fields[0], 16), fields[4], fields[3], int(fields[5]), described))
    return found


def serials():
    return {serial for serial, *_ in kept()}


def told(*words, **options):
    return subprocess.run(words, check=True, capture_output=True, text=True, **options).stdout


def begin(bed):
    for serial, *_ in kept():
        told("keyctl", "unlink", str(serial), "@u")
    bed.realm
    bed.settings('[machine]\ncache = "keyring"\n')
    bed.upcall(KEYRING)


def no_file_has_tickets():
    """Below the run directory there are states, and nowhere root's default cache."""
    left = os.listdir("/run/lgss/machine")
    assert left and all(name.endswith(".state") for name in left), left
    assert not os.path.exists("/tmp/krb5cc_0")


def exchanges(bed):
    return len(bed.realm.as_exchanges(NODE))


@scenario
def tickets_in_keys_serve_mounts_and_later_requests_without_a_file(bed):
    """One AS exchange; keys that end with the tickets, for root alone; a note for fronts; flush drops them, but not in a dry run."""
    begin(bed)
    for number, service in enumerate(("oss", "mds", "oss", "mds")):
        asked(bed, number, service)
    assert bed.user("root").mount(flags="r", svc="i", secid=100_000 + 100 * bed.secid + 9)[0] == 0, bed.log.lines
    assert exchanges(bed) == 1, bed.realm.as_exchanges(NODE)
    no_file_has_tickets()
    keys = kept()
    stamp = re.compile("lgss:/run/lgss/machine/[0-9a-f]{64}(:[0-9a-f]{8}:[0-9]+)?")
    assert keys and all(stamp.fullmatch(name) for *_, name in keys), keys
    assert {(rights, owner) for _, rights, _, owner, _ in keys} == {(OWNERS, 0)}, keys
    assert all(re.fullmatch("[0-9]+[smhd]", end) for _, _, end, _, _ in keys), keys
    notes = [open(f"/run/lgss/ready/{name}").read().splitlines()[1] for name in os.listdir("/run/lgss/ready")]
    assert notes and all(note in {name for *_, name in keys} for note in notes), notes
    before = serials()
    assert told("lgss", "flush", "--machine", "--dry-run").startswith("1 cache of machine tickets would be dropped")
    asked(bed, 20)
    assert exchanges(bed) == 1 and serials() == before
    assert told("lgss", "flush", "--machine").startswith("1 cache of machine tickets dropped")
    assert not kept()
    asked(bed, 21)
    assert exchanges(bed) == 2 and kept()


@scenario
def a_storm_of_targets_asks_the_kdc_once_and_keeps_the_tickets_in_keys(bed):
    """Thirty targets at the same time."""
    begin(bed)
    fields = {"flags": "r", "svc": "i", "lustre_svc": 2, "wait_ms": 60000}
    begun = [
        bed.user("root").begin(secid=100_000 + 100 * bed.secid + number, obd=f"lustre-OST{number:04x}-osc-ff2d", **fields)
        for number in range(30)
    ]
    for one in begun:
        established(bed, one.result(80), NODE)
    assert exchanges(bed) == 1, bed.realm.as_exchanges(NODE)
    no_file_has_tickets()
    bed.until_gone()
    assert len([name for *_, name in kept() if name.count(":") == 1]) == 1, kept()


@scenario
def a_key_that_another_user_has_planted_is_not_used(bed):
    """By a program that was started in root's session, which leads to root's user keyring, and has dropped root's uid."""
    begin(bed)
    asked(bed, 0)
    (name,) = {name for *_, name in kept() if name.count(":") == 1}
    for serial, *_ in kept():
        told("keyctl", "unlink", str(serial), "@u")
    ring = re.search(r"(\d+) .*_uid\.0", told("keyctl", "show", "@u"))[1]

    def possess():
        requester.join_new_session()
        assert requester.keyctl(LINK, USER_KEYRING, SESSION) == (0, 0)

    def plant():
        done = subprocess.run(["keyctl", "padd", "user", name, ring], input=b"false", capture_output=True)
        subprocess.run(["keyctl", "setperm", done.stdout.strip(), "0x3f3f3f3f"], check=True)
        return done.returncode

    assert requester.Requester(2001, steps=[possess]).run(plant) == 0
    assert [(owner, found) for *_, owner, found in kept()] == [(2001, name)], kept()
    asked(bed, 1)
    assert exchanges(bed) == 2, bed.realm.as_exchanges(NODE)
    bed.until_gone()
    assert {owner for *_, owner, _ in kept()} == {0}, kept()
    asked(bed, 2)
    assert exchanges(bed) == 2, bed.realm.as_exchanges(NODE)


@scenario
def damaged_keys_are_not_used(bed):
    """Root has overwritten them; the KDC is asked again, and the next request finds whole ones."""
    begin(bed)
    asked(bed, 0)
    for serial, *_ in kept():
        told("keyctl", "update", str(serial), "damaged")
    for number in (1, 2):
        asked(bed, number)
        assert exchanges(bed) == 2, bed.realm.as_exchanges(NODE)


@scenario
def a_full_quota_of_roots_costs_the_next_request_a_kdc_and_is_told(bed):
    """The context is made; the log has the figures and the settings that raise them; tickets that there were stay."""
    begin(bed)
    limit = open(LIMITS).read()
    try:
        asked(bed, 0)
        before = serials()
        full = leave_room(bed)
        # Another server's ticket finds no room beside the ticket-granting ticket that is kept.
        asked(bed, 1, "mds")
        line = bed.log.wait("not kept in root's user keyring")
        assert f" of {full} bytes, " in line and "root_maxbytes" in line, line
        assert serials() == before and exchanges(bed) == 1, (kept(), before)
        told("lgss", "flush", "--machine")
        leave_room(bed)
        for number in (2, 3):
            asked(bed, number)
        assert exchanges(bed) == 3 and not kept(), kept()
        no_file_has_tickets()
    finally:
        write(LIMITS, limit)
    asked(bed, 4)
    asked(bed, 5)
    assert exchanges(bed) == 4, bed.realm.as_exchanges(NODE)


def leave_room(bed, room=1000):
    """Lets root's keys have so many more bytes: enough for a request, but not for a cache. Returns the limit."""
    bed.until_gone()
    used = re.search(r"^ *0: .* (\d+)/\d+$", open("/proc/key-users").read(), re.MULTILINE)[1]
    write(LIMITS, str(int(used) + room))
    return int(used) + room


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


@scenario
def tickets_of_an_earlier_file_give_way_to_keys(bed):
    """The setting is changed: the file goes as soon as there are keys."""
    begin(bed)
    bed.settings("")
    asked(bed, 0)
    assert any(re.fullmatch("[0-9a-f]{64}", name) for name in os.listdir("/run/lgss/machine"))
    bed.settings('[machine]\ncache = "keyring"\n')
    asked(bed, 1)
    bed.until(kept, "tickets in keys")
    no_file_has_tickets()


@scenario
def keys_end_with_the_tickets(bed):
    """Tickets for forty seconds: afterwards nothing is left, and the KDC is asked again."""
    begin(bed)
    bed.realm.configure("ticket_lifetime = 40s")
    asked(bed, 0)
    # A quarter of their time before the tickets, which are not used any more then.
    ends = [int(re.fullmatch("([0-9]+)s", end)[1]) for _, _, end, _, _ in kept()]
    assert ends and max(ends) <= 30, ends
    # Looking all the time would keep the guest's clock from following the host's.
    time.sleep(max(ends))
    bed.until(lambda: not kept(), "an end")
    asked(bed, 1)
    assert exchanges(bed) == 2, bed.realm.as_exchanges(NODE)


@scenario
def a_namespace_has_keys_of_its_own(bed):
    """A request for a container's mount, with its table's keytab: root's keys on the host, whatever keyrings its namespace has."""
    begin(bed)
    bed.realm.keytab("/run/realm/web.keytab", "lustre_root/web.example.test")
    web = 'keytab = "/run/realm/web.keytab"\nprincipal = "lustre_root/web.example.test"\n'
    bed.settings(f'[machine]\ncache = "keyring"\n[namespace.a]\nowner = 2001\n{web}')
    process = requester.Requester(2001, after=[requester.own_user_namespace]).start(lambda: time.sleep(200))
    bed.until(lambda: " 2001 " in open(f"/proc/{process.pid}/uid_map").read(), "a namespace")
    for number in range(3):
        fields = {"flags": "r", "svc": "i", "pid": process.pid, "secid": 100_000 + 100 * bed.secid + number}
        established(bed, bed.user("root").ask(wait_ms=30000, **fields), "lustre_root/web.example.test")
    made = bed.realm.as_exchanges("lustre_root/web.example.test")
    assert len(made) == 1 and {owner for *_, owner, _ in kept()} == {0}, (made, kept())
    asked(bed, 10)
    assert exchanges(bed) == 1
    assert len([name for *_, name in kept() if name.count(":") == 1]) == 2, kept()
    no_file_has_tickets()
    process.end()
