"""Evidence: from the inputs if that is enough, else from the framework's own values in the step before."""

import numpy as np

from kterm.conformance.cases.case import parse_case
from kterm.conformance.cases.draw import REGIMES, make_draws
from kterm.conformance.failures.scripts.evidence import find_evidence

from ....support.frameworks import flawed
from ....support.scripts import deep_failure


def test_what_the_whole_pass_hides_is_judged_from_the_step_before() -> None:
    failure, _ = deep_failure(2e-5)
    assert failure.observation is not None
    found = find_evidence(failure.structure, failure.draw, failure.observation, "k_1")
    assert found is not None
    assert list(found.given) == ["z_1", "k_2"]
    assert found.at == (1, 1)


def test_what_the_inputs_show_is_judged_from_them() -> None:
    failure, _ = deep_failure(1e-2)
    assert failure.observation is not None
    found = find_evidence(failure.structure, failure.draw, failure.observation, "k_1")
    assert found is not None
    assert (found.at, found.given) == ((1, 1), {})
    layers = range(1, 10)
    forward = [f"{symbol}_{i}" for i in layers for symbol in "zx"]
    assert list(found.values) == [*forward, *(f"k_{i}" for i in reversed(layers))]


def test_the_entry_with_the_largest_error_is_named() -> None:
    case = parse_case("2x2-tanh-b3-pre-f64-normal-s0", tuple(REGIMES))
    one = make_draws([case])[0]
    adapter = flawed.MeanOverBatch()
    observed = adapter.program(case.structure)(one.parameters, one.x, one.y)
    found = find_evidence(case.structure, one, observed, "dE/dW_1")
    assert found is not None
    error = np.abs(found.observed - found.expected) / found.tolerance
    assert found.at == np.unravel_index(error.argmax(), error.shape)
    assert np.allclose(found.expected, 3 * found.observed)
    assert list(found.values) == ["z_1", "x_1", "k_1", "dE/dW_1"]


def test_a_right_quantity_has_no_evidence_against_it() -> None:
    failure, _ = deep_failure(0.0)
    assert failure.observation is not None
    for quantity in ("k_1", "outputs", "E", "dE/dW_3"):
        assert find_evidence(failure.structure, failure.draw, failure.observation, quantity) is None
