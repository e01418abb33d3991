"""CPU time of each shard of a run, with an empty and with a filled compilation cache: the largest and the mean.

python -m benchmarks.cost.shards [--profile standard] [--count 4] [--write] [ADAPTER ...]
"""

import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks._common import circumstances, parser, publish, seconds_text, table
from benchmarks.cost.compile_cache import run

MODES = ("cold", "warm")


def measure(adapters: list[str], profile: str, count: int) -> dict[str, list[float]]:
    """CPU seconds of each shard, by mode. Each shard has a cache of its own, as on a machine of its own."""
    seconds: dict[str, list[float]] = {mode: [] for mode in MODES}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for i in range(1, count + 1):
            for mode in MODES:
                options = ("--shard", f"{i}/{count}")
                seconds[mode].append(run(adapters, profile, str(folder / f"cache-{i}"), folder / "run.jsonl", *options))
                print(f"{i}/{count} {mode}: {seconds[mode][-1]:.1f} s", flush=True)
    return seconds


def ratio(seconds: Sequence[float]) -> float:
    """The largest by the mean."""
    return max(seconds) / statistics.mean(seconds)


def main() -> None:
    """Measure, print, and write when asked to."""
    options = parser(__doc__)
    options.add_argument("adapters", nargs="*", default=["torch", "numpy", "jax"])
    options.add_argument("--profile", default="standard")
    options.add_argument("--count", type=int, default=4)
    chosen = options.parse_args()

    header = ("adapters", "cache", *(f"{i}/{chosen.count}" for i in range(1, chosen.count + 1)), "largest by mean")
    measured = measure(chosen.adapters, chosen.profile, chosen.count)
    names = ", ".join(chosen.adapters)
    rows = [(names, mode, *map(seconds_text, some), f"{ratio(some):.2f}") for mode, some in measured.items()]
    body = f"""Do the shards of a run cost the same? The table shows the CPU time of `kterm check ADAPTERS --profile
{chosen.profile} -n 1 --shard I/{chosen.count}`, with all processes that it starts: with an empty compilation cache, and
with one that a run of the same shard filled.

{table(header, rows)}

{circumstances("kterm", "numpy", "torch", "jax")}
"""
    publish("shards", "Cost of shards", body, chosen.write)


if __name__ == "__main__":
    main()
