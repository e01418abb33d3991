"""Reproducers: scripts that need NumPy and the framework alone, and fail as they say."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kterm.adapters import Adapter, Observation, Script
from kterm.conformance.cases.case import parse_case
from kterm.conformance.cases.draw import REGIMES, make_draws
from kterm.conformance.commands.reproduce import diagnosis
from kterm.conformance.failures.scripts.evidence import evidence
from kterm.conformance.failures.scripts.failure import Failure, Planted, calls_of, find, planted
from kterm.conformance.failures.scripts.literals import literal
from kterm.conformance.failures.scripts.write import Unwritable, write
from kterm.conformance.runners.runner import LocalRunner
from kterm.reference import DTYPES, Array

from ....support import flawed, miniatures
from ....support.scripts import (
    FRAMEWORKS,
    REAL,
    alone,
    assert_fails_as_it_says,
    assert_fit_to_paste,
    loaded,
    prose,
    sources,
)


def _real() -> Iterator[object]:
    for name in FRAMEWORKS:
        for case, quantity, words in REAL[name.split("-")[0]]:
            yield pytest.param(name, case, quantity, words, id=f"{name}-{case}")


@pytest.mark.parametrize(("name", "case", "quantity", "words"), list(_real()))
def test_a_real_divergence_is_reproduced_by_the_framework_alone(
    tmp_path: Path, name: str, case: str, quantity: str, words: str
) -> None:
    failure, source = sources(case, loaded(name))
    assert (failure.kind, failure.quantity) == ("numbers", quantity)
    assert words in source
    assert f"of case {case}." in prose(source)
    assert_fit_to_paste(source, name.split("-")[0])
    said = assert_fails_as_it_says(source, tmp_path)
    assert f" {quantity}" in said


# The three planted mistakes change what comes forward, what goes back, and what is gathered at the end.


def _forward(observed: Observation) -> Observation:
    """The first pre-activation of the last layer doubled."""
    assert observed.z is not None
    last = observed.z[-1].copy()
    last[0, 0] *= 2
    return replace(observed, z=(*observed.z[:-1], last))


def _backward(observed: Observation) -> Observation:
    """k_1 with the wrong sign."""
    assert observed.k is not None
    return replace(observed, k=(-observed.k[0], *observed.k[1:]))


def _gathered(observed: Observation) -> Observation:
    """Bias gradients zero."""
    return replace(observed, bias_gradients=tuple(map(np.zeros_like, observed.bias_gradients)))


PLANTED: dict[str, tuple[Callable[[Observation], Observation], str]] = {
    "z_2": (_forward, "a pre-activation doubled"),
    "k_1": (_backward, "the sign of k_1 changed"),
    "dE/db_2": (_gathered, "bias gradients zero"),
}


def _planted(adapter: Adapter, text: str, quantity: str) -> Failure:
    case = parse_case(text, tuple(REGIMES))
    one, (change, mistake) = make_draws([case])[0], PLANTED[quantity]
    right = adapter.program(case.structure)(one.parameters, one.x, one.y)
    wrong = change(right)
    return Failure(
        "numbers", case.structure, case.regime, one, wrong, quantity, "", text, planted=planted(mistake, right, wrong)
    )


@pytest.mark.parametrize("quantity", PLANTED)
@pytest.mark.parametrize(
    ("name", "dtype"),
    [("numpy", "f64"), ("numpy", "f32"), ("torch", "bf16"), ("jax-vmap", "bf16")],
)
def test_a_planted_mistake_is_reproduced(tmp_path: Path, name: str, dtype: str, quantity: str) -> None:
    adapter = loaded(name)
    failure = _planted(adapter, f"3x2x2-tanh.mish-b3-pre-{dtype}-normal-s1", quantity)
    source = write(failure, adapter.script(failure.structure), adapter.version)
    assert f"# A mistake is planted here: the rule with {PLANTED[quantity][1]}." in source
    assert_fit_to_paste(source, name.split("-")[0])
    assert_fails_as_it_says(source, tmp_path)
    # It is the mistake that fails: without it the script passes.
    mended = source.replace(" + addend\n", "\n")
    assert mended != source
    done = alone(mended, tmp_path)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.parametrize(
    ("kind", "bad", "case", "words"),
    [
        ("numbers", flawed.MeanOverBatch, "2x2-tanh-b3-pre-f64-normal-s0", "dE/dW_1"),
        ("numbers", flawed.NotANumber, "2x2-tanh-b3-pre-f32-normal-s0", "E is nan; it should be"),
        (
            "form",
            flawed.Misshapen,
            "2x3-relu-b3-pre-f32-normal-s0",
            "dE/db_1 is float32[1, 3]; it should be float32[3]",
        ),
        ("raised", flawed.Raises, "2x3-gelu-b3-none-f32-normal-s0", "RuntimeError('no kernel for this shape')"),
        ("inputs", flawed.Modifies, "2x3-sin-b3-post-f64-normal-s0", "y was [["),
        ("again", flawed.Unsteady, "2x3-mish-b3-pre-f64-normal-s0", "call 2 gives E as"),
        ("overwritten", flawed.Overwrites, "2x3-gelu_tanh-b2-pre-f64-normal-s0", "outputs was [["),
        ("sum", flawed.RowsMeet, "2x3-tanh-b4-pre-f64-normal-s0", "that of its rows adds up to"),
    ],
)
def test_each_kind_of_failure_is_shown(tmp_path: Path, kind: str, bad: type[Adapter], case: str, words: str) -> None:
    failure, source = sources(case, bad())
    assert failure.kind == kind
    assert_fit_to_paste(source, "numpy")
    assert words in assert_fails_as_it_says(source, tmp_path)
    # The same calls without the flaw pass.
    sound = loaded("numpy").script(failure.structure)
    done = alone(write(failure, sound, "1"), tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_failure_in_a_descent_step_is_shown_with_the_weights_of_that_step(tmp_path: Path) -> None:
    case = "2x2-tanh-b3-pre-f64-normal-s0"
    failure, source = sources(case, flawed.Late())
    assert (failure.kind, failure.quantity) == ("numbers", "dE/dW_1")
    first = make_draws([parse_case(case, tuple(REGIMES))])[0]
    assert not np.array_equal(failure.draw.parameters.weights[0], first.parameters.weights[0])
    assert_fails_as_it_says(source, tmp_path)


def _deep(scale: float) -> tuple[Failure, Adapter]:
    """k_1 of a deep network, one entry off by a factor."""
    adapter, text = loaded("torch"), "3x3x3x3x3x3x3x3x3x3-tanh-b2-pre-f32-normal-s1"
    case = parse_case(text, tuple(REGIMES))
    one = make_draws([case])[0]
    right = adapter.program(case.structure)(one.parameters, one.x, one.y)
    assert right.k is not None
    off = right.k[0].copy()
    off[1, 1] *= np.float32(1 + scale)
    wrong = replace(right, k=(off, *right.k[1:]))
    mistake = planted("k_1 a little off", right, wrong)
    return Failure("numbers", case.structure, case.regime, one, wrong, "k_1", "", text, planted=mistake), adapter


def test_what_the_whole_pass_would_hide_is_judged_from_the_step_before(tmp_path: Path) -> None:
    failure, adapter = _deep(2e-5)
    assert failure.observation is not None
    found = evidence(failure.structure, failure.draw, failure.observation, "k_1")
    assert found is not None
    assert list(found.given) == ["z_1", "k_2"]
    source = write(failure, adapter.script(failure.structure), "1")
    assert "in float64 from PyTorch's own z_1, k_2:" in source
    assert_fails_as_it_says(source, tmp_path)
    other = source.replace('"z_1": np.array([[', '"z_1": np.array([[9')
    assert "z_1 is another on this machine" in alone(other, tmp_path).stderr


def test_what_the_inputs_alone_show_is_judged_from_them() -> None:
    failure, adapter = _deep(1e-2)
    assert failure.observation is not None
    found = evidence(failure.structure, failure.draw, failure.observation, "k_1")
    assert found is not None
    assert (found.at, found.given) == ((1, 1), {})
    source = write(failure, adapter.script(failure.structure), "1")
    assert re.search(r"and so on, \d+ more steps", source)


def test_what_does_not_depart_is_not_written() -> None:
    failure, adapter = _deep(0.0)
    with pytest.raises(Unwritable, match="k_1 does not depart"):
        write(failure, adapter.script(failure.structure), "1")
    for kind in ("programs", "layout"):
        with pytest.raises(Unwritable, match="because"):
            write(replace(failure, kind=kind, message="because"), adapter.script(failure.structure), "1")


def test_an_infinity_that_is_right_is_not_asserted(tmp_path: Path) -> None:
    adapter, case = loaded("numpy"), parse_case("1x2-identity-b1-none-f32-normal-s0", tuple(REGIMES))
    weights = (np.array([[3e38, 1.0]], np.float32),)
    one = make_draws([case])[0]
    one = replace(one, parameters=replace(one.parameters, weights=weights), x=np.full((1, 1), 2, np.float32))
    right = adapter.program(case.structure)(one.parameters, one.x, one.y)
    assert right.z is not None
    wrong = replace(right, z=(right.z[0] * np.array([[1, 2]], np.float32),))
    mistake = Planted("a pre-activation doubled", {"z_1": np.array([[0.0, 2.0]])})
    failure = Failure("numbers", case.structure, case.regime, one, wrong, "z_1", "", case.id, planted=mistake)
    source = write(failure, adapter.script(case.structure), "1")
    assert "np.inf" in source
    assert "z_1[0, 1] is 4.0; it should be 2.0" in assert_fails_as_it_says(source, tmp_path)
    done = alone(source.replace(" + addend\n", "\n"), tmp_path)
    assert done.returncode == 0, done.stderr


def test_an_exact_draw_is_held_to_its_very_numbers(tmp_path: Path) -> None:
    adapter, case = loaded("numpy"), parse_case("2x2-relu-b2-pre-f32-lattice-s1", tuple(REGIMES))
    one = make_draws([case])[0]
    right = adapter.program(case.structure)(one.parameters, one.x, one.y)
    wrong = replace(right, error=np.nextafter(right.error, np.float32(np.inf)))
    mistake = planted("a bit flipped", right, wrong)
    failure = Failure("numbers", case.structure, case.regime, one, wrong, "E", "", case.id, planted=mistake)
    source = write(failure, adapter.script(case.structure), "1")
    assert "half of a unit in the last place" in prose(source)
    assert_fails_as_it_says(source, tmp_path)


@pytest.mark.parametrize("at", ["declared", "free"])
def test_a_slope_at_a_kink_is_told(at: str) -> None:
    adapter = loaded("numpy")
    case = parse_case("4x4-relu-b4-none-f64-kinks-s0", tuple(REGIMES))
    one = make_draws([case])[0]
    right = adapter.program(case.structure)(one.parameters, one.x, one.y)
    assert right.z is not None
    assert right.k is not None
    assert (right.z[0] == 0).any()
    slope = np.where(right.z[0] == 0, 3.0, right.z[0] > 0)
    wrong = replace(right, k=((right.outputs - one.y) * slope,))
    declared = {"relu": {0.0: 1.0}} if at == "declared" else {}
    failure = Failure("numbers", case.structure, case.regime, one, wrong, "k_1", "", case.id, conventions=declared)
    source = prose(write(failure, adapter.script(case.structure), "1"))
    assert "f' jumps at z = 0: there it is what the adapter declares" in source
    assert ("* 1.0 = " if at == "declared" else "* 0.5 = ") in source


@pytest.mark.parametrize("dtype", ["f64", "f32", "f16", "bf16"])
def test_literals_give_back_the_bits(dtype: str) -> None:
    kind = DTYPES[dtype].numpy
    random = np.random.Generator(np.random.Philox(1))
    bits = random.integers(0, 256, size=(4096, kind.itemsize), dtype=np.uint8)
    numbers = bits.view(kind).reshape(-1)
    with np.errstate(invalid="ignore"):
        numbers = numbers[np.isfinite(numbers.astype(np.float64))]
    count = len(numbers) // 12 * 12
    arrays: list[Array] = [numbers, numbers[:count].reshape(-1, 12), numbers[:6].reshape(2, 3), numbers[:3]]
    arrays += [numbers[0], numbers[:0].reshape(0, 4), -np.zeros(2, kind)]
    for array in map(np.asarray, arrays):
        source = literal(array)
        back = eval(source, {"np": np})
        assert back.shape == array.shape
        assert back.astype(kind).tobytes() == array.tobytes()
        assert max(map(len, source.splitlines())) <= 112
    assert np.array_equal(eval(literal(np.array([np.inf, -np.inf])), {"np": np}), [np.inf, -np.inf])


def test_what_explains_a_failure_is_told() -> None:
    case = "3x2-sigmoid-b3-none-f64-normal-s0"
    adapter = miniatures.NoSlopeAtOutput()
    runner, parsed = LocalRunner(adapter), parse_case(case, tuple(REGIMES))
    found = find(parsed, calls_of(parsed), runner)
    assert found is not None
    told = diagnosis(found[1], runner.describe())
    assert told.startswith("What it gives is the rule with ")
    script: Script = adapter.script(parsed.structure)
    assert told in prose(write(found[0], script, "1", told))
