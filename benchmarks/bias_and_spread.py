"""How often sound adapters have a finding of `bias` or `spread`, and by how much planted mistakes do.

    python -m benchmarks.bias_and_spread --seeds 100 numpy torch     # sound adapters, quick runs on fresh seeds
    python -m benchmarks.bias_and_spread --planted        # the mistakes of tests/support/frameworks/biased.py

Only the groups that enter the checks of a run are examined, in this process. The table for sound adapters counts the
means whose probability under Student's law is below 1e-1, 1e-2, ... beside how many there should be.
"""

import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from scipy import special

from benchmarks._common import ROOT, one_thread, parser
from kterm.adapters import Adapter
from kterm.adapters.registry import load
from kterm.conformance.cases.description import describe
from kterm.conformance.cases.plan import make_options, plan
from kterm.conformance.cases.regimes import REGIMES
from kterm.conformance.checks.examine import examine
from kterm.conformance.checks.whole_run.moments import merge
from kterm.conformance.checks.whole_run.verdicts import SUMS_ALONE, Judged, judge_run
from kterm.conformance.expectations import expectation as known
from kterm.conformance.runners.runner import LocalRunner

_RATES = (1e-1, 1e-2, 1e-3, 1e-4)


def judge_adapter(adapter: Adapter, profile: str, seed: int, dtypes: Sequence[str] = ()) -> list[Judged]:
    """What one run as a whole says of an adapter."""
    described = describe(adapter, adapter.name)
    runner = LocalRunner(adapter, adapter.name)
    expectation_for = known.matcher(e for e in known.read(known.SHIPPED) if e.concerns(described))
    groups = plan(described, make_options(profile, seed, dtypes)).groups
    chosen = [group for group in groups if REGIMES[group.regime].enters_statistics]
    moments = merge(examine(group, runner, expectation_for).moments for group in chosen)
    return judge_run(moments, expectation_for, described.one_sided)


def probabilities(judged: Iterable[Judged]) -> Iterator[float]:
    """How probable a mean as far from a sound one is under Student's law, for each plain and outward mean."""
    for one in judged:
        for name, mean in one.means.items():
            if name != "square" and mean.dof > 0 and 0 < mean.error < float("inf") and mean.least == mean.most:
                yield 2 * float(special.stdtr(mean.dof, -abs(mean.value - mean.most) / mean.error))


def measure_sound(names: Sequence[str], seeds: Sequence[int], profile: str) -> None:
    """Print, for each adapter, the findings over the seeds and how its means are distributed."""
    print(f"profile {profile}, seeds {seeds[0]} to {seeds[-1]}")
    for name in names:
        adapter, started = load(name), time.process_time()
        findings, below, count = Counter[str](), Counter[float](), 0
        largest_square, nearest = 0.0, 0.0
        for seed in seeds:
            judged = judge_adapter(adapter, profile, seed)
            for one in judged:
                for verdict in one.verdicts:
                    nearest = max(nearest, verdict.worst)
                    if verdict.is_unexpected:
                        label = f"{verdict.check} {one.dtype} {one.quantity} {one.activation}"
                        findings[label] += 1
                        print(f"  {name} seed {seed}: {label}, {verdict.worst:.3g} times the limit", flush=True)
                if one.quantity in SUMS_ALONE:
                    largest_square = max(largest_square, one.means["square"].value)
            for p in probabilities(judged):
                count += 1
                below.update(rate for rate in _RATES if p < rate)
            sys.stdout.flush()
        shown = ", ".join(f"{below[rate]} below {rate:g} ({count * rate:.4g} due)" for rate in _RATES)
        print(f"{name}: {sum(findings.values())} findings in {len(seeds)} runs, nearest {nearest:.2g} of its limit")
        print(f"  {count:,} means: {shown}; largest mean square of a sum {largest_square:.3g}")
        print(f"  {(time.process_time() - started) / len(seeds):.1f} s of CPU a run", flush=True)


def measure_planted(seed: int) -> None:
    """Print a row for each planted mistake: in which quantities it is found, and how far beyond the limit."""
    sys.path.insert(0, str(ROOT))
    from tests.support.frameworks import biased

    rows = [(one, "quick", ("f32",)) for one in biased.PLANTED]
    rows += [(one, "standard", ("f32",)) for one in biased.BARELY]
    rows += [(biased.TruncatedEverywhere, "quick", (dtype,)) for dtype in ("bf16", "f16")]
    rows += [(biased.Rounded, "quick", (dtype,)) for dtype in ("f32", "bf16", "f16")]
    for one, profile, dtypes in rows:
        judged = judge_adapter(one(), profile, seed, dtypes)
        found = [(v, j) for j in judged for v in j.verdicts if v.is_finding and j.quantity in SUMS_ALONE]
        text = ", ".join(f"{v.check} {v.quantity} {v.worst:.3g}" for v, _ in found) or "nothing"
        print(f"{one.name}, {profile} {dtypes[0]}: {text}", flush=True)


def main() -> None:
    """Measure what the arguments ask for."""
    one_thread()
    arguments = parser(__doc__)
    arguments.add_argument("adapters", nargs="*", default=["numpy"])
    arguments.add_argument("--seeds", type=int, default=10, help="how many seeds")
    arguments.add_argument("--first", type=int, default=1_000, help="the first seed")
    arguments.add_argument("--profile", default="quick")
    arguments.add_argument("--planted", action="store_true", help="measure the planted mistakes instead")
    given = arguments.parse_args()
    if given.planted:
        measure_planted(given.first)
    else:
        measure_sound(given.adapters, range(given.first, given.first + given.seeds), given.profile)


if __name__ == "__main__":
    main()
