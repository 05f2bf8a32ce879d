"""The stand-in behaves as the real kernel part was observed to. The upcall is trivial_upcall, which follows a plan."""

import errno
from pathlib import Path

import kernel
import requester
from bed import USERS, scenario
from requester import Requester

# Observed on a real file system: window 2048, a handle of 8 bytes, a krb5 token with enctype 18.
ESTABLISHED = (
    "00080000080000006178edf0fa60bbd9800000000200000019aa026b070000008dab5b010000000012000000200000000300000"
    "01afda69f69ba0f9cd1127622e77f1b77e172fe0006aa4b1792ab014c4c4d02b931d6a1511a47314a9142b06221d0185aeeda19"
    "54cb3e8731cd6d2afd3a7570a68992b20aa91ff30880ff61f7eb4a66560eb999c91e7c0399b210ab5d9523c856"
)
NO_KEY = "0000000082ffffff00000000"
INTO_NONE = "instantiate 0"


def as_user(name):
    """Steps of the known upcall for an ordinary user: become the user, instantiate into the user's keyring."""
    uid = USERS[name]
    return [f"as {uid} {uid}", "setperm 3d050000", "instantiate -4", "fork"]


@scenario
def a_new_key_is_as_a_real_one(bed):
    """Words, permissions and the auth key's line equal the captures."""
    bed.trivial("look", *as_user("alice"), f"update-until {ESTABLISHED} 5000")
    got = bed.user("alice").ask(wait_ms=20000)
    seen = bed.did("look")
    assert seen["described"] == f"lgssc;2001;2001;3d010000;2001@{bed.secid:x}", seen
    assert [seen[f"arg{i}"] for i in (1, 3, 4, 6, 7, 9)] == ["create", "lgssc", f"2001@{bed.secid:x}", "2001", "2001", "0"], seen
    callout = seen["arg5"].split(":")
    assert callout[:10] == f"{bed.secid}:krb5:2001:2001::-:1:0x20000c0a84d01:lustre-MDT0000-mdc-ff2dfdc40a66a800:0x20000c0a84d02".split(":")
    assert callout[10] == seen["tid"] and len(callout) == 12, seen
    assert f"key:{got.serial:x} pid:{seen['tid']} ci:{len(seen['arg5'])}" in seen["auth"], seen
    assert seen["ring"].endswith(f"_req.{got.serial}"), seen
    ring = bed.user("alice").run(lambda: requester.keyctl(0, -4, 0)[0])
    assert int(seen["arg8"]) == ring, (seen, ring)


@scenario
def a_key_for_the_node_has_no_rings(bed):
    """Root flags: owner 0, pid 1, no thread or process keyring, root's default session keyring."""
    bed.trivial("look", INTO_NONE, "fork", f"update-until {ESTABLISHED} 5000")
    got = Requester(steps=[requester.join_new_session]).ask(flags="rmo", svc="i", wait_ms=20000)
    assert got.state == "established", got
    seen = bed.did("look")
    assert seen["described"] == f"lgssc;0;0;3d010000;0@{bed.secid:x}", seen
    assert (seen["arg8"], seen["arg9"]) == ("0", "0") and seen["arg5"].split(":")[10] == "1", seen
    default_session = Requester().run(lambda: requester.keyctl(0, -5, 0)[0])
    assert int(seen["arg10"]) == default_session, (seen, default_session)
    assert "---QU--" in seen["line"] and " 3d010000 " in seen["line"], seen


@scenario
def the_payload_arrives_byte_for_byte(bed):
    """The contents of an update can be read back, whole and as window, handle and token."""
    bed.trivial(*as_user("alice"), f"update-until {ESTABLISHED} 5000")
    got = bed.user("alice").ask(wait_ms=20000)
    assert (got.state, got.seq_win, got.handle) == ("established", 2048, "6178edf0fa60bbd9"), got
    assert got.token == ESTABLISHED[40:], got
    assert bed.act("update", rc=0).payload == ESTABLISHED


@scenario
def a_users_key_has_usage_2_when_all_is_done(bed):
    """One link from the user's keyring, one from the context. The key stays without a timeout until it is flushed."""
    alice = bed.user("alice")
    bed.trivial(*as_user("alice"), f"update-until {ESTABLISHED} 5000")
    got = alice.ask(wait_ms=20000)
    bed.until(lambda: bed.usage(alice, got.serial) == 2, "usage count 2")
    line = [line for line in alice.proc_keys() if line.startswith(f"{got.serial:08x}")][0]
    assert line.split()[3] == "perm", line
    again = alice.ask(wait_ms=1000)
    assert (again.serial, again.new, again.state) == (got.serial, 0, "established"), again
    kernel.order("flush 2001")
    bed.event("destroy", key=got.serial)
    assert alice.ask(wait_ms=20000).serial != got.serial


@scenario
def a_key_for_the_node_is_gone_after_its_update(bed):
    """It is invalidated as soon as it is established."""
    bed.trivial(INTO_NONE, "fork", f"update-until {ESTABLISHED} 5000", "update 00", "unlink session")
    got = Requester().ask(flags="r", svc="i", wait_ms=20000)
    assert got.state == "established", got
    assert int(bed.did("update")["errno"]) in (errno.ENOKEY, errno.EKEYREVOKED), bed.did("update")
    bed.event("destroy", key=got.serial)


@scenario
def an_update_before_the_binding_must_be_repeated(bed):
    """EAGAIN until the requester has its context, also shortly before that."""
    kernel.set_parameters(bind_delay_ms=300)
    bed.trivial(*as_user("alice"), f"update {ESTABLISHED}", f"update-until {ESTABLISHED} 10000")
    got = bed.user("alice").ask(wait_ms=20000)
    assert got.state == "established", got
    assert int(bed.did("update")["errno"]) == errno.EAGAIN
    assert int(bed.did("update-until")["tries"]) > 1


@scenario
def a_failure_ends_the_key(bed):
    """rpc_err reaches the requester, the key's link is gone, and the next request makes a new key."""
    bed.trivial(*as_user("alice"), f"update-until {NO_KEY} 5000", "unlink -4")
    alice = bed.user("alice")
    got = alice.ask(wait_ms=20000)
    assert (got.state, got.rpc_err, got.gss_major) == ("failed", -errno.ENOKEY, 0), got
    # The kernel has unlinked it, and may have collected it by now.
    assert int(bed.did("unlink")["errno"]) in (errno.ENOENT, errno.ENOKEY), bed.did("unlink")
    bed.event("destroy", key=got.serial)
    assert alice.ask(wait_ms=20000).serial != got.serial


@scenario
def a_gss_failure_without_errno_is_eacces(bed):
    """rpc_err 0 with a major status; -ERESTART is not a failure."""
    bed.trivial(*as_user("alice"), "update-until 00000000000000000000 5000")
    assert bed.user("alice").ask(wait_ms=20000).state == "disliked"
    bed.trivial(*as_user("alice"), "update-until 000000000000000000000d00 5000")
    got = bed.user("alice").ask(wait_ms=20000)
    assert (got.state, got.rpc_err, got.gss_major) == ("failed", -errno.EACCES, 0x0D0000), got
    bed.trivial(*as_user("alice"), "update-until 00000000abffffff00000000 5000")
    assert bed.user("alice").ask(wait_ms=20000).state == "restart"


@scenario
def contents_that_the_importer_cannot_use_answer_0(bed):
    """A truncated token, a surplus byte, a DES enctype, no handle: the context fails, the update does not."""
    bad = [
        ESTABLISHED[:-2],
        ESTABLISHED + "00",
        ESTABLISHED.replace("1200000020000000", "0300000020000000"),
        "0008000000000000" + ESTABLISHED[32:],
        "00080000ffffffff" + ESTABLISHED[16:],
    ]
    for payload in bad:
        bed.trivial(*as_user("alice"), f"update-until {payload} 5000")
        assert bed.user("alice").ask(wait_ms=20000).state == "disliked", payload
    assert [act.rc for act in bed.all_events("act", act="update") if act.rc != -errno.EAGAIN] == [0] * len(bad)


@scenario
def a_second_update_is_ignored(bed):
    """The first one counts, whatever follows."""
    bed.trivial(*as_user("alice"), f"update-until {ESTABLISHED} 5000", f"update {NO_KEY}")
    alice = bed.user("alice")
    got = alice.ask(wait_ms=20000)
    assert bed.did("update")["rc"] == "0"
    again = alice.ask(wait_ms=1000)
    assert (again.serial, again.state, again.updates) == (got.serial, "established", 2), again


@scenario
def instantiate_takes_no_payload(bed):
    """EINVAL for one byte; after that the key can still be instantiated."""
    bed.trivial("instantiate 0 00", *as_user("alice"), f"update-until {ESTABLISHED} 5000")
    assert bed.user("alice").ask(wait_ms=20000).state == "established"
    assert int(bed.did("instantiate")["errno"]) == errno.EINVAL


@scenario
def root_instantiates_into_its_session(bed):
    """Whoever owns the key: root possesses it automatically and needs no further rights for updates."""
    bed.trivial(INTO_NONE, "fork", f"update-until {ESTABLISHED} 5000")
    assert bed.user("alice").ask(wait_ms=20000).state == "established"
    assert bed.act("instantiate").session == "linked"


@scenario
def the_own_session_as_destination_would_hang(bed):
    """keyctl_instantiate holds the destination ring while the kernel wants it for its own link."""
    bed.trivial("instantiate session", INTO_NONE, "fork", f"update-until {ESTABLISHED} 5000")
    assert bed.user("alice").ask(wait_ms=20000).state == "established"
    assert int(bed.did("instantiate")["errno"]) == errno.EDEADLK


@scenario
def a_context_without_an_update_expires(bed):
    """After 2 x timeout, whether or not an upcall is alive; a dropped update does not count."""
    kernel.set_timeout(1)
    kernel.set_parameters(drop_updates=1)
    bed.trivial(*as_user("alice"), f"update-until {ESTABLISHED} 5000")
    got = bed.user("alice").ask(wait_ms=20000)
    assert got.state == "expired" and 1_900_000 < got.after_us < 10_000_000, got
    bed.event("destroy", key=got.serial)


@scenario
def a_rejected_key_gives_its_errno(bed):
    """At once, and for every request until the rejection ends."""
    bed.trivial(f"reject 1 {errno.EACCES}")
    got = bed.user("alice").ask()
    assert (got.serial, got.errno) == (0, errno.EACCES), got


@scenario
def an_upcall_that_only_exits_costs_enokey(bed):
    """The kernel negates a key that nobody has instantiated."""
    bed.trivial("exit 1")
    assert bed.user("carol").ask().errno == errno.ENOKEY


@scenario
def eight_first_accesses_make_one_upcall(bed):
    """They share one context."""
    go = f"/run/go.{bed.secid}"
    bed.trivial(*as_user("bob"), f"wait {go}", f"update-until {ESTABLISHED} 5000")
    bob = bed.user("bob")
    asked = [bob.begin(wait_ms=30000) for _ in range(8)]
    bed.until(lambda: len(bed.all_events("request")) == 8, "8 requests have returned")
    Path(go).touch()
    results = [one.result() for one in asked]
    assert {result.state for result in results} == {"established"}, results
    assert len({result.ctx for result in results}) == 1 and len(bed.all_events("act", act="instantiate")) == 1


@scenario
def requests_of_one_connection_wait_for_each_other(bed):
    """The next user waits until the upcall instantiates its key; without `serialise` nobody waits."""
    for serialise in (1, 0):
        kernel.set_parameters(serialise=serialise)
        since = bed.events.mark()
        secid, go = 5000 + serialise, f"/run/go.{bed.secid}.{serialise}"
        bed.trivial(f"wait {go}", INTO_NONE, "fork", f"update-until {ESTABLISHED} 5000")
        asked = [bed.user(name).begin(secid=secid, wait_ms=30000) for name in ("alice", "bob")]
        waiting = 1 if serialise else 2
        bed.until(lambda: len(upcalls_in_progress(secid)) == waiting, f"{waiting} upcalls")
        Path(go).touch()
        results = [one.result() for one in asked]
        assert {result.state for result in results} == {"established"}, results
        waits = [event.lock_us > 1000 for event in bed.events.all("request", since)]
        assert sorted(waits) == [False, bool(serialise)], waits


def upcalls_in_progress(secid):
    """Processes of the stand-in upcall for this secid."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            words = (directory / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if words[0].endswith(b"trivial_upcall") and words[4].endswith(b"@%x" % secid):
            found.append(directory)
    return found


@scenario
def a_setuid_programs_key_belongs_to_root(bed):
    """Description, callout and ring belong to the real user, the owner is the file system uid."""
    bed.trivial("look", INTO_NONE, "fork", f"update-until {ESTABLISHED} 5000")
    got = Requester((2001, 0, 0), gid=2001).ask(wait_ms=20000)
    seen = bed.did("look")
    assert got.state == "established" and seen["described"] == f"lgssc;0;2001;3d010000;2001@{bed.secid:x}", seen
    assert seen["arg5"].split(":")[2] == "2001" and seen["arg6"] == "0", seen
    assert int(seen["arg8"]) == bed.user("alice").run(lambda: requester.keyctl(0, -4, 0)[0]), seen


@scenario
def a_file_servers_key_belongs_to_whom_it_acts_for(bed):
    """The owner is the file system uid; description, callout and ring belong to the real uid."""
    bed.trivial("look", INTO_NONE, "fork", f"update-until {ESTABLISHED} 5000")
    got = Requester(after=[requester.set_fsuid(2001)]).ask(wait_ms=20000)
    seen = bed.did("look")
    assert got.state == "established" and seen["described"] == f"lgssc;2001;0;3d010000;0@{bed.secid:x}", seen
    assert int(seen["arg8"]) == Requester().run(lambda: requester.keyctl(0, -4, 0)[0]), seen


@scenario
def a_request_from_other_namespaces_shows_there(bed):
    """The requester's mount and network namespaces differ from the upcall's."""
    spaces = requester.CLONE_NEWNS | requester.CLONE_NEWNET
    alice = Requester(USERS["alice"], steps=[requester.unshare(spaces)])
    bed.trivial("look", INTO_NONE, "fork", f"update-until {ESTABLISHED} 5000")
    assert alice.ask(wait_ms=20000).state == "established"
    seen = bed.did("look")
    assert seen["mnt"] != seen["own_mnt"] and seen["net"] != seen["own_net"] and seen["user"] == seen["own_user"], seen


@scenario
def a_nodes_key_can_be_asked_for_in_a_users_process(bed):
    """The owner is the running user, everything else is the node's."""
    bed.trivial("look", INTO_NONE, "fork", f"update-until {ESTABLISHED} 5000")
    got = bed.user("alice").ask(flags="r", svc="i", wait_ms=20000)
    seen = bed.did("look")
    assert got.state == "established" and seen["described"] == f"lgssc;2001;2001;3d010000;0@{bed.secid:x}", seen
    assert seen["arg5"].split(":")[2:5] == ["0", "0", "r"] and seen["arg8"] == "0", seen


@scenario
def a_user_who_is_root_of_a_namespace_stays_a_user(bed):
    """Description and callout have ids of the initial namespace; the thread keyring has its name in the requester's."""
    alice = Requester(USERS["alice"], after=[requester.own_user_namespace])
    bed.trivial("look", "describe-ring", INTO_NONE, "fork", f"update-until {ESTABLISHED} 5000")
    got = alice.ask(wait_ms=20000)
    seen = bed.did("look")
    assert got.state == "established" and seen["described"] == f"lgssc;2001;2001;3d010000;2001@{bed.secid:x}", seen
    assert bed.did("describe-ring")["is"].startswith("keyring;2001;") and bed.did("describe-ring")["is"].endswith(";_uid.0")


@scenario
def a_requester_can_have_an_environment(bed):
    """Others can read the requester's environment: here the stand-in upcall does, while the requester is blocked."""
    alice = Requester(USERS["alice"], environment={"KRB5CCNAME": "FILE:/tmp/mine", "PATH": "/usr/bin:/bin"})
    bed.trivial("look", INTO_NONE, "fork", f"update-until {ESTABLISHED} 5000")
    got = alice.ask(wait_ms=20000)
    assert got.state == "established" and "KRB5CCNAME=FILE:/tmp/mine" in bed.did("look")["environ"], bed.did("look")


@scenario
def every_origin_shows_its_system_call(bed):
    """The contents of /proc/<tid>/syscall during a request of the file system."""
    seen = {}
    for count, at in enumerate(("write", "ioctl", "fault", "open", "close", "exit", "mount", "worker"), 1):
        who = Requester() if at in ("mount", "worker") else bed.user("alice")
        flags = {"flags": "r", "svc": "i"} if at in ("mount", "worker") else {}
        bed.trivial("look", INTO_NONE, "fork", f"update-until {ESTABLISHED} 5000")
        asked = who.begin(at=at, secid=100 + count, **flags)
        noted = bed.did("look", count)
        seen[at] = noted["syscall"].split()[0]
        bed.event("end", state="established", key=f"{int(noted['key'])}")
        if at != "exit":
            asked.result()
        else:
            asked.running.end()
    expected = {"write": "1", "ioctl": "16", "fault": "-1", "open": "257", "close": "3", "exit": "231", "mount": "165"}
    assert {at: seen[at] for at in expected} == expected, seen
    assert seen["worker"] == "0", seen


@scenario
def a_users_own_request_is_a_system_call_of_its_own(bed):
    """249, 287 in the 32-bit table, 249 with a high bit in x32. The key is never bound, so updates always answer EAGAIN."""
    for count, (abi, number) in enumerate(((64, "249"), (32, "287"), ("x32", str(0x400000F9))), 1):
        bed.trivial("look", INTO_NONE, "fork", f"update-until {ESTABLISHED} 300")
        serial, failure, _ = bed.user("alice").request_key("lgssc", f"2001@{60 + count:x}", "60:krb5:2001", ring=-2, abi=abi)
        assert serial > 0, failure
        assert bed.did("look", count)["syscall"].split()[0] == number, bed.did("look", count)
        assert int(bed.did("update-until", count)["errno"]) == errno.EAGAIN
