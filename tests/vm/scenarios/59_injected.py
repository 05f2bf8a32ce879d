"""Faults along an upcall of Lustre's: the requester has an answer in time, nothing is left, and the next upcall succeeds (rule S19).

Front, monitor and worker are struck at calls at a stride, which is printed; with LGSS_VM_EVERY_CALL=1, at each.
"""

import signal

from bed import scenario
from injector import ERRORS, EVERY_CALL, LIMIT, Blow, strike_each_call


FAIL = Blow("fail", lambda n: f"-{ERRORS[n % len(ERRORS)]}")
KILL = Blow("kill")


def strike(bed, blow, role, **options):
    if EVERY_CALL:
        signal.alarm(LIMIT)
    return strike_each_call(bed, blow, role, **options)


@scenario
def whatever_fails_in_the_front_of_an_access_the_user_is_answered(bed):
    """Its system calls fail one at a time, each with the next of seven errors."""
    strike(bed, FAIL, "front", least=20, stride=2)


@scenario
def whatever_fails_in_the_monitor_of_an_access_the_user_is_answered(bed):
    """The same for the monitor."""
    strike(bed, FAIL, "monitor", least=20, stride=8)


@scenario
def whatever_fails_in_the_worker_of_an_access_the_user_is_answered(bed):
    """The same for launcher and worker."""
    strike(bed, FAIL, "worker", least=20, stride=17)


@scenario
def whatever_fails_in_the_exchange_of_an_access_the_user_is_answered(bed):
    """The same for the process that sends the token to the server."""
    strike(bed, FAIL, "exchange", least=5)


@scenario
def a_front_of_an_access_that_is_killed_at_any_call_leaves_the_user_an_answer(bed):
    """The kernel fails the request, or the monitor the key."""
    strike(bed, KILL, "front", least=10, stride=4)


@scenario
def a_monitor_of_an_access_that_is_killed_at_any_call_leaves_the_end_to_the_kernel(bed):
    """Unless the context is there, or the key has failed; the worker ends with it."""
    strike(bed, KILL, "monitor", least=8, stride=41)


@scenario
def a_worker_of_an_access_that_is_killed_at_any_call_leaves_the_user_an_answer(bed):
    """The monitor fails the key at once, unless the report has arrived."""
    results = strike(bed, KILL, "worker", least=20, stride=37)
    assert all(got.state in ("established", "failed") for got, _ in results), results


@scenario
def an_exchange_that_is_killed_at_any_call_leaves_the_user_an_answer(bed):
    """The monitor fails the key, unless the answer has arrived."""
    results = strike(bed, KILL, "exchange", least=5)
    assert all(got.state in ("established", "failed") for got, _ in results), results


@scenario
def what_the_exchange_writes_in_parts_makes_no_difference(bed):
    """Each of its writes to the monitor is one byte long once."""
    results = strike_each_call(bed, Blow("shorten", lambda n: "-byte"), "exchange", least=2)
    assert all(said.startswith("shortened") and got.state == "established" for got, said in results), results
