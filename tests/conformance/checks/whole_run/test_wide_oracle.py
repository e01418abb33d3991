"""The oracle in the widest float: each step agrees with exact rational arithmetic to far below a float64 rounding."""

from fractions import Fraction

import numpy as np
import pytest

from kterm.adapters.numpy_adapter import Numpy
from kterm.adapters.quantities import stack_arrays
from kterm.conformance.cases.case import Group
from kterm.conformance.cases.draw import make_draws
from kterm.conformance.checks.comparison.compare import readings, steps_of
from kterm.conformance.checks.whole_run.wide_oracle import compute_wide
from kterm.reference import Array, Bias, Network, Structure

from ....support.rounding import needs_longdouble


def _exact(array: Array) -> Array:
    return np.vectorize(lambda number: Fraction(float(number)), otypes=[object])(array)


@needs_longdouble
@pytest.mark.parametrize("bias", ["pre", "post"])
def test_each_step_agrees_with_rational_arithmetic(bias: Bias) -> None:
    structure = Structure(Network((3, 4, 2), ("leaky_relu", "hard_sigmoid"), bias), 3, "f64")
    group = Group(structure, "normal", 0, (0, 1))
    draws = make_draws(group.cases)
    program = Numpy().build(structure)
    views = stack_arrays([program(one.parameters, one.x, one.y) for one in (draws[0], draws[1])])
    given = draws[0]
    x0, x1, k1, k2 = (_exact(a[0]) for a in (draws.x, views["x_1"], views["k_1"], views["k_2"]))
    w1, w2 = map(_exact, given.parameters.weights)
    b1 = _exact(given.parameters.biases[0])
    slopes = _exact(np.where(views["z_1"][0] > 0, 1, 1 / 8))
    f = _exact(views["z_1"][0]) * slopes
    due = {
        "z_1": x0 @ w1 + (b1 if bias == "pre" else 0),
        "x_1": f + (b1 if bias == "post" else 0),
        "k_1": k2 @ w2.T * slopes,
        "dE/dW_2": x1.T @ k2,
        "dE/db_1": (k1 if bias == "pre" else k2 @ w2.T).sum(0),
    }
    reading, _ = readings(structure, "normal")
    steps = {step.name: step for step in steps_of(structure, draws, views, reading)}
    for name, exact in due.items():
        wide = compute_wide(structure, draws.parameters, draws.x, views, steps[name], 1)[0]
        high = wide.astype(np.float64)
        found = _exact(high) + _exact((wide - high).astype(np.float64))
        scale = float(np.max(np.abs(exact)))
        assert float(np.max(np.abs(found - exact))) < 2.0**-60 * scale, name
