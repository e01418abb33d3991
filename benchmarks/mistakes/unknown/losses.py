"""Losses that are another loss, and what is done to the residual."""

import numpy as np

from kterm.reference import Array

from .engine import Engine
from .mistake import Mistake, mistake


class Huber(Engine):
    """A Huber loss with delta 1, E included."""

    delta = 1.0

    def loss(self, out: Array, y: Array) -> Array:
        r = np.abs(out - y)
        d = self.delta
        return np.asarray(np.where(r < d, r * r / 2, d * (r - d / 2)).sum()).astype(self.dtype)

    def loss_gradient(self, out: Array, y: Array) -> Array:
        return np.clip(out - y, -self.delta, self.delta)


class HuberOfHalf(Huber):
    """The same with delta 1/2."""

    delta = 0.5


class PseudoHuber(Engine):
    """sqrt(1 + r^2) - 1."""

    def loss(self, out: Array, y: Array) -> Array:
        return np.asarray((np.sqrt(1 + np.square(out - y)) - 1).sum()).astype(self.dtype)

    def loss_gradient(self, out: Array, y: Array) -> Array:
        r = out - y
        return r / np.sqrt(1 + r * r)


class LogCosh(Engine):
    """log(cosh(r))."""

    def loss(self, out: Array, y: Array) -> Array:
        r = np.abs(out - y)
        return np.asarray((r + np.log1p(np.exp(-2 * r)) - np.log(2.0)).sum()).astype(self.dtype)

    def loss_gradient(self, out: Array, y: Array) -> Array:
        return np.tanh(out - y)


class AbsoluteError(Engine):
    """Sum |r|."""

    def loss(self, out: Array, y: Array) -> Array:
        return np.asarray(np.abs(out - y).sum()).astype(self.dtype)

    def loss_gradient(self, out: Array, y: Array) -> Array:
        return np.sign(out - y)


class RootOfError(Engine):
    """The root of the sum of squares."""

    def loss(self, out: Array, y: Array) -> Array:
        return np.asarray(np.sqrt(np.square(out - y).sum())).astype(self.dtype)

    def loss_gradient(self, out: Array, y: Array) -> Array:
        r = out - y
        return r / np.maximum(np.sqrt(np.square(r).sum()), 1e-12).astype(self.dtype)


class RelativeError(Engine):
    """The residual is divided by |y| + 1."""

    def loss_gradient(self, out: Array, y: Array) -> Array:
        return (out - y) / (np.abs(y) + 1)


class FourthPower(Engine):
    """The gradient is that of sum r^4 / 4."""

    def loss_gradient(self, out: Array, y: Array) -> Array:
        return (out - y) ** 3


class AbsoluteResidual(Engine):
    """The residual has lost its sign."""

    def loss_gradient(self, out: Array, y: Array) -> Array:
        return np.abs(out - y)


class CrossEntropyShortcut(Engine):
    """k_n of a sigmoid output is the residual, as for cross entropy; other outputs are right."""

    def activate_backward(self, i: int, s: Array) -> Array:
        if i == self.depth - 1 and self.names[i] == "sigmoid":
            return s.copy()
        return super().activate_backward(i, s)


class LabelSmoothing(Engine):
    """Targets are 0.9 y + 0.1 / n."""

    def prepare(self, x: Array, y: Array) -> tuple[Array, Array]:
        return x, (0.9 * y + 0.1 / y.shape[1]).astype(self.dtype)


class Temperature(Engine):
    """The residual is taken of the outputs divided by a temperature of 2."""

    def loss(self, out: Array, y: Array) -> Array:
        return super().loss(out / 2, y)

    def loss_gradient(self, out: Array, y: Array) -> Array:
        return (out / 2 - y) / 2


class RowWeights(Engine):
    """Rows are weighted by 1, 2, 3 in turn, in E and in the residual."""

    def _weights(self, out: Array) -> Array:
        return (1 + np.arange(len(out)) % 3).astype(self.dtype)[:, None]

    def loss(self, out: Array, y: Array) -> Array:
        return np.asarray((self._weights(out) * np.square(out - y)).sum() / 2).astype(self.dtype)

    def loss_gradient(self, out: Array, y: Array) -> Array:
        return self._weights(out) * (out - y)


class OutputWeights(Engine):
    """The first output counts twice."""

    def loss_gradient(self, out: Array, y: Array) -> Array:
        r = out - y
        r[:, 0] *= 2
        return r


class MaskedTargets(Engine):
    """Targets below -1 are taken for missing, and have no residual."""

    def loss_gradient(self, out: Array, y: Array) -> Array:
        return np.where(y < -1, 0, out - y).astype(self.dtype)


class TargetsRolled(Engine):
    """Each output is compared with the next target."""

    def prepare(self, x: Array, y: Array) -> tuple[Array, Array]:
        return x, np.roll(y, 1, axis=1)


class RowsRolled(Engine):
    """Each row is compared with the target of the row before: a loader off by one."""

    def prepare(self, x: Array, y: Array) -> tuple[Array, Array]:
        return x, np.roll(y, 1, axis=0)


class FirstTargetForAll(Engine):
    """All outputs are compared with the first target, by broadcasting."""

    def prepare(self, x: Array, y: Array) -> tuple[Array, Array]:
        return x, np.repeat(y[:, :1], y.shape[1], axis=1)


class RowAgainstColumn(Engine):
    """(B, 1) minus (B,) gives (B, B): every output is compared with every target where there is one output."""

    def loss(self, out: Array, y: Array) -> Array:
        return super().loss(out, y[:, 0]) if out.shape[1] == 1 else super().loss(out, y)

    def loss_gradient(self, out: Array, y: Array) -> Array:
        return (out - y[:, 0]).sum(1, keepdims=True) if out.shape[1] == 1 else out - y


class ResidualCentred(Engine):
    """The mean over the batch is subtracted from the residual."""

    def loss_gradient(self, out: Array, y: Array) -> Array:
        r = out - y
        return r - r.mean(0) if len(r) else r


class ResidualTimesOutputs(Engine):
    """The gradient is n_outputs times that of E."""

    def loss_gradient(self, out: Array, y: Array) -> Array:
        return (out - y) * self.dtype.type(out.shape[1])


class LossScaleKept(Engine):
    """The loss is scaled by 1024, and gradients are not scaled back."""

    def loss_gradient(self, out: Array, y: Array) -> Array:
        return (out - y) * self.dtype.type(1024)


class LossScaleOfBiases(Engine):
    """The loss is scaled by 1024, and the gradients of weights alone are scaled back."""

    def finish(self, weights: list[Array], biases: list[Array]) -> tuple[list[Array], list[Array]]:
        return weights, [b * self.dtype.type(1024) for b in biases]


class BatchLessOne(Engine):
    """A mean over B - 1 rows, as of an unbiased variance."""

    def loss_gradient(self, out: Array, y: Array) -> Array:
        return (out - y) / self.dtype.type(max(len(out) - 1, 1))


class MeanOfErrorOverOutputs(Engine):
    """E is averaged over the outputs; its gradient is not."""

    def loss(self, out: Array, y: Array) -> Array:
        return (super().loss(out, y) / self.dtype.type(out.shape[1])).astype(self.dtype)


class ErrorInHalf(Engine):
    """E is summed in float16."""

    def loss(self, out: Array, y: Array) -> Array:
        squares = np.square(out - y).astype(np.float16)
        return np.asarray(np.add.reduce(squares, axis=None, dtype=np.float16) / 2).astype(self.dtype)


class ErrorInSingle(Engine):
    """E is summed in float32."""

    def loss(self, out: Array, y: Array) -> Array:
        return np.asarray(np.square((out - y).astype(np.float32)).sum() / 2).astype(self.dtype)


class TwoHeads(Engine):
    """The second half of the outputs is an auxiliary head, whose loss has a weight of 0.3."""

    def loss_gradient(self, out: Array, y: Array) -> Array:
        r = out - y
        r[:, (out.shape[1] + 1) // 2 :] *= 0.3
        return r


class DeadZone(Engine):
    """Residuals within 0.01 count as none (an epsilon-insensitive loss)."""

    def loss_gradient(self, out: Array, y: Array) -> Array:
        r = out - y
        return np.where(np.abs(r) < 0.01, 0, r).astype(self.dtype)


LOSS_MISTAKES: tuple[Mistake, ...] = (
    mistake(Huber, "the loss is a Huber loss with delta 1", "Huber|residual.*(held|clipped)"),
    mistake(HuberOfHalf, "the loss is a Huber loss with delta 1/2", "Huber|residual.*(held|clipped).*(0\\.5|1/2)"),
    mistake(PseudoHuber, "the loss is a pseudo-Huber loss", "[Pp]seudo"),
    mistake(LogCosh, "the loss is log cosh", "log.?cosh|tanh.*residual"),
    mistake(AbsoluteError, "the loss is the sum of absolute errors", "absolute|sign of the residual|L1|\\|residual\\|"),
    mistake(RootOfError, "the loss is the root of the sum of squares", "root"),
    mistake(RelativeError, "the residual is divided by |y| + 1", "relative|target"),
    mistake(FourthPower, "the gradient is that of a sum of fourth powers", "cube|fourth|third power"),
    mistake(AbsoluteResidual, "the residual has lost its sign", "\\|residual\\||absolute|without its sign"),
    mistake(
        CrossEntropyShortcut, "k_n of a sigmoid output is the residual, as for cross entropy",
        "no f' at the output|cross.?entropy", shows="sigmoid as the last layer", source="courses",
    ),
    mistake(LabelSmoothing, "targets are smoothed by 0.1", "smooth"),
    mistake(Temperature, "outputs are divided by a temperature of 2 in the loss", "temperature"),
    mistake(
        RowWeights, "rows are weighted by 1, 2, 3 in turn",
        "(sample|row|example)s?.{0,12}weigh|weigh.{0,20}(sample|row)",
    ),
    mistake(OutputWeights, "the first output counts twice in the residual", "output.{0,12}(weigh|twice)"),
    mistake(MaskedTargets, "targets below -1 are taken for missing", "mask|missing"),
    mistake(TargetsRolled, "each output is compared with the target of the one before", "target"),
    mistake(RowsRolled, "each row is compared with the target of the row before", "target.*row|row.*target"),
    mistake(FirstTargetForAll, "all outputs are compared with the first target", "first target"),
    mistake(
        RowAgainstColumn, "(B, 1) minus (B,) is (B, B): every output is compared with every target",
        "broadcast|every target", shows="one output, batch over 1", source="courses",
    ),
    mistake(
        ResidualCentred, "the mean over the batch is subtracted from the residual", "mean.*subtracted|centred|centered",
    ),
    mistake(
        ResidualTimesOutputs, "the gradient is n_outputs times that of E", "residual.*(number of outputs|outputs)",
        shows="more than one output", source="scikit-learn's MLPRegressor",
    ),
    mistake(LossScaleKept, "the loss is scaled by 1024, and gradients are not scaled back", "residual.*1024"),
    mistake(
        LossScaleOfBiases, "a loss scale of 1024 is undone in the gradients of weights alone", "dE/db.*1024",
        shows="networks with biases",
    ),
    mistake(BatchLessOne, "the residual is averaged over B - 1 rows", "B ?- ?1|one row less"),
    mistake(MeanOfErrorOverOutputs, "E is averaged over the outputs", "E .*outputs", source="tiny-dnn/tiny-dnn#217"),
    mistake(ErrorInHalf, "E is summed in float16", "E .*(f16|float16|half|narrow)", source="huggingface/candle#3718"),
    mistake(ErrorInSingle, "E is summed in float32", "E .*(f32|float32|narrow)", dtypes=("f64",), shows="f64"),
    mistake(TwoHeads, "the second half of the outputs has a loss weight of 0.3", "output.*weigh"),
    mistake(DeadZone, "residuals within 0.01 count as none", "dead zone|insensitive", shows="small residuals"),
)  # fmt: skip
"""Most of them show wherever the residual is not zero."""
