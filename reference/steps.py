"""The rule in steps, with values that may carry errors: one pass through a network, with hooks.

This is the propagation of rounding errors: every tolerance comes from `run` without changes. Two hooks serve others. A
*change* replaces what a step computes, which is how a mutant makes its mistake and how a diagnosis tries an
explanation. `give` says from which value the next steps continue: the computed one, or the one that a framework shows.

Arrays may have leading axes: z_i, x_i and k_i are (..., B, n_i), weight gradients (..., n_{i-1}, n_i), bias gradients
(..., 1, n_i), and the error is (..., 1, 1).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce

import numpy as np

from .dtypes import DTYPES, DType
from .error_model import Reading
from .network import Array, Bias, Network, Parameters, Structure
from .rounding import Conventions
from .value import Value, exact


@dataclass(eq=False)
class Work:
    """What a pass has computed so far. Layers count from 1, and `x[0]` is the input. `s` is dE/dx_i, `d` the slope
    f'(z_i), and `gw` and `gb` are the gradients. `before` is the pass of the call before, if there was one.
    """

    network: Network
    format: DType
    weights: dict[int, Value]
    biases: dict[int, Value]
    y: Value
    before: "Work | None" = None
    x: dict[int, Value] = field(default_factory=dict)
    z: dict[int, Value] = field(default_factory=dict)
    d: dict[int, Value] = field(default_factory=dict)
    s: dict[int, Value] = field(default_factory=dict)
    k: dict[int, Value] = field(default_factory=dict)
    gw: dict[int, Value] = field(default_factory=dict)
    gb: dict[int, Value] = field(default_factory=dict)
    conventions: Conventions = field(default_factory=dict)
    given: dict[str, Value] = field(default_factory=dict)
    """Every quantity as its step computed it, by its name in verdicts, in the order of the computation."""

    @property
    def depth(self) -> int:
        """The number of layers, n."""
        return self.network.depth

    @property
    def batch(self) -> int:
        """The batch size, B."""
        return self.y.shape[-2]

    @property
    def narrower(self) -> DType:
        """The format that a mistake rounds to: the next with fewer digits, or its own if there is none."""
        return DTYPES[{"f64": "f32", "f32": "bf16", "f16": "bf16"}.get(self.format.name, self.format.name)]

    @property
    def reading(self) -> Reading | None:
        """The reading of the errors; None if values carry none."""
        return self.y.reading

    def name(self, i: int) -> str:
        """The activation of layer i."""
        return self.network.activations[i - 1]

    def width(self, i: int) -> int:
        """The width n_i."""
        return self.network.widths[i]


Step = Callable[[Work, int], Value]
Change = Callable[[Work, int, Callable[[], Value]], Value]
"""Computes a step wrongly at layer i. The last argument computes what the step gives before this change."""
Changes = Mapping[str, Change]
Made = tuple[Changes, Callable[[int, int], bool]]
"""Changes, and whether they are made at layer i of n."""


def with_bias(w: Work, i: int, value: Value, where: Bias) -> Value:
    """The value plus the bias of layer i, if the network adds its bias there."""
    return value.plus_bias(w.biases[i]) if w.network.bias == where else value


def _pre(w: Work, i: int) -> Value:
    return with_bias(w, i, w.x[i - 1] @ w.weights[i], "pre")


def _out(w: Work, i: int) -> Value:
    return with_bias(w, i, w.z[i].f(w.name(i)), "post")


def _residual(w: Work, i: int) -> Value:
    return w.x[i].minus_target(w.y)


def _error(w: Work, i: int) -> Value:
    return w.x[i].minus_target(w.y).squared_error()


def _side(w: Work, i: int) -> Value:
    return w.k[i + 1] @ w.weights[i + 1].mT


RULE: Mapping[str, Step] = {
    "z": _pre,
    "x": _out,
    "E": _error,
    "d": lambda w, i: w.z[i].slope(w.name(i), w.conventions.get(w.name(i))),
    "r": _residual,
    "s": _side,
    "k": lambda w, i: w.s[i] * w.d[i],
    "W": lambda w, i: w.x[i - 1].mT @ w.k[i],
    "b": lambda w, i: (w.k[i] if w.network.bias == "pre" else w.s[i]).rows(),
}
"""The steps by name: pre-activation, activation, error, slope, residual, dE/dx_i, k-term, and the two gradients."""


def start(
    structure: Structure,
    parameters: Parameters,
    x: Array,
    y: Array,
    reading: Reading | None = None,
    before: Work | None = None,
    conventions: Conventions | None = None,
) -> Work:
    """A pass about to begin, from arrays in float64."""
    weights = {i: exact(weight, reading) for i, weight in enumerate(parameters.weights, 1)}
    biases = {i: exact(bias[..., None, :], reading) for i, bias in enumerate(parameters.biases, 1)}
    network, given = structure.network, {0: exact(x, reading)}
    return Work(
        network, structure.format, weights, biases, exact(y, reading), before, given, conventions=conventions or {}
    )


_SAME_INPUTS: Mapping[str, Callable[[Work, Work, int], bool]] = {
    "z": lambda w, o, i: w.x[i - 1] is o.x[i - 1],
    "x": lambda w, o, i: w.z[i] is o.z[i],
    "E": lambda w, o, i: w.x[i] is o.x[i],
    "d": lambda w, o, i: w.z[i] is o.z[i],
    "r": lambda w, o, i: w.x[i] is o.x[i],
    "s": lambda w, o, i: w.k[i + 1] is o.k[i + 1],
    "k": lambda w, o, i: w.s[i] is o.s[i] and w.d[i] is o.d[i],
    "W": lambda w, o, i: w.x[i - 1] is o.x[i - 1] and w.k[i] is o.k[i],
    "b": lambda w, o, i: (w.k[i] is o.k[i]) if w.network.bias == "pre" else (w.s[i] is o.s[i]),
}
"""For each step of the rule, whether two passes of the same parameters put the same objects into it at layer i."""

_COMPUTED: Mapping[str, Callable[[Work, int], Value]] = {
    "z": lambda o, i: o.given[f"z_{i}"],
    "x": lambda o, i: o.given[f"x_{i}"],
    "E": lambda o, i: o.given["E"],
    "d": lambda o, i: o.d[i],
    "r": lambda o, i: o.s[i],
    "s": lambda o, i: o.s[i],
    "k": lambda o, i: o.given[f"k_{i}"],
    "W": lambda o, i: o.given[f"dE/dW_{i}"],
    "b": lambda o, i: o.given[f"dE/db_{i}"],
}
"""For each step, what a finished pass computed at layer i."""


def afresh(work: Work, before: Work | None) -> Work:
    """A pass about to begin, from the numbers of another."""
    return Work(
        work.network, work.format, work.weights, work.biases, work.y, before, {0: work.x[0]},
        conventions=work.conventions,
    )  # fmt: skip


Give = Callable[[str, Value], Value]
"""Takes the name of a quantity and its computed value, and returns the value from which the next steps continue."""


def as_computed(name: str, value: Value) -> Value:
    """The computed value."""
    return value


def showing(shown: Mapping[str, Array]) -> Give:
    """The value that a framework shows, for quantities that it shows. It is the same object each time, so that passes
    which share this function share what follows from it.
    """
    kept: dict[tuple[str, Reading | None, tuple[int, ...]], tuple[Value, Value]] = {}

    def give(name: str, value: Value) -> Value:
        if name not in shown:
            return value
        key = name, value.reading, value.shape
        if key not in kept:
            kept[key] = value, value.shown_as(shown[name])
        computed, given = kept[key]
        # With `selects`, the error of what is shown depends on what was computed; otherwise on its `again` alone.
        if computed is value or value.reading is None:
            return given
        if not value.reading.selects and _is_same(computed.estimate.again, value.estimate.again):
            return given
        return value.shown_as(shown[name])

    return give


def _is_same(a: Array | None, b: Array | None) -> bool:
    return a is b or (a is not None and b is not None and np.array_equal(a, b, equal_nan=True))


def run(
    w: Work,
    mistakes: Sequence[Made] = (),
    give: Give = as_computed,
    base: Work | None = None,
    known: Sequence[Made] = (),
) -> Work:
    """Carry out a pass. Each change is made at the layers i of n that its predicate accepts. Those in `known` are part
    of the rule: a mistake changes what they give.

    A change whose arrays do not fit a layer is not made there: in a framework it would have raised an error of shapes.
    `base` is a finished pass without mistakes, with what is known, from which `w` was made by `afresh`. A step with the
    same inputs as there is not computed again.
    """

    of_step: dict[str, list[tuple[Change, Callable[[int, int], bool]]]] = {}
    for changes, takes in mistakes:
        for step, change in changes.items():
            of_step.setdefault(step, []).append((change, takes))

    def at(step: str, i: int) -> Value:
        made = [change for change, takes in of_step[step] if takes(i, n)] if step in of_step else []
        own = [changes[step] for changes, takes in known if step in changes and takes(i, n)]
        # Most steps have no change, and a diagnosis makes hundreds of passes.
        if not made:
            return _right(w, step, i, base, own)
        return _changed(w, step, i, made, partial(_right, w, step, i, base, own))

    def keep(name: str, value: Value) -> Value:
        w.given[name] = value
        return give(name, value)

    n = w.depth
    # What overflows is compared by its value.
    with np.errstate(all="ignore"):
        for i in range(1, n + 1):
            w.z[i] = keep(f"z_{i}", at("z", i))
            w.x[i] = keep(f"x_{i}", at("x", i))
        w.x[n] = keep("outputs", w.given[f"x_{n}"])
        keep("E", at("E", n))
        for i in range(1, n + 1):
            w.d[i] = at("d", i)
        for i in range(n, 0, -1):
            w.s[i] = at("r" if i == n else "s", i)
            w.k[i] = keep(f"k_{i}", at("k", i))
        for i in range(n, 0, -1):
            w.gw[i] = keep(f"dE/dW_{i}", at("W", i))
        if w.network.bias != "none":
            for i in range(n, 0, -1):
                w.gb[i] = keep(f"dE/db_{i}", at("b", i))
    return w


def _changed(w: Work, step: str, i: int, changes: Sequence[Change], right: Callable[[], Value]) -> Value:
    """What a step gives at layer i, with each change applied to what the previous one gives."""
    try:
        value = reduce(lambda inner, change: partial(change, w, i, inner), changes, right)()
    except (ValueError, KeyError, IndexError):  # shapes that do not fit, or a layer that does not exist
        return right()
    return value if value.shape[-2:] == _due(w, step, i) else right()


def _right(w: Work, step: str, i: int, base: Work | None, known: Sequence[Change]) -> Value:
    """What a step gives at layer i by the rule; from `base` if it has the same inputs there."""
    if base is not None and _SAME_INPUTS[step](w, base, i):
        return _COMPUTED[step](base, i)
    return _changed(w, step, i, known, partial(RULE[step], w, i)) if known else RULE[step](w, i)


def _due(w: Work, step: str, i: int) -> tuple[int, int]:
    return {"E": (1, 1), "W": (w.width(i - 1), w.width(i)), "b": (1, w.width(i))}.get(step, (w.batch, w.width(i)))
