"""Scripts need only NumPy and the framework, and fail as they say."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kterm.adapters import Observation
from kterm.conformance.cases.case import parse_case
from kterm.conformance.cases.draw import REGIMES
from kterm.conformance.checks.verdict import NOTHING_EXPECTED
from kterm.conformance.failures.known_causes import describe_cause
from kterm.conformance.failures.reproduce import find_failure_to_show
from kterm.conformance.failures.scripts.write import Unwritable, write_script
from kterm.conformance.runners.runner import LocalRunner

from ....support.frameworks import miniatures
from ....support.scripts import (
    FRAMEWORKS,
    REAL,
    Change,
    assert_fails_as_it_says,
    assert_fit_to_paste,
    deep_failure,
    loaded,
    planted_failure,
    prose,
    run_alone,
    without_mistake,
    write_own,
)


def _real() -> Iterator[object]:
    for name in FRAMEWORKS:
        for case, quantity, words in REAL[name.split("-")[0]]:
            yield pytest.param(name, case, quantity, words, id=f"{name}-{case}")


@pytest.mark.parametrize(("name", "case", "quantity", "words"), list(_real()))
def test_a_real_divergence_is_shown_by_the_framework_alone(
    tmp_path: Path, name: str, case: str, quantity: str, words: str
) -> None:
    failure, source = write_own(case, loaded(name))
    assert (failure.kind, failure.quantity) == ("numbers", quantity)
    assert words in source
    assert f"from case {case}," in prose(source)
    assert_fit_to_paste(source, name.split("-")[0])
    assert f" {quantity}" in assert_fails_as_it_says(source, tmp_path)


# The three planted mistakes are in the forward pass, in the k-terms, and in the gradients.


def _double_z(observed: Observation) -> Observation:
    assert observed.z is not None
    last = observed.z[-1].copy()
    last[0, 0] *= 2
    return replace(observed, z=(*observed.z[:-1], last))


def _negate_k(observed: Observation) -> Observation:
    assert observed.k is not None
    return replace(observed, k=(-observed.k[0], *observed.k[1:]))


def _zero_biases(observed: Observation) -> Observation:
    return replace(observed, bias_gradients=tuple(map(np.zeros_like, observed.bias_gradients)))


PLANTED: dict[str, tuple[Change, str]] = {
    "z_2": (_double_z, "a pre-activation doubled"),
    "k_1": (_negate_k, "the sign of k_1 changed"),
    "dE/db_2": (_zero_biases, "bias gradients zero"),
}


@pytest.mark.parametrize("quantity", PLANTED)
@pytest.mark.parametrize(
    ("name", "dtype"),
    [("numpy", "f64"), ("numpy", "f32"), ("torch", "bf16"), ("jax-vmap", "bf16")],
)
def test_a_planted_mistake_is_shown(tmp_path: Path, name: str, dtype: str, quantity: str) -> None:
    adapter, (change, text) = loaded(name), PLANTED[quantity]
    failure = planted_failure(adapter, f"3x2x2-tanh.mish-b3-pre-{dtype}-normal-s1", quantity, text, change)
    source = write_script(failure, adapter.script(failure.structure), adapter.version)
    assert f"# A mistake is planted here: the rule with {text}." in source
    assert_fit_to_paste(source, name.split("-")[0])
    assert_fails_as_it_says(source, tmp_path)
    # The mistake is what fails: without it the script passes.
    done = run_alone(without_mistake(source), tmp_path)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_what_no_script_shows_is_not_written() -> None:
    failure, adapter = deep_failure(0.0)
    with pytest.raises(Unwritable, match="k_1 is within its tolerance"):
        write_script(failure, adapter.script(failure.structure), "1")
    for kind in ("programs", "layout"):
        with pytest.raises(Unwritable, match="because"):
            write_script(replace(failure, kind=kind, message="because"), adapter.script(failure.structure), "1")


def test_the_cause_is_in_the_docstring() -> None:
    adapter = miniatures.NoSlopeAtOutput()
    case, runner = parse_case("3x2-sigmoid-b3-none-f64-normal-s0", tuple(REGIMES)), LocalRunner(adapter)
    found = find_failure_to_show(case, runner, NOTHING_EXPECTED, shrinks=False)
    assert found is not None
    cause = describe_cause(found.verdict, runner.describe())
    assert cause.startswith("The result is consistent with the rule with ")
    assert cause in prose(write_script(found.failure, adapter.script(case.structure), "1", cause))
