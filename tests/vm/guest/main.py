"""Prepares the guest and runs the scenarios whose names hold one of the words in /run/vm/words. See README.md."""

import importlib.util
import os
import signal
import sys
import time
import traceback
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
SHARE = Path("/run/vm")
SECONDS = 240


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
    print(f"Linux {os.uname().release}, {time.monotonic() - started:.1f} s to prepare", flush=True)
    failed = sum(not run_one(bed, name, scenario) for name, scenario in chosen)
    print(f"{len(chosen) - failed} ok, {failed} FAILED", flush=True)
    verdict = "ok" if chosen and not failed else f"{failed} scenarios failed" if chosen else "no such scenario"
    (SHARE / "verdict").write_text(verdict)


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
    """Prints one line: ok or FAILED, name, seconds; below it, why it failed."""
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
        print(traceback.format_exc(), flush=True)
        for line in bed.log.lines[-8:]:
            print(f"    log: {line}", flush=True)
        for problem in bed.server.problems:
            print(f"    server: {problem}", flush=True)
        return False
    finally:
        signal.alarm(0)
        bed.end()


def tell(verdict, name, started):
    print(f"{verdict:6} {name} ({time.monotonic() - started:.1f} s)", flush=True)
    return verdict == "ok"


def too_long(*_):
    raise TimeoutError(f"longer than {SECONDS} s")


if __name__ == "__main__":
    main()
