"""JAX: `grad` of a pure function, in three ways: compiled, operation by operation, and mapped over a batch."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..reference import DTYPES, Array, Bias, Parameters, Structure
from .base import Adapter, Function, Observation, Program
from .scripts.jax_script import jax_script
from .scripts.script import Call, Script

Arrays = Sequence[jax.Array]


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
    # JAX has no function of its own for these two. At their kinks the slope is that of relu, or of the branch that
    # `where` takes.
    "softshrink": {-0.75: 0, 0.75: 0},
    "hardshrink": {-0.75: 0, 0.75: 0},
}
"""Every kink of every activation. JAX takes one slope at each, the same in all four dtypes, with and without `jit`."""


def make_squared_error(activations: Sequence[Function], bias: Bias) -> Function:
    """Make the function to differentiate for one structure. Programs call it, and scripts show its source."""

    def squared_error(weights: Arrays, biases: Arrays, shifts: Arrays, x: jax.Array, y: jax.Array) -> tuple:
        # The shifts are zeros. The gradient with respect to them is k_i = dE/dz_i.
        zs, xs, out = [], [], x
        for i, activation in enumerate(activations):
            z = out @ weights[i] + shifts[i]
            if bias == "pre":
                z = z + biases[i]
            out = activation(z)
            if bias == "post":
                out = out + biases[i]
            zs.append(z)
            xs.append(out)
        E = jnp.sum(jnp.square(out - y)) / 2
        return E, (E, zs, xs)

    return squared_error


# Three ways to take the gradients. Scripts show the source of these functions too.


def compile_gradients(squared_error: Function) -> Function:
    return jax.jit(jax.grad(squared_error, argnums=(0, 1, 2), has_aux=True))


def run_gradients_eagerly(squared_error: Function) -> Function:
    gradients = jax.grad(squared_error, argnums=(0, 1, 2), has_aux=True)

    def run_each_operation(*given: Any) -> tuple:
        # NumPy would compute the operations between NumPy arrays.
        return gradients(*jax.device_put(given))

    return run_each_operation


def map_gradients(squared_error: Function) -> Function:
    each = jax.vmap(jax.grad(squared_error, argnums=(0, 1, 2), has_aux=True), in_axes=(None, None, 0, 0, 0))

    def summed(*given: Any) -> tuple:
        (dW, db, ks), (E, zs, xs) = each(*given)
        dW, db, E = jax.tree.map(lambda part: part.sum(0), (dW, db, E))
        return (dW, db, ks), (E, zs, xs)

    return jax.jit(summed)


def set_precision(wanted: bool) -> AbstractContextManager[None]:
    # In a scope: the global setting would change the types of everything else that this process computes with JAX.
    home = jax if hasattr(jax, "enable_x64") else import_module("jax.experimental")  # its place before JAX 0.8
    return home.enable_x64(wanted)


def _own(array: Array) -> Array:
    return np.array(array, order="C")


class Jax(Adapter):
    """`jit(grad(E))`, compiled once for a structure. k_i is the gradient with respect to zeros that are added to z_i.

    Products have JAX's default precision, since that is what its users run. On a GPU it may be lower than the dtype's.
    """

    name = "jax"
    zero_width = True
    version = jax.__version__
    framework = "jax"
    framework_version = jax.__version__
    dtypes: tuple[str, ...] = tuple(DTYPES)
    activations = ACTIVATIONS
    slopes_at_kinks = SLOPES_AT_KINKS
    make_gradients = staticmethod(compile_gradients)

    def devices(self) -> tuple[str, ...]:
        found = {f"{device.platform}:{device.id}" for device in (*jax.devices("cpu"), *jax.devices())}
        return tuple(sorted(found | {name.split(":")[0] for name in found}))

    def _place(self) -> Any:
        platform, _, index = self.device.partition(":")
        return next(d for d in jax.devices(platform) if not index or d.id == int(index))

    def make_backpropagate(self, structure: Structure) -> Function:
        """Make the function of (weights, biases, shifts, x, y) that gives ((dE/dW, dE/db, k), (E, z, x)).

        Libraries that are built on JAX give their own.
        """
        return self.make_gradients(make_squared_error(self.functions(structure), structure.network.bias))

    def build(self, structure: Structure) -> Program:
        wide, device, backpropagate = structure.dtype == "f64", self._place(), self.make_backpropagate(structure)
        shifts = tuple(np.zeros((structure.batch, n), structure.format.numpy) for n in structure.network.widths[1:])

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            # JAX may share the memory of its arguments, so it gets copies, in C order.
            weights, biases = (tuple(map(_own, part)) for part in (parameters.weights, parameters.biases))
            with set_precision(wide), jax.default_device(device):
                answer = jax.device_get(backpropagate(weights, biases, shifts, _own(x), _own(y)))
            (by_weight, by_bias, k), (error, zs, xs) = answer
            return Observation(xs[-1], error, tuple(by_weight), tuple(by_bias), z=tuple(zs), x=tuple(xs), k=tuple(k))

        return program

    def script(self, structure: Structure) -> Script:
        # A script does not name the device that JAX takes by default.
        device = "" if self._place() == jax.devices()[0] else self.device
        squared_error = make_squared_error((), structure.network.bias)
        return jax_script(structure, self.spell, device, squared_error, self.make_gradients)


class JaxEager(Jax):
    """The same function, not compiled: JAX runs each operation by itself."""

    name = "jax-eager"
    max_structures: int | None = 6
    make_gradients = staticmethod(run_gradients_eagerly)


class JaxVmap(Jax):
    """The gradients of single examples by `vmap`, summed over the batch inside the compiled function."""

    name = "jax-vmap"
    make_gradients = staticmethod(map_gradients)
