"""Bitwise facts: where a framework gives the same bits, and where only the same numbers up to rounding.

A batch of 64 rows and each of its rows alone, for example: 40 of 64 rows of x_2 agree bit for bit, and the largest
difference is 1.5 units in the last place. Frameworks need not agree with themselves bit for bit, so these are facts for
a table, not findings. A user relies on them who compares two runs, resumes one in another process, or serves single
requests from a model that was tested in batches.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from ...adapters import Observation
from ...adapters.quantities import arrays, split_name
from ...reference import Array, DType, Network, Parameters, Structure
from ..cases.case import Case, structure_id
from ..cases.description import Description
from ..cases.draw import make_draws
from ..cases.regimes import Draw
from ..runners.runner import NoAnswer, Runner

Question = Literal["run to run", "in another process", "row alone", "batch in parts", "by another adapter"]
QUESTIONS: tuple[Question, ...] = get_args(Question)
"""What is asked, in the order of the table.

- run to run: the same call made again after others, and by a program built anew.
- in another process: the same call there.
- row alone: z, x, k and outputs of a row within a batch, and of the row as a batch of one.
- batch in parts: E and the gradients of a batch, and the sums of those of its two halves, added in float64 and rounded
  once.
- by another adapter: the same call by another adapter of the framework, such as one that compiles.
"""

_REGIME, _DRAWS = "normal", 3
_SHAPES = (((5, 7, 3), 4), ((33, 64, 10), 32), ((100, 128, 17), 64))
"""Widths and batch size: small, with remainders of tiles, and long enough for blocked products."""
_SMOOTH, _PLAIN = ("tanh", "sigmoid", "softplus"), ("identity", "relu")


@dataclass(frozen=True)
class Fact:
    """How far two ways to get the same numbers agree.

    `same` of `compared` things have the same bits. `unit` says what things: "arrays", "rows" or "entries". `ulps` is
    the largest difference of two finite numbers, in units in the last place of the larger one. It is 0 if only signs of
    zeros differ, and infinite if one of two numbers is not finite and the other is another number. `first` is the first
    quantity that differs, with its structure. If nothing could be compared, `missing` says why.
    """

    question: Question
    unit: str
    same: int = 0
    compared: int = 0
    ulps: float = 0.0
    first: str = ""
    missing: str = ""

    @property
    def holds(self) -> bool:
        """Whether something was compared and all of it has the same bits."""
        return self.same == self.compared > 0


@dataclass(frozen=True)
class BitwiseFacts:
    """The facts on one adapter in one dtype."""

    adapter: str
    device: str
    dtype: str
    facts: tuple[Fact, ...]


def bitwise_cases(adapter: Description, dtype: str) -> tuple[Case, ...]:
    """The cases that are compared: three structures of what an adapter declares, with three draws each."""
    names = adapter.activations
    inner = next((name for name in (*_SMOOTH, *names) if name in names), "")
    outer = next((name for name in (*_PLAIN, *names) if name in names), "")
    bias = "pre" if "pre" in adapter.biases else adapter.biases[0]
    structures = [Structure(Network(widths, (inner, outer), bias), batch, dtype) for widths, batch in _SHAPES]
    return tuple(Case(structure, _REGIME, 0, draw) for structure in structures for draw in range(_DRAWS))


def measure_bitwise(
    runner: Runner, dtype: str, elsewhere: Runner | None = None, other: Runner | None = None
) -> BitwiseFacts:
    """Every fact on an adapter in one dtype.

    `elsewhere` runs the same adapter in another process, and `other` runs an adapter that should compute the same, such
    as the compiled one of an eager one. The question that needs a runner is left out if it is None.
    """
    described = runner.describe()
    cases = bitwise_cases(described, dtype)
    facts = [compare_runs(runner, cases)]
    if elsewhere is not None:
        facts.append(compare_runners("in another process", runner, elsewhere, cases))
    facts += [compare_rows(runner, cases), compare_parts(runner, cases)]
    if other is not None:
        facts.append(compare_runners("by another adapter", runner, other, cases))
    return BitwiseFacts(described.name, described.device, dtype, tuple(facts))


Pairs = Iterator[tuple[str, Array, Array]]
"""For each thing that is compared: the name of its quantity, and its numbers got in either way."""


def compare_runs(runner: Runner, cases: Sequence[Case]) -> Fact:
    """Whether calls give the same bits again: after the other calls of the structure, and by a program built anew."""

    def pairs(structure: Structure, draws: Sequence[Draw]) -> Pairs:
        first = _call_all(runner, structure, draws)
        again = [_call(runner, draw) for draw in draws]
        anew = _call_all(runner, structure, draws)
        for a, b, c in zip(first, again, anew, strict=True):
            yield from _by_array(a, b)
            yield from _by_array(a, c)

    return _fact("run to run", "arrays", cases, pairs)


def compare_runners(question: Question, runner: Runner, other: Runner, cases: Sequence[Case]) -> Fact:
    """Whether two runners give the same bits, in the quantities that both show."""

    def pairs(structure: Structure, draws: Sequence[Draw]) -> Pairs:
        for a, b in zip(_call_all(runner, structure, draws), _call_all(other, structure, draws), strict=True):
            yield from _by_array(a, b)

    return _fact(question, "arrays", cases, pairs)


def compare_rows(runner: Runner, cases: Sequence[Case]) -> Fact:
    """Whether a row of a batch has the bits that it has as a batch of one. A row is compared in outputs, z, x and k, as
    far as they are shown; it counts as the same if all of them are.
    """

    def pairs(structure: Structure, draws: Sequence[Draw]) -> Pairs:
        whole = _call_all(runner, structure, draws)
        singles = [_rows(draw, slice(row, row + 1)) for draw in draws for row in range(structure.batch)]
        alone = _call_all(runner, replace(structure, batch=1), singles)
        for number, single in enumerate(alone):
            together, row = whole[number // structure.batch], number % structure.batch
            shown, own = _of_rows(together), _of_rows(single)
            names = list(shown)
            a, b = (np.concatenate([some[name][at] for name in names]) for some, at in ((shown, row), (own, 0)))
            yield _first_difference(names, [shown[name][row] for name in names], [own[name][0] for name in names]), a, b

    return _fact("row alone", "rows", cases, pairs)


def compare_parts(runner: Runner, cases: Sequence[Case]) -> Fact:
    """Whether E and the gradients of a batch are, entry by entry, the sums of those of its halves.

    The sums are taken in float64 and rounded once, so that adding the two parts is not what differs.
    """

    def pairs(structure: Structure, draws: Sequence[Draw]) -> Pairs:
        half = structure.batch // 2
        whole = _call_all(runner, structure, draws)
        first = _call_all(runner, replace(structure, batch=half), [_rows(d, slice(half)) for d in draws])
        rest = replace(structure, batch=structure.batch - half)
        second = _call_all(runner, rest, [_rows(d, slice(half, None)) for d in draws])
        for together, a, b in zip(whole, first, second, strict=True):
            one, two = arrays(a), arrays(b)
            for name, sum_ in arrays(together).items():
                if split_name(name)[0] not in ("E", "dE/dW", "dE/db"):
                    continue
                parts = (one[name].astype(np.float64) + two[name].astype(np.float64)).astype(sum_.dtype)
                yield name, sum_, parts

    return _fact("batch in parts", "entries", cases, pairs)


def _fact(
    question: Question, unit: str, cases: Sequence[Case], pairs: Callable[[Structure, Sequence[Draw]], Pairs]
) -> Fact:
    """The pairs of all structures, counted. `missing` if the adapter gives no answer."""
    same = compared = 0
    ulps, first = 0.0, ""
    by_structure: dict[Structure, list[Case]] = {}
    for case in cases:
        by_structure.setdefault(case.structure, []).append(case)
    try:
        for structure, some in by_structure.items():
            stack = make_draws(some)
            for name, a, b in pairs(structure, [stack[i] for i in range(len(some))]):
                differ = _bits(a) != _bits(b)
                compared += differ.size if unit == "entries" else 1
                same += differ.size - int(differ.sum()) if unit == "entries" else int(not differ.any())
                if not differ.any():
                    continue
                first = first or f"{name} of {structure_id(structure)}"
                ulps = max(ulps, difference_in_ulps(structure.format, a, b))
    except NoAnswer as no:
        return Fact(question, unit, missing=f"no answer: it {no.kind}; {no.message}")
    return Fact(question, unit, same, compared, ulps, first)


def _bits(array: Array) -> Array:
    """The bits of each entry, as an integer."""
    return np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")


def difference_in_ulps(format_: DType, a: Array, b: Array) -> float:
    """The largest difference of two arrays, in units in the last place of the larger number of each pair.

    A unit is that of the format, and of its smallest normal number below the normal range. Two NaNs, and two equal
    infinities, differ by 0. Any other pair with a number that is not finite differs by infinity.
    """
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    finite = np.isfinite(wide_a) & np.isfinite(wide_b)
    alike = (wide_a == wide_b) | (np.isnan(wide_a) & np.isnan(wide_b))
    if (~finite & ~alike).any():
        return float("inf")
    size = np.maximum(np.maximum(np.abs(wide_a), np.abs(wide_b)), format_.tiny)
    _, exponent = np.frexp(np.where(finite, size, 1.0))
    # size lies in [2^(exponent - 1), 2^exponent), where neighbours are u 2^exponent apart. Both numbers are scaled by
    # that power first, so that nothing overflows and nothing is lost below the normal range.
    scaled_a, scaled_b = (np.ldexp(np.where(alike, 0.0, wide), -exponent) for wide in (wide_a, wide_b))
    return float(np.max(np.abs(scaled_a - scaled_b) / format_.u, initial=0.0))


def _call(runner: Runner, draw: Draw) -> Observation:
    """The observation of one call. Raises NoAnswer, also if its form is wrong."""
    return runner.call(_REGIME, draw.parameters, draw.x, draw.y).require_form()


def _call_all(runner: Runner, structure: Structure, draws: Iterable[Draw]) -> list[Observation]:
    """A program built for the structure, and its observation of each draw."""
    runner.build(structure)
    return [_call(runner, draw) for draw in draws]


def _rows(draw: Draw, rows: slice) -> Draw:
    parameters = Parameters(draw.parameters.weights, draw.parameters.biases)
    return Draw(parameters, draw.x[rows], draw.y[rows], draw.dead)


def _of_rows(observed: Observation) -> dict[str, Array]:
    """The quantities that have a row for each row of the batch, in the order of the computation."""
    every = arrays(observed)
    found = {name: a for name, a in every.items() if split_name(name)[0] in ("z", "x", "k")}
    return {**found, "outputs": every["outputs"]}


def _by_array(a: Observation, b: Observation) -> Pairs:
    ours, theirs = arrays(a), arrays(b)
    for name, array in ours.items():
        if name in theirs:
            yield name, array, theirs[name]


def _first_difference(names: Sequence[str], a: Sequence[Array], b: Sequence[Array]) -> str:
    different = (n for n, x, y in zip(names, a, b, strict=True) if x.tobytes() != y.tobytes())
    return next(different, names[0])


HEADER = ("adapter", "device", "dtype", "same bits", "agree", "largest difference", "first at")
"""The header of a table of facts."""


def table_rows(found: Iterable[BitwiseFacts]) -> list[tuple[str, ...]]:
    """The rows of a table of facts, one for each fact, under `HEADER`."""
    return [(one.adapter, one.device, one.dtype, fact.question, *_cells(fact)) for one in found for fact in one.facts]


def _cells(fact: Fact) -> tuple[str, str, str]:
    if fact.missing:
        return fact.missing, "", ""
    agree = f"{fact.same:,} of {fact.compared:,} {fact.unit}"
    if fact.same == fact.compared:
        return agree, "", ""
    return agree, f"{fact.ulps:.3g} ulp" if fact.ulps else "signs of zeros", fact.first
