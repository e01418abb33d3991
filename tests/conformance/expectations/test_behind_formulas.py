"""What a framework computes from its own formula's numbers rounds: also where the rule's numbers do not."""

from typing import ClassVar

import numpy as np
import pytest

from kterm.conformance.cases.case import Group, parse_case
from kterm.conformance.cases.draw import REGIMES
from kterm.conformance.checks.examine import examine
from kterm.conformance.checks.verdict import Verdict, status
from kterm.conformance.expectations import expectation as known
from kterm.conformance.expectations.expectation import Expectation
from kterm.conformance.runners.runner import LocalRunner
from kterm.reference import Array

from ...support.formulas import Formulas, Function


def _leaky(z: Array) -> Array:
    return np.where(z > 0, z, z * z.dtype.type(0.3))


def _leaky_slope(z: Array) -> Array:
    return np.select([z > 0, z < 0], [z.dtype.type(1), z.dtype.type(0.3)], z.dtype.type(0))


class LeakyRelu(Formulas):
    """relu with a slope of 0.3 below 0, in f and in f', and sums in the dtype."""

    f: ClassVar[dict[str, Function]] = {"relu": _leaky}
    slope: ClassVar[dict[str, Function]] = {"relu": _leaky_slope}
    factor = 1.0

    def product(self, a: Array, b: Array) -> Array:
        return (a @ b) * a.dtype.type(self.factor)


class SilentLeakyRelu(LeakyRelu):
    """The same, with gradients alone."""

    shows = False


class LargeRelu(Formulas):
    """relu' is 1000 times too large above 0."""

    slope: ClassVar[dict[str, Function]] = {"relu": lambda z: np.where(z > 0, z.dtype.type(1000.1), z.dtype.type(0))}

    def product(self, a: Array, b: Array) -> Array:
        return a @ b


class SilentLargeRelu(LargeRelu):
    """The same, with gradients alone."""

    shows = False


def _entry(number: int, formula: str, **parameters: str) -> Expectation:
    return Expectation(str(number), "*", "known", activation="relu", formula=formula, parameters=parameters)


LEAKY = [
    _entry(1, "value-as-written", f="where(z > 0, z, 0.3 * z)"),
    _entry(2, "slope-as-written", slope="where(z > 0, 1, 0.3)"),
]
LARGE = [_entry(1, "slope-as-written", slope="where(z > 0, 1000.1, 0)")]
CASES = [
    f"{widths}-b{batch}-none-{dtype}-{regime}-s0"
    for dtype, widths, batch in (("f32", "9x12x7x5-relu.relu.identity", 8), ("f64", "40x33x3-relu", 16))
    for regime in ("lattice", "twins", "normal")
]


def _statuses(adapter: Formulas, case: str, entries: list[Expectation]) -> list[str]:
    parsed = parse_case(case, tuple(REGIMES))
    group = Group(parsed.structure, parsed.regime, 0, tuple(range(5)))
    verdicts: list[list[Verdict]] = examine(group, LocalRunner(adapter), known.matcher(entries)).verdicts
    return [status(some) for some in verdicts]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("adapter", "entries"),
    [(LeakyRelu, LEAKY), (SilentLeakyRelu, LEAKY), (LargeRelu, LARGE), (SilentLargeRelu, LARGE)],
)
def test_nothing_fails_behind_an_expected_divergence(
    adapter: type[Formulas], entries: list[Expectation], case: str
) -> None:
    found = _statuses(adapter(), case, entries)
    assert "expected" in found
    assert "failed" not in found
    assert "failed" in _statuses(adapter(), case, [])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("adapter", [LeakyRelu, SilentLeakyRelu])
def test_a_mistake_behind_an_expected_divergence_fails(adapter: type[LeakyRelu], case: str) -> None:
    port = adapter()
    port.factor = 1 + 2.0**-12
    found = _statuses(port, case, LEAKY)
    assert found.count("failed") >= 4


def test_nothing_fails_behind_a_divergence_that_is_expected_without_a_formula() -> None:
    """The last layer is the identity, so no entry is about it: its sums round where the rule's do not."""
    entries = [Expectation("1", "*", "known", activation="relu")]
    found = _statuses(LeakyRelu(), "9x12x7x5-relu.relu.identity-b8-none-f32-lattice-s0", entries)
    assert "expected" in found
    assert "failed" not in found
    port = LeakyRelu()
    port.factor = 1 + 2.0**-12
    assert "failed" in _statuses(port, "9x12x7x5-relu.relu.identity-b8-none-f32-lattice-s0", entries)
