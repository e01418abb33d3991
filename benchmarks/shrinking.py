"""How small shrunk cases are, and what shrinking costs, over all known mistakes.

python -m benchmarks.shrinking [--adapter torch] [--dtype f32] [--json FILE] [--write]
"""

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks._common import circumstances, one_thread, parser, publish, seconds_text, table
from kterm.adapters import Adapter
from kterm.adapters.registry import load
from kterm.conformance.cases.case import parse_case, structure_id
from kterm.conformance.cases.description import describe
from kterm.conformance.cases.draw import REGIMES
from kterm.conformance.cases.plan import make_options
from kterm.conformance.evaluation.kills.outcome import Outcome
from kterm.conformance.evaluation.kills.trial import TrialOptions, measure_outcomes
from kterm.conformance.expectations import expectation as known
from kterm.conformance.failures.known_causes import shipped_expectation_for
from kterm.conformance.failures.shrinking.shrink import shrink
from kterm.conformance.mutants import MISTAKES, MUTANTS, plant_mutant
from kterm.conformance.runners.runner import LocalRunner


@dataclass(frozen=True)
class Row:
    """One mistake's failing case and what it was shrunk to. `seconds` is what shrinking took, in a process that has the
    framework loaded.
    """

    adapter: str
    mutant: str
    case: str
    smallest: str
    depth: int
    width: int
    batch: int
    tries: int
    builds: int
    calls: int
    seconds: float
    stopped: str


def failing(adapter: Adapter, spec: str, dtype: str) -> dict[str, str]:
    """By mutant, the first case of the smoke profile in which it is found."""
    described = describe(adapter, spec)
    entries = tuple(e for e in known.read(known.SHIPPED) if e.concerns(described))
    options = TrialOptions(described, make_options("smoke", 0, (dtype,)), entries, brief=True)
    outcomes = measure_outcomes(options, dtype, [mutant.name for mutant in MISTAKES])
    return {one.mutant: case for one in outcomes if one.mutant and (case := _first(one))}


def _first(outcome: Outcome) -> str | None:
    return next((cell.first for cell in outcome.regimes.values() if cell.first), None)


def rows(spec: str, dtype: str) -> list[Row]:
    """Each mistake's first failing case, shrunk."""
    adapter, found = load(spec), list[Row]()
    for mutant, case in failing(adapter, spec, dtype).items():
        runner = LocalRunner(plant_mutant(adapter, MUTANTS[mutant]), spec)
        started = time.perf_counter()
        shrunk = shrink(
            parse_case(case, tuple(REGIMES)), runner, expectation_for=shipped_expectation_for(runner.describe())
        )
        taken = time.perf_counter() - started
        if shrunk is None:
            print(f"{spec}: {mutant} does not fail again in {case}")
            continue
        network = shrunk.structure.network
        row = Row(
            spec, mutant, case, structure_id(shrunk.structure), network.depth, max(network.widths),
            shrunk.structure.batch, shrunk.trials, shrunk.builds, shrunk.calls, taken, shrunk.stopped,
        )  # fmt: skip
        print(f"{spec} {mutant}: {case} -> {row.smallest}, {taken:.1f} s, {shrunk.stopped}", flush=True)
        found.append(row)
    return found


def summary(spec: str, some: Sequence[Row]) -> tuple[str, ...]:
    """A row of the table."""
    sizes = [f"{statistics.median(getattr(row, name) for row in some):g}" for name in ("depth", "width", "batch")]
    costs = [f"{statistics.median(getattr(row, name) for row in some):g}" for name in ("builds", "calls")]
    seconds = [row.seconds for row in some]
    small = sum(max(row.depth, row.width, row.batch) <= 3 for row in some)
    times = (seconds_text(statistics.median(seconds)), seconds_text(max(seconds)))
    return (spec, f"{len(some)}", *sizes, f"{small}", *costs, *times)


def main() -> None:
    """Measure, print, and write when asked to."""
    options = parser(__doc__)
    options.add_argument("--adapter", action="append", help="registered name; repeatable; default numpy, torch, jax")
    options.add_argument("--dtype", default="f32")
    options.add_argument("--json", type=Path)
    chosen = options.parse_args()
    one_thread()

    found = {spec: rows(spec, chosen.dtype) for spec in chosen.adapter or ("numpy", "torch", "jax")}
    if chosen.json is not None:
        plain = [asdict(row) for some in found.values() for row in some]
        chosen.json.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    header = (
        "adapter", "cases", "median depth", "width", "batch", "all three at most 3", "programs", "calls",
        "median time", "longest",
    )  # fmt: skip
    body = f"""Of each of {len(MISTAKES)} known mistakes the first case of the smoke profile that fails
in {chosen.dtype}, as the command `shrink` leaves it: medians, the width being the largest, in a process that has the
framework loaded. What is larger than 3 needs to be: a mistake past a tile's edge, or in a batch of some size.

{table(header, [summary(spec, some) for spec, some in found.items()])}

{circumstances("kterm", "numpy", "torch", "jax")}
"""
    publish("shrinking", "Shrinking", body, chosen.write)


if __name__ == "__main__":
    main()
