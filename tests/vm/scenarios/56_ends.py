"""However a context ends, no dead key stays where a later request finds it; this includes programs that run with another's ids."""

import errno
import os
import subprocess

import kernel
from bed import KEYRING, kill, processes, scenario
from requester import Requester, ask, join_new_session, keyctl, own_user_namespace
from verdicts import established, failed

# Real, effective and saved uid: alice in a setuid program of root, and in one of bob.
OF_ROOT, OF_BOB = (2001, 0, 0), (2001, 2002, 2002)


@scenario
def a_setuid_program_of_a_user_without_a_ticket_is_told_why_each_time(bed):
    """ENOKEY at the first and every further access, for the program and for its user, who has access as soon as there is a ticket."""
    bed.realm
    bed.upcall(KEYRING)
    alice = bed.user("alice")
    for number, uids in enumerate((OF_ROOT, OF_BOB)):
        for who in (Requester(uids), Requester(uids), Requester(uids), alice):
            failed(bed, who.ask(**bed.target(number)), errno.ENOKEY)
        owners = {act.owner for act in bed.all_events("act", act="update")}
        assert owners == {2001}, owners
    bed.realm.ticket(alice, "alice")
    for number, uids in enumerate((OF_ROOT, OF_BOB)):
        for who in (alice, Requester(uids)):
            established(bed, who.ask(**bed.target(number)), "alice")


@scenario
def a_flush_leaves_nothing_of_a_setuid_programs_context(bed):
    """The next access of the program, and of its user, gets a new context."""
    bed.realm.ticket(bed.user("alice"), "alice")
    bed.upcall(KEYRING)
    for number, uids in enumerate((OF_ROOT, OF_BOB)):
        first = Requester(uids).ask(**bed.target(number))
        established(bed, first, "alice")
        kernel.order("flush 2001")
        second = bed.user("alice").ask(**bed.target(number))
        established(bed, second, "alice")
        kernel.order("flush 2001")
        third = Requester(uids).ask(**bed.target(number))
        established(bed, third, "alice")
        assert len({first.serial, second.serial, third.serial}) == 3


@scenario
def a_killed_worker_or_monitor_leaves_nothing_of_a_setuid_programs_context(bed):
    """EIO at once, or the kernel ends the context; the user's next access is served."""
    bed.realm.ticket(bed.user("alice"), "alice")
    bed.upcall(KEYRING)
    for number, (program, errors) in enumerate((("lgss_negotiate", {-errno.EIO}), ("lgss_keyring", None))):
        kernel.set_timeout(100 if errors else 3)
        held = bed.server.hold()
        asked = Requester(OF_ROOT).begin(**bed.target(number))
        assert held.begun.wait(20), bed.log.lines
        for pid in processes(program):
            kill(pid)
        got = asked.result()
        assert got.rpc_err in errors if errors else got.state == "expired", got
        held.go.set()
        bed.until_gone(5)
        kernel.set_timeout(100)
        bed.server.answer = None
        for who in (bed.user("alice"), Requester(OF_ROOT)):
            established(bed, who.ask(**bed.target(number)), "alice")


@scenario
def a_key_that_is_never_bound_leaves_nothing_of_a_setuid_programs(bed):
    """It ends at the deadline; then the program and its user are served."""
    bed.realm.ticket(bed.user("alice"), "alice")
    bed.upcall(KEYRING)
    # Long enough for a negotiation; a silent server would be remembered.
    bed.settings('[timeouts]\ndeadline = "8s"\n')
    kernel.set_parameters(never_bind=1)
    first = Requester(OF_ROOT).ask(**bed.target(0))
    assert "ctx" not in first, first
    bed.until_gone(25)
    kernel.set_parameters(never_bind=0)
    bed.settings("")
    bed.until(lambda: has_ended(bed.user("alice"), first.serial), "the key's own end, by its timeout", 10)
    established(bed, bed.user("alice").ask(**bed.target(0)), "alice")
    established(bed, Requester(OF_ROOT).ask(**bed.target(0)), "alice")


@scenario
def a_failure_in_a_user_namespace_leaves_no_dead_key_there(bed):
    """The kernel looks for the key in another keyring than the namespace's, so the same process gets the errno each time."""
    bed.realm
    bed.upcall(KEYRING)
    inside = Requester(2001, after=[own_user_namespace])
    for got in inside.run(lambda: [ask("write", dict(bed.target(0))) for _ in range(3)]):
        got = kernel.Fields.parse(got)
        assert (got.get("state"), got.get("rpc_err")) == ("failed", -errno.ENOKEY), (got, bed.log.lines)


@scenario
def after_a_flush_in_a_user_namespace_a_session_or_keyctl_reap_leads_past_the_dead_key(bed):
    """The kernel unlinks the key from the user's ring outside, not from the one inside, when none of our processes is left.

    Requesters whose session keyring does not lead to that ring, as in a container, get a new context at once; others after
    keyctl reap. If nobody does that, the key expires with its context and is passed over.
    """
    bed.realm.ticket(bed.user("alice"), "alice")
    bed.upcall(KEYRING)
    for number, steps in enumerate(([join_new_session], [])):
        waiting, go = os.pipe()

        def around_a_flush():
            first = ask("write", dict(bed.target(number)))
            with open("/proc/keys") as keys:
                timeouts = [line.split()[3] for line in keys if f"2001@{bed.target(number)['secid']:x}" in line]
            os.read(waiting, 1)
            second = ask("write", dict(bed.target(number)))
            if not steps:
                subprocess.run(["keyctl", "reap"], capture_output=True)
            return timeouts, [first, second, ask("write", dict(bed.target(number)))]

        inside = Requester(2001, steps=steps, after=[own_user_namespace]).start(around_a_flush)
        bound = bed.event("bind", seconds=40, secid=bed.target(number)["secid"])
        bed.event("end", seconds=40, key=bound.key, state="established")
        bed.until_gone(20)
        kernel.order("flush 2001")
        os.write(go, b"x")
        timeouts, found = inside.result()
        first, second, third = map(kernel.Fields.parse, found)
        assert timeouts and "perm" not in timeouts, timeouts
        established(bed, first, "alice")
        if steps:
            established(bed, second, "alice")
        else:
            assert second.errno == errno.EKEYREVOKED, second
        established(bed, third, "alice")


@scenario
def a_users_choice_of_another_ring_leaves_no_dead_key_there(bed):
    """keyctl_set_reqkey_keyring(3): the key is linked to the ring that its process has chosen, and each request gets the errno."""
    bed.realm
    bed.upcall(KEYRING)
    for number, ring in enumerate((1, 2, 3)):

        def choose_and_ask():
            join_new_session()
            assert keyctl(14, ring)[0] >= 0
            return [ask("write", dict(bed.target(number))) for _ in range(3)]

        for got in map(kernel.Fields.parse, bed.user("alice").run(choose_and_ask)):
            assert (got.get("state"), got.get("rpc_err")) == ("failed", -errno.ENOKEY), (ring, got, bed.log.lines)


def has_ended(who, serial):
    lines = [line.split() for line in who.proc_keys() if int(line.split()[0], 16) == serial]
    return not lines or lines[0][3] == "expd"
