"""The two levels of a run: what is coarse in a tail differs from what is wrong, and blocks nothing where it passes."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from kterm.conformance.cases.case import Group
from kterm.conformance.cases.description import describe
from kterm.conformance.cases.level import Level
from kterm.conformance.cases.plan import make_options, plan
from kterm.conformance.checks.examine import examine
from kterm.conformance.checks.verdict import Verdict, failure_of, severity_of, status
from kterm.conformance.diagnosis.causes import causes
from kterm.conformance.diagnosis.diagnose import diagnose
from kterm.conformance.diagnosis.explanation import origin_of
from kterm.conformance.runners.runner import LocalRunner

from ...support.frameworks.tails import ClippedSilu, Coarse, FlatSoftplus, SubtractingElu

CASE = "4x3-tanh-b2-none-f64-normal-s0"


# Seeds with which gradients alone show each coarse formula in one dtype. One plan has few z near 0 in elu layers.
SEEDS = {"f32": (0, 1), "f64": (0,)}


def _groups(adapter: Coarse, dtype: str = "f32") -> Iterator[Group]:
    """The groups of a small plan that are about a coarse formula."""
    for seed in SEEDS[dtype]:
        for group in plan(describe(adapter, ""), make_options("quick", seed, [dtype])).groups:
            if group.regime in ("tails", "normal"):
                yield replace(group, draws=group.draws[:6])


def _verdicts(adapter: Coarse, level: Level = "componentwise", dtype: str = "f32") -> list[list[Verdict]]:
    runner = LocalRunner(adapter)
    return [some for group in _groups(adapter, dtype) for some in examine(group, runner, level=level).verdicts]


def _silent(adapter: Coarse) -> Coarse:
    adapter.is_silent = True
    return adapter


# The largest error beside its tensor, and the range of z in which each formula is coarse.
COARSE = [(ClippedSilu, 1e-7, -746, -20), (FlatSoftplus, 1e-6, -746, -17), (SubtractingElu, 1e-5, -1, 0)]


@pytest.mark.parametrize(("port", "size", "low", "high"), COARSE)
def test_a_coarse_port_fails_entry_by_entry_with_its_size_and_region(
    port: type[Coarse], size: float, low: float, high: float
) -> None:
    failures = [v for some in _verdicts(port()) if (v := failure_of(some)) is not None]
    assert len(failures) > 3
    for v in failures:
        assert v.fails
        assert v.level == "componentwise", v
        assert v.relative is not None
        assert 0 < v.relative < size
        assert v.region is not None, v
        assert low <= v.region[0] <= v.region[1] < high


@pytest.mark.parametrize(
    ("port", "silent"),
    [(port, False) for port in (ClippedSilu, FlatSoftplus, SubtractingElu)]
    + [(ClippedSilu, True), (FlatSoftplus, True)],
)
def test_a_coarse_port_passes_at_level_normwise(port: type[Coarse], silent: bool) -> None:
    verdicts = _verdicts(_silent(port()) if silent else port(), "normwise")
    assert {status(some) for some in verdicts} <= {"passed", "inconclusive"}
    below = [v for some in verdicts for v in some if v.below_level]
    assert below
    assert all(v.is_finding and not v.fails and v.level == "componentwise" for v in below)


def test_a_coarse_formula_blocks_no_mistake_at_level_normwise() -> None:
    """f' is a thousandth too large, in the cases in which silu is coarse as well."""
    port = ClippedSilu()
    port.factor = 1.001
    strict, lenient = _verdicts(port), _verdicts(port, "normwise")
    hidden = 0
    for before, after in zip(strict, lenient, strict=True):
        if any(v.below_level for v in after):
            blocking, first = failure_of(before), failure_of(after)
            assert blocking is not None
            assert first is not None
            hidden += blocking.check == "forward"
            assert (first.check, first.level, status(after)) == ("k_terms", "normwise", "failed")
    assert hidden > 3


def test_in_double_precision_an_error_of_1e_9_of_the_tensor_is_normwise_wrong() -> None:
    """Clipping silu costs 4e-9 of the tensor: less than a rounding in float32, a million of them in float64."""
    failures = [v for some in _verdicts(ClippedSilu(), "normwise", "f64") if (v := failure_of(some)) is not None]
    assert failures
    for v in failures:
        assert v.level == "normwise"
        assert v.relative is not None
        assert v.relative < 1e-7
        assert v.region is not None
        assert v.region[1] < -20


def test_a_diagnosis_begins_at_what_fails_and_not_at_what_the_level_lets_pass() -> None:
    port = ClippedSilu()
    port.factor = 1.001
    for group in _groups(port):
        for some in diagnose(group, examine(group, LocalRunner(port), level="normwise")):
            if any(v.below_level for v in some):
                failure = failure_of(some)
                assert failure is not None
                assert origin_of(failure).startswith("k_"), failure


def _finding(normwise: float | None, quantity: str = "x_1", **rest: float | tuple | str) -> Verdict:
    return replace(Verdict(CASE, "forward", quantity, "wrong", 5.0, activation="tanh"), normwise=normwise, **rest)


def test_the_failure_of_a_case_is_its_first_that_is_wrong_in_norm() -> None:
    coarse, wrong = _finding(0.1), _finding(7.0, "x_2")
    assert failure_of([coarse, wrong]) == wrong
    assert failure_of([coarse]) == coarse
    assert failure_of([replace(coarse, below_level=True), wrong]) == wrong
    assert failure_of([replace(wrong, expectation="1"), coarse]) == coarse
    assert failure_of([replace(coarse, below_level=True)]) == replace(coarse, below_level=True)
    assert failure_of([Verdict(CASE, "forward", "x_1", "pass")]) is None


def test_a_finding_without_a_size_is_one_at_every_level() -> None:
    assert Verdict(CASE, "contract", "observation", "wrong", message="dE/dW_1 has shape (3,)").level == "normwise"
    assert Verdict(CASE, "forward", "x_1", "pass").level is None


def test_severity_is_that_of_the_worst_finding_and_names_one_activation() -> None:
    a, b = _finding(0.1, relative=1e-9, region=(-30.0, -20.0)), _finding(0.5, relative=1e-8, region=(-40.0, -25.0))
    both = severity_of([a, b])
    assert (both.level, both.normwise, both.relative) == ("componentwise", 0.5, 1e-8)
    assert (both.activation, both.region) == ("tanh", (-40.0, -20.0))
    assert severity_of([a, replace(b, activation="elu")]).region is None
    assert severity_of([a, replace(b, region=None)]).region is None
    assert severity_of([a, _finding(3.0)]).level == "normwise"


def test_causes_that_are_only_componentwise_come_last() -> None:
    coarse = [[replace(_finding(0.1), case=f"4x{i + 5}-tanh-b2-none-f64-normal-s0")] for i in range(5)]
    wrong = [[_finding(7.0)]]
    found = causes([("a", some) for some in (*coarse, *wrong)])
    assert [(one.severity.level, one.cases) for one in found] == [("normwise", 1), ("componentwise", 5)]
