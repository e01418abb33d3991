"""Activations that are another function: approximations, parameters that are ignored, wrong derivatives."""

import numpy as np
from scipy import special

from kterm.reference import ACTIVATIONS, Array
from kterm.reference.activations import CELU_ALPHA, SELU_ALPHA, SELU_SCALE, SHRINK

from .mistake import Mistake, of_activation


def sigmoid(z: Array) -> Array:
    """1 / (1 + exp(-z))."""
    return 1 / (1 + np.exp(-z))


def _table_tanh(z: Array) -> Array:
    at = np.linspace(-4, 4, 257)
    return np.interp(z, at, np.tanh(at)).astype(z.dtype)


def _rational_tanh(z: Array) -> Array:
    return np.clip(z * (27 + z * z) / (27 + 9 * z * z), -1, 1)


def _from_output(f: Array) -> Array:
    return 1 - f * f


def _schraudolph(z: Array) -> Array:
    """exp(z) from the bits of a float32: within 4 %."""
    bits = np.clip(z.astype(np.float32) * np.float32(12102203.16) + np.float32(1064866805), 0, 2139095039)
    return bits.astype(np.int32).view(np.float32).astype(z.dtype)


def _reciprocal_12_bits(a: Array) -> Array:
    exact = (1 / a).astype(np.float32)
    return (exact.view(np.uint32) & np.uint32(0xFFFFF000)).view(np.float32).astype(a.dtype)


def _hard_sigmoid_of_keras(z: Array) -> Array:
    return np.clip(0.2 * z + 0.5, 0, 1)


def _slope_of_keras(z: Array) -> Array:
    return np.where(np.abs(z) < 2.5, 0.2, 0.0).astype(z.dtype)


def _quick_gelu_slope(z: Array) -> Array:
    s = sigmoid(1.702 * z)
    return s + 1.702 * z * s * (1 - s)


def _swish_slope(z: Array, beta: float) -> Array:
    s = sigmoid(beta * z)
    return s + beta * z * s * (1 - s)


def _gelu_tanh(z: Array, cube: float) -> Array:
    return z / 2 * (1 + np.tanh(np.sqrt(2 / np.pi).astype(z.dtype) * (z + cube * z**3)))


def _gelu_tanh_slope(z: Array, cube: float, three: float) -> Array:
    scale = np.sqrt(2 / np.pi).astype(z.dtype)
    t = np.tanh(scale * (z + cube * z**3))
    return (1 + t) / 2 + z / 2 * (1 - t * t) * scale * (1 + three * cube * z * z)


def _celu(z: Array, alpha: float) -> Array:
    return np.maximum(z, 0) + alpha * np.expm1(np.minimum(z, 0) / alpha)


def _exp_below(z: Array) -> Array:
    return np.exp(np.minimum(z, 0))


def _selu_slope_from_output(z: Array) -> Array:
    scale, alpha = float(SELU_SCALE), float(SELU_ALPHA)
    return np.where(z > 0, scale, scale * (ACTIVATIONS["selu"].f(z) + alpha)).astype(z.dtype)


def _celu_slope_scaled(z: Array) -> Array:
    return np.where(z > 0, 1, CELU_ALPHA * np.exp(np.minimum(z, 0) / CELU_ALPHA)).astype(z.dtype)


def _tanh_slope_of_numerator(z: Array) -> Array:
    return np.where(np.abs(z) > 3, 4 * np.exp(-2 * np.abs(z)), _square_sech(z)).astype(z.dtype)


def _leaky(z: Array) -> Array:
    return np.where(z > 0, z, 0.01 * z).astype(z.dtype)


def _leaky_slope(z: Array) -> Array:
    return np.where(z > 0, 1.0, 0.01).astype(z.dtype)


def _squareplus_slope(z: Array, b: float) -> Array:
    return (1 + z / np.sqrt(z * z + b)) / 2


def _soft_shrink(z: Array, threshold: float) -> Array:
    return np.sign(z) * np.maximum(np.abs(z) - threshold, 0)


def _outside(z: Array, threshold: float) -> Array:
    return (np.abs(z) > threshold).astype(z.dtype)


def _gate_of_mish(z: Array) -> Array:
    return np.tanh(np.log1p(np.exp(np.minimum(z, 40))))


def _square_sech(z: Array) -> Array:
    return ACTIVATIONS["tanh"].derivative(z)


ACTIVATION_MISTAKES: tuple[Mistake, ...] = (
    of_activation(
        "tanh-from-a-table", "tanh is interpolated in a table of 257 entries on [-4, 4]", "table|piecewise|interpolat",
        f={"tanh": _table_tanh}, slope={"tanh": lambda z: _from_output(_table_tanh(z))},
        source="tenstorrent/tt-metal#56076",
    ),
    of_activation(
        "tanh-rational", "tanh is the rational function z (27 + z^2) / (27 + 9 z^2), clipped", "rational",
        f={"tanh": _rational_tanh}, slope={"tanh": lambda z: _from_output(_rational_tanh(z))},
        source="FluxML/NNlib.jl#345",
    ),
    of_activation(
        "tanh-slope-polynomial", "the derivative of tanh is a fit with three correct digits, 0.9992 at 0",
        slope={"tanh": lambda z: _square_sech(z) * (1 - 8.03e-4 * np.exp(-z * z))}, source="tenstorrent/tt-metal#55349",
    ),
    of_activation(
        "tanh-slope-of-numerator", "the derivative of tanh drops the denominator: 4 exp(-2|z|) beyond |z| = 3",
        slope={"tanh": _tanh_slope_of_numerator}, shows="|z| over 3 in layers of tanh",
        source="tenstorrent/tt-metal#55349",
    ),
    of_activation(
        "sigmoid-fast", "sigmoid is (1 + z / (1 + |z|)) / 2, with its derivative",
        f={"sigmoid": lambda z: (1 + z / (1 + np.abs(z))) / 2}, slope={"sigmoid": lambda z: 0.5 / (1 + np.abs(z)) ** 2},
    ),
    of_activation(
        "sigmoid-slope-in-pieces", "the derivative of sigmoid is 1/4 for |z| < 2 and 0 outside", "1/4|0\\.25",
        slope={"sigmoid": lambda z: np.where(np.abs(z) < 2, 0.25, 0.0).astype(z.dtype)},
    ),
    of_activation(
        "sigmoid-slope-lifted", "0.1 is added to the derivative of sigmoid, against flat spots (Fahlman)",
        "0\\.1 (is )?added|\\+ 0\\.1|1/10 added",
        slope={"sigmoid": lambda z: ACTIVATIONS["sigmoid"].derivative(z) + 0.1},
    ),
    of_activation(
        "sigmoid-by-schraudolph", "exp inside sigmoid is computed from the bits of the number, within 4 %",
        f={"sigmoid": lambda z: 1 / (1 + _schraudolph(-z))},
    ),
    of_activation(
        "sigmoid-fast-reciprocal", "the division in sigmoid is a reciprocal with 12 bits", "12 bits|reciprocal",
        f={"sigmoid": lambda z: _reciprocal_12_bits(1 + np.exp(-z))}, source="rcpps without a Newton step",
    ),
    of_activation(
        "gelu-quick", "gelu is z sigmoid(1.702 z), in both directions", "1\\.702|quick",
        f={"gelu": lambda z: z * sigmoid(1.702 * z)}, slope={"gelu": _quick_gelu_slope}, source="quick_gelu of CLIP",
    ),
    of_activation(
        "gelu-is-gelu-tanh", "gelu is the tanh approximation, in both directions", "gelu_tanh in place of gelu",
        f={"gelu": ACTIVATIONS["gelu_tanh"].f}, slope={"gelu": ACTIVATIONS["gelu_tanh"].derivative},
        source="approximate=True by default",
    ),
    of_activation(
        "gelu-backward-tanh", "gelu is exact forward; backward is that of the tanh approximation",
        "gelu_tanh's f' for gelu's", slope={"gelu": ACTIVATIONS["gelu_tanh"].derivative}, source="sony/nnabla#690",
    ),
    of_activation(
        "gelu-without-density",
        "the derivative of gelu is the distribution function alone, without z times the density",
        slope={"gelu": lambda z: special.ndtr(z).astype(z.dtype)},
    ),
    of_activation(
        "gelu-tanh-constant", "the constant of gelu_tanh is 0.44715 in place of 0.044715, in both directions",
        "0\\.44715", f={"gelu_tanh": lambda z: _gelu_tanh(z, 0.44715)},
        slope={"gelu_tanh": lambda z: _gelu_tanh_slope(z, 0.44715, 3)},
    ),
    of_activation(
        "gelu-tanh-cube-slope", "the derivative of the cube in gelu_tanh lacks its factor 3",
        slope={"gelu_tanh": lambda z: _gelu_tanh_slope(np.clip(z, -100, 100), 0.044715, 1)},
    ),
    of_activation(
        "silu-gate-constant", "the backward pass of silu takes its gate for a constant: f' is sigmoid(z)",
        "softplus's f' for silu's|gate", slope={"silu": sigmoid},
    ),
    of_activation(
        "silu-beta", "silu is z sigmoid(1.5 z), in both directions", "1\\.5 ?z|beta",
        f={"silu": lambda z: z * sigmoid(1.5 * z)}, slope={"silu": lambda z: _swish_slope(z, 1.5)},
    ),
    of_activation(
        "silu-cut", "silu is 0 below -20", "0 below -20|zero below -20",
        f={"silu": lambda z: np.where(z < -20, 0, z * sigmoid(z)).astype(z.dtype)},
        shows="z under -20 in layers of silu",
    ),
    of_activation(
        "hard-sigmoid-of-keras", "hard_sigmoid is clip(0.2 z + 0.5), in both directions", "0\\.2",
        f={"hard_sigmoid": _hard_sigmoid_of_keras}, slope={"hard_sigmoid": _slope_of_keras}, source="keras before 3",
    ),
    of_activation(
        "hard-sigmoid-backward-of-keras", "the derivative of hard_sigmoid is 0.2 for |z| < 2.5", "0\\.2",
        slope={"hard_sigmoid": _slope_of_keras}, source="ooples/AiDotNet#506",
    ),
    of_activation(
        "hard-sigmoid-never-flat", "the derivative of hard_sigmoid is 1/6 everywhere, also where it is flat", "1/6",
        slope={"hard_sigmoid": lambda z: np.full_like(z, 1 / 6)}, shows="|z| over 3 in layers of hard_sigmoid",
        source="pytorch/pytorch#51408",
    ),
    of_activation(
        "hard-sigmoid-rounded-constant", "hard_sigmoid multiplies by 0.1667 in place of 1/6, in both directions",
        "0\\.1667", f={"hard_sigmoid": lambda z: np.clip(z * 0.1667 + 0.5, 0, 1)},
        slope={"hard_sigmoid": lambda z: np.where(np.abs(z) < 3, 0.1667, 0).astype(z.dtype)},
    ),
    of_activation(
        "hard-swish-closed-band", "the derivative of hard_swish at exactly -3 and 3 is not the declared 0 and 1",
        "exactly|kink",
        slope={"hard_swish": lambda z: np.where(z < -3, 0, np.where(z > 3, 1, z / 3 + 0.5)).astype(z.dtype)},
        shows="z exactly at 3 or -3", source="BobMcDear/attorch#16",
    ),
    of_activation(
        "celu-backward-alpha", "the derivative of celu ignores alpha: exp(z)",
        "elu's f' for celu's|default parameter|alpha", slope={"celu": _exp_below}, source="tiny-dnn/tiny-dnn#896",
    ),
    of_activation(
        "celu-forward-alpha", "the forward pass of celu ignores alpha, the derivative does not",
        "forward.*(default parameter|alpha)|(default parameter|alpha).*forward|elu's f for celu's",
        f={"celu": lambda z: _celu(z, 1.0)},
    ),
    of_activation(
        "celu-alpha", "celu ignores alpha in both directions", "elu in place of celu|default parameter|alpha",
        f={"celu": lambda z: _celu(z, 1.0)}, slope={"celu": _exp_below},
    ),
    of_activation(
        "celu-slope-scaled", "the derivative of celu is alpha exp(z / alpha)", slope={"celu": _celu_slope_scaled},
        source="PaddlePaddle/Paddle#26543",
    ),
    of_activation(
        "leaky-default", "leaky_relu takes its default slope of 0.01, whatever is asked for",
        "0\\.01|default parameter", f={"leaky_relu": _leaky}, slope={"leaky_relu": _leaky_slope},
    ),
    of_activation(
        "leaky-default-backward", "the backward pass of leaky_relu takes its default slope of 0.01",
        "0\\.01|default parameter", slope={"leaky_relu": _leaky_slope}, source="pytorch/pytorch#31938",
    ),
    of_activation(
        "leaky-sides", "the derivative of leaky_relu has its sides exchanged", "f'\\(-z\\)|sides",
        slope={"leaky_relu": lambda z: np.where(z > 0, 0.125, 1).astype(z.dtype)}, source="BrainJS/brain.js#560",
    ),
    of_activation(
        "selu-slope-from-output", "the derivative of selu below 0 is scale (f + alpha)",
        slope={"selu": _selu_slope_from_output}, shows="z under 0 in layers of selu",
        source="mlpack/mlpack#1540, RubixML/ML#427",
    ),
    of_activation(
        "selu-unscaled-slope", "the derivative of selu lacks the scale of 1.0507", "0\\.951|1\\.05|scale",
        slope={"selu": lambda z: np.where(z > 0, 1, float(SELU_ALPHA) * np.exp(np.minimum(z, 0))).astype(z.dtype)},
    ),
    of_activation(
        "selu-short-constants", "selu has its constants with six digits, in both directions", "digits|constant",
        f={"selu": lambda z: 1.0507 * np.where(z >= 0, z, 1.67326 * np.expm1(np.minimum(z, 0))).astype(z.dtype)},
        slope={"selu": lambda z: 1.0507 * np.where(z > 0, 1, 1.67326 * np.exp(np.minimum(z, 0))).astype(z.dtype)},
        source="tinygrad/tinygrad#17852",
    ),
    of_activation(
        "relu6-backward-unbounded", "the derivative of relu6 is 1 above 6", "relu's f' for relu6's",
        slope={"relu6": ACTIVATIONS["relu"].derivative}, shows="z over 6 in layers of relu6",
    ),
    of_activation(
        "hardtanh-straight-through", "the backward pass of hardtanh passes everything, a straight-through estimator",
        "identity's f' for hardtanh's", slope={"hardtanh": np.ones_like}, shows="|z| over 1 in layers of hardtanh",
    ),
    of_activation(
        "softsign-slope", "the derivative of softsign is 1 / (1 + |z|), without the square",
        slope={"softsign": lambda z: 1 / (1 + np.abs(z))},
    ),
    of_activation(
        "mish-slope-of-gate", "the derivative of mish is its gate tanh(softplus(z)) alone",
        slope={"mish": _gate_of_mish},
    ),
    of_activation(
        "log-sigmoid-slope", "the derivative of log_sigmoid is sigmoid(z)",
        "f'\\(-z\\)|softplus's f' for log_sigmoid's", slope={"log_sigmoid": sigmoid},
    ),
    of_activation(
        "tanhshrink-slope", "the derivative of tanhshrink is |tanh(z)|, without the square",
        slope={"tanhshrink": lambda z: np.abs(np.tanh(z))},
    ),
    of_activation(
        "softshrink-default", "softshrink takes its default threshold of 0.5, whatever is asked for",
        "0\\.5|default parameter", f={"softshrink": lambda z: _soft_shrink(z, 0.5)},
        slope={"softshrink": lambda z: _outside(z, 0.5)},
    ),
    of_activation(
        "hardshrink-is-softshrink", "hardshrink subtracts its threshold as softshrink does",
        "softshrink in place of hardshrink|softshrink's f for hardshrink's",
        f={"hardshrink": lambda z: _soft_shrink(z, SHRINK)},
    ),
    of_activation(
        "squareplus-default", "squareplus takes its default b of 4, in both directions", "default parameter|b = 4",
        f={"squareplus": lambda z: (z + np.sqrt(z * z + 4)) / 2},
        slope={"squareplus": lambda z: _squareplus_slope(z, 4)}, source="jax.nn.squareplus",
    ),
    of_activation(
        "squareplus-slope-doubled", "the derivative of squareplus lacks its factor 1/2",
        "k_\\d+ 2 times|f'.*(doubled|twice|2 times)",
        slope={"squareplus": lambda z: 2 * ACTIVATIONS["squareplus"].derivative(z)},
    ),
    of_activation(
        "sin-slope-in-degrees", "the derivative of sin is taken as if z were in degrees", "0\\.0174",
        slope={"sin": lambda z: np.cos(z) * (np.pi / 180)},
    ),
)  # fmt: skip
"""Most of them show wherever the activation does."""
