"""Runs every hostile program through a whole check, which the tests do for a few.

    python -m tests.support.hostile.whole_runs [WORDS]

A line for each kind: its exit code, seconds, and what the run said of it. It ends with 1 if a program with a bad
verdict conforms, if a run prints a traceback, or if one takes longer than its limit.
"""

import subprocess
import sys
import time

from .table import KINDS, spec_of

LIMIT = 120.0  # seconds
TIMEOUT = "2"


def main(words: str) -> int:
    """Run the kinds whose names hold `words`."""
    bad = 0
    for name, kind in KINDS.items():
        if words not in name:
            continue
        command = [sys.executable, "-m", "kterm", "check", spec_of(name), "--profile", "smoke", "-n", "0"]
        started = time.monotonic()
        try:
            done = subprocess.run(
                [*command, "--timeout", TIMEOUT], capture_output=True, text=True, timeout=LIMIT, check=False
            )
        except subprocess.TimeoutExpired:
            print(f"{name}: still running after {LIMIT:g} s", flush=True)
            bad += 1
            continue
        said, code = done.stdout + done.stderr, done.returncode
        wanted = {"right": (0,), "load": (3,)}.get(kind.verdict, (1,))
        good = code in wanted and "Traceback" not in said
        bad += not good
        verdict = "" if good else "  UNEXPECTED"
        print(f"{name}: exit {code} in {time.monotonic() - started:.1f} s{verdict}", flush=True)
    print(f"{bad} unexpected")
    return int(bad > 0)


if __name__ == "__main__":
    raise SystemExit(main(" ".join(sys.argv[1:])))
