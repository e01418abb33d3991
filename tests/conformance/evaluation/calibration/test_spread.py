"""Calibration: what is measured is what it says, right computations are let pass, and mistakes are not."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from kterm.adapters import Observation
from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.case import parse_case
from kterm.conformance.cases.draw import REGIMES, Draw, make_draws
from kterm.conformance.cases.plan import describe, make_options
from kterm.conformance.checks.compare import compare
from kterm.conformance.commands import calibrate
from kterm.conformance.evaluation.calibration import gradient_checkers, sensitivity
from kterm.conformance.evaluation.calibration import report as calibration_report
from kterm.conformance.evaluation.calibration.sensitivity import LEAST, MOST, Target, planted, sense, smallest
from kterm.conformance.evaluation.calibration.spread import (
    CONFIDENCE,
    THRESHOLDS,
    Sample,
    Tensor,
    departures,
    distribution,
    groups,
    normal_law,
    sample,
    spread,
    upper_limit,
)
from kterm.conformance.records.run import RunRequest, prepare
from kterm.reference import Array, Structure
from kterm.reference.propagation import Shown, propagate
from kterm.reference.rounding import SIGMAS, deviation

from ....support import miniatures
from ....support.command import kterm
from ....support.miniatures import right

MINIATURES = Path(miniatures.__file__)


def _calibrated(tmp_path: Path, *arguments: str) -> tuple[int, str, dict[str, Any]]:
    path = tmp_path / "calibration.json"
    done = kterm("calibrate", *arguments, "--json", str(path), folder=tmp_path)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, json.loads(path.read_text(encoding="utf-8"))


def _case(text: str) -> tuple[Structure, Draw, list[Observation]]:
    """A case's structure, its draw as a stack of one, and the answer of a sound framework."""
    case = parse_case(text, tuple(REGIMES))
    stack = make_draws([case])
    return case.structure, stack, [right(case.structure, stack[0].parameters, stack[0].x, stack[0].y)]


# What is said of right computations


def test_a_sound_framework_raises_no_false_alarm_and_its_errors_are_of_the_size_of_sigma(tmp_path: Path) -> None:
    code, out, found = _calibrated(tmp_path, "numpy", "--draws", "600", "--dtype", "f32", "--networks", "0", "-n", "0")
    assert code == 0, out
    (one,) = found["spread"]
    assert (one["judged"], one["alarms"], one["diverging"]) == (600, 0, [])
    assert 0.3 < one["cases"]["median"] < 3
    assert one["cases"]["largest"] < SIGMAS
    assert one["rate"] == pytest.approx(1 - 0.05 ** (1 / 600))
    assert "numpy: 0 false alarms in 600 cases; rate below 0.005 at 95% confidence" in out


def test_weight_decay_is_a_false_alarm_in_every_case(tmp_path: Path) -> None:
    spec = f"{MINIATURES}:WeightDecay"
    code, out, found = _calibrated(tmp_path, spec, "--draws", "60", "--dtype", "f64", "--networks", "0", "-n", "0")
    assert code == 1
    (one,) = found["spread"]
    assert one["alarms"] == one["judged"] == 60
    assert one["rate"] == 1
    assert one["cases"]["largest"] > SIGMAS
    assert out.count("false alarm: weight-decay ") == 20
    assert "... and 40 more cases; all are in --json FILE" in out
    cases = {finding["verdict"]["case"] for finding in found["findings"]}
    assert len(cases) == 60
    for case in cases:
        parse_case(case, tuple(REGIMES))


def test_an_adapter_that_raises_fails_the_calibration(tmp_path: Path) -> None:
    spec = f"{MINIATURES}:Raises"
    code, out, found = _calibrated(tmp_path, spec, "--draws", "120", "--dtype", "f64", "--networks", "0", "-n", "0")
    (one,) = found["spread"]
    assert one["alarms"] == 0
    assert one["statuses"]["errored"] == 120 - one["judged"] > 0
    assert code == 1
    assert "errored: raises " in out


def test_an_adapter_that_ends_its_process_is_one_line(tmp_path: Path) -> None:
    spec = f"{MINIATURES}:Dies"
    done = kterm(
        "calibrate", spec, "--activation", "relu", "--networks", "0", "--draws", "50", "-n", "1", folder=tmp_path
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "a worker process ended" in done.stderr


def test_figures_do_not_depend_on_the_workers(tmp_path: Path) -> None:
    given = ("numpy", "--draws", "80", "--dtype", "f32", "--activation", "tanh", "--networks", "2", "--seed")
    one, two = (_calibrated(tmp_path, *given, "5", "-n", workers) for workers in ("0", "2"))
    assert one[0] == two[0] == 0
    assert one[2] == two[2]
    other = _calibrated(tmp_path, *given, "6", "--networks", "0", "-n", "0")
    assert other[2]["spread"] != one[2]["spread"]


def test_errors_are_counted_in_standard_deviations() -> None:
    structure, stack, observed = _case("4x8x3-tanh-b5-pre-f64-normal-s17")
    before = {step.name: error for step, error in departures(structure, stack, observed)}
    assert max(error.max() for error in before.values()) < 3
    shown = (observed[0].z, observed[0].x, observed[0].k)
    given = Shown(*(tuple(value[None] for value in some or ()) for some in shown))
    reading = deviation(structure.format)
    steps = propagate(structure.network, stack.parameters, stack.x, stack.y, reading, given)
    sigma = next(step.estimate.error for step in steps if step.name == "dE/dW_2")
    assert sigma is not None
    gradients = [np.array(g) for g in observed[0].weight_gradients]
    gradients[1][3, 1] += 7 * sigma[0, 3, 1]
    wrong = [replace(observed[0], weight_gradients=tuple(gradients))]
    after = {step.name: error for step, error in departures(structure, stack, wrong)}
    assert after["dE/dW_2"][0, 3, 1] == pytest.approx(7, abs=1 + before["dE/dW_2"].max())
    changed = [name for name, error in after.items() if not np.array_equal(error, before[name])]
    assert changed == ["dE/dW_2"]


def test_where_f_prime_jumps_nothing_is_counted() -> None:
    structure, stack, _ = _case("3x4-relu-b2-none-f32-normal-s0")
    stack = replace(stack, x=np.zeros_like(stack.x))
    observed = right(structure, stack[0].parameters, stack[0].x, stack[0].y)
    # At z = 0 every slope of relu from 0 to 1 is right.
    halfway = replace(observed, k=((observed.outputs - stack.y[0]) / 2,))
    (k,) = (error for step, error in departures(structure, stack, [halfway]) if step.symbol == "k")
    assert not k.any()
    structure, stack, _ = _case("3x4-identity-b2-none-f32-normal-s0")
    observed = right(structure, stack[0].parameters, stack[0].x, stack[0].y)
    halfway = replace(observed, k=((observed.outputs - stack.y[0]) / 2,))
    (k,) = (error for step, error in departures(structure, stack, [halfway]) if step.symbol == "k")
    assert k.min() > SIGMAS


def test_a_framework_that_shows_gradients_alone_is_told_by_them() -> None:
    run = prepare(RunRequest((f"{MINIATURES}:Silent",), make_options("thorough", 0, ["f32"], ["tanh"])))
    (adapter,) = run.adapters
    found = sample(run, adapter, groups(adapter, run.options, 8)[0])
    (tensors,) = found.stacks
    assert {tensor.symbol for tensor in tensors if tensor.activation} == {"x", "W"}
    assert {tensor.symbol for tensor in tensors} <= {"x", "E", "W", "b"}


@pytest.mark.parametrize("draws", [1, 7, 600, 100_000])
def test_the_cases_are_as_many_as_asked_for_and_each_another(draws: int) -> None:
    adapter = describe(Numpy(), "numpy")
    planned = groups(adapter, make_options("thorough", 3, ["f32", "f64"]), draws)
    assert sum(len(group.draws) for group in planned) == draws
    assert len({case.id for group in planned for case in group.cases}) == draws
    assert max(len(group.draws) for group in planned) <= 400
    assert {group.regime for group in planned} <= {"normal", "square"}
    if draws > 1000:
        counts = Counter((group.structure.dtype, group.regime) for group in planned)
        assert counts == {("f32", "normal"): 240, ("f64", "normal"): 240, ("f32", "square"): 40, ("f64", "square"): 40}


def _sample(activations: set[str], worst: list[float], with_expectation: set[str], statuses: dict[str, int]) -> Sample:
    tensors = tuple(Tensor("k", name, np.array(worst)) for name in sorted(activations))
    return Sample(
        "some",
        "f32",
        frozenset(activations),
        Counter(statuses),
        9,
        (),
        frozenset(with_expectation),
        (tensors,),
        10,
        (1,) * 8,
    )


def test_known_divergences_are_set_apart() -> None:
    clean = _sample({"tanh"}, [1.0, 2.0], set(), {"passed": 2})
    with_expectation = _sample({"tanh", "elu"}, [9.0], {"elu"}, {"passed": 1, "expected": 3})
    near = _sample({"elu"}, [9.5, 8.5], set(), {"passed": 2})
    found = spread("some", "f32", [clean, with_expectation, near])
    assert (found.judged, found.alarms, found.statuses["expected"], found.diverging) == (5, 0, 3, ("elu",))
    assert found.cases is not None
    assert (found.cases.count, found.cases.largest) == (2, 2.0)
    assert (found.entries, found.above[0]) == (10, 1)
    cases, tensors = found.by_activation["elu"]
    assert (cases.count, cases.largest, tensors.largest) == (3, 9.5, 9.5)
    cases, _ = found.by_activation["tanh"]
    assert (cases.count, cases.largest) == (2, 2.0)


@pytest.mark.parametrize(("alarms", "of"), [(0, 1), (0, 100_000), (1, 100), (7, 1000), (99, 100)])
def test_the_limit_is_that_of_clopper_and_pearson(alarms: int, of: int) -> None:
    # At the limit, so few or fewer would be seen once in twenty times.
    assert binom.cdf(alarms, of, upper_limit(alarms, of)) == pytest.approx(1 - CONFIDENCE)
    if not alarms:
        assert upper_limit(0, of) == pytest.approx(1 - 0.05 ** (1 / of))


def test_the_limit_where_all_are_alarms_is_one() -> None:
    assert upper_limit(10, 10) == 1
    # From the tables of Clopper and Pearson (1934), upper 95 %: 1 in 10.
    assert upper_limit(1, 10) == pytest.approx(0.3942, abs=1e-4)


def test_the_tail_is_extrapolated_as_an_exponential() -> None:
    values = np.random.default_rng(0).exponential(size=200_000)
    found = distribution(values)
    assert found.above == tuple((values > threshold).sum() for threshold in THRESHOLDS)
    assert found.rates == pytest.approx([np.exp(-threshold) for threshold in THRESHOLDS], rel=0.5)
    # And as more than it is where it falls off as errors do.
    normal = distribution(np.abs(np.random.default_rng(0).normal(size=200_000)))
    assert all(rate > normal_law(threshold) for threshold, rate in zip(THRESHOLDS[3:], normal.rates[3:], strict=True))


def test_what_is_all_alike_has_no_tail() -> None:
    found = distribution(np.ones(50))
    assert (found.median, found.largest, set(found.above), set(found.rates)) == (1.0, 1.0, {0}, {0.0})


# What is said of mistakes


def _caught(structure: Structure, stack: Draw, observed: Observation, target: Target, delta: float) -> bool:
    compared = compare(structure, stack, [planted(observed, target, delta)])
    return any(one.worst[0] > 1 for one in compared)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("shows", [True, False])
def test_the_smallest_mistake_is_caught_and_half_of_it_is_not(dtype: str, shows: bool) -> None:
    case = f"5x7x4-tanh.relu-b4-pre-{dtype}-normal-s3"
    structure, stack, observed = _case(case)
    one = observed[0] if shows else miniatures.silent(observed[0])
    target = Target(parse_case(case, tuple(REGIMES)), 1, (2, 3))
    (found,) = smallest(lambda d: np.array([_caught(structure, stack, one, target, float(d[0]))]), 1)
    assert LEAST < found < 1e-3
    assert _caught(structure, stack, one, target, found)
    assert _caught(structure, stack, one, target, -found)
    assert not (
        _caught(structure, stack, one, target, found / 2) and _caught(structure, stack, one, target, -found / 2)
    )
    assert not _caught(structure, stack, one, target, 0)


@pytest.mark.parametrize(
    ("caught", "due"),
    [
        (lambda d: np.abs(d) > 1e-3, 1e-3),
        (lambda d: (d > 1e-6) | (d < -1e-2), 1e-2),
        (lambda d: d > 1e-6, np.inf),
        (lambda d: np.zeros(d.shape, bool), np.inf),
        (lambda d: np.ones(d.shape, bool), np.nan),
    ],
    ids=["both signs", "the sign that is harder to see", "one sign alone", "never", "rejects right ones"],
)
def test_bisection(caught: Callable[[Array], Array], due: float) -> None:
    assert smallest(caught, 2) == pytest.approx([due, due], rel=0.011, nan_ok=True)
    assert MOST > 1


def test_the_suite_sees_what_is_a_few_units_in_the_last_place() -> None:
    run = prepare(RunRequest(("numpy",), make_options("thorough", 0, ["f32", "f64"])))
    for dtype, due in (("f32", 2e-5), ("f64", 1e-13)):
        shown, alone = [one for one in sense(run, "tanh", dtype, 2) if one.judge.startswith("numpy")]
        assert (shown.judge, alone.judge) == ("numpy", "numpy, gradients alone")
        assert shown.smallest.shape == (2,)
        assert shown.median is not None
        assert alone.median is not None
        assert shown.median < min(due, alone.median)
        assert shown.rejected == alone.rejected == 0


@pytest.mark.parametrize(("name", "framework"), [("gradcheck", "torch"), ("check_grads", "jax")])
def test_the_checkers_of_frameworks_see_large_mistakes_alone(name: str, framework: str) -> None:
    pytest.importorskip(framework)
    structure, stack, _ = _case("4x6x3-tanh.softplus-b4-pre-f64-normal-s1")
    rejects = gradient_checkers.CHECKERS[name][1](structure)
    for layer, at in ((1, (2, 3)), (2, (5, 0))):
        assert not rejects(stack[0], layer, at, 0.0)
        assert not rejects(stack[0], layer, at, 1e-7)
        assert rejects(stack[0], layer, at, 5.0)
        assert rejects(stack[0], layer, at, -5.0)


def test_gradcheck_rejects_right_gradients_in_float32() -> None:
    pytest.importorskip("torch")
    structure, stack, _ = _case("4x6x3-tanh.softplus-b4-pre-f32-normal-s1")
    assert gradient_checkers.gradcheck(structure)(stack[0], 1, (0, 0), 0.0)


def test_without_frameworks_the_comparison_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in (sensitivity, calibration_report):
        monkeypatch.setattr(module, "is_installed", lambda name: False)
    monkeypatch.setattr(calibrate, "pin_here", lambda: None)
    path = tmp_path / "figures.json"
    code = calibrate.run_calibrate(["numpy"], 20, 2, 0, "0", ["f32"], ["tanh"], None, None, path)
    out = capsys.readouterr().out
    assert code == 0
    assert "gradcheck is left out: torch is not installed" in out
    assert "check_grads is left out: jax is not installed" in out
    judges = {one["judge"] for one in json.loads(path.read_text(encoding="utf-8"))["sensitivity"]}
    assert judges == {"numpy", "numpy, gradients alone"}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("numpy", "--draws", "0"), 2, "--draws 0"),
        (("numpy", "--networks", "-1"), 2, "--networks -1"),
        (("numpy", "-n", "some"), 2, "give a number of workers, or auto"),
        (("numpy", "--activation", "rellu"), 2, "did you mean relu?"),
        (("numpy", "--dtype", "bf16"), 2, "numpy: nothing declared of what was asked for, bf16"),
        (("numpy", "--json", "/proc/none/x.json"), 2, "name a file that can be written"),
        (("numpi",), 3, "did you mean numpy?"),
    ],
)
def test_a_mistake_is_one_line_with_its_exit_code(
    tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = kterm("calibrate", *arguments, folder=tmp_path)
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert words in done.stderr
