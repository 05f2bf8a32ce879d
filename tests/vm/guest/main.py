"""Prepares the guest and runs the scenarios whose names hold one of the words in /run/vm/words. See README.md.

The guests of a run share /run/vm. A scenario is for the guest that first makes its directory in /run/vm/claims.
"""

import importlib.util
import os
import signal
import sys
import time
import traceback
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
SHARE = Path("/run/vm")
GUEST = os.environ.get("VM_GUEST")
# Longest time of a scenario. A guest with two processors has the host's clock, and a busy host gives it a part of each second.
SECONDS = 240 if os.cpu_count() == 1 else 720


def main():
    scenarios = find_scenarios()
    if sys.argv[1:] == ["--list"]:
        for name, scenario in scenarios:
            print(f"{name}: {' '.join((scenario.__doc__ or '').split())}")
        return
    words = (SHARE / "words").read_text().split()
    chosen = [(name, run) for name, run in scenarios if not words or any(word in name for word in words)]
    from bed import Bed

    started = time.monotonic()
    bed = Bed.prepare()
    print(f"guest {GUEST}: Linux {os.uname().release}, {time.monotonic() - started:.1f} s to prepare", flush=True)
    verdicts = [run_one(bed, name, scenario) for name, scenario in chosen if is_mine(name, scenario)]
    (SHARE / f"counts.{GUEST}").write_text(f"{verdicts.count(True)} {verdicts.count(False)}\n")


def is_mine(name, scenario):
    """Whether no other guest runs this scenario. One that needs two processors, or a kernel without Landlock, is left to such a guest."""
    if getattr(scenario, "processors", 1) > os.cpu_count():
        (SHARE / "two").touch()
        return False
    is_plain = GUEST == "plain"
    if getattr(scenario, "landlock", True) == is_plain:
        if not is_plain:
            (SHARE / "plain").touch()
        return False
    try:
        (SHARE / "claims" / name).mkdir()
    except FileExistsError:
        return False
    return True


def find_scenarios():
    """Functions with @scenario in scenarios/*.py, in the order of the files."""
    sys.path.insert(0, str(TESTS / "guest"))
    found = []
    for path in sorted((TESTS / "scenarios").glob("*.py")):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found += [
            (f"{path.stem}::{name}", value)
            for name, value in vars(module).items()
            if getattr(value, "is_scenario", False) and value.__module__ == path.stem
        ]
    return found


def run_one(bed, name, scenario):
    """Prints one line: ok or FAILED, name, seconds of the guest's clock. Returns whether it is ok."""
    started = time.monotonic()
    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(SECONDS)
    try:
        bed.begin()
        scenario(bed)
        return tell("ok", name, started)
    except Exception:
        signal.alarm(0)
        tell("FAILED", name, started)
        keep_failure(bed, name)
        return False
    finally:
        signal.alarm(0)
        bed.end()


def keep_failure(bed, name):
    """Why it failed, for the end of the report."""
    with open(SHARE / f"failures.{GUEST}", "a") as kept:
        print(f"== {name}", traceback.format_exc(), sep="\n", file=kept)
        for line in bed.log.lines[-8:]:
            print(f"    log: {line}", file=kept)
        for problem in bed.server.problems:
            print(f"    server: {problem}", file=kept)


def tell(verdict, name, started):
    print(f"{verdict:6} {name} ({time.monotonic() - started:.1f} s)", flush=True)
    return verdict == "ok"


def too_long(*_):
    raise TimeoutError(f"longer than {SECONDS} s")


if __name__ == "__main__":
    main()
