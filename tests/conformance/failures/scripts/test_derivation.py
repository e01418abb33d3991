"""Derivations: how the right value of one entry comes about."""

import re
from dataclasses import replace

import numpy as np
import pytest

from kterm.conformance.cases.case import parse_case
from kterm.conformance.cases.draw import REGIMES, make_draws
from kterm.conformance.failures.scripts.derivation import format_derivation
from kterm.conformance.failures.scripts.evidence import find_evidence
from kterm.conformance.failures.scripts.failure import Failure
from kterm.conformance.failures.scripts.write import write_script

from ....support.frameworks import flawed
from ....support.scripts import deep_failure, loaded, prose


def test_the_last_line_is_a_sum_that_comes_out() -> None:
    case = parse_case("2x2-tanh-b3-pre-f64-normal-s0", tuple(REGIMES))
    one, adapter = make_draws([case])[0], flawed.MeanOverBatch()
    observed = adapter.program(case.structure)(one.parameters, one.x, one.y)
    found = find_evidence(case.structure, one, observed, "dE/dW_1")
    assert found is not None
    lines = format_derivation(case.structure, one, found).splitlines()
    assert lines[0].startswith("z_1 = x W_1 + b_1")
    assert lines[-2] == "dE/dW_1 = x^T k_1"
    name, terms, total = re.split(" = ", lines[-1])
    assert name == f"dE/dW_1{list(found.at)}"
    assert np.isclose(eval(terms), float(total))
    assert float(total) == found.expected[found.at]


def test_a_long_derivation_is_shortened() -> None:
    failure, _ = deep_failure(1e-2)
    assert failure.observation is not None
    found = find_evidence(failure.structure, failure.draw, failure.observation, "k_1")
    assert found is not None
    text = format_derivation(failure.structure, failure.draw, found)
    assert re.search(r"and so on, \d+ more steps", text)
    assert len(text.splitlines()) == 11


@pytest.mark.parametrize("at", ["declared", "undeclared"])
def test_a_slope_at_a_kink_is_explained(at: str) -> None:
    adapter = loaded("numpy")
    case = parse_case("4x4-relu-b4-none-f64-kinks-s0", tuple(REGIMES))
    one = make_draws([case])[0]
    right = adapter.program(case.structure)(one.parameters, one.x, one.y)
    assert right.z is not None
    assert (right.z[0] == 0).any()
    slope = np.where(right.z[0] == 0, 3.0, right.z[0] > 0)
    wrong = replace(right, k=((right.outputs - one.y) * slope,))
    declared = {"relu": {0.0: 1.0}} if at == "declared" else {}
    failure = Failure("numbers", case.structure, case.regime, one, wrong, "k_1", "", case.id, conventions=declared)
    source = prose(write_script(failure, adapter.script(case.structure), "1"))
    assert "f' jumps at z = 0. There, f' is what the adapter declares." in source
    assert ("* 1.0 = " if at == "declared" else "* 0.5 = ") in source
