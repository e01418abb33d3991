"""CPU time of `kterm check` without the compilation cache, with an empty one, and with a filled one.

python -m benchmarks.cost.compile_cache [--profile quick] [--rounds 3] [--write] [ADAPTER ...]
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks._common import circumstances, parser, publish, seconds_text, table
from kterm.conformance.runners.cache import VARIABLE

MODES = ("without", "cold", "warm")


def run(adapters: list[str], profile: str, cache: str, report: Path, *options: str) -> float:
    """CPU seconds of one `kterm check`, with all processes that it starts; `cache` is a folder, or empty for none.
    `options` are further options of the command.

    Raises SystemExit where the command did not end with 0 or 1.
    """
    command = [sys.executable, "-c", "from kterm.conformance.commands.cli import main; main()", "check", *adapters]
    command += ["--profile", profile, "-n", "1", "--report", str(report), *options]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {VARIABLE: cache},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1):
        raise SystemExit(f"kterm check ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(adapters: list[str], profile: str) -> tuple[dict[str, float], int, int]:
    """CPU seconds by mode, the number of programs that the cache then holds, and their bytes on disk.

    Raises SystemExit where the three records are not equal byte for byte.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        caches = {"without": "", "cold": str(folder / "cache"), "warm": str(folder / "cache")}
        seconds = {mode: run(adapters, profile, caches[mode], folder / f"{mode}.jsonl") for mode in MODES}
        if len({(folder / f"{mode}.jsonl").read_bytes() for mode in MODES}) > 1:
            raise SystemExit("the records of the three runs are not equal")
        sizes = [path.stat().st_size for path in (folder / "cache").rglob("*-cache")]
    return seconds, len(sizes), sum(sizes)


def main() -> None:
    """Measure, print, and write when asked to."""
    options = parser(__doc__)
    options.add_argument("adapters", nargs="*", default=["jax"])
    options.add_argument("--profile", default="quick")
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()

    rounds = [measure(chosen.adapters, chosen.profile) for _ in range(chosen.rounds)]
    rows = []
    for mode in MODES:
        ratios = [seconds[mode] / seconds["without"] for seconds, _, _ in rounds]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}..{max(ratios):.2f})"
        rows.append((mode, seconds_text(statistics.median(seconds[mode] for seconds, _, _ in rounds)), spread))
    _, programs, size = rounds[-1]
    body = f"""`kterm check {" ".join(chosen.adapters)} --profile {chosen.profile} -n 1` with `{VARIABLE}` empty
(without), naming an empty folder (cold), and again with the folder as that run left it (warm): CPU time of all
processes, and its ratio to the run without a cache in the same round. Medians of {chosen.rounds} rounds; in brackets
the smallest and the largest ratio. The three records of a round are equal byte for byte. In the end the folder holds
{programs} programs in {size / 2**20:.1f} MiB.

{table(("compilation cache", "CPU time", "ratio"), rows)}

{circumstances("kterm", "numpy", "jax", "jaxlib")}
"""
    publish("compile-cache", "The compilation cache of JAX", body, chosen.write)


if __name__ == "__main__":
    main()
