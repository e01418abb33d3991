"""Wall time of `kterm check` and cases per second, by the number of workers.

python -m benchmarks.cost.suite_time [--profile quick] [--write] [ADAPTER ...]
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks._common import circumstances, parser, publish, seconds_text, table

WORKERS = ("0", "1", "2")


def run(adapter: str, profile: str, workers: str, report: Path) -> tuple[float, dict[str, Any]]:
    """Run `kterm check` once and return its wall time in seconds and its accounting. Exits if the command fails."""
    kterm = Path(sys.executable).with_name("kterm")
    command = [kterm, "check", adapter, "--profile", profile, "-n", workers, "--no-cache", "--report", report]
    start = time.perf_counter()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    taken = time.perf_counter() - start
    if done.returncode not in (0, 1):
        raise SystemExit(f"kterm check {adapter} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    footer = json.loads(report.read_text(encoding="utf-8").splitlines()[-1])
    assert footer["kind"] == "footer"
    return taken, footer["accounting"]


def main() -> None:
    """Measure and print; with --write, update the page."""
    options = parser(__doc__)
    options.add_argument("adapters", nargs="*", default=["numpy", "torch", "jax"])
    options.add_argument("--profile", default="quick")
    chosen = options.parse_args()

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for adapter in chosen.adapters:
            for workers in WORKERS:
                taken, accounting = run(adapter, chosen.profile, workers, Path(folder) / "record.jsonl")
                answered = accounting["planned"] - accounting["unsupported"]
                bad = sum(accounting[name] for name in ("failed", "blocked", "errored"))
                counts = (f"{accounting['planned']}", f"{answered}", f"{bad}")
                rows.append((adapter, workers, *counts, seconds_text(taken), f"{answered / taken:.0f}"))
    header = ("adapter", "workers", "planned", "answered", "failed, blocked or errored", "wall time", "cases a second")
    body = f"""How long does `kterm check ADAPTER --profile {chosen.profile} -n WORKERS --no-cache` take?
Each row is one run. The wall time is from start to exit, including imports and the start of workers. The rate is the
number of answered cases per second.

{table(header, rows)}

{circumstances("kterm", "numpy", "torch", "jax", "pytest", "pytest-xdist")}
"""
    publish("suite-time", "Time of the suite", body, chosen.write)


if __name__ == "__main__":
    main()
