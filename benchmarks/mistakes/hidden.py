"""How many planted mistakes are hidden by an adapter's expectations: by their patterns alone, and with their formulas.

python -m benchmarks.mistakes.hidden jax --regime subnormal --flushed

A mistake is planted in every case of the regimes. It shows in a case if the findings are others than without it, where
nothing is expected. It is hidden there if the case does not fail with the expectations.
"""

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from benchmarks._common import one_thread, table
from kterm.adapters import Observation
from kterm.adapters.quantities import arrays, with_arrays
from kterm.conformance.cases.plan import make_options
from kterm.conformance.checks.verdict import Verdict, status
from kterm.conformance.evaluation.kills.recording import ChangesObservations
from kterm.conformance.evaluation.kills.trial import Trial, TrialOptions
from kterm.conformance.expectations.expectation import Expectation
from kterm.conformance.mutants import MISTAKES
from kterm.conformance.records.run import RunRequest, prepare
from kterm.conformance.runners.runner import Runner

MUTANTS = [mutant.name for mutant in MISTAKES]


class FlushedTrial(Trial):
    """Trials whose answers are flushed after a mutant is planted."""

    def _hide(self, runner: Runner) -> Runner:
        return ChangesObservations(super()._hide(runner), flushed)


def flushed(observed: Observation) -> Observation:
    """The observation with 0 below the normal range; f16 is left alone."""
    shown = {name: array for name, array in arrays(observed).items() if array.dtype != np.float16}
    small = {np.dtype(np.float64): 2.0**-1022}
    return with_arrays(
        observed,
        {
            name: np.where(np.abs(array) < small.get(array.dtype, 2.0**-126), array.dtype.type(0), array)
            for name, array in shown.items()
        },
    )


def findings(verdicts: Sequence[Verdict]) -> list[tuple]:
    """What a case shows, to be compared with what it shows without a mutant."""
    return [(v.check, v.quantity, v.grade, v.worst, v.message) for v in verdicts if v.is_finding or v.fails]


def measure(
    known: Mapping[str, TrialOptions], dtype: str, regime: str, is_flushed: bool
) -> tuple[int, dict[str, int], dict[str, int], int]:
    """How many mutants show, in how many of them each set of expectations hides every case, and some; and in how many
    (mutant, case) pairs mutants show. The first set is that without expectations.
    """
    kind = FlushedTrial if is_flushed else Trial
    trials = {name: kind(options, MUTANTS) for name, options in known.items()}
    first = next(iter(known))
    shown: dict[str, int] = defaultdict(int)
    hidden: dict[str, dict[str, int]] = {name: defaultdict(int) for name in known}
    for group in (g for g in known[first].groups(dtype) if g.regime == regime):
        results = {name: {r.name: r.verdicts for r in one.run(group, MUTANTS)} for name, one in trials.items()}
        own = [findings(some) for some in results[first][""]]
        for mutant in MUTANTS:
            for i, some in enumerate(results[first][mutant]):
                if not findings(some) or findings(some) == own[i]:
                    continue
                shown[mutant] += 1
                for name in known:
                    hidden[name][mutant] += status(results[name][mutant][i]) not in ("failed", "errored", "blocked")
    everywhere = {name: sum(by[m] == shown[m] for m in shown) for name, by in hidden.items()}
    return len(shown), everywhere, {name: sum(by.values()) for name, by in hidden.items()}, sum(shown.values())


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("adapter")
    options.add_argument("--profile", default="quick")
    options.add_argument("--regime", action="append", default=[])
    options.add_argument("--dtype", action="append", default=[])
    options.add_argument("--flushed", action="store_true", help="planted answers have 0 below the normal range")
    chosen = options.parse_args()
    one_thread()
    run = prepare(RunRequest((chosen.adapter,), make_options(chosen.profile, 0)))
    (adapter,) = run.adapters
    entries = run.concerning(adapter.name)
    patterns: list[Expectation] = [replace(one, formula="", parameters={}) for one in entries]
    known = {
        name: TrialOptions(adapter, run.options, tuple(some), without=("layout",))
        for name, some in (("nothing expected", ()), ("patterns", patterns), ("formulas", entries))
    }
    rows = []
    for regime in chosen.regime or ["subnormal", "tails"]:
        for dtype in chosen.dtype or adapter.dtypes:
            shown, everywhere, pairs, total = measure(known, dtype, regime, chosen.flushed)
            cells = [f"{everywhere[n]} ({pairs[n]:,} of {total:,} cases)" for n in ("patterns", "formulas")]
            rows.append((regime, dtype, str(shown), *cells))
            print(*rows[-1], sep=" | ", flush=True)
    print(table(("regime", "dtype", "mutants that show", "hidden by patterns", "hidden with formulas"), rows))


if __name__ == "__main__":
    main()
