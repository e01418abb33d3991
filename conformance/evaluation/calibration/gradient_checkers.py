"""The finite-difference gradient checkers of PyTorch and JAX, on a network with an error planted in one entry of one
weight gradient. Each function imports the framework that it needs.
"""

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from ....adapters.registry import load
from ....reference import Array, Structure
from ...cases.draw import Draw

Rejects = Callable[[Draw, int, tuple[int, int], float], bool]
"""Called with (draw, layer, at, delta): whether the checker rejects the gradients of one draw of a structure with
biases "pre", where the entry `at` of dE/dW_layer is multiplied by 1 + delta.
"""


def make_gradcheck(structure: Structure) -> Rejects:
    """`torch.autograd.gradcheck` of E with respect to all weights and biases, with its default options.

    Raises NotImplementedError where the torch adapter does not support the structure.
    """
    import torch

    functions, depth = load("torch").functions(structure), structure.network.depth

    class Planted(torch.autograd.Function):
        """The identity, with its gradient multiplied by `factor`."""

        @staticmethod
        def forward(ctx: Any, *given: torch.Tensor) -> torch.Tensor:
            weight, ctx.factor = given
            return weight.clone()

        @staticmethod
        def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
            return gradients[0] * ctx.factor, None

    def rejects(drawn: Draw, layer: int, at: tuple[int, int], delta: float) -> bool:
        given = [torch.tensor(a, requires_grad=True) for a in (*drawn.parameters.weights, *drawn.parameters.biases)]
        x, y = torch.tensor(drawn.x), torch.tensor(drawn.y)
        factor = torch.tensor(_make_factor(drawn.parameters.weights[layer - 1], at, delta))

        def error(*parameters: torch.Tensor) -> torch.Tensor:
            out, biases = x, parameters[depth:]
            for i, function in enumerate(functions):
                weight = Planted.apply(parameters[i], factor) if i == layer - 1 else parameters[i]
                out = function(out @ weight + biases[i])
            return torch.nn.functional.mse_loss(out, y, reduction="sum") / 2

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns that float32 will likely fail; whether it does is measured here
            return not torch.autograd.gradcheck(error, given, raise_exception=False)

    return rejects


def make_check_grads(structure: Structure) -> Rejects:
    """`jax.test_util.check_grads` of E with respect to all weights and biases, in reverse mode and of first order, with
    its default options.

    Raises NotImplementedError where the jax adapter does not support the structure.
    """
    import jax
    import jax.numpy as jnp
    from jax.test_util import check_grads as check

    functions, depth = load("jax").functions(structure), structure.network.depth
    home = jax if hasattr(jax, "enable_x64") else import_module("jax.experimental")  # where it was before JAX 0.8

    @jax.custom_vjp
    def planted(weight: Any, factor: Any) -> Any:
        return weight

    planted.defvjp(lambda weight, factor: (weight, factor), lambda factor, g: (g * factor, jnp.zeros_like(factor)))

    @jax.jit
    def error(parameters: tuple[Any, ...], factors: tuple[Any, ...], x: Any, y: Any) -> Any:
        out, biases = x, parameters[depth:]
        for i, function in enumerate(functions):
            out = function(out @ planted(parameters[i], factors[i]) + biases[i])
        return jnp.square(out - y).sum() / 2

    def rejects(drawn: Draw, layer: int, at: tuple[int, int], delta: float) -> bool:
        weights = drawn.parameters.weights
        factors = [np.ones_like(weight) for weight in weights]
        factors[layer - 1] = _make_factor(weights[layer - 1], at, delta)
        with home.enable_x64(structure.dtype == "f64"):
            try:
                check(
                    lambda *parameters: error(parameters, tuple(factors), drawn.x, drawn.y),
                    (*weights, *drawn.parameters.biases),
                    order=1,
                    modes=["rev"],
                )
            except AssertionError:
                return True
        return False

    return rejects


def _make_factor(weight: Array, at: tuple[int, int], delta: float) -> Array:
    factor = np.ones_like(weight)
    factor[at] += weight.dtype.type(delta)
    return factor


CHECKERS: dict[str, tuple[str, Callable[[Structure], Rejects]]] = {
    "gradcheck": ("torch", make_gradcheck),
    "check_grads": ("jax", make_check_grads),
}
"""By name: the adapter of its framework, and the function that makes the checker for a structure."""
