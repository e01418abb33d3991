"""Mistakes of a framework's machinery as hypotheses: other programs, the numbers of other calls, arrays misread."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from ....reference import Array, Network
from ....reference.steps import Change, Changes, Work, with_bias
from ....reference.value import Value
from ...cases.draw import present_arrays, stacked
from ...cases.regimes import REGIMES, Draw
from ..hypothesis import EVERYWHERE, Asked, Hypothesis


def of_a_twin(network: Network) -> Iterator[Hypothesis]:
    """The program of another structure of the same shape: with the activations in another order, or with another bias
    placement.
    """
    for shift in range(1, network.depth):
        yield Hypothesis(
            f"stale-program:{shift}" if shift > 1 else "stale-program",
            "the activations of another structure of this shape: a program reused",
            ((_turned(shift), EVERYWHERE),),
            is_conditional=True,
        )
    if network.bias != "none":
        for z, x, b in ((False, False, "none"), (True, False, "pre"), (False, True, "post")):
            if b != network.bias:
                yield Hypothesis(
                    "stale-bias", f"the bias placement {b!r} where {network.bias!r} is due: a program reused",
                    ((_with_bias(z, x), EVERYWHERE),), is_conditional=True,
                )  # fmt: skip


def _turned(shift: int) -> Changes:
    def name(w: Work, i: int) -> str:
        return w.network.activations[(i - 1 + shift) % w.depth]

    return {
        "x": lambda w, i, right: with_bias(w, i, w.z[i].f(name(w, i)), "post"),
        "d": lambda w, i, right: w.z[i].slope(name(w, i)),
    }


def _with_bias(inside: bool, outside: bool) -> Changes:
    def z(w: Work, i: int, right: Callable[[], Value]) -> Value:
        v = w.x[i - 1] @ w.weights[i]
        return v + w.biases[i].like(v) if inside else v

    def x(w: Work, i: int, right: Callable[[], Value]) -> Value:
        v = w.z[i].f(w.name(i))
        return v + w.biases[i].like(v) if outside else v

    def b(w: Work, i: int, right: Callable[[], Value]) -> Value:
        if not inside and not outside:
            return right() * 0.0
        return (w.k[i] if inside else w.s[i]).rows()

    return {"z": z, "x": x, "b": b}


def of_other_inputs(has_earlier: bool, regime: str) -> Iterator[Hypothesis]:
    """The right answer to other numbers: those of an earlier call, or what arrays hold if their strides are ignored."""
    if has_earlier:
        yield _stale("stale-answer", "the numbers of the call before: an answer kept by too little", _all_before)
        yield _stale(
            "first-answer", "the numbers of the program's first call: an answer kept by too little", _all_first
        )
        yield _stale("constant-weights", "the weights of the program's first call, compiled in", _first_weights)
        yield _stale("constant-parameters", "the weights and biases of the program's first call", _first_parameters)
        yield _stale("stale-x", "the inputs x_0 of the call before", lambda asked, old: replace(asked.stack, x=old.x))
        yield _stale("stale-y", "the targets y of the call before", lambda asked, old: replace(asked.stack, y=old.y))
        yield _stale("stale-weights", "the weights of the call before", _weights_before)
        yield _stale("stale-biases", "the biases of the call before", _biases_before)
    if REGIMES[regime].odd_arrays:
        unstrided = "arrays read in the order of memory, whatever their strides"
        yield Hypothesis("strides-ignored", unstrided, draw=_read_flat)


def _stale(name: str, mistake: str, change: Callable[[Asked, Draw], Draw]) -> Hypothesis:
    def draw(asked: Asked) -> Draw:
        return asked.stack if asked.earlier is None else change(asked, asked.earlier.call)

    return Hypothesis(name, mistake, draw=draw, is_conditional=True)


def _all_before(asked: Asked, old: Draw) -> Draw:
    return old


def _all_first(asked: Asked, old: Draw) -> Draw:
    assert asked.earlier is not None
    return asked.earlier.first


def _first_weights(asked: Asked, old: Draw) -> Draw:
    assert asked.earlier is not None
    weights = asked.earlier.first.parameters.weights
    return replace(asked.stack, parameters=replace(asked.stack.parameters, weights=weights))


def _first_parameters(asked: Asked, old: Draw) -> Draw:
    assert asked.earlier is not None
    return replace(asked.stack, parameters=asked.earlier.first.parameters)


def _weights_before(asked: Asked, old: Draw) -> Draw:
    return replace(asked.stack, parameters=replace(asked.stack.parameters, weights=old.parameters.weights))


def _biases_before(asked: Asked, old: Draw) -> Draw:
    return replace(asked.stack, parameters=replace(asked.stack.parameters, biases=old.parameters.biases))


def _read_flat(asked: Asked) -> Draw:
    """Each call's arrays in the order in which they lie in memory when they are passed."""

    def flat(a: Array) -> Array:
        return a.ravel(order="K").reshape(a.shape)

    read = []
    for i in range(len(asked.stack.x)):
        one = asked.stack[i]
        parameters, x, y = present_arrays(asked.regime, one.parameters, one.x, one.y)
        weights = tuple(map(flat, parameters.weights))
        read.append(Draw(replace(parameters, weights=weights), flat(x), flat(y), one.dead))
    return stacked(read)


def _from_before(take: Callable[[Work, Work, int], Value]) -> Change:
    """What is right, with something of the call before in it; the first call has none before it."""
    return lambda w, i, right: right() if w.before is None else take(w, w.before, i)


STALE: tuple[Hypothesis, ...] = tuple(
    Hypothesis(name, mistake, ((changes, EVERYWHERE),), is_conditional=True)
    for name, mistake, changes in (
        ("stale-saved-x", "the x_{i-1} of the call before in the weight gradient",
         {"W": _from_before(lambda w, old, i: old.x[i - 1].mT @ w.k[i])}),
        ("stale-saved-z", "f' at the pre-activations of the call before",
         {"d": _from_before(lambda w, old, i: old.d[i])}),
        ("stale-residual", "the residual of the call before", {"r": _from_before(lambda w, old, i: old.s[i])}),
        ("stale-k", "the k-terms of the call before in the weight gradient",
         {"W": _from_before(lambda w, old, i: w.x[i - 1].mT @ old.k[i])}),
        ("stale-gradient", "the weight gradient of the call before", {"W": _from_before(lambda w, old, i: old.gw[i])}),
        ("stale-bias-gradient", "the bias gradient of the call before",
         {"b": _from_before(lambda w, old, i: old.gb[i])}),
        ("stale-passed-back", "the error passed back through the weights of the call before",
         {"s": _from_before(lambda w, old, i: w.k[i + 1] @ old.weights[i + 1].mT)}),
    )
)  # fmt: skip
"""Something of the call before that the backward pass uses again."""
