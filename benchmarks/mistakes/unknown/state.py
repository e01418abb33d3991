"""State from call to call, buffers that are used twice, and what is recomputed."""

import numpy as np

from kterm.adapters import Observation
from kterm.reference import Array, Parameters, Structure

from .engine import Engine
from .mistake import Mistake, mistake


class HalfMomentum(Engine):
    """Half of the gradients of the call before is added."""

    def __init__(self, structure: Structure) -> None:
        super().__init__(structure)
        self.before: tuple[list[Array], list[Array]] | None = None

    def finish(self, weights: list[Array], biases: list[Array]) -> tuple[list[Array], list[Array]]:
        own = [w.copy() for w in weights], [b.copy() for b in biases]
        if self.before is not None:
            weights = [w + b / 2 for w, b in zip(weights, self.before[0], strict=True)]
            biases = [w + b / 2 for w, b in zip(biases, self.before[1], strict=True)]
        self.before = own
        return weights, biases


class Velocity(Engine):
    """The optimiser's velocity, 0.9 of itself plus the gradient, is given for the gradient."""

    def __init__(self, structure: Structure) -> None:
        super().__init__(structure)
        self.velocity: list[Array] = []

    def finish(self, weights: list[Array], biases: list[Array]) -> tuple[list[Array], list[Array]]:
        given = [*weights, *biases]
        rate = self.dtype.type(0.9)
        if self.velocity:
            given = [g + rate * v for g, v in zip(given, self.velocity, strict=True)]
        self.velocity = [g.copy() for g in given]
        return given[: len(weights)], given[len(weights) :]


class RunningMean(Engine):
    """The residual of a running mean of targets, kept from call to call."""

    def __init__(self, structure: Structure) -> None:
        super().__init__(structure)
        self.mean: Array | None = None

    def prepare(self, x: Array, y: Array) -> tuple[Array, Array]:
        self.mean = y if self.mean is None else (0.9 * self.mean + 0.1 * y).astype(self.dtype)
        return x, self.mean


class StaleSlopes(Engine):
    """The derivative is taken at the pre-activations of the call before."""

    def __init__(self, structure: Structure) -> None:
        super().__init__(structure)
        self.kept: list[Array] | None = None

    def activate_backward(self, i: int, s: Array) -> Array:
        z = self.z[i] if self.kept is None else self.kept[i]
        return s * self.slope(self.names[i], z)

    def backward(self, s: Array) -> tuple[list[Array], list[Array], list[Array]]:
        made = super().backward(s)
        self.kept = [z.copy() for z in self.z]
        return made


class StaleInputs(Engine):
    """The weight gradient of the first layer reads the inputs of the call before."""

    def __init__(self, structure: Structure) -> None:
        super().__init__(structure)
        self.kept: Array | None = None

    def weight_gradient(self, i: int, k: Array) -> Array:
        if i:
            return super().weight_gradient(i, k)
        x = self.x[0] if self.kept is None else self.kept
        self.kept = self.x[0].copy()
        return self.matmul(x.T, k)


class StaleError(Engine):
    """E is that of the call before: it is read before the device has finished."""

    def __init__(self, structure: Structure) -> None:
        super().__init__(structure)
        self.kept: Array | None = None

    def loss(self, out: Array, y: Array) -> Array:
        own = super().loss(out, y)
        given = own if self.kept is None else self.kept
        self.kept = own
        return given


class StaleBias(Engine):
    """Biases are copied to the device once, at the first call; weights at each."""

    def __init__(self, structure: Structure) -> None:
        super().__init__(structure)
        self.kept: list[Array] | None = None

    def load(self, parameters: Parameters) -> None:
        super().load(parameters)
        if self.kept is None:
            self.kept = self.biases
        self.biases = self.kept


class PingPong(Engine):
    """Two buffers of gradients take turns, and are added to, not overwritten."""

    def __init__(self, structure: Structure) -> None:
        super().__init__(structure)
        self.buffers: list[list[Array] | None] = [None, None]
        self.turn = 0

    def finish(self, weights: list[Array], biases: list[Array]) -> tuple[list[Array], list[Array]]:
        buffer = self.buffers[self.turn]
        if buffer is not None:
            weights = [w + b for w, b in zip(weights, buffer, strict=True)]
        self.buffers[self.turn] = [w.copy() for w in weights]
        self.turn = 1 - self.turn
        return weights, biases


class GrowingRate(Engine):
    """A warm-up: the gradients of the first ten calls are scaled by n / 10."""

    def __init__(self, structure: Structure) -> None:
        super().__init__(structure)
        self.calls = 0

    def finish(self, weights: list[Array], biases: list[Array]) -> tuple[list[Array], list[Array]]:
        self.calls += 1
        rate = self.dtype.type(min(1.0, self.calls / 10))
        return [w * rate for w in weights], [b * rate for b in biases]


class ErrorAccumulates(Engine):
    """E is summed over the calls of an epoch."""

    def __init__(self, structure: Structure) -> None:
        super().__init__(structure)
        self.total = self.dtype.type(0)

    def loss(self, out: Array, y: Array) -> Array:
        self.total = (self.total + super().loss(out, y)).astype(self.dtype)
        return np.asarray(self.total)


class RunningStatistics(Engine):
    """Inputs are divided by a running root mean square, which each call updates."""

    def __init__(self, structure: Structure) -> None:
        super().__init__(structure)
        self.square = 1.0

    def prepare(self, x: Array, y: Array) -> tuple[Array, Array]:
        self.square = 0.99 * self.square + 0.01 * float(np.square(x, dtype=np.float64).mean() if x.size else 1.0)
        return (x / np.sqrt(self.square)).astype(self.dtype), y


class AtomicOrder(Engine):
    """Bias sums are taken in another order in each call."""

    def __init__(self, structure: Structure) -> None:
        super().__init__(structure)
        self.rng = np.random.default_rng(11)

    def bias_gradient(self, i: int, k: Array) -> Array:
        return np.add.accumulate(k[self.rng.permutation(len(k))], axis=0)[-1] if len(k) else k.sum(0)


class InputScaledInPlace(Engine):
    """A saved activation is halved in place by a later operation before the weight gradient reads it."""

    def weight_gradient(self, i: int, k: Array) -> Array:
        return self.matmul((self.x[i] / 2).T, k) if i else super().weight_gradient(i, k)


class OutputOverInput(Engine):
    """Activations are written over pre-activations of equal shape one layer later: slopes of hidden layers read x."""

    def activate_backward(self, i: int, s: Array) -> Array:
        at = self.x[i + 1] if 0 < i < self.depth - 1 else self.z[i]
        return s * self.slope(self.names[i], at)


class SavedNormalised(Engine):
    """The saved activation of a layer is divided by its largest entry before the weight gradient reads it."""

    def weight_gradient(self, i: int, k: Array) -> Array:
        x = self.x[i]
        largest = np.abs(x).max(initial=0)
        return self.matmul((x / largest if i and largest > 0 else x).T, k)


class CheckpointWithoutBias(Engine):
    """Checkpointing computes hidden activations again without their biases, for slopes and weight gradients."""

    def backward(self, s: Array) -> tuple[list[Array], list[Array], list[Array]]:
        shown = self.z, self.x
        z, x = [], [self.x[0]]
        for i in range(self.depth):
            z.append(self.matmul(x[-1], self.weights[i]))
            x.append(self.activate(i, z[-1]))
        self.z, self.x = [*z[:-1], self.z[-1]], x
        made = super().backward(s)
        self.z, self.x = shown
        return made


class CheckpointWithNewWeights(Engine):
    """Weights move by 1 % before hidden layers are computed again for the backward pass."""

    def backward(self, s: Array) -> tuple[list[Array], list[Array], list[Array]]:
        shown = self.z, self.x, self.weights
        self.weights = [(w * 1.01).astype(self.dtype) for w in self.weights]
        self.forward(self.x[0])
        made = super().backward(s)
        self.z, self.x, self.weights = shown
        return made


class SharedScratch(Engine):
    """The product x^T k of the last layer leaves its first row in the scratch buffer that later layers add to."""

    def backward(self, s: Array) -> tuple[list[Array], list[Array], list[Array]]:
        ks, weights, biases = super().backward(s)
        for i in range(self.depth - 1):
            if weights[i].shape[1] == weights[-1].shape[1]:
                weights[i] = weights[i].copy()
                weights[i][0] += weights[-1][0]
        return ks, weights, biases


class EmptyRow(Engine):
    """Gradients of the last input are never written: they hold what the call before left there."""

    def __init__(self, structure: Structure) -> None:
        super().__init__(structure)
        self.kept: dict[int, Array] = {}

    def run(self, parameters: Parameters, x: Array, y: Array) -> Observation:
        observed = super().run(parameters, x, y)
        for i, gradient in enumerate(observed.weight_gradients):
            own = gradient[-1].copy()
            gradient[-1] = self.kept.get(i, 0)
            self.kept[i] = own
        return observed


STATE_MISTAKES: tuple[Mistake, ...] = (
    mistake(
        HalfMomentum, "half of the gradients of the call before is added",
        "0\\.5 times the gradients of the call before",
    ),
    mistake(Velocity, "the optimiser's velocity is given for the gradient", "momentum", shows="a second call"),
    mistake(RunningMean, "targets are a running mean over calls", "running|earlier", shows="a second call"),
    mistake(
        StaleSlopes, "slopes are taken at the pre-activations of the call before",
        "(f'|slope).*(before|earlier|previous)", shows="a second call",
    ),
    mistake(
        StaleInputs, "dE/dW_1 reads the inputs of the call before", "inputs?.*(before|earlier|previous)",
        shows="a second call",
    ),
    mistake(StaleError, "E is that of the call before", "E .*(before|earlier|previous)", shows="a second call"),
    mistake(StaleBias, "biases are those of the first call", "bias.*first call", shows="a second call, biases"),
    mistake(
        PingPong, "two buffers of gradients take turns and are added to", "(call|two).*before", shows="a third call",
    ),
    mistake(
        GrowingRate, "the gradients of the first ten calls are scaled by n / 10", "warm.?up",
        shows="the first ten calls",
    ),
    mistake(ErrorAccumulates, "E is summed over calls", "E .*(accumulated|summed|before)", shows="a second call"),
    mistake(RunningStatistics, "inputs are divided by a running statistic", "running|statistic"),
    mistake(
        AtomicOrder, "bias sums are taken in another order in each call", "order", shows="repeated calls",
        source="tensorflow/tensorflow#32133",
    ),
    mistake(
        InputScaledInPlace, "saved activations are halved before the weight gradient reads them", "dE/dW.* 1/2",
        shows="depth over 1",
    ),
    mistake(
        OutputOverInput, "slopes of inner layers are taken at activations", "f' .*activation", shows="depth over 2",
        source="in-place activations",
    ),
    mistake(SavedNormalised, "saved activations are divided by their largest entry", shows="depth over 1"),
    mistake(
        CheckpointWithoutBias, "hidden layers are computed again without their biases for the backward pass",
        "before the bias|without.*bias", shows="biases, depth over 1", source="checkpointing",
    ),
    mistake(
        CheckpointWithNewWeights, "weights move by 1 % before hidden layers are computed again",
        "weights.*(updated|moved)", source="checkpointing",
    ),
    mistake(
        SharedScratch, "the last layer's product leaves its first row in a scratch buffer", "scratch|last layer.*added",
        shows="layers of equal width",
    ),
    mistake(
        EmptyRow, "the last row of weight gradients holds what the call before left there",
        "last row.*before|call before",
    ),
)  # fmt: skip
"""Most of them need a second call."""
