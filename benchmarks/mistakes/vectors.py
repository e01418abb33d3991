"""How many of the known mistakes the vectors of a profile find.

    python -m benchmarks.mistakes.vectors [--write]

Each mistake is planted in NumPy, which answers to the vectors in one process, in the order of the manifest.
"""

import tempfile
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from benchmarks._common import circumstances, one_thread, parser, publish, table
from kterm.adapters import Adapter
from kterm.adapters.numpy_adapter import Numpy
from kterm.adapters.traces.container import read_arrays
from kterm.conformance.cases.plan import make_options
from kterm.conformance.evaluation.kills.recording import AnswerCache
from kterm.conformance.interfaces.vectors.answer import answer_structure
from kterm.conformance.interfaces.vectors.export import export_vectors
from kterm.conformance.interfaces.vectors.judge import VectorSet, find_problem, judge_case, open_vectors
from kterm.conformance.mutants import MISTAKES
from kterm.conformance.runners.runner import LocalRunner, NoAnswer
from kterm.reference import Array

_PROFILES = ("smoke", "quick")


def find_mistakes(vectors: VectorSet, alone: bool) -> dict[str, int]:
    """In how many cases each mistake is found, and under the empty name, the adapter without one. `alone` leaves z, x
    and k out of the results.
    """
    cache = AnswerCache()
    adapter = cache.wrap_adapter(Numpy())
    adapters: Mapping[str, Adapter] = {"": adapter} | {one.name: cache.plant_mutant(adapter, one) for one in MISTAKES}
    runners = {name: LocalRunner(one) for name, one in adapters.items()}
    found = dict.fromkeys(runners, 0)
    for entry in vectors.structures:
        due, _ = read_arrays(vectors.folder / entry["file"])
        for name, runner in runners.items():
            found[name] += _count(entry["cases"], entry["quantities"], due, runner, alone)
        cache.clear()
    return found


def _count(cases: list[str], quantities: list[str], due: dict[str, Array], runner: LocalRunner, alone: bool) -> int:
    try:
        given = answer_structure(runner, cases, due)
    except NoAnswer as no:
        return 0 if no.kind == "unsupported" else len(cases)  # without a file of results each case is an error
    given = {name: np.asarray(a) for name, a in given.items() if not (alone and name[0] in "zxk")}
    if find_problem(quantities, due, given):
        return len(cases)
    judged = (judge_case(case, i, quantities, due, given) for i, case in enumerate(cases))
    return sum(verdict.outcome == "failed" for verdict in judged)


def rows(folder: Path) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """A row of the table for each profile and mode, and the mistakes that are not found."""
    for profile in _PROFILES:
        written = export_vectors(folder / profile, make_options(profile, 0))
        vectors = open_vectors(folder / profile)
        for alone in (False, True):
            found = find_mistakes(vectors, alone)
            assert not found.pop(""), "the adapter itself fails"
            missed = [name for name, count in found.items() if not count]
            mode = "outputs, E and gradients" if alone else "all"
            size = f"{written.size / 1e6:.1f} MB"
            yield (profile, f"{written.cases:,}", size, mode, f"{len(found) - len(missed)}", f"{len(found)}"), missed


def main() -> None:
    """Measure and print; with --write, update the page."""
    chosen = parser(__doc__).parse_args()
    one_thread()
    with tempfile.TemporaryDirectory() as folder:
        measured = list(rows(Path(folder)))
    head = ("profile", "cases", "size", "results hold", "found", "known mistakes")
    missed = [
        textwrap.fill(f"- {row[0]}, {row[3]}: {', '.join(names) or 'none'}", 120, subsequent_indent="  ",
                      break_on_hyphens=False)
        for row, names in measured
    ]  # fmt: skip
    body = f"""How many known mistakes do [vectors](vectors.md) find? Each is planted in NumPy, which answers to the
vectors of a profile in one process.

{table(head, [row for row, _ in measured])}

Not found:

{chr(10).join(missed)}

{circumstances("kterm", "numpy")}
"""
    publish("vectors", "Mistakes that vectors find", body, chosen.write)


if __name__ == "__main__":
    main()
