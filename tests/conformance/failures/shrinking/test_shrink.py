"""Shrinking: it finds the smallest case that fails in the same way, the same each time, within its budget."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from kterm.adapters import Adapter, Observation
from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.case import Group, parse_case, structure_id
from kterm.conformance.cases.draw import REGIMES, make_draws, stacked
from kterm.conformance.cases.exact_numbers import exact
from kterm.conformance.checks.examine import examine
from kterm.conformance.checks.verdict import Verdict
from kterm.conformance.expectations import expectation as known
from kterm.conformance.expectations.expectation import Expectation
from kterm.conformance.failures.shrinking.budget import Budget
from kterm.conformance.failures.shrinking.same_failure import FailureKind
from kterm.conformance.failures.shrinking.shrink import Shrunk, shrink
from kterm.conformance.mutants import MUTANTS, plant_mutant
from kterm.conformance.runners.process import ProcessRunner
from kterm.conformance.runners.runner import LocalRunner, NoAnswer
from kterm.reference import Array, Parameters, Structure

from ....support.frameworks import crashing, miniatures

MINIATURES = str(miniatures.__file__)


def _shrunk(text: str, adapter: Adapter, budget: Budget | None = None) -> Shrunk:
    found = shrink(parse_case(text, tuple(REGIMES)), LocalRunner(adapter), budget=budget or Budget())
    assert found is not None, f"{text} does not fail"
    return found


def _fails_again(found: Shrunk, adapter: Adapter) -> Verdict:
    """The failure of the smallest case in a newly built program."""
    group = Group(found.structure, found.regime, 0, tuple(range(len(found.stack.x))))
    verdicts = examine(group, LocalRunner(adapter), draws=found.stack).verdicts[found.at]
    return next(v for v in verdicts if v.is_finding or v.grade == "errored")


# (mutant, case that fails, smallest structure): what is left is what the mistake needs, and no more.
SMALLEST = [
    ("no-slope-last", "4x8x3-silu.tanh-b5-pre-f32-normal-s0", "1x1-tanh-b1-none-f64"),
    ("no-slope-hidden", "4x8x3-silu.tanh-b5-pre-f32-normal-s0", "1x1x1-silu.identity-b1-none-f64"),
    ("no-slope-middle", "4x8x3x2-silu.tanh.gelu-b5-pre-f32-normal-s0", "1x1x1x1-identity.tanh.identity-b1-none-f64"),
    ("no-transpose", "5x5x5-elu.sigmoid-b4-pre-f64-square-s0", "2x2x2-elu.identity-b1-none-f64"),
    ("mean-over-batch", "4x8x3-silu.tanh-b5-pre-f32-normal-s0", "1x1-tanh-b2-none-f64"),
    ("bias-mean", "4x8x3-silu.tanh-b5-post-f32-normal-s0", "1x1-tanh-b2-post-f64"),
    ("weight-decay", "4x8x3-silu.tanh-b5-post-f32-normal-s0", "1x1-tanh-b1-none-f64"),
    ("last-row-only", "4x8x3-silu.tanh-b5-pre-f32-normal-s0", "1x1-tanh-b2-none-f64"),
    ("gradient-transposed", "4x4x4-silu.tanh-b5-pre-f32-normal-s0", "2x2-tanh-b1-none-f64"),
    ("batch-past-16", "3x5x4-silu.tanh-b50-pre-f64-tiles-s0", "1x1-tanh-b17-none-f64"),
    ("columns-past-32", "3x4x65-sin.relu-b3-none-f64-tiles-s0", "1x33-relu-b1-none-f64"),
    ("odd-batch", "4x8x3-silu.tanh-b11-pre-f32-normal-s0", "1x1-tanh-b3-none-f64"),
    ("forward-no-bias", "4x8x3-silu.tanh-b5-pre-f32-normal-s0", "1x1-silu-b1-pre-f64"),
    ("error-mean", "4x8x3-silu.tanh-b5-pre-f32-normal-s0", "1x1-tanh-b2-none-f64"),
    ("inputs-modified", "4x8x3-silu.tanh-b5-pre-f32-normal-s0", "1x1-identity-b1-none-f64"),
    ("empty-mean", "8x8x1x8-silu-b0-none-f64-degenerate-s0", "1x1-silu-b0-none-f64"),
]


@pytest.mark.parametrize(("name", "text", "smallest"), SMALLEST, ids=[name for name, *_ in SMALLEST])
def test_what_is_left_is_what_the_mistake_needs(name: str, text: str, smallest: str) -> None:
    adapter = plant_mutant(Numpy(), MUTANTS[name])
    found = _shrunk(text, adapter)
    assert structure_id(found.structure) == smallest
    assert FailureKind.of(found.original).matches(_fails_again(found, adapter))
    assert found.stopped == "nothing smaller fails in the same way"


def test_numbers_are_simplified_and_the_case_replays() -> None:
    adapter = plant_mutant(Numpy(), MUTANTS["no-slope-last"])
    found = _shrunk("4x8x3-silu.tanh-b5-pre-f32-normal-s0", adapter)
    one = found.draw
    numbers = np.concatenate([a.ravel() for a in (*one.parameters.weights, one.x, one.y)])
    assert set(numbers.tolist()) <= {-1.0, 0.0, 0.5, 1.0, 2.0}
    assert found.case is not None
    (verdicts,) = examine(Group(found.structure, found.regime, 0, (found.case.draw,)), LocalRunner(adapter)).verdicts
    assert FailureKind.of(found.original).matches(next(v for v in verdicts if v.is_finding))


def test_it_is_the_same_again() -> None:
    def once() -> Shrunk:
        return _shrunk("4x8x3-silu.tanh-b5-pre-f32-normal-s3", plant_mutant(Numpy(), MUTANTS["unit-left-out"]))

    a, b = once(), once()
    assert (a.structure, a.verdict, a.case, a.trials, a.builds, a.calls) == (
        b.structure, b.verdict, b.case, b.trials, b.builds, b.calls,
    )  # fmt: skip
    assert all(map(np.array_equal, (a.stack.x, *a.stack.parameters.weights), (b.stack.x, *b.stack.parameters.weights)))


@pytest.mark.parametrize("budget", [Budget(builds=6), Budget(calls=60), Budget(builds=20, calls=120)])
def test_it_keeps_to_its_budget(budget: Budget) -> None:
    adapter = plant_mutant(Numpy(), MUTANTS["no-transpose"])
    found = _shrunk("5x5x5-elu.sigmoid-b4-pre-f64-square-s0", adapter, budget)
    assert found.builds <= budget.builds
    assert found.calls <= budget.calls
    assert "were spent" in found.stopped
    assert FailureKind.of(found.original).matches(_fails_again(found, adapter))


def test_a_budget_that_is_too_small_to_examine_the_case_is_reported() -> None:
    with pytest.raises(NoAnswer, match="4 calls are not enough to examine"):
        _shrunk("4x8x3-silu.tanh-b5-pre-f32-normal-s0", plant_mutant(Numpy(), MUTANTS["weight-decay"]), Budget(calls=4))


def test_seconds_end_it_too() -> None:
    adapter = plant_mutant(Numpy(), MUTANTS["no-transpose"])
    text = "5x5x5-elu.sigmoid-b4-pre-f64-square-s0"
    with pytest.raises(NoAnswer, match="0 seconds are not enough"):
        _shrunk(text, adapter, Budget(seconds=0))


def test_what_does_not_fail_is_not_shrunk() -> None:
    for text in (
        "4x8x3-silu.tanh-b5-pre-f32-normal-s0",
        "2x2-tanh-b3-pre-f64-twins-s0",
        "2x2-relu-b2-pre-f32-layout-s0",
    ):
        assert shrink(parse_case(text, tuple(REGIMES)), LocalRunner(Numpy())) is None


def test_exact_numbers_stay_exact() -> None:
    found = _shrunk("5x3-relu-b4-pre-f32-lattice-s0", plant_mutant(Numpy(), MUTANTS["bias-mean"]))
    assert found.regime == "lattice"
    stack = stacked([found.draw]).astype(np.dtype(np.float64))
    assert exact(found.structure, stack.parameters, stack.x, stack.y).all()


def test_an_unsupported_case_is_reported() -> None:
    with pytest.raises(NoAnswer, match="numpy has no dtype bf16"):
        shrink(parse_case("2x2-tanh-b3-pre-bf16-normal-s0", tuple(REGIMES)), LocalRunner(Numpy()))


class _WrongWhereWide(Numpy):
    """A wrong k-term past a width of 6, by 1e-3; and in every bias gradient a factor."""

    name = "wrong-where-wide"

    def build(self, structure: Structure) -> Callable[[Parameters, Array, Array], Observation]:
        program = super().build(structure)

        def answer(parameters: Parameters, x: Array, y: Array) -> Observation:
            found = program(parameters, x, y)
            found = replace(found, bias_gradients=tuple(b * 2 for b in found.bias_gradients))
            if max(structure.network.widths) <= 6:
                return found
            assert found.k is not None
            return replace(found, k=(found.k[0] * found.k[0].dtype.type(1.001), *found.k[1:]))

        return answer


def test_another_failure_is_not_taken_for_it() -> None:
    found = _shrunk("4x8x3-silu.tanh-b5-pre-f64-normal-s0", _WrongWhereWide())
    assert (found.original.check, found.verdict.check) == ("k_terms", "k_terms")
    assert max(found.structure.network.widths) == 7


class _InaccurateAndWrongWhereWide(Numpy):
    """A slope that is off by 1e-9, and past a width of 6 by a half."""

    name = "inaccurate-and-wrong-where-wide"

    def build(self, structure: Structure) -> Callable[[Parameters, Array, Array], Observation]:
        program, off = super().build(structure), 0.5 if max(structure.network.widths) > 6 else 1e-9

        def answer(parameters: Parameters, x: Array, y: Array) -> Observation:
            found = program(parameters, x, y)
            assert found.k is not None
            return replace(found, k=(found.k[0] * found.k[0].dtype.type(1 + off), *found.k[1:]))

        return answer


def test_a_wrong_slope_is_not_shrunk_to_an_inaccurate_one() -> None:
    found = _shrunk("4x8x3-silu.tanh-b5-pre-f64-normal-s0", _InaccurateAndWrongWhereWide())
    assert max(found.structure.network.widths) == 7
    # In the small structure the same check fails with the same grade, by far more than 10 tolerances.
    small = _shrunk("4x3x3-silu.tanh-b5-pre-f64-normal-s0", _InaccurateAndWrongWhereWide())
    assert (small.verdict.check, small.verdict.grade) == (found.verdict.check, found.verdict.grade)
    assert small.verdict.worst > 1e3
    assert found.verdict.worst > 1e4 * small.verdict.worst


def test_an_expected_divergence_is_shrunk_to_one() -> None:
    expectation_for = known.matcher([Expectation("1", "*", "known", check="k_terms", activation="silu")])
    case = parse_case("4x8x3-silu.tanh-b5-pre-f32-normal-s0", tuple(REGIMES))
    adapter = plant_mutant(Numpy(), MUTANTS["no-slope-hidden"])
    found = shrink(case, LocalRunner(adapter), expectation_for=expectation_for)
    assert found is not None
    assert found.original.expectation == found.verdict.expectation == "1"
    # With f' missing everywhere, that of tanh is the one not expected.
    found = shrink(case, LocalRunner(plant_mutant(Numpy(), MUTANTS["no-slope"])), expectation_for=expectation_for)
    assert found is not None
    assert (found.verdict.expectation, found.verdict.activation) == (None, "tanh")


@pytest.mark.parametrize(
    ("bad", "text", "quantity"),
    [
        ("Raises", "7x3x2-relu.tanh-b3-pre-f64-normal-s0", "program"),
        ("Mutates", "3x4x2-tanh-b3-pre-f64-normal-s0", "observation"),
        ("Overwrites", "3x4x2-tanh-b3-pre-f64-normal-s0", "earlier observation"),
        ("Unsteady", "3x4x2-tanh-b3-pre-f64-normal-s0", "same call twice"),
        ("StaleProgram", "3x2x4-silu.tanh-b3-pre-f64-twins-s0", ""),
        ("LiesAboutLayout", "3x3x3-relu.leaky_relu-b5-pre-f32-layout-s0", ""),
        ("WrongShape", "3x4x2-tanh-b3-pre-f64-normal-s0", "observation"),
        ("NotANumber", "8x4-tanh-b20-pre-f64-normal-s0", "dE/dW_1"),
    ],
)
def test_a_failure_of_a_program_is_shrunk_too(bad: str, text: str, quantity: str) -> None:
    found = _shrunk(text, (getattr(miniatures, bad, None) or getattr(crashing, bad))(), Budget(builds=30))
    assert FailureKind.of(found.original).matches(found.verdict)
    assert quantity in ("", found.verdict.quantity)
    assert found.structure.network.depth <= 2


def test_a_rare_mistake_is_shrunk_with_the_calls_that_it_needs() -> None:
    adapter = plant_mutant(Numpy(), MUTANTS["one-in-fifty"])
    found = _shrunk("3x2x5-silu.tanh-b7-pre-f64-normal-s0", adapter)
    assert not found.is_single_call
    assert len(found.stack.x) <= 64


def test_a_failure_that_ends_the_process_is_shrunk_too() -> None:
    cases = [parse_case(f"3x4-relu-b3-pre-f64-normal-s{i}", tuple(REGIMES)) for i in range(9)]
    case = next(case for case in cases if make_draws([case]).x.flat[0] > 0)
    with closing(ProcessRunner(f"{crashing.__file__}:Dies", timeout=20)) as runner:
        found = shrink(case, runner, budget=Budget(builds=12))
    assert found is not None
    assert FailureKind.of(found.original).matches(found.verdict)
    assert found.verdict.message.startswith("died: ")
    assert found.builds <= 12
