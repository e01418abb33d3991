"""Batches: parts, padding, dropout, statistics, replicas, and gradients that are changed before they are given."""

import numpy as np

from kterm.reference import Array

from .engine import Engine
from .mistake import Mistake, mistake


class FirstSampleDropped(Engine):
    """The first row of the batch has no residual and no part in E."""

    def loss(self, out: Array, y: Array) -> Array:
        return super().loss(out[1:], y[1:])

    def loss_gradient(self, out: Array, y: Array) -> Array:
        r = out - y
        r[:1] = 0
        return r


class RemainderOf4Dropped(Engine):
    """Rows after the last whole micro-batch of 4 have no residual."""

    def loss_gradient(self, out: Array, y: Array) -> Array:
        r = out - y
        if len(r) > 4:
            r[len(r) - len(r) % 4 :] = 0
        return r


class MeanOfMicroBatches(Engine):
    """The gradient is B times the mean, over micro-batches of 4, of their means."""

    def loss_gradient(self, out: Array, y: Array) -> Array:
        r = out - y
        starts = range(0, len(r), 4)
        for start in starts:
            part = r[start : start + 4]
            part *= self.dtype.type(len(r) / (len(starts) * len(part)))
        return r


class LastMicroBatchTwice(Engine):
    """The last micro-batch of 4 is accumulated twice."""

    def loss_gradient(self, out: Array, y: Array) -> Array:
        r = out - y
        if len(r) > 4:
            r[(len(r) - 1) // 4 * 4 :] *= 2
        return r


class ReplicasAveraged(Engine):
    """Two replicas average their sums of gradients where they should add them."""

    def finish(self, weights: list[Array], biases: list[Array]) -> tuple[list[Array], list[Array]]:
        return [w / 2 for w in weights], [b / 2 for b in biases]


class BiasesOfOneReplica(Engine):
    """Biases are not reduced over two replicas: the first half of the batch alone."""

    def bias_gradient(self, i: int, k: Array) -> Array:
        return k[: (len(k) + 1) // 2].sum(0)


class PaddedRows(Engine):
    """The batch is padded with rows of zeros to a multiple of 8, which count in the gradients of biases."""

    def bias_gradient(self, i: int, k: Array) -> Array:
        missing = -len(k) % 8
        return k.sum(0) + (missing * k[-1] if len(k) else 0)


class InputsCentred(Engine):
    """The mean over the batch is subtracted from the inputs."""

    def prepare(self, x: Array, y: Array) -> tuple[Array, Array]:
        return (x - x.mean(0) if len(x) else x), y


class BatchStatistics(Engine):
    """Hidden pre-activations are centred over the batch, and the backward pass takes the mean for a constant."""

    def linear(self, i: int, x: Array, w: Array, b: Array | None) -> Array:
        z = super().linear(i, x, w, b)
        return z - z.mean(0) if i < self.depth - 1 and len(z) else z


class DropoutLeftOn(Engine):
    """Every fourth hidden unit is dropped, and the others scaled by 4/3, in both directions."""

    def _mask(self, i: int, width: int) -> Array:
        if i == self.depth - 1:
            return np.ones(width, self.dtype)
        return (np.where(np.arange(width) % 4 == 3, 0, 4 / 3)).astype(self.dtype)

    def activate(self, i: int, z: Array) -> Array:
        return super().activate(i, z) * self._mask(i, z.shape[1])

    def activate_backward(self, i: int, s: Array) -> Array:
        return super().activate_backward(i, s * self._mask(i, s.shape[1]))


class DropoutForwardOnly(Engine):
    """Every fourth hidden unit is dropped in the forward pass; the backward pass does not know."""

    def activate(self, i: int, z: Array) -> Array:
        a = super().activate(i, z)
        if i < self.depth - 1:
            a[:, 3::4] = 0
        return a


class DropoutBackwardScale(Engine):
    """The scale 1 / (1 - p) of a dropout of 0.1 is left in the backward pass of hidden layers."""

    def input_gradient(self, i: int, k: Array) -> Array:
        return super().input_gradient(i, k) / self.dtype.type(0.9)


class HeavyFirstRow(Engine):
    """Hard example mining: the row with the largest error counts twice."""

    def loss_gradient(self, out: Array, y: Array) -> Array:
        r = out - y
        if r.size:
            r[np.square(r).sum(1).argmax()] *= 2
        return r


class DuplicatedRow(Engine):
    """The second row of the batch is overwritten by the first."""

    def prepare(self, x: Array, y: Array) -> tuple[Array, Array]:
        if len(x) > 1:
            x, y = x.copy(), y.copy()
            x[1], y[1] = x[0], y[0]
        return x, y


class RowsSorted(Engine):
    """x is sorted by its first column; y is not."""

    def prepare(self, x: Array, y: Array) -> tuple[Array, Array]:
        return x[np.argsort(x[:, 0], kind="stable")], y


class FeaturesAppended(Engine):
    """The last input is replaced by 1, as by a bias feature that is overwritten."""

    def prepare(self, x: Array, y: Array) -> tuple[Array, Array]:
        x = x.copy()
        x[:, -1] = 1
        return x, y


class ClippedByNorm(Engine):
    """All gradients together are scaled down to a norm of 1."""

    def finish(self, weights: list[Array], biases: list[Array]) -> tuple[list[Array], list[Array]]:
        norm = np.sqrt(sum(float(np.square(g, dtype=np.float64).sum()) for g in (*weights, *biases)))
        factor = self.dtype.type(min(1.0, 1.0 / max(norm, 1e-300)))
        return [w * factor for w in weights], [b * factor for b in biases]


class ClippedByLayerNorm(Engine):
    """Each weight gradient is scaled down to a norm of 1/2."""

    def finish(self, weights: list[Array], biases: list[Array]) -> tuple[list[Array], list[Array]]:
        scaled = []
        for w in weights:
            norm = float(np.sqrt(np.square(w, dtype=np.float64).sum()))
            scaled.append(w * self.dtype.type(min(1.0, 0.5 / max(norm, 1e-300))))
        return scaled, biases


class ClippedByValue(Engine):
    """All gradients are held between -0.1 and 0.1."""

    def finish(self, weights: list[Array], biases: list[Array]) -> tuple[list[Array], list[Array]]:
        return [np.clip(w, -0.1, 0.1) for w in weights], [np.clip(b, -0.1, 0.1) for b in biases]


class DeltasClipped(Engine):
    """k is held between -1 and 1 in every layer."""

    def activate_backward(self, i: int, s: Array) -> Array:
        return np.clip(super().activate_backward(i, s), -1, 1)


class RowsClipped(Engine):
    """The residual of each row is scaled down to a norm of 1 (as for differential privacy)."""

    def loss_gradient(self, out: Array, y: Array) -> Array:
        r = out - y
        return r / np.maximum(np.sqrt(np.square(r).sum(1, keepdims=True)), 1)


class SignsOnly(Engine):
    """Gradients are given by their signs (Adam's first step)."""

    def finish(self, weights: list[Array], biases: list[Array]) -> tuple[list[Array], list[Array]]:
        return [np.sign(w) for w in weights], [np.sign(b) for b in biases]


class GradientsCentred(Engine):
    """The mean over the inputs is subtracted from each weight gradient (gradient centralisation)."""

    def finish(self, weights: list[Array], biases: list[Array]) -> tuple[list[Array], list[Array]]:
        return [w - w.mean(0) for w in weights], biases


class GradientNoise(Engine):
    """Noise of 1e-3 of each weight gradient's root mean square is added, the same in each call."""

    def finish(self, weights: list[Array], biases: list[Array]) -> tuple[list[Array], list[Array]]:
        rng = np.random.default_rng(7)
        noisy = [w + 1e-3 * np.sqrt(np.square(w).mean()) * rng.normal(size=w.shape).astype(self.dtype) for w in weights]
        return [w.astype(self.dtype) for w in noisy], biases


class TopHalf(Engine):
    """Entries of a weight gradient below its median size are set to 0 (sparsified communication)."""

    def finish(self, weights: list[Array], biases: list[Array]) -> tuple[list[Array], list[Array]]:
        return [np.where(np.abs(w) < np.median(np.abs(w)), 0, w).astype(self.dtype) for w in weights], biases


class LassoPenalty(Engine):
    """1e-3 sign(W) is added to the weight gradient."""

    def finish(self, weights: list[Array], biases: list[Array]) -> tuple[list[Array], list[Array]]:
        rate = self.dtype.type(1e-3)
        return [g + rate * np.sign(w) for g, w in zip(weights, self.weights, strict=True)], biases


class DecayOfEverything(Engine):
    """A weight decay of 5e-4 of weights and biases is in the gradients."""

    def finish(self, weights: list[Array], biases: list[Array]) -> tuple[list[Array], list[Array]]:
        rate = self.dtype.type(5e-4)
        decayed = [g + rate * w for g, w in zip(weights, self.weights, strict=True)]
        return decayed, [g + rate * b for g, b in zip(biases, self.biases, strict=True)]


class DecayOfHidden(Engine):
    """A weight decay of 1e-2 of all layers but the last is in the weight gradients."""

    def finish(self, weights: list[Array], biases: list[Array]) -> tuple[list[Array], list[Array]]:
        rate = self.dtype.type(1e-2)
        decayed = [g + rate * w for g, w in zip(weights, self.weights, strict=True)]
        return [*decayed[:-1], weights[-1]], biases


class OrthogonalPenalty(Engine):
    """1e-3 W (W^T W - 1) is added to the weight gradient."""

    def finish(self, weights: list[Array], biases: list[Array]) -> tuple[list[Array], list[Array]]:
        rate, added = self.dtype.type(1e-3), []
        for g, w in zip(weights, self.weights, strict=True):
            added.append(g + rate * (w @ (w.T @ w) - w))
        return added, biases


BATCH_MISTAKES: tuple[Mistake, ...] = (
    mistake(FirstSampleDropped, "the first row of the batch is left out of the loss", "first (row|sample)"),
    mistake(
        RemainderOf4Dropped, "rows after the last whole micro-batch of 4 have no residual", "modulo 4|micro.?batch",
        shows="batch over 4 and no multiple of it",
    ),
    mistake(
        MeanOfMicroBatches, "the mean of the means of micro-batches of 4, of unequal size", "micro.?batch",
        shows="batch over 4 and no multiple of it", source="ml-explore/mlx-lm#1413",
    ),
    mistake(
        LastMicroBatchTwice, "the last micro-batch of 4 is accumulated twice", "micro.?batch", shows="batch over 4",
    ),
    mistake(
        ReplicasAveraged, "two replicas average their gradients where they should add them", "1/2 of what|factor 1/2",
        source="NVIDIA-NeMo/Automodel#3830",
    ),
    mistake(
        BiasesOfOneReplica, "bias gradients are of the first half of the batch alone", "half of the batch",
        shows="biases",
    ),
    mistake(
        PaddedRows, "copies of the last row pad the batch to a multiple of 8 in the bias gradient", "padd",
        shows="biases",
    ),
    mistake(InputsCentred, "the mean over the batch is subtracted from the inputs", "mean.*(input|subtracted)"),
    mistake(BatchStatistics, "hidden pre-activations are centred over the batch", "mean.*subtracted|centred|statistic"),
    mistake(DropoutLeftOn, "dropout is left on with a fixed mask, in both directions", "dropout|unit.*dropped"),
    mistake(DropoutForwardOnly, "dropout is left on in the forward pass alone", "dropout|unit.*dropped"),
    mistake(
        DropoutBackwardScale, "the scale of a dropout of 0.1 is left in what is passed back",
        "k_\\d+ (1\\.11|10/9)|passed back.*10/9", shows="depth over 1",
    ),
    mistake(HeavyFirstRow, "the row with the largest error counts twice", "row.*(twice|weigh)"),
    mistake(
        DuplicatedRow, "the second row of the batch is overwritten by the first", "second row", shows="batch over 1",
    ),
    mistake(RowsSorted, "x is sorted by its first column, y is not", "sorted|order", shows="batch over 1"),
    mistake(FeaturesAppended, "the last input is overwritten by 1", "last input.*1"),
    mistake(ClippedByNorm, "all gradients together are scaled down to a norm of 1", "norm", source="clip_grad_norm_"),
    mistake(ClippedByLayerNorm, "each weight gradient is scaled down to a norm of 1/2", "norm"),
    mistake(
        ClippedByValue, "all gradients are held between -0.1 and 0.1", "(held|clip).*0\\.1", source="clip_grad_value_",
    ),
    mistake(DeltasClipped, "k is held between -1 and 1 in every layer", "k(_\\d+|-terms)? (is )?(held|clipped)"),
    mistake(RowsClipped, "the residual of each row is scaled down to a norm of 1", "norm"),
    mistake(SignsOnly, "gradients are given by their signs", "signs?( of| alone)"),
    mistake(
        GradientsCentred, "the mean over the inputs is subtracted from each weight gradient", "mean.*subtracted|centr",
    ),
    mistake(GradientNoise, "noise of 1e-3 is added to weight gradients", "noise"),
    mistake(TopHalf, "entries of a weight gradient below its median size are 0", "median|small.*zero"),
    mistake(LassoPenalty, "1e-3 sign(W) is added to dE/dW", "sign(\\(| of )W|L1"),
    mistake(DecayOfEverything, "a weight decay of 5e-4 is in all gradients", "0\\.0005 W|5e-0?4 W|decay of 5e-0?4"),
    mistake(
        DecayOfHidden, "a weight decay of 1e-2 is in dE/dW of all layers but the last", "0\\.01 W",
        shows="depth over 1",
    ),
    mistake(OrthogonalPenalty, "1e-3 W (W^T W - 1) is added to dE/dW", "W\\^T W"),
)  # fmt: skip
"""Many of them are hidden by a batch of one."""
