"""At which level mistakes of the rule, and ports that are coarse in one tail, are findings.

    python -m benchmarks.mistakes.severity [--write]

A mistake in the rule should be wrong in norm, and a coarse formula only componentwise.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from benchmarks._common import circumstances, one_thread, parser, publish, table
from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.description import describe
from kterm.conformance.cases.plan import WIDE, make_options
from kterm.conformance.checks.verdict import Verdict, failure_of, severity_of
from kterm.conformance.evaluation.kills.trial import Trial, TrialOptions
from kterm.conformance.interfaces.api import check_adapter
from kterm.conformance.mutants import MISTAKES
from tests.support.frameworks.tails import ClippedSilu, Coarse, FlatSoftplus, SubtractingElu


def count_levels(dtype: str, alone: bool) -> dict[str, Counter[str]]:
    """For each mutant planted in NumPy, in how many of the cases that it fails its failure has each level."""
    names = [one.name for one in MISTAKES]
    options = TrialOptions(describe(Numpy(), "numpy"), make_options("smoke", 0, [dtype]), gradients_alone=alone)
    trial, counts = Trial(options, names), {name: Counter[str]() for name in names}
    for group in options.groups(dtype):
        for result in trial.run(group, names):
            failures = [failure_of(found) for found in result.found] if result.name else []
            counts[result.name or names[0]].update(v.level or "normwise" for v in failures if v is not None)
    return counts


def mutant_rows() -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """A row of the table for each dtype and mode, and the mutants of it that have failures in entries alone."""
    for dtype in WIDE:
        for alone in (False, True):
            counts = count_levels(dtype, alone)
            found = {name: count for name, count in counts.items() if count}
            normwise = sum(count["normwise"] > 0 for count in found.values())
            partly = [f"{n} ({c['componentwise']})" for n, c in found.items() if c["componentwise"]]
            mode = "gradients alone" if alone else "all shown"
            yield (dtype, mode, f"{len(found)}", f"{normwise}", f"{len(partly)}"), partly


def port_row(port: Coarse, dtype: str) -> tuple[str, ...]:
    """A row of the table of ports."""
    results = check_adapter(port, profile="quick", dtypes=[dtype], level="normwise")
    found = [v for some in results.verdicts.values() if (v := failure_of(some)) is not None]
    normwise = sum(v.fails for v in found)
    return (
        port.name, dtype, "gradients alone" if port.is_silent else "all shown", f"{len(results.verdicts):,}",
        f"{len(found) - normwise:,}", f"{normwise:,}", _size(found),
    )  # fmt: skip


def _size(failures: Sequence[Verdict]) -> str:
    severity = severity_of(failures) if failures else None
    return "" if severity is None or severity.relative is None else f"{severity.relative:.1g}"


def _ports(silent: bool) -> Iterator[Coarse]:
    for made in (ClippedSilu, FlatSoftplus, SubtractingElu):
        port = made()
        port.is_silent, port.max_structures = silent, None
        yield port


def main() -> None:
    """Measure and print; with --write, update the page."""
    chosen = parser(__doc__).parse_args()
    one_thread()
    ports = [port_row(port, dtype) for dtype in WIDE for silent in (False, True) for port in _ports(silent)]
    rows, notes = [], []
    for row, partly in mutant_rows():
        rows.append(row)
        if partly:
            notes.append(f"- {row[0]}, {row[1]}: {', '.join(partly)}")
    mistakes = ("dtype", "shown", "found", "wrong in norm", "in some cases only componentwise")
    coarse = (
        "port", "dtype", "shown", "cases", "fail componentwise only", "fail normwise",
        "largest error beside its tensor",
    )  # fmt: skip
    body = f"""At which [level](tolerances.md#two-readings-of-a-tensor) is a mistake in the rule a finding? Each of
{len(MISTAKES)} known mistakes is planted in NumPy, which then runs the smoke profile. The failure of a case is its
first finding that is wrong in norm, else its first finding.

{table(mistakes, rows)}

Mistakes with failures that are only componentwise, and the number of such cases:

{chr(10).join(notes) or "None."}

And a port whose rule is right, but whose formula is coarse for some z? `clipped-silu` clips the argument of its sigmoid
at -20, `flat-softplus` is 0 below -17, and `subtracting-elu` computes exp(z) - 1. They run the quick profile.

{table(coarse, ports)}

{circumstances("kterm", "numpy")}
"""
    publish("severity", "Wrong in norm, or in single entries", body, chosen.write)


if __name__ == "__main__":
    main()
