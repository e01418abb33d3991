"""What a campaign costs: how it scales, whether dying workers change it, and what a unit takes apart from its work.

    python -m benchmarks.cost.campaign scaling --cases 20000 --rounds 3
    python -m benchmarks.cost.campaign killing --cases 100000 --every 30
    python -m benchmarks.cost.campaign overhead --units 2000

`scaling` runs one campaign with one worker and with two, in turn, and prints cases per second and the ratio. `killing`
kills a worker every so many seconds and compares each line, and the summary, with an undisturbed campaign. `overhead`
runs units without cases, so that what is left is the scheduler, the client and the disk. Needs Linux and `kterm[dask]`.
"""

import argparse
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from kterm.conformance.cases.plan import make_options
from kterm.conformance.evaluation.campaign.cluster import open_pool
from kterm.conformance.evaluation.campaign.drive import Goal, drive
from kterm.conformance.evaluation.campaign.store import Store
from kterm.conformance.evaluation.campaign.units import UNIT_COST, Unit
from kterm.conformance.records.run import RunRequest, prepare
from kterm.conformance.runners.threads import pin_here

COMMAND = [sys.executable, "-c", "from kterm.conformance.commands.cli import main; main()", "campaign"]


def start(adapters: list[str], cases: int, workers: int, folder: Path) -> "subprocess.Popen[bytes]":
    """A campaign as a user starts it."""
    asked = [*adapters, "--cases", str(cases), "-n", str(workers), "-o", str(folder)]
    return subprocess.Popen([*COMMAND, *asked], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def measure_scaling(adapters: list[str], cases: int, rounds: int) -> None:
    """Print cases per second with one worker and with two. The start of workers and adapters is left out: the clock
    runs from the first unit that is written to the last.
    """
    rates: dict[int, list[float]] = {1: [], 2: []}
    for n in range(rounds):
        for workers in (1, 2) if n % 2 == 0 else (2, 1):
            with tempfile.TemporaryDirectory() as folder:
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                run = start(adapters, cases, workers, Path(folder) / "c")
                ended: list[tuple[float, int]] = []
                while run.poll() is None:
                    path = Path(folder) / "c" / "units.jsonl"
                    count = path.read_bytes().count(b"\n") if path.exists() else 0
                    if not ended or count > ended[-1][1]:
                        ended.append((time.monotonic(), count))
                    time.sleep(0.05)
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                summary = json.loads((Path(folder) / "c" / "summary.json").read_text())
                took = sorted(ended)
                first, last = next(one for one in took if one[1] >= workers), took[-1]
                rate = (last[1] - first[1]) / (last[0] - first[0]) * summary["cases"] / summary["units"]
                rates[workers].append(rate)
                used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
                print(f"{workers} workers: {rate:.1f} cases/s, {1e3 * used / summary['cases']:.2f} ms of CPU a case")
    one, two = (statistics.median(rates[workers]) for workers in (1, 2))
    print(f"two workers: {two / one:.2f} times one")


def measure_killing(adapters: list[str], cases: int, every: float) -> int:
    """Kill a worker every so many seconds, and compare with a campaign in which none died."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start(adapters, cases, 2, folder / "whole").wait()
        run, killed = start(adapters, cases, 2, folder / "killed"), 0
        while run.poll() is None:
            time.sleep(every)
            workers = [one for one in _children(run.pid) if _children(one)]
            if workers:
                os.kill(workers[killed % len(workers)], signal.SIGKILL)
                killed += 1
        whole, other = (sorted((folder / n / "units.jsonl").read_bytes().splitlines()) for n in ("whole", "killed"))
        summaries = [(folder / n / "summary.json").read_bytes() for n in ("whole", "killed")]
        is_same = whole == other and summaries[0] == summaries[1]
        print(f"{killed} workers killed; {len(whole):,} units; {'the same' if is_same else 'DIFFERENT'}, byte for byte")
        return 0 if is_same else 1


def _children(parent: int) -> list[int]:
    """The processes that any thread of a process started."""
    listed = Path(f"/proc/{parent}/task").glob("*/children")
    return [int(one) for path in listed for one in path.read_text().split()]


def measure_overhead(count: int, workers: int) -> None:
    """Print what a unit without cases takes, and the CPU time of the process that has the scheduler and the client."""
    pin_here()
    run = prepare(RunRequest(("numpy",), make_options("quick", 0)))
    units = [Unit(number, "numpy", 0, ()) for number in range(count)]
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "c") as store:
        store.begin(run, UNIT_COST)
        with open_pool(run, workers) as pool:
            drive(pool, units[:50], Goal(), store, lambda unit, line: None)
            wall, used = time.monotonic(), time.process_time()
            drive(pool, units[50:], Goal(), store, lambda unit, line: None)
            wall, used = time.monotonic() - wall, time.process_time() - used
    done = count - 50
    print(f"{done:,} units without cases, {workers} workers, {threading.active_count()} threads here")
    print(f"{1e3 * wall / done:.2f} ms a unit, {1e3 * used / done:.2f} ms of CPU in scheduler, client and disk")


def main() -> int:
    """Run the measurement that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("scaling", "killing", "overhead"))
    parser.add_argument("--adapter", action="append", help="repeatable; numpy by default")
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--every", type=float, default=30.0)
    parser.add_argument("--units", type=int, default=2000)
    chosen = parser.parse_args()
    adapters = chosen.adapter or ["numpy"]
    if chosen.what == "scaling":
        measure_scaling(adapters, chosen.cases, chosen.rounds)
    elif chosen.what == "killing":
        return measure_killing(adapters, chosen.cases, chosen.every)
    else:
        measure_overhead(chosen.units, 2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
