"""The gradient checkers of PyTorch and JAX catch large mistakes only."""

import pytest

from kterm.conformance.evaluation.calibration import gradient_checkers

from . import make_case


@pytest.mark.parametrize(("name", "framework"), [("gradcheck", "torch"), ("check_grads", "jax")])
def test_the_checkers_of_frameworks_catch_large_mistakes_only(name: str, framework: str) -> None:
    pytest.importorskip(framework)
    structure, stack, _ = make_case("4x6x3-tanh.softplus-b4-pre-f64-normal-s1")
    rejects = gradient_checkers.CHECKERS[name][1](structure)
    for layer, at in ((1, (2, 3)), (2, (5, 0))):
        assert not rejects(stack[0], layer, at, 0.0)
        assert not rejects(stack[0], layer, at, 1e-7)
        assert rejects(stack[0], layer, at, 5.0)
        assert rejects(stack[0], layer, at, -5.0)


def test_gradcheck_rejects_right_gradients_in_float32() -> None:
    pytest.importorskip("torch")
    structure, stack, _ = make_case("4x6x3-tanh.softplus-b4-pre-f32-normal-s1")
    assert gradient_checkers.make_gradcheck(structure)(stack[0], 1, (0, 0), 0.0)
