"""lgss_keyring on true lgssc keys, by the unchanged rule: users and the node, good and bad."""

import errno

import kernel
import requester
from bed import KEYRING, scenario
from server import failed, garbage, kernel_keys, refused_write, reply

GSS_FAILURE = 0xD0000


def ready(bed, *users):
    for user in users:
        bed.realm.ticket(bed.user(user), user)
    bed.upcall(KEYRING)


def established(bed, got, initiator):
    """The context that the kernel took is the one that the server made for this principal."""
    assert got.state == "established", (got, bed.log.lines)
    made = next(made for made in bed.server.accepted if made.handle.hex() == got.handle)
    assert made.initiator == initiator, made.initiator
    number, keys = kernel_keys(made)
    assert got.bytes("token")[32:] == b"".join(keys), number


@scenario
def a_user_with_a_ticket_gets_a_context(bed):
    """By its own ticket; the key is used by nobody but the kernel and does not expire; the service ticket is in the cache."""
    ready(bed, "alice")
    got = bed.user("alice").ask(wait_ms=30000)
    established(bed, got, "alice@EXAMPLE.TEST")
    bed.until(lambda: bed.usage(bed.user("alice"), got.serial) == 2, "usage count 2")
    line = next(line for line in bed.user("alice").proc_keys() if int(line.split()[0], 16) == got.serial)
    assert line.split()[3] == "perm", line
    bed.log.wait("established")
    klist = bed.user("alice").run(lambda: __import__("subprocess").run(["klist"], capture_output=True, text=True).stdout)
    assert "lustre_mds/srv.example.test" in klist, klist


@scenario
def the_nodes_root_gets_a_context_by_its_keytab_and_asks_the_kdc_once(bed):
    """A mount: several targets one after another; one AS exchange, the rest by the cache below /run/lgss."""
    bed.realm
    bed.upcall(KEYRING)
    for number in range(4):
        got = bed.user("root").ask(flags="r", obd=f"lustre-OST000{number}-osc-ff2d", lustre_svc=2, secid=bed.secid + number, wait_ms=30000)
        established(bed, got, "lustre_root/client.example.test@EXAMPLE.TEST")
    issued = [line for line in open("/run/realm/kdc.log") if "AS_REQ" in line and "ISSUE" in line and "lustre_root" in line]
    assert len(issued) == 1, issued


@scenario
def the_nodes_request_in_any_process_is_served(bed):
    """In a user's process, on a page fault, in a kernel thread."""
    ready(bed, "alice")
    for count, (who, at) in enumerate((("alice", "write"), ("alice", "fault"), ("root", "worker"))):
        secid = bed.secid + count
        got = bed.user(who).ask(flags="r", at=at, secid=secid, wait_ms=30000)
        established(bed, got, "lustre_root/client.example.test@EXAMPLE.TEST")


@scenario
def a_user_without_a_ticket_is_told_at_once(bed):
    """ENOKEY, by one update that the kernel takes; nothing hangs."""
    bed.realm
    bed.upcall(KEYRING)
    got = bed.user("bob").ask(wait_ms=30000)
    assert (got.state, got.rpc_err) == ("failed", -errno.ENOKEY), (got, bed.log.lines)
    assert "kinit" in bed.log.wait("ENOKEY")


@scenario
def a_setuid_program_gets_the_users_context(bed):
    """The key is root's, the context the user's."""
    ready(bed, "alice")
    got = requester.Requester((2001, 0, 0)).ask(wait_ms=30000)
    established(bed, got, "alice@EXAMPLE.TEST")


@scenario
def a_cache_that_the_environment_names_is_used(bed):
    """KRB5CCNAME of the requester."""
    bed.realm.ticket(bed.user("carol"), "carol", cache="FILE:/tmp/carols_own")
    bed.upcall(KEYRING)
    user = requester.Requester(2003, environment={"KRB5CCNAME": "FILE:/tmp/carols_own"})
    established(bed, user.ask(wait_ms=30000), "carol@EXAMPLE.TEST")


@scenario
def a_cache_where_caches_use_to_be_is_found(bed):
    """/tmp/krb5cc_<uid>_<something>, as login programs make them."""
    bed.realm.ticket(bed.user("dave"), "dave", cache="FILE:/tmp/krb5cc_2004_x7Yz")
    bed.upcall(KEYRING)
    established(bed, bed.user("dave").ask(wait_ms=30000), "dave@EXAMPLE.TEST")


@scenario
def a_server_that_refuses_is_told_to_the_requester(bed):
    """EACCES, with the server's major status."""
    ready(bed, "alice")
    bed.server.answer = lambda rpc: reply(b"", b"", major=GSS_FAILURE)
    got = bed.user("alice").ask(wait_ms=30000)
    assert got.state == "failed" and got.rpc_err in (0, -errno.EACCES), got
    assert got.gss_major == GSS_FAILURE, got


@scenario
def every_error_of_the_channel_ends_in_a_failure(bed):
    """Statuses, errors of the write, garbage."""
    ready(bed, "alice")
    user = bed.user("alice")
    for count, (answer, expected) in enumerate((
        (failed(errno.EACCES), {errno.EACCES}),
        (failed(errno.E2BIG), {errno.ENOKEY, errno.EPROTO}),
        (failed(errno.EFAULT), {errno.EPROTO}),
        (failed(errno.ETIMEDOUT), {errno.ETIMEDOUT}),
        (refused_write(errno.EINVAL), {errno.ECONNREFUSED}),
        (garbage(b"\x07" * 64), {errno.EPROTO}),
        (garbage(b""), {errno.EPROTO}),
    )):
        bed.server.answer = answer
        got = user.ask(secid=bed.secid + count, wait_ms=30000)
        assert got.state == "failed" and -int(got.rpc_err) in expected, (count, got, bed.log.lines[-1:])


@scenario
def a_server_that_is_silent_once_is_asked_again(bed):
    """ETIMEDOUT once, EAGAIN several times."""
    ready(bed, "alice")
    honest = bed.server.accept
    answers = iter([failed(errno.EAGAIN), failed(errno.EAGAIN), failed(errno.ETIMEDOUT)])
    bed.server.answer = lambda rpc: next(answers, honest)(rpc)
    got = bed.user("alice").ask(wait_ms=30000)
    established(bed, got, "alice@EXAMPLE.TEST")


@scenario
def a_late_binding_is_waited_for(bed):
    """The kernel says EAGAIN until it has put the key to use: success and failure get through."""
    ready(bed, "alice")
    kernel.set_parameters(bind_delay_ms=700)
    established(bed, bed.user("alice").ask(wait_ms=30000), "alice@EXAMPLE.TEST")
    got = bed.user("bob").ask(wait_ms=30000)
    assert (got.state, got.rpc_err) == ("failed", -errno.ENOKEY), got
