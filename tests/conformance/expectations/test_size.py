"""The size of an expectation: a mistake does not hide behind a known divergence that is smaller."""

from dataclasses import replace

import pytest

from kterm.adapters import Observation
from kterm.conformance.cases.case import Group
from kterm.conformance.checks.examine import examine
from kterm.conformance.checks.verdict import Verdict, status
from kterm.conformance.expectations import expectation as known
from kterm.conformance.expectations.expectation import Expectation
from kterm.conformance.runners.runner import LocalRunner
from kterm.reference import ACTIVATIONS, Array, Network, Parameters, Structure

from ...support.frameworks import miniatures

WRONG = Verdict("4x3-elu-b2-none-f32-normal-s0", "k_terms", "k_1", "wrong", 3.0, activation="elu")
ENTRY = Expectation("1", "jax*", "cancels", "https://example.org/1", "*-f32-*", "k_terms", "elu", "wrong")


@pytest.mark.parametrize(
    ("size", "slack", "is_covered"),
    [
        ("", None, True),
        ("", 1e9, True),
        ("2 u", 2**-23, True),
        ("2u", 1.01 * 2**-23, False),
        ("2.1e-9", 2e-9, True),
        ("2.1e-9", 2.2e-9, False),
        ("1e300", None, False),
    ],
)
def test_an_entry_with_a_size_covers_nothing_larger(size: str, slack: float | None, is_covered: bool) -> None:
    assert replace(ENTRY, size=size).matches(replace(WRONG, slack=slack)) is is_covered


class _Steep(miniatures.Miniature):
    """An elu' that is off, absolutely."""

    name = "steep"
    off = 0.0

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        def slope(name: str, z: Array) -> Array:
            return ACTIVATIONS[name].derivative(z) + z.dtype.type(self.off if name == "elu" else 0)

        return miniatures.by_hand(structure.network, parameters, x, y, slope)


@pytest.mark.parametrize(("off", "is_excused"), [(1e-12, True), (1e-3, False)])
def test_a_mistake_does_not_hide_behind_a_smaller_divergence(off: float, is_excused: bool) -> None:
    class Off(_Steep):
        pass

    Off.off = off
    group = Group(Structure(Network((3, 4, 2), ("elu", "elu"), "pre"), 4, "f64"), "normal", 0, tuple(range(4)))
    entry = Expectation("1", "*", "known", check="k_terms", activation="elu", size="2e-12")
    verdicts = examine(group, LocalRunner(Off()), known.matcher([entry])).verdicts
    assert {status(some) for some in verdicts} == {"expected" if is_excused else "failed"}
    for some in verdicts:
        for verdict in some:
            if verdict.check == "k_terms" and verdict.is_finding:
                assert verdict.slack == pytest.approx(off, rel=1e-2)
