"""Failures that depend on earlier calls: found by a run, and shown by a script that makes the calls that they need."""

from functools import cache
from pathlib import Path

import pytest

from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.case import Group, parse_case
from kterm.conformance.cases.description import describe
from kterm.conformance.cases.draw import REGIMES
from kterm.conformance.cases.plan import make_options, plan
from kterm.conformance.checks.examine import examine
from kterm.conformance.checks.verdict import NOTHING_EXPECTED
from kterm.conformance.failures.histories.history import History
from kterm.conformance.failures.reproduce import explain_pass, find_failure_to_show
from kterm.conformance.failures.scripts.write import write_script
from kterm.conformance.runners.runner import LocalRunner

from ...support.frameworks import flawed, stateful
from ...support.frameworks.stateful import NewAdapterRunner
from ...support.scripts import assert_fails_as_it_says, assert_fit_to_paste, loaded, prose, run_alone, write_found

SMOKE, SOAK, TWINS = "converged", "soak", "twins"

# (mistake, regime that finds it, calls that it needs, what is wrong)
STATEFUL = [
    (stateful.StaleInputs, SMOKE, 2, "dE/dW_1"),
    (stateful.StaleTargets, SMOKE, 2, "E"),
    (stateful.FirstWeights, SMOKE, 2, "z_1"),
    (stateful.BiasesAccumulated, SMOKE, 2, "dE/db_1"),
    (stateful.ZeroedOnEvenCalls, SMOKE, 2, "dE/dW_1"),
    (stateful.Momentum, SMOKE, 2, "dE/dW_1"),
    (stateful.OneIn300, SOAK, 300, "dE/dW_1"),
    (stateful.Every37th, SOAK, 37, "E"),
    (stateful.DtypeForgotten, TWINS, 2, "z_1"),
    (stateful.ActivationsForgotten, TWINS, 2, "x_1"),
    (stateful.LastBuilt, TWINS, 3, "x_1"),
    (flawed.Overwrites, SMOKE, 2, "outputs"),
]


@cache
def _planned(regime: str) -> Group:
    """The first group of a regime that `kterm check --profile quick` examines."""
    groups = plan(describe(Numpy(), "numpy"), make_options("quick", 0)).groups
    return next(group for group in groups if group.regime == regime)


@pytest.mark.parametrize(("bad", "regime", "calls", "quantity"), STATEFUL, ids=[bad.__name__ for bad, *_ in STATEFUL])
def test_a_stateful_mistake_is_found_and_its_script_fails_as_it_says(
    tmp_path: Path, bad: type[Numpy], regime: str, calls: int, quantity: str
) -> None:
    group = _planned(regime)
    failing = next(v for some in examine(group, LocalRunner(bad())).verdicts for v in some if v.fails)
    runner = NewAdapterRunner(bad)
    case = parse_case(failing.case, tuple(REGIMES))
    found = find_failure_to_show(case, runner, NOTHING_EXPECTED, start=runner.start)
    assert found is not None
    history = found.failure.history
    assert history is not None
    assert sum(step.draw is not None for step in history.steps) == calls
    assert history.structure.network.widths == (1, 1)
    source = write_found(found, bad(), runner.describe())
    assert_fit_to_paste(source, "numpy")
    said = assert_fails_as_it_says(source, tmp_path)
    assert f" {quantity}" in said
    assert f"It takes {calls} calls" in prose(source)
    # The same calls of a framework that keeps nothing pass, and this is not said to acquit it.
    sound = loaded("numpy")
    scripts = [sound.script(structure) for structure in history.programs]
    done = run_alone(write_script(found.failure, scripts[-1], "1", scripts=scripts), tmp_path)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "the failure depends on what the adapter keeps" in explain_pass(found.failure)
    assert "are right" not in explain_pass(found.failure)


def test_the_search_ends_within_its_starts() -> None:
    for bad in (stateful.Every37th, stateful.DtypeForgotten):
        regime = next(regime for one, regime, *_ in STATEFUL if one is bad)
        runner = NewAdapterRunner(bad)
        case = _planned(regime).cases[0]
        assert find_failure_to_show(case, runner, NOTHING_EXPECTED, start=runner.start) is not None
        assert 3 < runner.starts <= 60


def test_the_same_calls_are_found_again() -> None:
    def once() -> History | None:
        runner = NewAdapterRunner(stateful.StaleTargets)
        found = find_failure_to_show(_planned(SMOKE).cases[0], runner, NOTHING_EXPECTED, start=runner.start)
        assert found is not None
        return found.failure.history

    first, second = once(), once()
    assert first is not None
    assert second is not None
    assert (first.programs, first.aim, first.reference) == (second.programs, second.aim, second.reference)
    for a, b in zip(first.steps, second.steps, strict=True):
        assert a.draw is not None
        assert b.draw is not None
        assert a.draw.x.tobytes() == b.draw.x.tobytes()


def test_without_shrinking_only_calls_are_left_out() -> None:
    runner = NewAdapterRunner(stateful.Momentum)
    case = parse_case("3x2-tanh-b3-pre-f64-normal-s5", tuple(REGIMES))
    found = find_failure_to_show(case, runner, NOTHING_EXPECTED, shrinks=False, start=runner.start)
    assert found is not None
    history = found.failure.history
    assert history is not None
    assert (history.programs, len(history.steps)) == ((case.structure,), 2)
