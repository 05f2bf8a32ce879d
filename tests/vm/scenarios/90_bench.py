"""How long request_key() blocks the requester, as the kernel measures it. No claim but that each request succeeds."""

import os

from bed import KEYRING, REFERENCE, TRIVIAL, scenario

ROUNDS = int(os.environ.get("LGSS_BENCH_ROUNDS") or 0)


def quantile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def compare(bed, programs, rounds, who="alice", **fields):
    """Interleaved, so that all have the same neighbours: a line for each program, with p50 and p99 in microseconds."""
    blocked = {name: [] for name in programs}
    ended = {name: [] for name in programs}
    requester = bed.user(who)
    secid = 10_000_000 + 100_000 * bed.secid
    for _ in range(rounds):
        for name, program in programs.items():
            secid += 1
            bed.upcall(program)
            got = requester.ask(secid=secid, wait_ms=30000, **fields)
            assert got.errno == 0, (name, got)
            blocked[name].append(got.blocked_us)
            ended[name].append(got.after_us)
    for name in programs:
        times = blocked[name]
        print(
            f"bench  {who} {name}: blocked p50 {quantile(times, 0.5)} p99 {quantile(times, 0.99)} us, "
            f"context after p50 {quantile(ended[name], 0.5)} p99 {quantile(ended[name], 0.99)} us, n {len(times)}",
            flush=True,
        )
    return blocked


@scenario
def blocked_time_of_the_floor(bed):
    """The stand-in upcall does nothing but instantiate, fork and fail the key: what the kernel itself costs."""
    bed.trivial("instantiate 0", "fork", "update-until 0000000082ffffff00000000 5000")
    blocked = compare(bed, {"floor": TRIVIAL}, ROUNDS or 10)
    assert len(blocked["floor"]) == (ROUNDS or 10)


def the_programs(bed):
    """Those under test and, with LGSS_REF, the other one."""
    bed.trivial("instantiate 0", "fork", "update-until 0000000082ffffff00000000 5000")
    programs = {"floor": TRIVIAL, "lgss_keyring": KEYRING}
    return programs | ({"LGSS_REF": REFERENCE} if os.path.exists(REFERENCE) else {})


def blocked_time_of_a_user_without_a_ticket(bed):
    """An ordinary user's first access."""
    blocked = compare(bed, the_programs(bed), ROUNDS)
    assert all(len(times) == ROUNDS for times in blocked.values())


def blocked_time_of_the_node(bed):
    """Root's, without a keytab's key: the time until the release is the same with one."""
    blocked = compare(bed, the_programs(bed), ROUNDS, who="root", flags="r", svc="i")
    assert all(len(times) == ROUNDS for times in blocked.values())


# Long, so only when somebody says how often.
if ROUNDS:
    scenario(blocked_time_of_a_user_without_a_ticket)
    scenario(blocked_time_of_the_node)
