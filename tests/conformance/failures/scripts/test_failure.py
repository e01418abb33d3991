"""What a planted mistake adds to the results of a call."""

import numpy as np

from kterm.conformance.cases.case import parse_case
from kterm.conformance.cases.draw import REGIMES, make_draws
from kterm.conformance.failures.scripts.failure import compute_addends

from ....support.frameworks import flawed


def test_addends_are_what_a_mistake_adds() -> None:
    case = parse_case("2x2-tanh-b3-pre-f64-normal-s0", tuple(REGIMES))
    one = make_draws([case])[0]
    right = flawed.Numpy().program(case.structure)(one.parameters, one.x, one.y)
    wrong = flawed.MeanOverBatch().spoilt(right, one.parameters, one.x, one.y)
    mistake = compute_addends("a mean over the batch", right, wrong)
    assert set(mistake.addends) == {"dE/dW_1"}
    assert np.allclose(mistake.addends["dE/dW_1"], -2 / 3 * right.weight_gradients[0])
