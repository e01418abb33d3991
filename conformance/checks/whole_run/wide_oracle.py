"""The rule, one step at a time, in the machine's widest float: what results in float64 are compared with.

A framework in float64 rounds as an oracle in float64 does, so against that oracle its errors are often exactly zero,
whatever its bias. `np.longdouble` has 64 bits of significand on x86, 113 on 64-bit Arm under Linux, and 53, no more
than float64, on Windows and macOS.
"""

from collections.abc import Mapping
from functools import cache

import numpy as np

from ....reference import ACTIVATIONS, Array, Parameters, Structure
from ....reference.propagation import Quantity

LEAST_BITS = 63
"""Bits of the significand that the wide float needs, so that its rounding errors are below 2^-10 of those of float64.
"""


@cache
def has_wider_float() -> bool:
    """Whether the machine has a float that is wide enough."""
    return np.finfo(np.longdouble).nmant >= LEAST_BITS


def compute_wide(
    structure: Structure, parameters: Parameters, x: Array, views: Mapping[str, Array], step: Quantity, count: int
) -> Array:
    """The quantity of one step from the given and shown values that enter it, in longdouble. All arrays are stacks, and
    the first `count` draws are taken.
    """
    i, network = step.layer, structure.network

    def wide(array: Array) -> Array:
        return array[:count].astype(np.longdouble)

    def shown(name: str) -> Array:
        return wide(x if name == "x_0" else views[name])

    def side() -> Array:
        return shown(f"k_{i + 1}") @ wide(parameters.weights[i]).mT

    def with_bias(value: Array, where: str) -> Array:
        return value + wide(parameters.biases[i - 1])[:, None, :] if network.bias == where else value

    match step.symbol:
        case "z":
            return with_bias(shown(f"x_{i - 1}") @ wide(parameters.weights[i - 1]), "pre")
        case "x":
            return with_bias(ACTIVATIONS[network.activations[i - 1]].f(shown(f"z_{i}")), "post")
        case "k":
            return side() * ACTIVATIONS[network.activations[i - 1]].derivative(shown(f"z_{i}"))
        case "W":
            return shown(f"x_{i - 1}").mT @ shown(f"k_{i}")
        case "b":
            return (shown(f"k_{i}") if network.bias == "pre" else side()).sum(-2)
        case other:
            raise ValueError(f"{other!r} is not compared over a run")
