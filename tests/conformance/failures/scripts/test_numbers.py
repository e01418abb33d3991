"""Scripts that compare numbers: what they expect, how far off it may be, and where they start from."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kterm.adapters import Adapter, Observation
from kterm.conformance.cases.case import parse_case
from kterm.conformance.cases.draw import REGIMES, make_draws
from kterm.conformance.failures.scripts.failure import Failure, PlantedMistake
from kterm.conformance.failures.scripts.write import write_script

from ....support.frameworks import flawed
from ....support.scripts import (
    assert_fails_as_it_says,
    deep_failure,
    loaded,
    planted_failure,
    prose,
    run_alone,
    without_mistake,
    write_own,
)


@pytest.mark.parametrize(
    ("bad", "case", "words"),
    [
        (flawed.MeanOverBatch, "2x2-tanh-b3-pre-f64-normal-s0", "dE/dW_1"),
        (flawed.NotANumber, "2x2-tanh-b3-pre-f32-normal-s0", "E is nan; it should be"),
        # A descent step, with the weights of that step.
        (flawed.Late, "2x2-tanh-b3-pre-f64-normal-s0", "dE/dW_1"),
    ],
)
def test_a_wrong_number_is_shown(tmp_path: Path, bad: type[Adapter], case: str, words: str) -> None:
    failure, source = write_own(case, bad())
    assert failure.kind == "numbers"
    assert words in assert_fails_as_it_says(source, tmp_path)
    # The same calls without the flaw pass.
    done = run_alone(write_script(failure, loaded("numpy").script(failure.structure), "1"), tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_script_that_starts_from_the_framework_s_values_checks_that_they_are_the_same(tmp_path: Path) -> None:
    failure, adapter = deep_failure(2e-5)
    source = write_script(failure, adapter.script(failure.structure), "1")
    assert "in float64 from PyTorch's own z_1, k_2:" in source
    assert_fails_as_it_says(source, tmp_path)
    other = source.replace('"z_1": np.array([[', '"z_1": np.array([[9')
    assert "z_1 has other values on this machine" in run_alone(other, tmp_path).stderr


def test_an_infinity_that_is_right_is_not_asserted(tmp_path: Path) -> None:
    adapter, case = loaded("numpy"), parse_case("1x2-identity-b1-none-f32-normal-s0", tuple(REGIMES))
    weights = (np.array([[3e38, 1.0]], np.float32),)
    one = make_draws([case])[0]
    one = replace(one, parameters=replace(one.parameters, weights=weights), x=np.full((1, 1), 2, np.float32))
    right = adapter.program(case.structure)(one.parameters, one.x, one.y)
    assert right.z is not None
    wrong = replace(right, z=(right.z[0] * np.array([[1, 2]], np.float32),))
    mistake = PlantedMistake("a pre-activation doubled", {"z_1": np.array([[0.0, 2.0]])})
    failure = Failure("numbers", case.structure, case.regime, one, wrong, "z_1", "", case.id, planted=mistake)
    source = write_script(failure, adapter.script(case.structure), "1")
    assert "np.inf" in source
    assert "z_1[0, 1] is 4.0; it should be 2.0" in assert_fails_as_it_says(source, tmp_path)
    done = run_alone(without_mistake(source), tmp_path)
    assert done.returncode == 0, done.stderr


def test_exact_numbers_have_half_a_unit_in_the_last_place(tmp_path: Path) -> None:
    def flip_a_bit(right: Observation) -> Observation:
        return replace(right, error=np.nextafter(right.error, np.float32(np.inf)))

    adapter = loaded("numpy")
    failure = planted_failure(adapter, "2x2-relu-b2-pre-f32-lattice-s1", "E", "a bit flipped", flip_a_bit)
    source = write_script(failure, adapter.script(failure.structure), "1")
    assert "half a unit in the last place" in prose(source)
    assert_fails_as_it_says(source, tmp_path)
