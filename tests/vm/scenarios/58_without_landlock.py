"""The worker on a kernel without Landlock: its list of system calls is all there is, and it serves."""

import re
import subprocess
from pathlib import Path

import kernel
from bed import KEYRING, processes, scenario
from verdicts import established

NODE = {"flags": "r", "svc": "i"}


@scenario
def a_worker_without_landlock_has_its_list_of_calls_and_serves(bed):
    """A user and the node get contexts; the worker that waits for the server has the filter, and no rights to gain."""
    assert kernel.landlock_version() == 0
    checked = subprocess.run([KEYRING, "--self-check"], capture_output=True, text=True, timeout=60).stdout
    assert re.search(r"^warning +landlock ", checked, re.M), checked
    alice = bed.user("alice")
    bed.realm.ticket(alice, "alice")
    bed.upcall(KEYRING)
    held = bed.server.hold()
    asked = alice.begin(**bed.target(1))
    assert held.begun.wait(30), bed.log.lines
    (worker,) = processes("lgss_negotiate")
    status = Path(f"/proc/{worker}/status").read_text()
    for line in ("NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t0000000000000000"):
        assert re.search(f"^{line}$", status, re.M), (line, status)
    held.go.set()
    established(bed, asked.result(), "alice")
    established(bed, bed.user("root").ask(**NODE | bed.target(2)), "lustre_root/client.example.test")


a_worker_without_landlock_has_its_list_of_calls_and_serves.landlock = False
