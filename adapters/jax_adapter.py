"""JAX: `grad` of a pure function, compiled as its users run it, op by op, and mapped over the examples of a batch."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..reference import DTYPES, Array, Parameters, Structure
from ._jax_script import COMPILED, EAGER, MAPPED, jax_script
from .base import Adapter, Observation, Program
from .script import Call, Script

Function = Callable[..., Any]


def _softshrink(z: jax.Array, threshold: float) -> jax.Array:
    return jnp.sign(z) * jax.nn.relu(jnp.abs(z) - threshold)


def _hardshrink(z: jax.Array, threshold: float) -> jax.Array:
    return jnp.where(jnp.abs(z) > threshold, z, 0)


ACTIVATIONS: Mapping[str, Call] = {
    "identity": Call(jax.nn.identity, "jax.nn.identity"),
    "sigmoid": Call(jax.nn.sigmoid, "jax.nn.sigmoid"),
    "tanh": Call(jax.nn.tanh, "jax.nn.tanh"),
    "relu": Call(jax.nn.relu, "jax.nn.relu"),
    "leaky_relu": Call(jax.nn.leaky_relu, "jax.nn.leaky_relu", renamed={"slope": "negative_slope"}),
    "relu6": Call(jax.nn.relu6, "jax.nn.relu6"),
    "hardtanh": Call(jax.nn.hard_tanh, "jax.nn.hard_tanh"),
    "hard_sigmoid": Call(jax.nn.hard_sigmoid, "jax.nn.hard_sigmoid"),
    "hard_swish": Call(jax.nn.hard_swish, "jax.nn.hard_swish"),
    "elu": Call(jax.nn.elu, "jax.nn.elu"),
    "selu": Call(jax.nn.selu, "jax.nn.selu"),
    "celu": Call(jax.nn.celu, "jax.nn.celu"),
    "softplus": Call(jax.nn.softplus, "jax.nn.softplus"),
    "softsign": Call(jax.nn.soft_sign, "jax.nn.soft_sign"),
    "silu": Call(jax.nn.silu, "jax.nn.silu"),
    "gelu": Call(jax.nn.gelu, "jax.nn.gelu", {"approximate": False}),
    "gelu_tanh": Call(jax.nn.gelu, "jax.nn.gelu", {"approximate": True}),
    "mish": Call(jax.nn.mish, "jax.nn.mish"),
    "log_sigmoid": Call(jax.nn.log_sigmoid, "jax.nn.log_sigmoid"),
    "tanhshrink": Call(lambda z: z - jnp.tanh(z), expression="z - jnp.tanh(z)"),
    "softshrink": Call(_softshrink, expression="jnp.sign(z) * jax.nn.relu(jnp.abs(z) - threshold)"),
    "hardshrink": Call(_hardshrink, expression="jnp.where(jnp.abs(z) > threshold, z, 0)"),
    "squareplus": Call(jax.nn.squareplus, "jax.nn.squareplus"),
    "sin": Call(jnp.sin, "jnp.sin"),
}

SLOPES_AT_KINKS: Mapping[str, Mapping[float, float]] = {
    "relu": {0: 0},
    "leaky_relu": {0: 1},
    "relu6": {0: 0, 6: 0},
    "hardtanh": {-1: 1, 1: 1},
    "hard_sigmoid": {-3: 0, 3: 0},
    "hard_swish": {-3: 0, 3: 1},
    "selu": {0: 1.7580993408473766},  # from the left: scale * alpha
    # Composed above; at the kink the slope is relu's, or that of the branch that `where` takes.
    "softshrink": {-0.75: 0, 0.75: 0},
    "hardshrink": {-0.75: 0, 0.75: 0},
}
"""Every kink of the table: JAX gives one slope at each, the same in all four dtypes, with and without `jit`."""


def _x64(wanted: bool) -> AbstractContextManager[None]:
    # A scope and not the global setting, which would change the type of whatever else this process computes with JAX.
    home = jax if hasattr(jax, "enable_x64") else import_module("jax.experimental")  # where it was before JAX 0.8
    return home.enable_x64(wanted)


def _own(array: Array) -> Array:
    return np.array(array, order="C")


class Jax(Adapter):
    """`jit(grad(E))`, compiled once a structure; k_i is the gradient with respect to zeros added to z_i.

    Products have JAX's default precision, which is what its users run: on a GPU it may be below the dtype's own.
    """

    name = "jax"
    version = jax.__version__
    dtypes: tuple[str, ...] = tuple(DTYPES)
    activations = ACTIVATIONS
    slopes_at_kinks = SLOPES_AT_KINKS
    way = COMPILED

    def devices(self) -> tuple[str, ...]:
        found = {f"{device.platform}:{device.id}" for device in (*jax.devices("cpu"), *jax.devices())}
        return tuple(sorted(found | {name.split(":")[0] for name in found}))

    def gradients(self, squared_error: Function) -> Function:
        """From (weights, biases, shifts, x, y) to the gradients by the first three, and the rest of what is given."""
        return jax.grad(squared_error, argnums=(0, 1, 2), has_aux=True)

    def compiled(self, function: Function) -> Function:
        """`function` as it is called."""
        return jax.jit(function)

    def script(self, structure: Structure) -> Script:
        # Where JAX would compute without being told goes without saying.
        device = "" if self._place() == jax.devices()[0] else self.device
        return jax_script(structure, self.spell, device, self.way)

    def _place(self) -> Any:
        platform, _, index = self.device.partition(":")
        return next(d for d in jax.devices(platform) if not index or d.id == int(index))

    def build(self, structure: Structure) -> Program:
        network, functions, wide = structure.network, self.functions(structure), structure.dtype == "f64"
        device = self._place()
        zeros = tuple(np.zeros((structure.batch, n), structure.format.numpy) for n in network.widths[1:])

        def squared_error(weights: Any, biases: Any, shifts: Any, x: Any, y: Any) -> tuple:
            zs, xs, out = [], [], x
            for i, function in enumerate(functions):
                z = out @ weights[i] + shifts[i]
                if network.bias == "pre":
                    z = z + biases[i]
                out = function(z)
                if network.bias == "post":
                    out = out + biases[i]
                zs.append(z)
                xs.append(out)
            error = jnp.sum(jnp.square(out - y)) / 2
            return error, (error, tuple(zs), tuple(xs))

        gradients = self.compiled(self.gradients(squared_error))

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            # JAX may share the memory of what it is given: it gets copies, in C order.
            weights, biases = (tuple(map(_own, part)) for part in (parameters.weights, parameters.biases))
            with _x64(wide), jax.default_device(device):
                answer = jax.device_get(gradients(weights, biases, zeros, _own(x), _own(y)))
            (by_weight, by_bias, k), (error, z, xs) = answer
            return Observation(xs[-1], error, by_weight, by_bias, z=z, x=xs, k=k)

        return program


class JaxEager(Jax):
    """The same function, not compiled: each primitive is dispatched by itself."""

    name = "jax-eager"
    max_structures: int | None = 6
    way = EAGER

    def compiled(self, function: Function) -> Function:
        return lambda *given: function(*jax.device_put(given))  # or what is left to Python would be NumPy's


class JaxVmap(Jax):
    """Gradients of single examples by `vmap`, summed over the batch inside the compiled function."""

    name = "jax-vmap"
    way = MAPPED

    def gradients(self, squared_error: Function) -> Function:
        each = jax.vmap(super().gradients(squared_error), in_axes=(None, None, 0, 0, 0))

        def summed(*given: Any) -> tuple:
            (by_weight, by_bias, k), (error, z, x) = each(*given)
            by_weight, by_bias, error = jax.tree.map(lambda part: part.sum(0), (by_weight, by_bias, error))
            return (by_weight, by_bias, k), (error, z, x)

        return summed
