"""What the adapters of JAX and of libraries on it share: the activation table, and what JAX offers here."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ....reference import DTYPES, Array, Parameters, Structure
from ...base import Observation, Program
from ...scripts.script import Call
from .tensors import TensorAdapter

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


def set_precision(wanted: bool) -> AbstractContextManager[None]:
    # In a scope: the global setting would change the types of everything else that this process computes with JAX.
    home = jax if hasattr(jax, "enable_x64") else import_module("jax.experimental")  # its place before JAX 0.8
    return home.enable_x64(wanted)


class JaxAdapter(TensorAdapter):
    """What adapters declare whose numbers JAX computes, and where and how precisely it computes them."""

    version = jax.__version__
    framework = "jax"
    framework_version = jax.__version__
    dtypes: tuple[str, ...] = tuple(DTYPES)
    activations = ACTIVATIONS
    slopes_at_kinks = SLOPES_AT_KINKS
    to_array = staticmethod(np.asarray)

    def devices(self) -> tuple[str, ...]:
        found = {f"{device.platform}:{device.id}" for device in (*jax.devices("cpu"), *jax.devices())}
        return tuple(sorted(found | {name.split(":")[0] for name in found}))

    def place(self) -> Any:
        """The device that programs run on."""
        platform, _, index = self.device.partition(":")
        return next(d for d in jax.devices(platform) if not index or d.id == int(index))

    def build(self, structure: Structure) -> Program:
        wide, device = structure.dtype == "f64", self.place()
        with set_precision(wide), jax.default_device(device):
            native = super().build(structure)

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            with set_precision(wide), jax.default_device(device):
                return native(parameters, x, y)

        return program
