"""What the link to adapters' processes costs: the CPU time of two trees of kterm on the same run, one after the other.

    python benchmarks/cost/link_cost.py OLD/src NEW/src --adapter numpy --profile quick --rounds 3

Prints user and system seconds of each run, all processes counted, and the ratio of the smallest times. Needs POSIX.
"""

import argparse
import os
import resource
import subprocess
import sys


def measure_seconds(source: str, adapter: str, profile: str) -> float:
    """The CPU seconds of one run of `kterm check` from a source folder, with its worker and its hosts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = "from kterm.conformance.commands.cli import main; main()"
    subprocess.run(
        [sys.executable, "-c", command, "check", adapter, "--profile", profile, "-n", "1"],
        env={**os.environ, "PYTHONPATH": source},
        stdout=subprocess.DEVNULL,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure both trees in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs=2)
    parser.add_argument("--adapter", default="numpy")
    parser.add_argument("--profile", default="quick")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    taken: dict[str, list[float]] = {source: [] for source in chosen.sources}
    for _ in range(chosen.rounds):
        for source in chosen.sources:
            taken[source].append(measure_seconds(source, chosen.adapter, chosen.profile))
            print(f"{source}: {taken[source][-1]:.2f} s", flush=True)
    old, new = (min(taken[source]) for source in chosen.sources)
    print(f"ratio {new / old:.3f}")


if __name__ == "__main__":
    main()
