"""Users who block what the kernel has only one of (rule S21)."""

import os
import time

from bed import KEYRING, scenario
from obstacles import LINK, SESSION, hold_keyring_lock, new_ring
from requester import join_new_session, keyctl
from verdicts import established

NODE = {"flags": "r", "svc": "i"}
# Limit for a requester's wait, in µs, for half of the requesters; three times as much for each, since they also wait for processors.
# None of the wait is for the lock, which is held for seconds at a time; the machine's includes a second for its KDC.
RELEASED_WITHIN = 3_000_000


def time_of_links():
    """Also a new keyring is a link. On a busy host only the first has to wait: whoever has had the lock often gets it again before
    those who wait have woken up."""
    join_new_session()
    start = time.monotonic()
    one, other = new_ring("one", SESSION), new_ring("other", SESSION)
    assert keyctl(LINK, one, other)[0] == 0
    return time.monotonic() - start


@scenario
def a_user_who_holds_the_kernels_keyring_lock_holds_up_nobody_elses_key(bed):
    """Another user, in its own session or in none, is released and gets its context; so does the node."""
    alice = bed.user("alice", steps=[join_new_session])
    bed.realm.ticket(alice, "alice")
    bed.upcall(KEYRING)
    # The kernel makes a user's keyrings with its first request, and waits for that lock before it starts any upcall.
    established(bed, alice.ask(**bed.target(0)), "alice")
    ready, said = os.pipe()
    holder = bed.user("carol").start(lambda: hold_keyring_lock(processes=2, width=18)(said))
    assert os.read(ready, 1) == b"x"
    bed.until(lambda: bed.user("bob").run(time_of_links) > 1, "somebody who has waited for the lock", 60)
    blocked = []
    for number, who in enumerate((alice, alice, bed.user("alice"), bed.user("alice")), 1):
        got = who.ask(**bed.target(number))
        established(bed, got, "alice")
        blocked.append(got.blocked_us)
    assert sorted(blocked)[1] < RELEASED_WITHIN and max(blocked) < 3 * RELEASED_WITHIN, blocked
    blocked = []
    for number in (7, 8, 9):
        got = bed.user("root").ask(**NODE | bed.target(number))
        established(bed, got, "lustre_root/client.example.test")
        blocked.append(got.blocked_us)
    assert sorted(blocked)[1] < RELEASED_WITHIN and max(blocked) < 3 * RELEASED_WITHIN, blocked
    holder.end()


# With one, nobody meets the lock while it is held: who holds it holds the processor too.
a_user_who_holds_the_kernels_keyring_lock_holds_up_nobody_elses_key.processors = 2
