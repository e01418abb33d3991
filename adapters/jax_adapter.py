"""JAX: `grad` of a pure function, compiled as its users run it, op by op, and mapped over the examples of a batch."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..reference import DTYPES, Array, Parameters, Structure
from .base import Adapter, Observation, Program

Function = Callable[..., Any]

ACTIVATIONS: Mapping[str, Function] = {
    "identity": jax.nn.identity,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jax.nn.tanh,
    "relu": jax.nn.relu,
    "leaky_relu": lambda z, slope: jax.nn.leaky_relu(z, negative_slope=slope),
    "relu6": jax.nn.relu6,
    "hardtanh": jax.nn.hard_tanh,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "hard_swish": jax.nn.hard_swish,
    "elu": jax.nn.elu,
    "selu": jax.nn.selu,
    "celu": jax.nn.celu,
    "softplus": jax.nn.softplus,
    "softsign": jax.nn.soft_sign,
    "silu": jax.nn.silu,
    "gelu": lambda z: jax.nn.gelu(z, approximate=False),
    "gelu_tanh": lambda z: jax.nn.gelu(z, approximate=True),
    "mish": jax.nn.mish,
    "log_sigmoid": jax.nn.log_sigmoid,
    "tanhshrink": lambda z: z - jnp.tanh(z),
    "softshrink": lambda z, threshold: jnp.sign(z) * jax.nn.relu(jnp.abs(z) - threshold),
    "hardshrink": lambda z, threshold: jnp.where(jnp.abs(z) > threshold, z, 0),
    "squareplus": jax.nn.squareplus,
    "sin": jnp.sin,
}


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
    dtypes: tuple[str, ...] = tuple(DTYPES)
    activations = ACTIVATIONS

    def devices(self) -> tuple[str, ...]:
        found = {f"{device.platform}:{device.id}" for device in (*jax.devices("cpu"), *jax.devices())}
        return tuple(sorted(found | {name.split(":")[0] for name in found}))

    @property
    def version(self) -> str:
        return jax.__version__

    def gradients(self, squared_error: Function) -> Function:
        """From (weights, biases, shifts, x, y) to the gradients by the first three, and the rest of what is given."""
        return jax.grad(squared_error, argnums=(0, 1, 2), has_aux=True)

    def compiled(self, function: Function) -> Function:
        """`function` as it is called."""
        return jax.jit(function)

    def build(self, structure: Structure) -> Program:
        network, functions, wide = structure.network, self.functions(structure), structure.dtype == "f64"
        platform, _, index = self.device.partition(":")
        device = next(d for d in jax.devices(platform) if not index or d.id == int(index))
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

    def compiled(self, function: Function) -> Function:
        return lambda *given: function(*jax.device_put(given))  # or what is left to Python would be NumPy's


class JaxVmap(Jax):
    """Gradients of single examples by `vmap`, summed over the batch inside the compiled function."""

    name = "jax-vmap"

    def gradients(self, squared_error: Function) -> Function:
        each = jax.vmap(super().gradients(squared_error), in_axes=(None, None, 0, 0, 0))

        def summed(*given: Any) -> tuple:
            (by_weight, by_bias, k), (error, z, x) = each(*given)
            by_weight, by_bias, error = jax.tree.map(lambda part: part.sum(0), (by_weight, by_bias, error))
            return (by_weight, by_bias, k), (error, z, x)

        return summed
