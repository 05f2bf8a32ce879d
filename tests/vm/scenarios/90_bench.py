"""The cost of an upcall for the requester, measured by the kernel. Only the outcome of each request is checked.

LGSS_BENCH_ROUNDS sets the number of rounds; without it only the floor is measured. Programs take turns, so that the load is the
same for all: compare the ratios of their medians within one run. Everything runs much slower here than on a processor.
"""

import errno
import glob
import os
import re
import secrets
import shutil
import signal
import threading
import time
from collections import Counter

import kernel
import sk
from bed import KEYRING, REFERENCE, TRIVIAL, scenario
from kernel import Fields
from late_kdc import LateKdc
from realm import DIRECTORY
from requester import Requester, ask
from written import Written

ROUNDS = int(os.environ.get("LGSS_BENCH_ROUNDS") or 0)
# Usually a scenario may take 240 s.
LIMIT = 3600
LATENESS = (0, 0.1, 2)
TARGETS = 200
# For one target in a storm.
ATTEMPTS = 10
FIRST_OF_STORM = 2_000_000
KDC_LOG = f"{DIRECTORY}/kdc.log"
FIRST_STRANGER = 5000
# File system of the shared key.
BY_KEY = "bykey"


class Turns:
    """secid of the next request, so that no earlier key is found."""

    secid = 1_000_000

    @classmethod
    def next(cls):
        cls.secid += 1
        return cls.secid


def quantile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def programs(bed):
    """The floor is the stand-in upcall, which only instantiates, forks and fails the key."""
    bed.trivial("instantiate 0", "fork", "update-until 0000000082ffffff00000000 5000")
    found = {"floor": TRIVIAL, "lgss_keyring": KEYRING}
    if os.path.exists(REFERENCE):
        found["LGSS_REF"] = REFERENCE
    return found


def compare(bed, candidates, rounds, request):
    """Results by program. `request` makes one request, and prepares everything for it."""
    results = {name: [] for name in candidates}
    for turn in range(rounds):
        names = list(candidates)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            bed.upcall(candidates[name])
            got = request()
            assert got.errno == 0, (name, got)
            results[name].append(got)
            kernel.order("flush all")
    return results


def tell(text):
    print(f"bench  {text}", flush=True)


def table(title, results, wanted):
    """A line for each program. `wanted(result)` says whether a request ended as it should, which all of ours must."""
    tell(f"{title}; microseconds")
    floor = quantile([got.blocked_us for got in results["floor"]], 0.5) if "floor" in results else None
    ours = quantile([got.after_us for got in results["lgss_keyring"]], 0.5) if "lgss_keyring" in results else None
    for name, all_got in results.items():
        blocked = [got.blocked_us for got in all_got]
        line = f"  {name:12} n {len(all_got)}, blocked p50 {quantile(blocked, 0.5)} p99 {quantile(blocked, 0.99)}"
        if floor:
            line += f", of the floor's {quantile(blocked, 0.5) / floor:.2f}"
        if name != "floor":
            good = [got.after_us for got in all_got if wanted(got)]
            if good:
                line += f"; then until the end p50 {quantile(good, 0.5)} p99 {quantile(good, 0.99)}"
                line += f", of ours {quantile(good, 0.5) / ours:.2f}"
            line += f"; {len(all_got) - len(good)} ended otherwise" if len(good) < len(all_got) else ""
        tell(line)
    for got in results.get("lgss_keyring", ()):
        assert wanted(got), got


def is_established(got):
    return got.get("state") == "established"


@scenario
def blocked_time_of_the_floor(bed):
    """The kernel's own cost."""
    floor = {"floor": programs(bed)["floor"]}
    results = compare(bed, floor, ROUNDS or 10, lambda: bed.user("alice").ask(secid=Turns.next(), wait_ms=30000))
    table("floor", results, is_established)
    assert len(results["floor"]) == (ROUNDS or 10)


def the_machine(bed):
    """The figures mean nothing without it."""
    guest = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    tell(f"host: {os.environ.get('VM_HOST', 'unknown')}")
    tell(f"guest: {len(guest)} x {guest[0]}, Linux {os.uname().release}, no KVM")
    tell(f"rounds: {ROUNDS}, a tenth of them where the KDC is late by 2 s")


def a_user_and_a_late_kdc(bed):
    """With a ticket-granting ticket only: one TGS exchange for each request."""
    alice = bed.user("alice")
    bed.realm.ticket(alice, "alice", cache="FILE:/tmp/only_tgt")

    def request():
        # As after kinit: the cache has no service ticket.
        shutil.copyfile("/tmp/only_tgt", "/tmp/new_cache")
        os.chmod("/tmp/new_cache", 0o600)
        os.chown("/tmp/new_cache", 2001, 2001)
        os.rename("/tmp/new_cache", "/tmp/krb5cc_2001")
        return alice.ask(secid=Turns.next(), wait_ms=60000)

    by_lateness(bed, "user", request)


def the_nodes_root_with_good_credentials(bed):
    """From the own cache, which has everything: the KDC makes no difference."""
    bed.realm
    bed.upcall(KEYRING)
    established = Requester(0).ask(flags="r", secid=Turns.next(), wait_ms=60000)
    assert is_established(established), established
    candidates = programs(bed)
    results = compare(bed, candidates, ROUNDS, lambda: Requester(0).ask(flags="r", secid=Turns.next(), wait_ms=60000))
    table("root, good credentials", results, is_established)


def the_nodes_root_and_a_late_kdc(bed):
    """From the keytab alone: an AS and a TGS exchange for each request. The requester waits for them, a second at most."""

    def request():
        forget_machine_tickets()
        return Requester(0).ask(flags="r", secid=Turns.next(), wait_ms=60000)

    bed.realm
    by_lateness(bed, "root", request)


def the_node_by_shared_key_and_by_ticket(bed):
    """Our program alone, by mechanism: a loaded key whose prime has been tested, a ticket in the own cache, nothing at all."""
    bed.realm
    bed.upcall(KEYRING)
    load_shared_key(bed)
    mechanisms = ("krb5", "sk", "gssnull")
    results = {mechanism: [] for mechanism in mechanisms}
    for turn in range(ROUNDS + 1):
        for mechanism in mechanisms[turn % 3 :] + mechanisms[: turn % 3]:
            got = Requester(0).ask(flags="r", svc="i", mech=mechanism, obd=f"{BY_KEY}-MDT0000-mdc-ff2d", secid=Turns.next(), wait_ms=60000)
            assert is_established(got), (got, bed.log.lines)
            # The first one gets the ticket, or tests the prime.
            results[mechanism] += [got] if turn else []
            kernel.order("flush all")
    ticket = quantile([got.blocked_us + got.after_us for got in results["krb5"]], 0.5)
    tell("root, by mechanism, lgss_keyring; microseconds from the request to the context's end")
    for mechanism, all_got in results.items():
        spent = [got.blocked_us + got.after_us for got in all_got]
        blocked = quantile([got.blocked_us for got in all_got], 0.5)
        tell(
            f"  {mechanism:12} n {len(spent)}, p50 {quantile(spent, 0.5)} p99 {quantile(spent, 0.99)}, "
            f"of krb5's {quantile(spent, 0.5) / ticket:.2f}; blocked p50 {blocked}"
        )


def a_storm_of_targets_with_one_shared_key(bed):
    """A mount: all targets at the same time, with a prime of 2048 bits that nobody has tested before."""
    kernel.set_parameters(rpc_timeout_ms=LIMIT * 1000)
    bed.upcall(KEYRING)
    bed.settings('[timeouts]\nround = "200s"\n')
    load_shared_key(bed)
    os.makedirs("/run/lgss/primes", 0o700)
    os.chmod("/run/lgss", 0o700)
    with Written("/run/lgss/primes") as written:
        started = time.monotonic()
        results = [Fields.parse(text) for text in Requester(0).run(lambda: storm(BY_KEY, mech="sk", svc="i"), LIMIT)]
        seconds = time.monotonic() - started
        writes = written.count()
    established = sum(map(is_established, results))
    blocked = [got.blocked_us for got in results]
    tell(
        f"{TARGETS} targets at once, sk: {established} established in {seconds:.1f} s, {len(results)} requests, "
        f"primes tested {writes}; blocked p50 {quantile(blocked, 0.5)} p99 {quantile(blocked, 0.99)} us"
    )
    assert (established, writes) == (TARGETS, 1), (established, writes)


def load_shared_key(bed):
    """A file system's key with a prime of 2048 bits, which the server has, too."""
    bed.server.shared_key = sk.SharedKey(secrets.token_bytes(32))
    sk.load(f"lustre:{BY_KEY}", bed.server.shared_key.form(BY_KEY))


def by_lateness(bed, who, request):
    kdc = LateKdc(bed)
    try:
        candidates = programs(bed)
        for seconds in LATENESS:
            kdc.seconds = seconds
            rounds = ROUNDS if seconds < 1 else max(3, ROUNDS // 10)
            table(f"{who}, KDC late by {seconds} s", compare(bed, candidates, rounds, request), is_established)
    finally:
        kdc.close()


def forget_machine_tickets():
    """Removes those of lgss and of Lustre's own tool."""
    for path in glob.glob("/run/lgss/machine/*") + glob.glob("/run/lgss/ready/*") + ["/tmp/krb5cc_0"]:
        if os.path.exists(path):
            os.unlink(path)


def a_user_without_a_ticket(bed):
    """Time to the error; another user each time, since users who fail often are paused."""
    bed.realm
    users = iter(range(FIRST_STRANGER, FIRST_STRANGER + 100 * ROUNDS))
    results = compare(
        bed, programs(bed), ROUNDS, lambda: Requester(next(users)).ask(secid=Turns.next(), wait_ms=60000)
    )
    table("user without a ticket, to ENOKEY", results, lambda got: (got.state, got.rpc_err) == ("failed", -errno.ENOKEY))


def a_storm_of_the_nodes_targets(bed):
    """A mount: all targets at the same time, from the keytab alone; a refused one asks again, as the file system does."""
    bed.realm
    # The server shares slow processors with all of them.
    kernel.set_parameters(rpc_timeout_ms=LIMIT * 1000)
    candidates = programs(bed)
    del candidates["floor"]
    for _ in range(max(1, ROUNDS // 30)):
        for name, program in candidates.items():
            bed.upcall(program)
            forget_machine_tickets()
            mark = os.path.getsize(KDC_LOG)
            started = time.monotonic()
            results = [Fields.parse(text) for text in Requester(0).run(storm, LIMIT)]
            tell_storm(name, results, time.monotonic() - started, exchanges_since(mark))
            tell_reasons(bed)
            kernel.order("flush all")


def storm(file_system="lustre", **others):
    """In a process of the node's root, a thread for each target asks until it has a context. Returns all results, without tokens."""
    results = []

    def one(number):
        fields = {"flags": "r", "obd": f"{file_system}-OST{number:04x}-osc-ff2d", "lustre_svc": 2, "wait_ms": 200000}
        fields |= others
        for attempt in range(ATTEMPTS):
            text = ask("write", fields | {"secid": FIRST_OF_STORM + ATTEMPTS * number + attempt})
            results.append(" ".join(word for word in text.split() if not word.startswith(("token=", "handle="))))
            if "state=established" in text:
                break

    threads = [threading.Thread(target=one, args=(number,)) for number in range(TARGETS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def exchanges_since(mark):
    """Tickets that the KDC has issued to the node since its log had this length."""
    with open(KDC_LOG) as log:
        log.seek(mark)
        issued = [line for line in log if "ISSUE" in line and "lustre_root" in line]
    return {kind: sum(f"{kind}_REQ" in line for line in issued) for kind in ("AS", "TGS")}


def tell_storm(name, results, seconds, exchanges):
    blocked = [got.blocked_us for got in results]
    refused = Counter(-got.rpc_err if "rpc_err" in got else got.errno for got in results if not is_established(got))
    tell(
        f"{TARGETS} targets at once, {name}: {sum(map(is_established, results))} established in {seconds:.1f} s, "
        f"{len(results)} requests, AS exchanges {exchanges['AS']}, TGS {exchanges['TGS']}; "
        f"blocked p50 {quantile(blocked, 0.5)} p99 {quantile(blocked, 0.99)} us"
    )
    if refused:
        tell("  refused: " + ", ".join(f"{count} x {errno.errorcode.get(number, number)}" for number, count in refused.items()))
    assert len(results) >= TARGETS and exchanges["AS"] > 0, (len(results), exchanges)


def tell_reasons(bed):
    """Prints why requests of a storm were refused, from the log."""
    reasons = Counter()
    for line in bed.log.lines:
        _, found, reason = line.partition("-osc-ff2d: ")
        if found and not reason.startswith("established"):
            # Without the remedy and the name of the target.
            reasons[re.sub("lustre-OST[0-9a-f]{4}", "lustre-OST…", reason.split("; ")[0])] += 1
    for reason, count in reasons.most_common():
        tell(f"  {count} x {reason}")
    bed.log.lines.clear()


def patient(function):
    def run(bed):
        signal.alarm(LIMIT)
        function(bed)

    run.__name__, run.__doc__, run.__module__ = function.__name__, function.__doc__, function.__module__
    return scenario(run)


# It takes long, so it runs only if a number of rounds is set.
if ROUNDS:
    the_machine = patient(the_machine)
    a_user_and_a_late_kdc = patient(a_user_and_a_late_kdc)
    the_nodes_root_with_good_credentials = patient(the_nodes_root_with_good_credentials)
    the_node_by_shared_key_and_by_ticket = patient(the_node_by_shared_key_and_by_ticket)
    a_storm_of_targets_with_one_shared_key = patient(a_storm_of_targets_with_one_shared_key)
    the_nodes_root_and_a_late_kdc = patient(the_nodes_root_and_a_late_kdc)
    a_user_without_a_ticket = patient(a_user_without_a_ticket)
    a_storm_of_the_nodes_targets = patient(a_storm_of_the_nodes_targets)
