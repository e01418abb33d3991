"""Dense layers and their gradients: biases, shapes, tiles, transposes, shared weights, buffers."""

import numpy as np

from kterm.reference import Array, Structure

from .engine import Engine
from .mistake import Mistake, mistake


class BiasPerRowIfSquare(Engine):
    """Where B equals the width, the bias is added to rows, not to columns."""

    def linear(self, i: int, x: Array, w: Array, b: Array | None) -> Array:
        z = self.matmul(x, w)
        if b is None:
            return z
        return z + (b[:, None] if len(x) == len(b) else b)


class BiasesSwapped(Engine):
    """The biases of the first two layers of equal width are exchanged."""

    def __init__(self, structure: Structure) -> None:
        super().__init__(structure)
        self.order = list(range(self.depth))
        for i in range(self.depth - 1):
            if self.widths[i + 1] == self.widths[i + 2]:
                self.order[i], self.order[i + 1] = i + 1, i
                break

    def linear(self, i: int, x: Array, w: Array, b: Array | None) -> Array:
        return super().linear(i, x, w, None if b is None else self.biases[self.order[i]])


class BiasOfLayerBefore(Engine):
    """A layer takes the bias of the layer before it where the widths agree."""

    def linear(self, i: int, x: Array, w: Array, b: Array | None) -> Array:
        if b is not None and i and self.biases[i - 1].shape == b.shape:
            b = self.biases[i - 1]
        return super().linear(i, x, w, b)


class BiasHalved(Engine):
    """Half of the bias is added in the forward pass."""

    def linear(self, i: int, x: Array, w: Array, b: Array | None) -> Array:
        return super().linear(i, x, w, None if b is None else b / 2)


class BiasOnlyInLast(Engine):
    """Biases of hidden layers are not added; their gradients are computed all the same."""

    def linear(self, i: int, x: Array, w: Array, b: Array | None) -> Array:
        return super().linear(i, x, w, b if i == self.depth - 1 else None)


class BiasOneSum(Engine):
    """The bias gradient is one sum over rows and units, for every unit."""

    def bias_gradient(self, i: int, k: Array) -> Array:
        return np.full(k.shape[1], k.sum(), self.dtype)


class BiasTwiceInHidden(Engine):
    """The bias gradient of hidden layers is added twice."""

    def bias_gradient(self, i: int, k: Array) -> Array:
        g = super().bias_gradient(i, k)
        return g + g if i < self.depth - 1 else g


class BiasNotOfLastRow(Engine):
    """The bias gradient stops one row early."""

    def bias_gradient(self, i: int, k: Array) -> Array:
        return k[:-1].sum(0) if len(k) > 1 else k.sum(0)


class BiasTilesOf32(Engine):
    """The rows after the last whole tile of 32 are not reduced into the bias gradient."""

    def bias_gradient(self, i: int, k: Array) -> Array:
        whole = len(k) - len(k) % 32
        return k[: whole or len(k)].sum(0)


class BiasMeanOfAbsolute(Engine):
    """The bias gradient sums |k|."""

    def bias_gradient(self, i: int, k: Array) -> Array:
        return np.abs(k).sum(0)


class RowCountedTwice(Engine):
    """Tiles of 32 rows overlap by one in the weight gradient."""

    def weight_gradient(self, i: int, k: Array) -> Array:
        x = self.x[i]
        total = np.zeros((x.shape[1], k.shape[1]), self.dtype)
        for start in range(0, max(len(k), 1), 32):
            low = max(start - 1, 0)
            total = total + self.matmul(x[low : start + 32].T, k[low : start + 32])
        return total


class StrideOf32(Engine):
    """Weight gradients wider than 32 are written with a row stride of 32."""

    def weight_gradient(self, i: int, k: Array) -> Array:
        g = super().weight_gradient(i, k)
        if g.shape[1] <= 32:
            return g
        flat = np.zeros(g.size, self.dtype)
        for row in range(len(g)):
            flat[32 * row : 32 * row + g.shape[1]] = g[row]
        return flat.reshape(g.shape)


class ScalarTail(Engine):
    """Vectors of four: the last column of W is read as 0 on the way back where the width leaves one over."""

    def input_gradient(self, i: int, k: Array) -> Array:
        w = self.weights[i]
        n = w.shape[1]
        return self.matmul(k[:, :-1], w[:, :-1].T) if n > 4 and n % 4 == 1 else self.matmul(k, w.T)


class OffByOneColumn(Engine):
    """Past column 16 of W, what is passed back reads the column before."""

    def input_gradient(self, i: int, k: Array) -> Array:
        w = self.weights[i]
        if w.shape[1] > 16:
            w = np.concatenate((w[:, :16], w[:, 15:-1]), axis=1)
        return self.matmul(k, w.T)


class NoTransposeIfSquare(Engine):
    """Square matrices are not transposed on the way back."""

    def input_gradient(self, i: int, k: Array) -> Array:
        w = self.weights[i]
        return self.matmul(k, w if w.shape[0] == w.shape[1] else w.T)


class FirstGradientTransposed(Engine):
    """The first layer's weight gradient is transposed where it is square."""

    def weight_gradient(self, i: int, k: Array) -> Array:
        g = super().weight_gradient(i, k)
        return g.T if i == 0 and g.shape[0] == g.shape[1] else g


class FlippedInputs(Engine):
    """The weight gradient reads the units of the layer before in reverse order."""

    def weight_gradient(self, i: int, k: Array) -> Array:
        return self.matmul(self.x[i][:, ::-1].T, k)


class SharedIfSameShape(Engine):
    """Layers of equal shape share the weights of the first of them."""

    def __init__(self, structure: Structure) -> None:
        super().__init__(structure)
        shapes = list(zip(self.widths[:-1], self.widths[1:], strict=True))
        self.owner = [shapes.index(shape) for shape in shapes]

    def linear(self, i: int, x: Array, w: Array, b: Array | None) -> Array:
        return super().linear(i, x, self.weights[self.owner[i]], b)

    def input_gradient(self, i: int, k: Array) -> Array:
        return self.matmul(k, self.weights[self.owner[i]].T)


class ReversedLayers(Engine):
    """The gradients of weights and biases come in the order of the backward pass, where shapes agree."""

    def finish(self, weights: list[Array], biases: list[Array]) -> tuple[list[Array], list[Array]]:
        if [w.shape for w in weights] == [w.shape for w in weights[::-1]]:
            return weights[::-1], biases[::-1]
        return weights, biases


class OneMatrixBehind(Engine):
    """What is passed back goes through W_1 in every layer whose shape agrees with it."""

    def input_gradient(self, i: int, k: Array) -> Array:
        w = self.weights[i]
        return self.matmul(k, (self.weights[0] if self.weights[0].shape == w.shape else w).T)


class ResidualConnection(Engine):
    """A skip connection where widths agree, in the forward pass and not in the backward pass."""

    def activate(self, i: int, z: Array) -> Array:
        a = super().activate(i, z)
        return a + self.x[-1] if 0 < i < self.depth - 1 and self.x[-1].shape == a.shape else a


class GradientReversal(Engine):
    """What is passed back from layer to layer has its sign turned (a gradient reversal layer)."""

    def input_gradient(self, i: int, k: Array) -> Array:
        return -super().input_gradient(i, k)


class LayerRates(Engine):
    """Gradients are divided by the number of the layer, counted from the end (layer-wise rates)."""

    def finish(self, weights: list[Array], biases: list[Array]) -> tuple[list[Array], list[Array]]:
        n = self.depth
        return [(w / (n - i)).astype(self.dtype) for i, w in enumerate(weights)], biases


class FrozenFirst(Engine):
    """The first layer is frozen: its gradients are 0."""

    def finish(self, weights: list[Array], biases: list[Array]) -> tuple[list[Array], list[Array]]:
        if self.depth == 1:
            return weights, biases
        return [np.zeros_like(weights[0]), *weights[1:]], [np.zeros_like(b) for b in biases[:1]] + biases[1:]


class FanInScaled(Engine):
    """Products are divided by the root of the fan-in (an equalised learning rate), not so in the weight gradient."""

    def linear(self, i: int, x: Array, w: Array, b: Array | None) -> Array:
        return super().linear(i, x, (w / np.sqrt(len(w))).astype(self.dtype), b)

    def input_gradient(self, i: int, k: Array) -> Array:
        return super().input_gradient(i, k) / np.sqrt(len(self.weights[i])).astype(self.dtype)


class MaxNorm(Engine):
    """Columns of W are scaled down to a norm of 1 before they are used."""

    def linear(self, i: int, x: Array, w: Array, b: Array | None) -> Array:
        norm = np.maximum(np.sqrt(np.square(w).sum(0)), 1)
        return super().linear(i, x, w / norm, b)


class DiagonalDropped(Engine):
    """The diagonal of a square weight matrix is masked out, as of an adjacency matrix."""

    def linear(self, i: int, x: Array, w: Array, b: Array | None) -> Array:
        if w.shape[0] == w.shape[1] > 1:
            w = w - np.diag(np.diag(w))
        return super().linear(i, x, w, b)


class WidthOneZero(Engine):
    """The error through a layer of one unit is 0 past 16 KiB of inputs."""

    def input_gradient(self, i: int, k: Array) -> Array:
        s = super().input_gradient(i, k)
        return np.zeros_like(s) if k.shape[1] == 1 and s.nbytes > 16384 else s


_WIDE = "widths over 32"

LAYER_MISTAKES: tuple[Mistake, ...] = (
    mistake(
        BiasPerRowIfSquare, "where B equals the width, the bias is added to rows", "bias.*(rows|wrong axis)",
        shows="B equal to the width, bias inside", source="jimfleming/differentiation#1",
    ),
    mistake(
        BiasesSwapped, "the biases of the first two layers of equal width are exchanged",
        "bias.*(exchanged|swapped|order)", shows="two consecutive layers of equal width, bias inside",
    ),
    mistake(
        BiasOfLayerBefore, "a layer takes the bias of the layer before it where widths agree", "bias of.*layer before",
        shows="two consecutive layers of equal width, bias inside",
    ),
    mistake(
        BiasHalved, "half of the bias is added in the forward pass", "(half of the|1/2.*) ?bias", shows="bias inside",
    ),
    mistake(
        BiasOnlyInLast, "biases of hidden layers are not added", "no bias added.*forward",
        shows="bias inside, depth over 1",
    ),
    mistake(
        BiasOneSum, "the bias gradient is one sum over rows and units", "sum over (all|every|rows and)",
        shows="biases, widths over 1", source="rasbt/stat453-deep-learning-ss21#5",
    ),
    mistake(
        BiasTwiceInHidden, "the bias gradient of hidden layers is added twice", "dE/db(_\\d+)? 2 times",
        shows="biases, depth over 1",
    ),
    mistake(
        BiasNotOfLastRow, "the bias gradient stops one row early", "last row.*bias|bias.*last row",
        shows="biases, batch over 1",
    ),
    mistake(
        BiasTilesOf32, "rows after the last whole tile of 32 are not in the bias gradient", "bias.*(32|tile)",
        shows="biases, batch over 32 and no multiple of it",
    ),
    mistake(BiasMeanOfAbsolute, "the bias gradient sums |k|", "\\|k\\||absolute", shows="biases"),
    mistake(RowCountedTwice, "tiles of 32 rows overlap by one in the weight gradient", shows="batch over 32"),
    mistake(StrideOf32, "weight gradients wider than 32 are written with a row stride of 32", "stride", shows=_WIDE),
    mistake(
        ScalarTail, "the last column of W is read as 0 on the way back where the width is 1 modulo 4",
        "last unit.*passed back", shows="widths over 4 that are 1 modulo 4",
    ),
    mistake(OffByOneColumn, "past column 16 of W, what is passed back reads the column before", shows="widths over 16"),
    mistake(
        NoTransposeIfSquare, "square matrices are not transposed on the way back", "k W in place of k W\\^T",
        shows="square matrices",
    ),
    mistake(
        FirstGradientTransposed, "the first layer's weight gradient is transposed where it is square",
        "k\\^T x|gradient transposed", shows="a square first layer",
    ),
    mistake(FlippedInputs, "the weight gradient reads the units of the layer before in reverse order", "reverse"),
    mistake(
        SharedIfSameShape, "layers of equal shape share the weights of the first of them", "shared|shares",
        shows="two layers of one shape",
    ),
    mistake(
        ReversedLayers, "gradients of weights and biases come in the order of the backward pass", "order of the layers",
        shows="shapes that agree when reversed, depth over 1",
    ),
    mistake(
        OneMatrixBehind, "what is passed back goes through W_1 in layers of its shape", "W_1|own-weights",
        shows="a later layer of the shape of the first",
    ),
    mistake(
        ResidualConnection, "a skip connection in the forward pass alone", "skip|residual connection",
        shows="depth over 2, equal widths",
    ),
    mistake(
        GradientReversal, "what is passed back from layer to layer has its sign turned", "(k_\\d+|passed back).*sign",
        shows="depth over 1",
    ),
    mistake(
        LayerRates, "dE/dW is divided by the number of the layer from the end", "dE/dW_\\d+ 1/", shows="depth over 1",
    ),
    mistake(
        FrozenFirst, "the first layer is frozen: its gradients are 0", "first.*(frozen|zero)|dE/dW_1 left at zero",
        shows="depth over 1",
    ),
    mistake(FanInScaled, "weights are divided by the root of the fan-in in the forward pass", "fan-in"),
    mistake(MaxNorm, "columns of W are scaled down to a norm of 1", "norm", shows="columns of a norm over 1"),
    mistake(
        DiagonalDropped, "the diagonal of a square weight matrix is masked out", "diagonal", shows="square matrices",
    ),
    mistake(
        WidthOneZero, "the error through a layer of one unit is 0 past 16 KiB", "zero",
        shows="a layer of one unit with batch times inputs over 4096 (f32)", source="pytorch/pytorch#189565",
    ),
)  # fmt: skip
"""Many of them are hidden by small or unequal shapes."""
