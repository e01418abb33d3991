"""Activations that are right in the middle: formulas that overflow, cancel or are cut, or are wrong at one point."""

import numpy as np

from kterm.reference import ACTIVATIONS, Array, Structure
from kterm.reference.activations import CELU_ALPHA

from .activations import sigmoid
from .engine import Engine
from .mistake import Mistake, mistake, of_activation


def _softplus_threshold(z: Array) -> Array:
    return np.where(z > 20, z, np.log1p(np.exp(np.minimum(z, 20)))).astype(z.dtype)


def _softplus_threshold_slope(z: Array) -> Array:
    return np.where(z > 20, 1, sigmoid(z)).astype(z.dtype)


def _tanh_quotient(z: Array) -> Array:
    e = np.exp(2 * z)
    return (e - 1) / (e + 1)


def _tanh_of_exps(z: Array) -> Array:
    a, b = np.exp(z), np.exp(-z)
    return (a - b) / (a + b)


def _clipped(limit: float) -> "_Clip":
    return _Clip(limit)


class _Clip:
    """sigmoid of z held between -limit and limit."""

    def __init__(self, limit: float) -> None:
        self.limit = limit

    def __call__(self, z: Array) -> Array:
        return sigmoid(np.clip(z, -self.limit, self.limit))

    def slope(self, z: Array) -> Array:
        """s (1 - s) of it."""
        s = self(z)
        return s * (1 - s)


def _elu_untaken(z: Array) -> Array:
    # d/dz of where(z > 0, z, exp(z) - 1): the other branch is multiplied by 0, also where it is infinite.
    taken = (z > 0).astype(z.dtype)
    return taken + (1 - taken) * np.exp(z)


def _mish_overflow(z: Array) -> Array:
    e = np.exp(z)
    omega = 4 * (z + 1) + 4 * e * e + e**3 + e * (4 * z + 6)
    delta = 2 * e + e * e + 2
    return e * omega / (delta * delta)


def _silu_slope_of_output(z: Array) -> Array:
    out = z * sigmoid(z)
    s = out / z
    return s + out * (1 - s)


def _elu_seam(z: Array) -> Array:
    return np.where(z > 0, 1, np.where(z < 0, np.exp(np.minimum(z, 0)), 0)).astype(z.dtype)


def _celu_seam(z: Array) -> Array:
    return np.where(z > 0, 1, np.where(z < 0, np.exp(np.minimum(z, 0) / CELU_ALPHA), 0)).astype(z.dtype)


def _at_zero(name: str, value: float) -> "_AtZero":
    return _AtZero(name, value)


class _AtZero:
    """A derivative that is another number at exactly 0."""

    def __init__(self, name: str, value: float) -> None:
        self.name, self.value = name, value

    def __call__(self, z: Array) -> Array:
        return np.where(z == 0, self.value, ACTIVATIONS[self.name].derivative(z)).astype(z.dtype)


def _gelu_of_erf_tail(z: Array) -> Array:
    return np.where(np.abs(z) > 3, np.maximum(z, 0), ACTIVATIONS["gelu"].f(z)).astype(z.dtype)


def _gelu_cut_slope(z: Array) -> Array:
    return np.where(np.abs(z) > 3, z > 0, ACTIVATIONS["gelu"].derivative(z)).astype(z.dtype)


def _soft_cut(z: Array) -> Array:
    return np.where(z < -17, 0, ACTIVATIONS["softplus"].f(z)).astype(z.dtype)


class SoftplusSlopeOfOutput(Engine):
    """softplus differentiates from its output, as relu may: sigmoid(f(z)). PaddlePaddle/Paddle#18678."""

    def slope(self, name: str, z: Array) -> Array:
        return sigmoid(self.f(name, z)) if name == "softplus" else super().slope(name, z)


class SoftsignSlopeOfOutput(Engine):
    """softsign differentiates with its output in place of its input: 1 / (1 + |f(z)|)^2."""

    def slope(self, name: str, z: Array) -> Array:
        return 1 / (1 + np.abs(self.f(name, z))) ** 2 if name == "softsign" else super().slope(name, z)


class HardSwishGradOfGrad(Engine):
    """The derivative of hard_swish calls relu6 on the gradient in place of the input. tensorflow/swift-apis#743."""

    def activate_backward(self, i: int, s: Array) -> Array:
        if self.names[i] != "hard_swish":
            return super().activate_backward(i, s)
        z = self.z[i]
        inside = np.where(np.abs(z) < 3, s, 0)
        return ((np.clip(s + 3, 0, 6) + inside * z) / 6).astype(self.dtype)


class SaturatedUnitsFrozen(Engine):
    """Units of sigmoid and tanh whose output is within 0.05 of an end pass nothing back."""

    def slope(self, name: str, z: Array) -> Array:
        d = super().slope(name, z)
        if name not in ("sigmoid", "tanh"):
            return d
        f = self.f(name, z)
        low = 0.0 if name == "sigmoid" else -1.0
        return np.where((f > 0.95) | (f < low + 0.05), 0, d).astype(self.dtype)


class DeadReluLeaks(Engine):
    """relu passes 0.01 of the error back where it is off, in the backward pass alone."""

    def __init__(self, structure: Structure) -> None:
        super().__init__(structure)

    def slope(self, name: str, z: Array) -> Array:
        d = super().slope(name, z)
        return np.where(d == 0, 0.01, d).astype(self.dtype) if name == "relu" else d


class SlopeFloor(Engine):
    """No derivative is less than 1e-3 in size, so that nothing vanishes."""

    def slope(self, name: str, z: Array) -> Array:
        d = super().slope(name, z)
        return np.where(np.abs(d) < 1e-3, 1e-3, d).astype(self.dtype)


_OFF_AT_A_POINT = "z exactly 0"

TAIL_MISTAKES: tuple[Mistake, ...] = (
    of_activation(
        "softplus-threshold", "softplus is z above 20, in both directions", "threshold|above 20",
        f={"softplus": _softplus_threshold}, slope={"softplus": _softplus_threshold_slope}, dtypes=("f64",),
        shows="f64, z between 20 and 37 in layers of softplus", source="torch.nn.Softplus",
    ),
    of_activation(
        "softplus-cut", "softplus is 0 below -17", "below -17", f={"softplus": _soft_cut},
        shows="z under -17 in layers of softplus",
    ),
    of_activation(
        "softplus-naive", "softplus is log(1 + exp(z)), which overflows and loses the left tail", "log\\(1 \\+ exp",
        f={"softplus": lambda z: np.log(1 + np.exp(z))}, shows="z over 88 or far below 0 in layers of softplus",
        source="tenstorrent/tt-metal#56397",
    ),
    of_activation(
        "tanh-quotient", "tanh is (exp(2z) - 1) / (exp(2z) + 1), NaN for z over 44", "quotient",
        f={"tanh": _tanh_quotient}, shows="z over 44, or close to 0, in layers of tanh", source="FluxML/NNlib.jl#345",
    ),
    of_activation(
        "tanh-nan-to-zero", "tanh is a quotient of exponentials whose NaN is replaced by 0", "NaN|0 where",
        f={"tanh": lambda z: np.nan_to_num(_tanh_of_exps(z), nan=0.0)}, shows="|z| over 88 in layers of tanh",
    ),
    of_activation(
        "sigmoid-clipped-at-15", "z is held between -15 and 15 in sigmoid, and f' is s (1 - s) of that",
        "clip|held between", f={"sigmoid": _clipped(15)}, slope={"sigmoid": _clipped(15).slope},
        shows="|z| over 15 in layers of sigmoid",
    ),
    of_activation(
        "sigmoid-clipped-at-6", "z is held between -6 and 6 in sigmoid, forward only", "clip|held between",
        f={"sigmoid": _clipped(6)}, shows="|z| over 6 in layers of sigmoid", source="darknet and older ports",
    ),
    of_activation(
        "elu-untaken-branch", "the untaken branch of elu is exponentiated: NaN for z over 88.7",
        slope={"elu": _elu_untaken}, shows="z over 88.7 in layers of elu", source="tinygrad/tinygrad#17852",
    ),
    of_activation(
        "elu-exp-minus-1", "elu is exp(z) - 1, which cancels close to 0", "exp\\(z\\) - 1|cancel",
        f={"elu": lambda z: np.where(z > 0, z, np.exp(np.minimum(z, 0)) - 1).astype(z.dtype)},
        shows="small negative z in layers of elu", source="darknet, ggml",
    ),
    of_activation(
        "mish-overflow", "the derivative of mish is omega / delta^2, which overflows", slope={"mish": _mish_overflow},
        shows="z over 22 in layers of mish",
    ),
    of_activation(
        "silu-slope-at-zero", "the derivative of silu divides the output by z: NaN at 0", "exactly 0|at 0",
        slope={"silu": _silu_slope_of_output}, shows=_OFF_AT_A_POINT, source="huggingface/candle#2083",
    ),
    of_activation(
        "elu-slope-at-zero", "the derivative of elu is 0 at exactly 0", "exactly 0|at 0", slope={"elu": _elu_seam},
        shows=_OFF_AT_A_POINT,
    ),
    of_activation(
        "celu-slope-at-zero", "the derivative of celu is 0 at exactly 0", "exactly 0|at 0", slope={"celu": _celu_seam},
        shows=_OFF_AT_A_POINT,
    ),
    of_activation(
        "softsign-slope-at-zero", "the derivative of softsign, by sign(z), is 0 at exactly 0", "exactly 0|at 0",
        slope={"softsign": _at_zero("softsign", 0.0)}, shows=_OFF_AT_A_POINT,
    ),
    of_activation(
        "tanh-slope-at-zero", "the derivative of tanh, by tanh(z)/z, is NaN-guarded to 0 at exactly 0",
        "exactly 0|at 0", slope={"tanh": _at_zero("tanh", 0.0)}, shows=_OFF_AT_A_POINT,
    ),
    of_activation(
        "gelu-cut-at-3", "gelu is 0 or z beyond |z| = 3, in both directions", "beyond|cut",
        f={"gelu": _gelu_of_erf_tail}, slope={"gelu": _gelu_cut_slope}, shows="|z| over 3 in layers of gelu",
    ),
    mistake(
        SoftplusSlopeOfOutput, "softplus differentiates from its output: sigmoid(f(z))", "f' (of|taken|at).*activation",
        shows="layers of softplus", source="PaddlePaddle/Paddle#18678, NVlabs/tiny-cuda-nn#130",
    ),
    mistake(
        SoftsignSlopeOfOutput, "softsign differentiates from its output: 1 / (1 + |f(z)|)^2",
        "f' (of|taken|at).*activation", shows="layers of softsign",
    ),
    mistake(
        HardSwishGradOfGrad, "the derivative of hard_swish calls relu6 on the gradient in place of the input",
        shows="layers of hard_swish", source="tensorflow/swift-apis#743",
    ),
    mistake(SaturatedUnitsFrozen, "units of sigmoid and tanh within 0.05 of an end pass nothing back"),
    mistake(
        DeadReluLeaks, "relu passes 0.01 of the error back where it is off", "leaky|0\\.01", shows="layers of relu",
    ),
    mistake(SlopeFloor, "no derivative is less than 1e-3 in size", "floor|0\\.001|1e-0?3", shows="flat parts"),
)  # fmt: skip
"""What hides them: small pre-activations, and other activations."""
