"""Arithmetic: narrower operands, accumulators and formats, quantisation, flushing, truncation."""

import ml_dtypes
import numpy as np

from kterm.reference import Array

from .engine import Engine
from .mistake import Mistake, mistake

BF16, F8 = np.dtype(ml_dtypes.bfloat16), np.dtype(ml_dtypes.float8_e4m3fn)


def tf32(a: Array) -> Array:
    """Rounded to 11 significant bits, to nearest, with the exponents of float32."""
    bits = a.astype(np.float32).view(np.uint32)
    bits = (bits + np.uint32(0x0FFF) + ((bits >> np.uint32(13)) & np.uint32(1))) & np.uint32(0xFFFFE000)
    return bits.view(np.float32).astype(a.dtype)


def through(a: Array, dtype: np.dtype) -> Array:
    """Rounded to another format and back."""
    return a.astype(dtype).astype(a.dtype)


def truncated(a: Array, dtype: np.dtype) -> Array:
    """Rounded toward zero to a narrower format of the same array's values."""
    near = a.astype(dtype)
    wide = near.astype(a.dtype)
    return np.where(np.abs(wide) > np.abs(a), np.nextafter(near, np.zeros_like(near)), near).astype(dtype)


def quantised(a: Array) -> Array:
    """Rounded to 255 levels between -max and max."""
    step = np.abs(a).max(initial=0) / 127
    return (np.round(a / step) * step).astype(a.dtype) if step > 0 else a


class Tf32Products(Engine):
    """Operands of all products are rounded to tf32."""

    def matmul(self, a: Array, b: Array) -> Array:
        return tf32(a) @ tf32(b)


class Tf32BackwardProducts(Engine):
    """Operands of the products of the backward pass are rounded to tf32."""

    def input_gradient(self, i: int, k: Array) -> Array:
        return tf32(k) @ tf32(self.weights[i].T)

    def weight_gradient(self, i: int, k: Array) -> Array:
        return tf32(self.x[i].T) @ tf32(k)


class Tf32IfBatched(Engine):
    """Products of more than one row use tf32; a product of one row is a plain one."""

    def matmul(self, a: Array, b: Array) -> Array:
        return a @ b if len(a) == 1 else tf32(a) @ tf32(b)


class Bf16Products(Engine):
    """Operands of all products are rounded to bfloat16, and accumulated in float32."""

    def matmul(self, a: Array, b: Array) -> Array:
        return through(a, BF16) @ through(b, BF16)


class Bf16ThreeProducts(Engine):
    """Products are three products of bfloat16 parts."""

    def matmul(self, a: Array, b: Array) -> Array:
        high_a, high_b = through(a, BF16), through(b, BF16)
        low_a, low_b = through(a - high_a, BF16), through(b - high_b, BF16)
        return high_a @ high_b + (high_a @ low_b + low_a @ high_b)


class HalfForwardProducts(Engine):
    """Operands of the forward products are rounded to float16."""

    def linear(self, i: int, x: Array, w: Array, b: Array | None) -> Array:
        half = np.dtype(np.float16)
        return super().linear(i, through(x, half), through(w, half), b)


class Bf16WeightGradients(Engine):
    """Operands of the weight gradient are rounded to bfloat16."""

    def weight_gradient(self, i: int, k: Array) -> Array:
        return through(self.x[i], BF16).T @ through(k, BF16)


class Bf16BiasAccumulator(Engine):
    """The bias gradient is accumulated row by row in bfloat16."""

    def bias_gradient(self, i: int, k: Array) -> Array:
        total = np.zeros(k.shape[1], BF16)
        for row in k:
            total = (total.astype(np.float32) + row).astype(BF16)
        return total.astype(self.dtype)


class HalfTiles(Engine):
    """The weight gradient adds up tiles of 16 rows in float16."""

    def weight_gradient(self, i: int, k: Array) -> Array:
        x = self.x[i]
        total = np.zeros((x.shape[1], k.shape[1]), np.float16)
        for start in range(0, len(k), 16):
            part = x[start : start + 16].T @ k[start : start + 16]
            total = (total.astype(np.float32) + part).astype(np.float16)
        return total.astype(self.dtype)


class KahanWrongSign(Engine):
    """A compensated bias sum adds its correction where it should subtract it."""

    def bias_gradient(self, i: int, k: Array) -> Array:
        total, lost = np.zeros(k.shape[1], self.dtype), np.zeros(k.shape[1], self.dtype)
        for row in k:
            term = row + lost
            new = total + term
            lost = (new - total) - term
            total = new
        return total


class StochasticGradients(Engine):
    """Weight gradients are rounded stochastically to bfloat16, with the same noise in each call."""

    def weight_gradient(self, i: int, k: Array) -> Array:
        bits = super().weight_gradient(i, k).astype(np.float32).view(np.uint32)
        noise = np.random.default_rng(3).integers(0, 1 << 16, size=bits.shape, dtype=np.uint32)
        return ((bits + noise) & np.uint32(0xFFFF0000)).view(np.float32).astype(self.dtype)


class Int8Activations(Engine):
    """Activations are quantised to int8 and back, straight through in the backward pass."""

    def activate(self, i: int, z: Array) -> Array:
        return quantised(super().activate(i, z))


class Int8Weights(Engine):
    """Weights are quantised to int8 and back in the forward pass."""

    def linear(self, i: int, x: Array, w: Array, b: Array | None) -> Array:
        return super().linear(i, x, quantised(w), b)


class Int8Gradients(Engine):
    """Weight gradients are quantised to int8 and back (compressed communication)."""

    def weight_gradient(self, i: int, k: Array) -> Array:
        return quantised(super().weight_gradient(i, k))


class Fp8Deltas(Engine):
    """What is passed back is rounded to e4m3, scaled by its largest entry."""

    def input_gradient(self, i: int, k: Array) -> Array:
        s = super().input_gradient(i, k)
        scale = self.dtype.type(max(float(np.abs(s).max(initial=0)) / 448, 1e-30))
        return through(s / scale, F8) * scale


class HalfMasterWeights(Engine):
    """Weights are kept in float16: they are rounded before they are used in both directions."""

    def linear(self, i: int, x: Array, w: Array, b: Array | None) -> Array:
        return super().linear(i, x, through(w, np.dtype(np.float16)), b)

    def input_gradient(self, i: int, k: Array) -> Array:
        return self.matmul(k, through(self.weights[i], np.dtype(np.float16)).T)


class StoredInHalf(Engine):
    """Activations are saved for the backward pass in float16."""

    def weight_gradient(self, i: int, k: Array) -> Array:
        return self.matmul(through(self.x[i], np.dtype(np.float16)).T, k)


class SlopesFromHalf(Engine):
    """Pre-activations are saved for the backward pass in float16."""

    def activate_backward(self, i: int, s: Array) -> Array:
        return s * self.slope(self.names[i], through(self.z[i], np.dtype(np.float16)))


class SingleBackward(Engine):
    """The backward pass is computed in float32."""

    def loss_gradient(self, out: Array, y: Array) -> Array:
        return (out - y).astype(np.float32)

    def activate_backward(self, i: int, s: Array) -> Array:
        return s * self.slope(self.names[i], self.z[i].astype(np.float32))

    def input_gradient(self, i: int, k: Array) -> Array:
        return k @ self.weights[i].T.astype(np.float32)

    def weight_gradient(self, i: int, k: Array) -> Array:
        return self.x[i].T.astype(np.float32) @ k


class SingleLastLayer(Engine):
    """The last layer's product is computed in float32."""

    def linear(self, i: int, x: Array, w: Array, b: Array | None) -> Array:
        if i == self.depth - 1:
            x, w, b = x.astype(np.float32), w.astype(np.float32), None if b is None else b.astype(np.float32)
        return super().linear(i, x, w, b).astype(self.dtype)


class SingleInputs(Engine):
    """Inputs pass through float32 on the way in."""

    def prepare(self, x: Array, y: Array) -> tuple[Array, Array]:
        return through(x, np.dtype(np.float32)), y


class SingleActivations(Engine):
    """Activations are computed in float32."""

    def f(self, name: str, z: Array) -> Array:
        return super().f(name, z.astype(np.float32)).astype(self.dtype)


class SingleBiasSum(Engine):
    """Bias gradients are summed in float32."""

    def bias_gradient(self, i: int, k: Array) -> Array:
        return k.astype(np.float32).sum(0).astype(self.dtype)


class SmallDeltasFlushed(Engine):
    """Entries of k below 1e-8 are flushed to zero."""

    def activate_backward(self, i: int, s: Array) -> Array:
        k = super().activate_backward(i, s)
        return np.where(np.abs(k) < 1e-8, 0, k).astype(self.dtype)


class HalfRangeOfDeltas(Engine):
    """k is kept in float16's range, without a loss scale: below 6e-8 it is 0, and its digits are those of float16."""

    def activate_backward(self, i: int, s: Array) -> Array:
        return through(super().activate_backward(i, s), np.dtype(np.float16))


class SubnormalsFlushed(Engine):
    """Results of products below the normal range are flushed to zero, in the backward pass alone."""

    def input_gradient(self, i: int, k: Array) -> Array:
        return self._flushed(super().input_gradient(i, k))

    def weight_gradient(self, i: int, k: Array) -> Array:
        return self._flushed(super().weight_gradient(i, k))

    def _flushed(self, a: Array) -> Array:
        return np.where(np.abs(a) < np.finfo(self.dtype).smallest_normal, 0, a).astype(self.dtype)


class SumsTruncated(Engine):
    """Every product is stored truncated, not rounded."""

    def matmul(self, a: Array, b: Array) -> Array:
        return truncated(a.astype(np.float64) @ b.astype(np.float64), self.dtype)


class GradientsTenMillionth(Engine):
    """Weight gradients are too large by one part in ten million."""

    def weight_gradient(self, i: int, k: Array) -> Array:
        wide = self.x[i].T.astype(np.float64) @ k.astype(np.float64)
        return (wide * (1 + 1e-7)).astype(self.dtype)


class GradientsPartInMillion(Engine):
    """Weight gradients are too large by one part in a million."""

    def weight_gradient(self, i: int, k: Array) -> Array:
        return super().weight_gradient(i, k) * self.dtype.type(1 + 1e-6)


class GradientsPrinted(Engine):
    """Gradients pass through text with six significant digits."""

    def finish(self, weights: list[Array], biases: list[Array]) -> tuple[list[Array], list[Array]]:
        return [self._printed(w) for w in weights], [self._printed(b) for b in biases]

    def _printed(self, a: Array) -> Array:
        return np.array([float(f"{v:.6g}") for v in a.ravel().tolist()], self.dtype).reshape(a.shape)


class FixedPoint(Engine):
    """Pre-activations are rounded to multiples of 2^-12."""

    def linear(self, i: int, x: Array, w: Array, b: Array | None) -> Array:
        return (np.round(super().linear(i, x, w, b) * 4096) / 4096).astype(self.dtype)


_TF32 = "tf32|TF32|1[01] bits"
_BF16 = "bf16|bfloat16|8 bits"

PRECISION_MISTAKES: tuple[Mistake, ...] = (
    mistake(Tf32Products, "operands of products are rounded to tf32", _TF32, source="pytorch/pytorch#75740"),
    mistake(Tf32BackwardProducts, "operands of the backward products are rounded to tf32", _TF32),
    mistake(Tf32IfBatched, "products of more than one row use tf32", _TF32, shows="products of more than one row"),
    mistake(Bf16Products, "operands of products are rounded to bfloat16", _BF16),
    mistake(Bf16ThreeProducts, "products are three products of bfloat16 parts", _BF16),
    mistake(HalfForwardProducts, "operands of the forward products are rounded to float16", f"f16|float16|{_TF32}"),
    mistake(Bf16WeightGradients, "operands of the weight gradient are rounded to bfloat16", _BF16),
    mistake(
        Bf16BiasAccumulator, "the bias gradient is accumulated in bfloat16", f"bias.*({_BF16})|({_BF16}).*bias",
        shows="biases", source="ml-explore/mlx#3909",
    ),
    mistake(
        HalfTiles, "the weight gradient adds up tiles of 16 rows in float16",
        "weight gradients? (rounded|.*in|.*partial).*(f16|float16|narrower)|partial sums of the weight",
    ),
    mistake(KahanWrongSign, "a compensated bias sum has the sign of its correction wrong", shows="biases, long sums"),
    mistake(
        StochasticGradients, "weight gradients are rounded stochastically to bfloat16",
        f"(weight|gradient|dE/dW).*({_BF16}|stochastic)",
    ),
    mistake(Int8Activations, "activations are quantised to int8", "int8|quanti"),
    mistake(Int8Weights, "weights are quantised to int8 in the forward pass", "int8|quanti"),
    mistake(Int8Gradients, "weight gradients are quantised to int8", "int8|quanti"),
    mistake(Fp8Deltas, "what is passed back is rounded to e4m3", "e4m3|fp8|float8|quanti", shows="depth over 1"),
    mistake(HalfMasterWeights, "weights are kept in float16", "weights? .*(f16|float16|narrow)"),
    mistake(
        StoredInHalf, "activations are saved in float16 for the weight gradient",
        "(x|activation|saved).*(f16|float16|narrow)",
    ),
    mistake(SlopesFromHalf, "pre-activations are saved in float16 for the slopes", "(f'|slope).*(f16|float16|narrow)"),
    mistake(
        SingleBackward, "the backward pass is computed in float32",
        "backward.*(f32|float32)|k-terms rounded to the next narrower", dtypes=("f64",), shows="f64",
    ),
    mistake(
        SingleLastLayer, "the last layer's product is computed in float32",
        "(last|output|layer \\d+).*(f32|float32|narrow)", dtypes=("f64",), shows="f64",
    ),
    mistake(SingleInputs, "inputs pass through float32", "inputs?.*(f32|float32|narrow)", dtypes=("f64",), shows="f64"),
    mistake(
        SingleActivations, "activations are computed in float32", "(f|activation).*(f32|float32)", dtypes=("f64",),
        shows="f64",
    ),
    mistake(
        SingleBiasSum, "bias gradients are summed in float32", "bias.*(f32|float32|narrow)", dtypes=("f64",),
        shows="f64, biases",
    ),
    mistake(SmallDeltasFlushed, "entries of k below 1e-8 are flushed to zero", "flush|1e-0?8", shows="small k"),
    mistake(HalfRangeOfDeltas, "k is kept in float16", "k-terms rounded to the next narrower|k.*(f16|float16)"),
    mistake(
        SubnormalsFlushed, "results below the normal range are flushed to zero in the backward pass", "flush",
        shows="regime subnormal",
    ),
    mistake(SumsTruncated, "every product is stored truncated", "trunc|toward zero", shows="the run as a whole"),
    mistake(
        GradientsTenMillionth, "weight gradients are too large by one part in ten million", "factor|1e-0?7|1\\.0000001",
        shows="the run as a whole",
    ),
    mistake(GradientsPartInMillion, "weight gradients are too large by one part in a million", "1\\.000001|factor"),
    mistake(GradientsPrinted, "gradients pass through text with six digits", "digits"),
    mistake(FixedPoint, "pre-activations are rounded to multiples of 2^-12", "fixed point|2\\^-12|multiples"),
)  # fmt: skip
"""Where `dtypes` says nothing else, the run is in f32."""
