"""Kill runs at random moments with SIGKILL, go on with them, and compare their records with that of an undisturbed run.

    python -m benchmarks.cost.killed_runs --count 20

Each run is `kterm check numpy` in the smoke profile with a mutant, so that causes have to be found again from what was
kept, on one or two workers. All its processes are killed at a moment between its start and the time that the
undisturbed run took. A run that is killed before it has begun its record leaves nothing to go on with, and is run anew.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

ASKED = ("check", "numpy", "--profile", "smoke", "--mutant", "no-slope-last")
NOTHING = "there is no interrupted run to go on with"


def _start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "kterm", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    return subprocess.Popen(command, cwd=folder, **pipes)


def run_whole(folder: Path, *arguments: str) -> tuple[int, str, float]:
    """The exit code of a command, what it said, and its seconds."""
    started = time.monotonic()
    process = _start(folder, *arguments)
    out, err = process.communicate()
    return process.returncode, out + err, time.monotonic() - started


def kill_one(folder: Path, workers: str, after: float, rng: random.Random) -> str:
    """Kill a run, go on with it on another number of workers, and say where it was when it was killed."""
    process = _start(folder, *ASKED, "-n", workers, "-o", "run.jsonl")
    time.sleep(after)
    has_ended = process.poll() is not None
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    if has_ended or (folder / "run.jsonl").exists():
        return "after it had ended"
    parts = len(list(folder.glob(".run.jsonl.*.parts/[0-9]*.jsonl")))
    code, said, _ = run_whole(folder, "check", "--resume", "run.jsonl", "-n", rng.choice("012"))
    if code == 2 and NOTHING in said:
        run_whole(folder, *ASKED, "-n", workers, "-o", "run.jsonl")
        return "before its record"
    assert code == 1, said
    return "between groups" if parts else "before its first group"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    rng = random.Random(given.seed)
    where, equal = Counter[str](), 0
    with tempfile.TemporaryDirectory() as name:
        undisturbed = {}
        for workers in ("1", "2"):
            folder = Path(name) / f"whole-{workers}"
            folder.mkdir()
            code, said, seconds = run_whole(folder, *ASKED, "-n", workers, "-o", "run.jsonl")
            assert code == 1, said
            undisturbed[workers] = (folder / "run.jsonl").read_bytes(), seconds
        for i in range(given.count):
            folder = Path(name) / str(i)
            folder.mkdir()
            workers = rng.choice("12")
            record, seconds = undisturbed[workers]
            where[kill_one(folder, workers, rng.uniform(0, seconds), rng)] += 1
            equal += (folder / "run.jsonl").read_bytes() == record
    print(f"{given.count} runs killed: {dict(where)}; {equal} records equal that of the undisturbed run byte for byte")


if __name__ == "__main__":
    main()
