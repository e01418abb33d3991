"""The finite-difference checkers that come with PyTorch and JAX, put to a network with an error planted in one entry of
one weight gradient. The framework is imported by the function that needs it.
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
"""Whether the checker rejects the gradients of one draw of a structure with biases "pre", where entry `at` of
dE/dW_layer is multiplied by 1 + delta: from (draw, layer, at, delta).
"""


def gradcheck(structure: Structure) -> Rejects:
    """`torch.autograd.gradcheck` of E with its defaults, by all weights and biases.

    Raises NotImplementedError where the torch adapter does not offer the structure.
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
        factor = torch.tensor(_factor(drawn.parameters.weights[layer - 1], at, delta))

        def error(*parameters: torch.Tensor) -> torch.Tensor:
            out, biases = x, parameters[depth:]
            for i, function in enumerate(functions):
                weight = Planted.apply(parameters[i], factor) if i == layer - 1 else parameters[i]
                out = function(out @ weight + biases[i])
            return torch.nn.functional.mse_loss(out, y, reduction="sum") / 2

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that float32 will likely fail: whether it does is the question
            return not torch.autograd.gradcheck(error, given, raise_exception=False)

    return rejects


def check_grads(structure: Structure) -> Rejects:
    """`jax.test_util.check_grads` of E in reverse mode, of first order, with its defaults, by all weights and biases.

    Raises NotImplementedError where the jax adapter does not offer the structure.
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
        factors[layer - 1] = _factor(weights[layer - 1], at, delta)
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


def _factor(weight: Array, at: tuple[int, int], delta: float) -> Array:
    factor = np.ones_like(weight)
    factor[at] += weight.dtype.type(delta)
    return factor


CHECKERS: dict[str, tuple[str, Callable[[Structure], Rejects]]] = {
    "gradcheck": ("torch", gradcheck),
    "check_grads": ("jax", check_grads),
}
"""By name: the adapter whose framework each comes with, and what makes it."""
