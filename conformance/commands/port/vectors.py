"""`kterm vectors`: write vectors, write an adapter's results for them, and judge results."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from rich.table import Table

from ...cases.plan import Options
from ...interfaces.vectors.answer import answer_vectors
from ...interfaces.vectors.export import export_vectors, select_groups
from ...interfaces.vectors.judge import (
    OUTCOMES,
    CaseVerdict,
    Outcome,
    VectorSet,
    conforms,
    count_outcomes,
    judge_results,
    open_vectors,
)
from ...records.form.console import TextConsole
from ...runners.process import open_runner
from ..exit_codes import CONFORMS, DOES_NOT
from ..output import open_output, show_progress

_MOST_SHOWN = 10


def run_export(folder: Path, options: Options, biases: Sequence[str]) -> int:
    """Write the vectors of a profile, and say how much they are. Raises OptionError."""
    console = TextConsole()
    with show_progress(console, "structures", len(select_groups(options, biases))) as done:
        written = export_vectors(folder, options, biases, done)
    console.print(
        f"{written.structures} structures, {written.cases:,} cases, {written.size / 1e6:.1f} MB in {folder}; "
        f"profile {options.profile}, seed {options.seed}",
    )
    return CONFORMS


def run_answer(
    folder: Path, spec: str, device: str | None, mutant: str | None, results: Path, python: str | None = None
) -> int:
    """Write what an adapter answers to the vectors. Raises AdapterError and OptionError."""
    console, vectors = TextConsole(), open_vectors(folder)
    with (
        closing(open_runner(spec, device, mutant, python)) as runner,
        show_progress(console, "structures", len(vectors.structures)) as done,
    ):
        answer_vectors(vectors, runner, results, done)
        name = runner.describe().name
    console.print(f"{name}: results in {results}")
    return CONFORMS


def run_verify(folder: Path, results: Path, output: Path | None) -> int:
    """Judge results, print the outcome, and give the exit code. Raises OptionError."""
    console, vectors = TextConsole(), open_vectors(folder)
    file = None if output is None else open_output(output)
    found = list(judge_results(vectors, results))
    verdicts = [verdict for some in found for verdict in some]
    if file is not None:
        with file:
            json.dump({one.case: {"outcome": one.outcome, **one.quantities} for one in verdicts}, file, indent=1)
    console.print(_table(vectors, found))
    for line in (*_lines(vectors, found), _totals(verdicts)):
        console.print(line)
    conforming = conforms(verdicts)
    console.print("conforms (componentwise)" if conforming else "does not conform (componentwise)")
    return CONFORMS if conforming else DOES_NOT


def _table(vectors: VectorSet, found: Sequence[Sequence[CaseVerdict]]) -> Table:
    """The outcomes of the cases by regime, in a table."""
    counts: dict[str, Counter[Outcome]] = {}
    for entry, verdicts in zip(vectors.structures, found, strict=True):
        counts.setdefault(entry["regime"], Counter()).update(count_outcomes(verdicts))
    shown: list[Outcome] = [outcome for outcome in OUTCOMES if any(count[outcome] for count in counts.values())]
    table = Table("regime", box=None, pad_edge=False)
    for name in shown:
        table.add_column(name, justify="right")
    for regime, count in counts.items():
        table.add_row(regime, *(f"{count[name]:,}" for name in shown))
    return table


def _lines(vectors: VectorSet, found: Sequence[Sequence[CaseVerdict]]) -> list[str]:
    """One line for each of the first structures that failed, errored or are not supported."""
    lines = list[str]()
    for entry, verdicts in zip(vectors.structures, found, strict=True):
        first = next((v for v in verdicts if v.outcome in ("failed", "errored", "unsupported")), None)
        if first is not None:
            lines.append(_line(entry, first, count_outcomes(verdicts)[first.outcome]))
    more = len(lines) - _MOST_SHOWN
    return [*lines[:_MOST_SHOWN], *([f"and {more} more structures"] if more > 0 else [])]


def _line(entry: Mapping[str, Any], first: CaseVerdict, count: int) -> str:
    if first.departure is None:
        return f"{first.outcome} in {count} of {len(entry['cases'])} cases: {first.message}"
    one = first.departure
    place = f"{one.quantity}{list(one.at) if one.at else ''}"
    right = f"{one.lower!r}" if one.lower == one.upper else f"from {one.lower!r} to {one.upper!r}"
    return (
        f"failed in {count} of {len(entry['cases'])} cases, first {first.case}: {place} is {one.observed!r}; right is "
        f"{right}; for {entry['catches']}"
    )


def _totals(verdicts: Sequence[CaseVerdict]) -> str:
    counts = count_outcomes(verdicts)
    return f"{len(verdicts):,} cases = " + " + ".join(f"{counts[one]:,} {one}" for one in OUTCOMES if counts[one])
