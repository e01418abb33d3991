"""Sound frameworks with sums in every order that may occur: their false alarms, and their largest errors in σ.

python -m benchmarks.rounding.sound_orders [--cases 10000] [--profile quick] [--regime tails] [--seed 1] [-n 1]
    [NAME ...]

Each sound framework of tests/support/frameworks/sound.py runs a profile under one fresh seed after another, showing z,
x and k and showing gradients alone in turn, until it has had this many cases. Exits with 1 if there was an alarm.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from benchmarks._common import one_thread, table
from kterm.adapters.quantities import arrays, stack_arrays
from kterm.conformance.cases.case import Group
from kterm.conformance.cases.description import Description, describe
from kterm.conformance.cases.plan import make_options, plan
from kterm.conformance.checks.comparison.compare import readings, steps_of
from kterm.conformance.checks.examine import Examination, examine
from kterm.conformance.runners.runner import Answer, LocalRunner
from kterm.conformance.runners.workers import open_executor
from kterm.reference.propagation import Quantity
from kterm.reference.rounding import Conventions
from tests.support.frameworks.sound import ORDERS, Ordered, showing_gradients_alone

Kind = tuple[str, str]
"""A regime and a dtype."""


@dataclass
class Found:
    """What one framework gave in its cases: the alarms, and by regime and dtype the largest error in σ."""

    cases: int = 0
    alarms: list[str] = field(default_factory=list)
    worst: dict[Kind, tuple[float, str]] = field(default_factory=dict)

    def add(self, other: "Found") -> None:
        """Count another framework's cases too."""
        self.cases += other.cases
        self.alarms += other.alarms
        for kind, worst in other.worst.items():
            self.worst[kind] = max(self.worst.get(kind, (0.0, "")), worst)


def choose_groups(adapter: Description, profile: str, seed: int, regimes: Sequence[str]) -> list[Group]:
    """The groups of a profile under one seed in these regimes, or in all if there are none."""
    groups = plan(adapter, make_options(profile, seed)).groups
    return [group for group in groups if not regimes or group.regime in regimes]


def examine_seed(name: str, shows_little: bool, profile: str, seed: int, regimes: Sequence[str]) -> Found:
    """Run a profile of one framework under one seed."""
    sound = next(made for made in ORDERS if made.name == name)
    adapter: Ordered = showing_gradients_alone(sound) if shows_little else sound()
    runner, found = LocalRunner(adapter), Found()
    description = describe(adapter, adapter.name)
    for group in choose_groups(description, profile, seed, regimes):
        done = examine(group, runner)
        found.cases += len(done.verdicts)
        found.alarms += [
            f"{adapter.name} {v.case} {v.check} {v.quantity} {v.worst:.2f} {v.message}"
            for some in done.verdicts
            for v in some
            if v.fails
        ]
        kind = group.regime, group.structure.dtype
        for step, error in _errors(group, done, description.conventions):
            largest = float(error.max(initial=0.0)), f"{adapter.name} {group.id} {step.name}"
            found.worst[kind] = max(found.worst.get(kind, (0.0, "")), largest)
    return found


def _errors(group: Group, done: Examination, conventions: Conventions) -> Iterator[tuple[Quantity, np.ndarray]]:
    """Every quantity with its errors in σ, where f' does not jump. Dead draws are left out."""
    if done.draws is None or group.regime == "lattice":
        return
    shown = {
        i: answer.observation
        for i, answer in enumerate(done.answers)
        if isinstance(answer, Answer) and answer.observation is not None and not done.draws.dead[i]
    }
    if not shown:
        return
    views = stack_arrays(list(shown.values()))
    assert len({tuple(arrays(observed)) for observed in shown.values()}) == 1
    views[f"x_{group.structure.network.depth}"] = views["outputs"]
    reading, _ = readings(group.structure, group.regime)
    for step in steps_of(group.structure, done.draws[np.array(list(shown))], views, reading, conventions):
        if step.name in views and step.estimate.error is not None:
            estimate = step.estimate
            with np.errstate(all="ignore"):
                error = np.abs(views[step.name].astype(np.float64) - estimate.value)
                ratio = error / estimate.error
            counted = np.isfinite(ratio) & (error > 0)
            yield step, np.where(counted if estimate.jump is None else counted & (estimate.jump == 0), ratio, 0.0)


def _seeds(futures: Sequence[Future[Found]]) -> Found:
    total = Found()
    for future in futures:
        total.add(future.result())
    return total


def main() -> None:
    """Measure and print."""
    one_thread()
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("names", nargs="*", default=[sound.name for sound in ORDERS])
    options.add_argument("--cases", type=int, default=10_000, help="cases of each framework, at least")
    options.add_argument("--profile", default="quick")
    options.add_argument("--regime", action="append", default=[], help="this regime alone; may be repeated")
    options.add_argument("--seed", type=int, default=1, help="the first seed")
    options.add_argument("-n", type=int, default=1, help="worker processes")
    chosen = options.parse_args()
    adapter = describe(ORDERS[0](), ORDERS[0].name)
    size = sum(len(group.draws) for group in choose_groups(adapter, chosen.profile, 1, chosen.regime))
    seeds = range(chosen.seed, chosen.seed + -(-chosen.cases // size))
    everything, rows = Found(), []
    with open_executor(chosen.n) as executor:
        asked = {
            name: [
                executor.submit(examine_seed, name, bool((seed + number) % 2), chosen.profile, seed, chosen.regime)
                for seed in seeds
            ]
            for number, name in enumerate(chosen.names)
        }
        for name, futures in asked.items():
            found = _seeds(futures)
            rows.append((name, f"{found.cases:,}", f"{len(found.alarms)}", *_largest(found)))
            print(*rows[-1], *found.alarms[:5], sep="\n  " if found.alarms else "  ", file=sys.stderr, flush=True)
            everything.add(found)
    print(table(("framework", "cases", "false alarms", "largest error in σ", "where"), rows))
    kinds = sorted(everything.worst.items(), key=lambda item: -item[1][0])
    print(table(("regime", "dtype", "largest error in σ"), [(*kind, f"{worst:.2f}") for kind, (worst, _) in kinds]))
    print(f"{everything.cases:,} cases, {len(everything.alarms)} false alarms")
    counts = Counter(alarm.split()[2] for alarm in everything.alarms)
    print(*(f"{check}: {count}" for check, count in counts.items()), sep="\n")
    raise SystemExit(bool(everything.alarms))


def _largest(found: Found) -> tuple[str, str]:
    worst, where = max(found.worst.values(), default=(0.0, ""))
    return f"{worst:.2f}", where.partition(" ")[2]


if __name__ == "__main__":
    main()
