"""Faults in the system calls of an upcall's processes, by the killer of tests/probe."""

import errno
import itertools
import os
import re
from dataclasses import dataclass
from pathlib import Path

import kernel
from bed import KEYRING, OUR_PROGRAMS, PROBE, RUN_DIRECTORY, processes
from verdicts import established

# Where the killer says what it has done.
STRUCK = Path("/run/struck")
# What the kernel says when something has run out, was interrupted, is broken or is not there.
ERRORS = (errno.ENOMEM, errno.EMFILE, errno.ENOSPC, errno.EINTR, errno.EIO, errno.ENOSYS, errno.EAGAIN)
# The upcall's own limit, the kernel's patience with a context, and what a requester may wait for an answer.
DEADLINE, PATIENCE, ANSWERED_WITHIN = 3, 8, 6
# The calls by which a program gets memory, and what C libraries need besides to begin, by their numbers on x86-64.
MEMORY = {9: "mmap", 10: "mprotect", 12: "brk", 25: "mremap"}
BEGINNING = {7: "poll", 13: "rt_sigaction", 131: "sigaltstack", 158: "arch_prctl"}
# Whose failure may leave the end to the kernel's timeout: a monitor without memory dies, as when it is killed. Everybody else's
# failure is answered, by the monitor.
UNANSWERED = {("monitor", name) for name in MEMORY.values()}
# Files of the run directory that may outlive an access of a user's (docs/formats.md).
KEPT = re.compile(r"slots/kernel|owners/uid-\d+|log/(uid-\d+|users|refused|machine)|failures/\d+\.[0-9a-f]+\.\w+|swept")
EVERY_CALL = bool(os.environ.get("LGSS_VM_EVERY_CALL"))
# For all calls of all processes.
LIMIT = 3600


class Injector:
    """Upcalls for a user whose cache has a ticket-granting ticket only, one process of each struck at one of its calls."""

    def __init__(self, bed):
        self.bed = bed
        self.alice = bed.user("alice")
        # Lines about processes that died of a signal which nobody had sent.
        self.crashes = []
        self.requests = itertools.count(10_000_000 + 10_000 * bed.secid)
        bed.realm.ticket(self.alice, "alice")
        self.cache = Path(f"/tmp/krb5cc_{self.alice.uids[0]}")
        self.tickets = self.cache.read_bytes()
        STRUCK.mkdir(mode=0o700, exist_ok=True)
        bed.settings(
            f'[timeouts]\ndeadline = "{DEADLINE}s"\nkdc = "2s"\n[backoff]\nafter = 1000\n'
            "[log]\nper_owner = 100000\nusers = 100000\n"
        )
        kernel.set_timeout(PATIENCE // 2)

    def strike(self, words):
        """A request whose upcall is struck. Returns its result and the killer's words; then nothing is left, and the next succeeds."""
        told = STRUCK / words
        crash = STRUCK / f"{words}.crash"
        for old in (told, crash):
            old.unlink(missing_ok=True)
        self.cache.write_bytes(self.tickets)
        self.bed.upcall(f"{PROBE} strike {STRUCK} {words} {KEYRING}")
        got = self.ask()
        self.bed.until(told.exists, f"the killer's word on {words}")
        self.until_gone(words)
        run = Path(RUN_DIRECTORY)
        left = [path for path in Path("/tmp").rglob("*.new*")]
        left += [path for path in run.rglob("*") if path.is_file() and not KEPT.fullmatch(str(path.relative_to(run)))]
        assert not left, (words, left, got)
        said = told.read_text().strip()
        if crash.exists():
            self.crashes += [f"{words}: {line}" for line in crash.read_text().splitlines()]
        assert re.match(r"((failed |killed at |shortened |)call|ended after) \d", said), (words, said)
        assert is_answer(got) or is_timeout(got), (words, said, got, self.bed.log.lines)
        self.bed.upcall(KEYRING)
        established(self.bed, self.ask(), "alice")
        self.until_gone(words)
        self.forget()
        return got, said

    def ask(self):
        return self.alice.ask(secid=next(self.requests), wait_ms=2000 * PATIENCE)

    def until_gone(self, words):
        programs = (*OUR_PROGRAMS, os.path.basename(PROBE))
        self.bed.until(lambda: not any(map(processes, programs)), f"no process after {words}", 10)

    def forget(self):
        """The keys count against the user's quota."""
        kernel.order(f"flush {self.alice.uids[0]}")
        self.bed.log.lines.clear()
        self.bed.server.accepted.clear()
        self.bed.server.rpcs.clear()


def is_answer(got):
    """Whether request_key() failed, or the context was established or failed, in time."""
    ended = bool(got.errno) or got.state in ("established", "failed")
    return ended and got.total_us < ANSWERED_WITHIN * 1_000_000


def is_timeout(got):
    """Whether the kernel has ended the context: without memory the monitor dies, as when it is killed."""
    return not got.errno and got.state == "expired"


def name_of_call(text):
    """The call in the killer's words, if it is one of those that a program cannot go on without; else its number."""
    found = re.search(r"number (?:Ok\()?(\d+)", text)
    number = int(found[1]) if found else None
    return (MEMORY | BEGINNING).get(number, number)


def is_excused(crash, role):
    """Whether a C library or Rust's runtime has ended the struck process itself, since it cannot go on without the call that failed."""
    itself = re.search(rf": {role} died of (SIGABRT|SIGSEGV) after failed call ", crash, re.IGNORECASE)
    return bool(itself) and isinstance(name_of_call(crash), str)


@dataclass(frozen=True)
class Blow:
    """What happens at a call: the order's first word, and what follows the number of the n-th call."""

    word: str
    after: object = lambda n: ""


def strike_each_call(bed, blow, role, *, least, stride=1):
    """Strikes every `stride`-th call of this process, of which at least so many can be struck; prints how many. Returns the results."""
    injector = Injector(bed)
    stride = 1 if EVERY_CALL else stride
    results = []
    for number in itertools.count():
        got, said = injector.strike(f"{blow.word}-{role}-{1 + number * stride}{blow.after(number)}")
        if ended := re.fullmatch(r"ended after (\d+) calls", said):
            break
        results.append((got, said))
    unanswered = [(role, name_of_call(said)) for got, said in results if is_timeout(got)]
    which = f", one call in {stride}" if stride > 1 else ""
    pairs = f"{len(unanswered)} left to the kernel's timeout: {sorted(set(unanswered), key=str)}"
    print(f"       {blow.word} {role}: {len(results)} points in {ended[1]} calls{which}, {pairs}", flush=True)
    assert got.state == "established" and len(results) >= least, (len(results), got)
    if (blow.word, role) != ("kill", "monitor"):
        assert UNANSWERED.issuperset(unanswered), [said for got, said in results if is_timeout(got)]
        # A static program gets its memory piece by piece, so that more of its calls are requests for some.
        assert len(unanswered) * 5 <= len(results), unanswered
    crashes = [crash for crash in injector.crashes if not is_excused(crash, role)]
    assert not crashes, crashes
    return results
