"""The rule as mutants have it, step by step with errors, held against the reference and its error analysis."""

from itertools import product

import numpy as np
import pytest

from kterm.conformance.case import Group
from kterm.conformance.draw import draw
from kterm.conformance.mutants.steps import run, start
from kterm.reference import BIASES, Bias, Network, Structure, backpropagate
from kterm.reference.rounding import bound, deviation, propagate

_NETWORKS = [
    ((3, 2), ("tanh",), 0),
    ((4, 2), ("gelu",), 1),
    ((3, 5, 2), ("silu", "softplus"), 4),
    ((2, 3, 3, 1), ("elu", "relu", "sigmoid"), 3),
]


@pytest.mark.parametrize(("shape", "bias", "dtype"), list(product(range(len(_NETWORKS)), BIASES, ("f64", "f32"))))
def test_without_a_mistake_it_is_the_rule(shape: int, bias: Bias, dtype: str) -> None:
    widths, names, batch = _NETWORKS[shape]
    structure = Structure(Network(widths, names, bias), batch, dtype)
    given = draw(Group(structure, "normal", 0, (0, 1)).cases).astype(np.dtype(np.float64))
    underflow = 100 * float(np.finfo(structure.format.numpy).tiny)
    rule = backpropagate(structure.network, given.parameters, given.x, given.y)
    for reading in (None, *(make(structure.format) for make in (deviation, bound))):
        work = run(start(structure, given.parameters, given.x, given.y, reading))
        due = {"outputs": rule.outputs, "E": rule.error}
        for symbol, some in (("z", rule.z), ("x", rule.x[1:]), ("k", rule.k)):
            due |= {f"{symbol}_{i}": a for i, a in enumerate(some, 1)}
        due |= {f"dE/dW_{i}": a for i, a in enumerate(rule.weight_gradients, 1)}
        due |= {f"dE/db_{i}": a for i, a in enumerate(rule.bias_gradients, 1)}
        assert set(work.given) == set(due)
        for name, a in due.items():
            np.testing.assert_allclose(work.given[name].value.reshape(a.shape), a, rtol=1e-14, atol=1e-300)
        if reading is None:
            continue
        for step in propagate(structure.network, given.parameters, given.x, given.y, reading):
            own = step.estimate.tolerance(reading)
            mine = work.given[step.name].tolerance.reshape(own.shape)
            # E is summed in another order, and a shown value is not rounded once more.
            assert (mine <= 1.25 * own + underflow).all(), step.name
            assert (mine >= 0.4 * own).all(), step.name
