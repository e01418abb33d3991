"""What a page shows first: grade and largest error of each activation in each dtype, or of each layer of a trace."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ....reference import DTYPES, base_of
from ....reference.rounding import SIGMAS
from ...cases.case import traced_layer
from ...checks.verdict import Check, Status, Verdict, failure_of
from ...records.coverage import sort_activations
from ...records.form.verdicts import CaseResult
from ...records.record import Record
from .charts import BIN, Distribution, LayerErrors

Grade = Literal["fail", "known", "pass", "undecided", "none"]
"""Of a cell: something in it fails a run; known divergences only; all within tolerance; nothing is decided; nothing."""
_FAILING: tuple[Status, ...] = ("failed", "errored", "blocked")


@dataclass(frozen=True)
class Cell:
    """Some cases together: how many have each status, and the largest error of those that passed, in σ."""

    counts: tuple[tuple[Status, int], ...] = ()
    worst: float | None = None

    @property
    def grade(self) -> Grade:
        """The most serious of the statuses."""
        found = {status for status, _ in self.counts}
        if found.intersection(_FAILING):
            return "fail"
        if "expected" in found:
            return "known"
        if "passed" in found:
            return "pass"
        return "undecided" if found else "none"

    @property
    def notable(self) -> int:
        """How many cases give it this grade; of a pass or of nothing decided, all."""
        wanted = {"fail": _FAILING, "known": ("expected",)}.get(self.grade)
        return sum(number for status, number in self.counts if wanted is None or status in wanted)

    @property
    def cases(self) -> int:
        """How many cases there are."""
        return sum(number for _, number in self.counts)


@dataclass(frozen=True)
class Matrix:
    """Cells of one adapter: a row for each activation and a column for each dtype, or of a trace a row for each layer
    and a column for each check. `filters` are the fields of a case that rows and columns are about, and `heads` what
    columns are called.
    """

    adapter: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    filters: tuple[str, str]
    heads: tuple[str, ...]


def make_matrices(record: Record) -> list[Matrix]:
    """A matrix for each adapter."""
    if record.is_of_trace:
        return [_make_traced(record)]
    return [_make_matrix(record, adapter["name"]) for adapter in record.header["adapters"]]


@dataclass
class _Sum:
    counts: Counter[Status]
    worst: float | None = None

    def add(self, status: Status, margins: Iterable[float | None]) -> None:
        self.counts[status] += 1
        if status == "passed":
            found = [margin * SIGMAS for margin in margins if margin is not None]
            if self.worst is not None:
                found.append(self.worst)
            self.worst = max(found, default=None)


def _close(one: _Sum | None) -> Cell:
    return Cell() if one is None else Cell(tuple(one.counts.items()), one.worst)


def _make_matrix(record: Record, adapter: str) -> Matrix:
    sums: dict[tuple[str, str], _Sum] = defaultdict(lambda: _Sum(Counter()))
    for case, one in cases_of(record, adapter):
        _, names, _, _, dtype, *_ = case.split("-")
        margins = [check.margin for check in one.checks.values()]
        for name in _concerned(one, names.split("."), record.verdicts.get((adapter, case), ())):
            sums[name, dtype].add(one.status, margins)
    described = record.adapters[adapter]
    dtypes = [name for name in DTYPES if name in described.dtypes or any(name == dtype for _, dtype in sums)]
    names = sort_activations({name for name, _ in sums} | {*map(base_of, described.activations)})
    rows = tuple((name, tuple(_close(sums.get((name, dtype))) for dtype in dtypes)) for name in names)
    return Matrix(adapter, tuple(dtypes), rows, ("activation", "dtype"), tuple(dtypes))


def _concerned(one: CaseResult, names: Sequence[str], verdicts: Sequence[Verdict]) -> Iterable[str]:
    """The activations that a case speaks of, by their rows: a finding of one layer only of that layer's."""
    if one.status in (*_FAILING, "expected"):
        shown = failure_of(verdicts)
        if shown is not None and shown.activation is not None and shown.activation in names:
            return (base_of(shown.activation),)
    return dict.fromkeys(map(base_of, names))


def _make_traced(record: Record) -> Matrix:
    (adapter,) = record.adapters
    sums: dict[tuple[str, str], _Sum] = defaultdict(lambda: _Sum(Counter()))
    layers, heads = dict[str, None](), _quantities_of_checks(record)
    for case, one in cases_of(record, adapter):
        layer = traced_layer(case) or ""
        layers[layer] = None
        for check, found in one.checks.items():
            sums[layer, check].add(found.status, [found.margin])
    rows = tuple((layer, tuple(_close(sums.get((layer, check))) for check in heads)) for layer in layers)
    return Matrix(adapter, tuple(heads), rows, ("regime", "check"), tuple(heads.values()))


def _quantities_of_checks(record: Record) -> dict[Check, str]:
    """The quantities that each check of a trace has compared in any of its cases."""
    found: dict[Check, dict[str, None]] = {}
    for one in record.cases.values():
        for check in one.checks:
            # That of one call of several is named so: z of call 2.
            names = (name.partition(" ")[0] for name in one.tensors.get(check, ()))
            found.setdefault(check, {}).update(dict.fromkeys(names))
    return {check: ", ".join(names) or check for check, names in found.items()}


def list_worst(record: Record) -> list[LayerErrors]:
    """The largest errors of each layer of a trace over its steps and calls, in the order of the record."""
    found, heads = dict[tuple[str, str], float](), _quantities_of_checks(record)
    for (_, case), one in record.cases.items():
        for check, result in one.checks.items():
            if result.margin is not None:
                place, sigmas = (traced_layer(case) or "", heads[check]), SIGMAS * result.margin
                # Not a number is beyond every error.
                found[place] = before if (before := found.get(place, 0.0)) >= sigmas else sigmas
    return [LayerErrors(*place, sigmas) for place, sigmas in found.items()]


def cases_of(record: Record, adapter: str) -> Iterator[tuple[str, CaseResult]]:
    """The cases of an adapter, by id, in the order of the record."""
    return ((case, one) for (name, case), one in record.cases.items() if name == adapter)


def make_distributions(record: Record) -> list[Distribution]:
    """A distribution for each adapter and regime, over the cases that have margins."""
    most = round(SIGMAS / BIN)
    found: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0] * (most + 1))
    for (adapter, case), one in record.cases.items():
        margins = [check.margin for check in one.checks.values() if check.margin is not None]
        if margins:
            # Not a number is beyond every bin.
            worst = max(SIGMAS if margin != margin else margin * SIGMAS for margin in margins)
            at = most if not worst <= SIGMAS else min(int(worst / BIN), most - 1)
            found[adapter, case.split("-")[5]][at] += 1
    return [Distribution(*place, tuple(counts)) for place, counts in found.items()]


def describe_counts(counts: Mapping[Status, int] | Iterable[tuple[Status, int]]) -> str:
    """Counts of statuses in words: 12 passed, 3 expected."""
    pairs = counts.items() if isinstance(counts, Mapping) else counts
    return ", ".join(f"{number:,} {status}" for status, number in pairs if number)
