"""Examining a group: what the extra questions (the second call, the descent, the batch in parts) put to an adapter."""

import numpy as np
import pytest

from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.case import Group, parse_case
from kterm.conformance.cases.draw import REGIMES
from kterm.conformance.checks.examine import examine
from kterm.conformance.runners.runner import Answer, LocalRunner
from kterm.reference import Array, Parameters


class _Watched(LocalRunner):
    """A runner that keeps the largest parameter of every call."""

    def __init__(self) -> None:
        super().__init__(Numpy())
        self.largest: list[float] = []

    def call(self, regime: str, parameters: Parameters, x: Array, y: Array) -> Answer:
        self.largest.append(max(float(np.abs(a).max()) for a in (*parameters.weights, *parameters.biases)))
        return super().call(regime, parameters, x, y)


@pytest.mark.parametrize(
    "case",
    [
        # Saturated, with a bias outside: its gradient is of order 1, those of the weights of order 1e-7.
        "54x20x4x2x1-identity.selu.hard_swish.silu-b2-post-f32-normal-s123456789.0",
        "4x8x3-relu.tanh-b5-pre-f32-normal-s17",
    ],
)
def test_descent_stays_near_where_it_starts(case: str) -> None:
    parsed, runs = parse_case(case, tuple(REGIMES)), _Watched()
    (verdicts,) = examine(Group(parsed.structure, parsed.regime, parsed.seed, (parsed.draw,)), runs).verdicts
    assert max(runs.largest) < 1.25 * runs.largest[0]
    steps = [v for v in verdicts if v.check == "descent"]
    assert len(steps) == 3
    assert all(v.grade in ("pass", "inconclusive") for v in steps)
