"""Adapters with one mistake each, as authors of adapters make them: the reference, called or shown in a wrong way."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from kterm.adapters import OUT_IN, Adapter, Observation, Program
from kterm.adapters.numpy_adapter import Numpy
from kterm.reference import Array, Parameters, Structure, backpropagate

Change = Callable[[Observation, Structure, Parameters, Array, Array], Any]
"""Takes a right answer and its arguments, and gives what the program returns."""


def right(structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
    """What the framework answers: outputs, E and gradients."""
    return replace(shown(structure, parameters, x, y), z=None, x=None, k=None)


def shown(structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
    """The same with z, x and k."""
    with np.errstate(all="ignore"):
        found = backpropagate(structure.network, parameters, x, y)
    gradients = found.weight_gradients, found.bias_gradients
    return Observation(found.outputs, np.asarray(found.error), *gradients, found.z, found.x[1:], found.k)


OFFERED = ("identity", "tanh", "relu", "leaky_relu", "gelu", "gelu_tanh", "softplus")


class Mine(Numpy):
    """A sound adapter that shows gradients alone."""

    name = "mine"
    version = "1.0"
    activations = {name: Numpy.activations[name] for name in OFFERED}  # noqa: RUF012

    def build(self, structure: Structure) -> Program:
        self.require(structure)
        return lambda parameters, x, y: self.answer(structure, parameters, x, y)

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Any:
        return right(structure, parameters, x, y)


def answering(change: Change, answer: Callable[..., Observation] = right) -> type[Adapter]:
    """The adapter whose answers are changed."""

    class Changed(Mine):
        def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Any:
            return change(answer(structure, parameters, x, y), structure, parameters, x, y)

    return Changed


def keeping(start: Callable[[], Any], change: Callable[..., Observation]) -> type[Adapter]:
    """The adapter whose programs keep something from call to call: what `start` gives is passed to `change`, before the
    structure and the arguments.
    """

    class Keeping(Mine):
        def build(self, structure: Structure) -> Program:
            kept = start()
            return lambda parameters, x, y: change(kept, structure, parameters, x, y)

    return Keeping


def of_all(found: Observation, change: Callable[[Array], Any]) -> Observation:
    """An observation with every array changed."""
    return of_gradients(replace(found, outputs=change(found.outputs), error=change(found.error)), change)


def of_gradients(found: Observation, change: Callable[[Array], Any]) -> Observation:
    """An observation with every gradient changed."""
    by_weight, by_bias = (tuple(map(change, some)) for some in (found.weight_gradients, found.bias_gradients))
    return replace(found, weight_gradients=by_weight, bias_gradients=by_bias)


def scaled(found: Observation, of_error: float, of_each_gradient: float) -> Observation:
    """An observation with E and the gradients multiplied, in their dtype."""

    def times(factor: float) -> Callable[[Array], Array]:
        return lambda a: (a * factor).astype(a.dtype)

    return of_gradients(replace(found, error=times(of_error)(found.error)), times(of_each_gradient))


def mean(found: Observation, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
    with np.errstate(all="ignore"):
        over = np.float64(1) / len(x)
        return of_gradients(replace(found, error=found.error * x.dtype.type(over)), lambda a: a * a.dtype.type(over))


def with_network(structure: Structure, **changes: Any) -> Structure:
    return replace(structure, network=replace(structure.network, **changes))


class WrongLayout(Mine):
    """Stores weights as (in, out) matrices, and says that they are (out, in)."""

    weight_layout = OUT_IN


class NoTransposition(Mine):
    """Declares (out, in) rightly, and gives the gradients as (in, out) matrices."""

    weight_layout = OUT_IN

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        return right(structure, replace(parameters, weights=tuple(w.T for w in parameters.weights)), x, y)


class LastBuilt(Mine):
    """Keeps the structure in the adapter, so that each program answers as the one built last."""

    def build(self, structure: Structure) -> Program:
        self.structure = structure
        return lambda parameters, x, y: right(self.structure, parameters, x, y)


class FixedSlope(Mine):
    """Its leaky ReLU takes no parameter."""

    activations = {**Mine.activations, "leaky_relu": lambda z: np.maximum(z, 0.01 * z)}  # noqa: RUF012

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        for function in self.functions(structure):
            function(x)
        return right(structure, parameters, x, y)


class Dropout(Mine):
    """Leaves dropout on."""

    def __init__(self, device: str = "cpu") -> None:
        super().__init__(device)
        self.rng = np.random.default_rng(0)

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        kept = self.rng.random(x.shape) < 0.8
        return right(structure, parameters, x * kept.astype(x.dtype), y)


class Unwritten(Mine):
    def build(self, structure: Structure) -> Program:
        raise NotImplementedError("there is no network of this form")


def bias_ignored(structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
    return right(structure, replace(parameters, biases=tuple(map(np.zeros_like, parameters.biases))), x, y)


def always_inside(structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
    inside = with_network(structure, bias="pre") if structure.network.bias == "post" else structure
    return right(inside, parameters, x, y)


def linear_output(structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
    names = (*structure.network.activations[:-1], "identity")
    return right(with_network(structure, activations=names), parameters, x, y)


def other_gelu(structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
    names = ["gelu_tanh" if name == "gelu" else name for name in structure.network.activations]
    return right(with_network(structure, activations=tuple(names)), parameters, x, y)


def in_float32(structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
    own, *rest = converted(parameters, x, y, np.dtype(np.float32))
    return of_all(right(structure, own, *rest), lambda a: a.astype(x.dtype))


def converted(parameters: Parameters, x: Array, y: Array, dtype: np.dtype) -> tuple[Parameters, Array, Array]:
    weights, biases = (tuple(a.astype(dtype) for a in some) for some in (parameters.weights, parameters.biases))
    return Parameters(weights, biases), x.astype(dtype), y.astype(dtype)


def last_row(found: Observation, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
    last = right(structure, parameters, x[-1:], y[-1:]) if len(x) else found
    return replace(found, weight_gradients=last.weight_gradients, bias_gradients=last.bias_gradients)


def takes_a_step(found: Observation, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
    for weight, gradient in zip(parameters.weights, found.weight_gradients, strict=True):
        if weight.flags.writeable:
            weight -= weight.dtype.type(0.125) * gradient
    return found


def after_a_step(found: Observation, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
    def moved(some: tuple[Array, ...], gradients: tuple[Array, ...]) -> tuple[Array, ...]:
        return tuple(a - a.dtype.type(0.0625) * g for a, g in zip(some, gradients, strict=True))

    weights, biases = moved(parameters.weights, found.weight_gradients), moved(parameters.biases, found.bias_gradients)
    return replace(found, weight_gradients=weights, bias_gradients=biases)


def written(found: Observation, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
    x -= x.dtype.type(0)
    return found


def no_reversed(found: Observation, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
    if any(stride < 0 for a in (x, y, *parameters.weights) for stride in a.strides):
        raise ValueError("At least one stride in the given numpy array is negative")
    return found


def k_of_outputs(found: Observation, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
    assert found.k is not None
    passed_back = (k @ weight.T for k, weight in zip(found.k[1:], parameters.weights[1:], strict=True))
    return replace(found, k=(*passed_back, found.outputs - y))


def raises(found: Observation, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
    raise RuntimeError("fill in hole 5 of adapter.py")


def accumulated(sums: list[Observation], structure: Structure, *given: Any) -> Observation:
    found = right(structure, *given)
    if sums:
        before = iter((*sums[0].weight_gradients, *sums[0].bias_gradients))
        found = of_gradients(found, lambda a: a + next(before))
    sums[:] = [found]
    return found


def with_first_weights(kept: list[Parameters], structure: Structure, parameters: Parameters, *rest: Any) -> Observation:
    if not kept:
        copies = (tuple(map(np.array, some)) for some in (parameters.weights, parameters.biases))
        kept.append(Parameters(*copies))
    return right(structure, kept[0], *rest)


def into_one_buffer(kept: list[Observation], structure: Structure, *given: Any) -> Observation:
    found = right(structure, *given)
    if not kept:
        kept.append(of_all(found, np.array))
    old = iter(arrays(kept[0]))
    for new in arrays(found):
        next(old)[...] = new
    return kept[0]


def arrays(found: Observation) -> Iterator[Array]:
    yield from (found.outputs, found.error, *found.weight_gradients, *found.bias_gradients)


def once(left: list[bool], structure: Structure, *given: Any) -> Observation:
    left.pop()
    return right(structure, *given)
