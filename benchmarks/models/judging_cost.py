"""What judging a trace costs: seconds and memory, for a trace of 1 GB with the widths of a small language model.

    python -m benchmarks.models.judging_cost [--blocks 7] [--workers 0 2] [--write]

The trace is made with NumPy and judged by `kterm judge` in processes of its own. Memory is the largest sum of the
proportional set sizes of all its processes, sampled 20 times a second, so that pages of the trace which several
processes map are counted once. Needs Linux.
"""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks._common import circumstances, one_thread, parser, publish, seconds_text, table
from tests.support.mistakes.models.small import Small

_EVERY = 0.05


@dataclass(frozen=True)
class Cost:
    """Wall-clock and CPU seconds, the peak of memory in bytes, and the first line that was printed."""

    wall: float
    cpu: float
    peak: int
    verdict: str


def main() -> int:
    """Make a trace, judge it, and print the table."""
    options = parser(__doc__)
    options.add_argument("--blocks", type=int, default=7, help="pairs of layers, 768 to 3072 and back")
    options.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    chosen = options.parse_args()
    one_thread()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace"
        trace = Small(widths=(768, 3072) * chosen.blocks + (768,), axes=(2, 512)).trace()
        size = trace.bytes
        trace.save(path)
        del trace
        costs = {workers: measure(path, workers) for workers in chosen.workers}
    publish("models-judging", "Cost of judging a trace", _body(size, chosen.blocks, costs), chosen.write)
    return 0 if all(cost.verdict.startswith("PASS") for cost in costs.values()) else 1


def measure(path: Path, workers: int) -> Cost:
    """Judge a trace in processes of its own."""
    before, start, peak = _cpu(), time.perf_counter(), 0
    command = [sys.executable, "-m", "kterm", "judge", str(path), "-n", str(workers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            peak = max(peak, sum(_memory(number) for number in _tree(process.pid)))
            time.sleep(_EVERY)
        printed = process.stdout.read() if process.stdout is not None else ""
    verdict = next((line for line in printed.splitlines() if line.startswith(("PASS", "FAIL"))), "")
    return Cost(time.perf_counter() - start, _cpu() - before, peak, verdict)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _tree(process: int) -> Iterator[int]:
    """A process and all below it."""
    yield process
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii").split()
    except OSError:  # it has ended
        return
    for child in children:
        yield from _tree(int(child))


def _memory(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:  # it has ended
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def _body(size: int, blocks: int, costs: dict[int, Cost]) -> str:
    rows = [
        (
            "this process" if not workers else f"{workers} workers",
            seconds_text(cost.wall),
            seconds_text(cost.cpu),
            f"{cost.peak / 1e6:.0f} MB",
            cost.verdict.split()[0] if cost.verdict else "no verdict",
        )
        for workers, cost in costs.items()
    ]
    return f"""\
What does it cost to judge a trace of {size / 1e9:.2f} GB? It has {2 * blocks} layers, 768 to 3072 and back, with 1024
rows in one step of float32. Memory is the peak over all processes, with the pages of the trace that they map.

{table(("judged by", "time", "CPU time", "memory", "verdict"), rows)}

{circumstances("kterm", "numpy")}"""


if __name__ == "__main__":
    sys.exit(main())
