"""Mistakes in the loss and in what is done with gradients, as hypotheses: another loss, weights of rows, clipping."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from ....reference import Array
from ....reference.rounding import Estimate
from ....reference.steps import Change, Changes, Work, with_bias
from ....reference.value import Value
from ..hypothesis import EVERYWHERE, PLACES, Hypothesis, everywhere


def _of_residual(function: Callable[[Array], Array]) -> Change:
    """A function of the residual that is nowhere steeper than 1."""
    return lambda w, i, right: right().through(function, 1.0)


def _energy(function: Callable[[Array], Array]) -> Change:
    """E as the sum of a function of the residual: its value, with the error of E itself."""

    def change(w: Work, i: int, right: Callable[[], Value]) -> Value:
        due, residual = right(), w.x[i].value - w.y.value
        total = function(residual).sum((-2, -1))[..., None, None]
        return Value(Estimate(total, due.estimate.error, due.estimate.jump), due.reading)

    return change


def _huber(limit: float) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    def energy(r: Array) -> Array:
        return np.where(np.abs(r) <= limit, r * r / 2, limit * (np.abs(r) - limit / 2))

    return lambda r: np.clip(r, -limit, limit), energy


def _log_cosh(r: Array) -> Array:
    return np.logaddexp(r, -r) - np.log(2)


_Loss = tuple[Callable[[Array], Array], Callable[[Array], Array]]
_LOSSES: Mapping[str, tuple[str, _Loss]] = {
    "log-cosh": ("a log-cosh loss", (np.tanh, _log_cosh)),
    "pseudo-huber": ("a pseudo-Huber loss", (lambda r: r / np.hypot(1, r), lambda r: np.hypot(1, r) - 1)),
    "absolute": ("an absolute loss, |r|", (np.sign, np.abs)),
    "residual-size": ("|r| for the residual", (np.abs, lambda r: r * r / 2)),
    "rms": (
        "a residual divided by 1 + |r|",
        (lambda r: r / (1 + np.abs(r)), lambda r: np.abs(r) - np.log1p(np.abs(r))),
    ),
    **{f"huber-{c:g}": (f"a Huber loss with δ = {c:g}", _huber(c)) for c in (1.0, 0.5, 1.35, 2.0, 0.1)},
}


def _loss(name: str, text: str, loss: _Loss, fitted: int = 0) -> Iterator[Hypothesis]:
    residual, energy = loss
    both: Changes = {"r": _of_residual(residual), "E": _energy(energy)}
    for suffix, where, steps in (
        ("", ", in E and in the gradient", "rE"),
        ("-gradient", ", in the gradient alone", "r"),
        ("-error", ", in E alone", "E"),
    ):
        changes = {step: both[step] for step in steps}
        yield Hypothesis(f"{name}{suffix}", text + where, ((changes, EVERYWHERE),), fitted=fitted)


# Rows of the batch.


def _weighted(factors: Callable[[int], Array]) -> Change:
    return lambda w, i, right: right() * factors(w.batch)[:, None]


def _micro_batches(size: int) -> Callable[[int], Array]:
    """A mean over each micro-batch of `size` rows, then a mean over these: rows of a last, shorter one weigh more."""

    def factors(batch: int) -> Array:
        numbers = np.arange(batch) // size
        counts = np.bincount(numbers, minlength=1)
        return 1.0 / (counts[numbers] * max(len(counts), 1))

    return factors


def _times_batch(factors: Callable[[int], Array]) -> Callable[[int], Array]:
    return lambda batch: factors(batch) * batch


_ROWS: Mapping[str, tuple[str, Callable[[int], Array]]] = {
    "first-row-alone": ("the first row of the batch alone", lambda b: (np.arange(b) == 0) * 1.0),
    "last-row-alone": ("the last row of the batch alone", lambda b: (np.arange(b) == b - 1) * 1.0),
    "first-row-lost": ("the first row of the batch left out", lambda b: (np.arange(b) > 0) * 1.0),
    "last-row-lost": ("the last row of the batch left out", lambda b: (np.arange(b) < b - 1) * 1.0),
    "weights-rising": ("sample weights 1, 2, 3, ...", lambda b: 1.0 + np.arange(b)),
    "weights-falling": ("sample weights 1, 1/2, 1/3, ...", lambda b: 1 / (1.0 + np.arange(b))),
    "weights-linear": ("sample weights 1/B, 2/B, ..., 1", lambda b: (1.0 + np.arange(b)) / max(b, 1)),
    "weights-shares": (
        "sample weights that rise evenly and add up to 1", lambda b: 2 * (1.0 + np.arange(b)) / max(b * (b + 1), 1),
    ),
    **{f"micro-batches-{m}": (f"a mean over micro-batches of {m} rows, then over these", _micro_batches(m))
       for m in (2, 3, 4, 5, 8, 16, 32)},
    **{f"micro-batches-{m}-summed": (f"micro-batches of {m} rows that weigh the same, whatever their size",
                                     _times_batch(_micro_batches(m)))
       for m in (2, 3, 4, 5, 8, 16, 32)},
}  # fmt: skip


# Gradients.


def _norm(w: Work, i: int) -> Array:
    """The norm of all gradients together, (D, 1, 1)."""
    total = np.zeros(w.y.value.shape[:-2])
    for j in range(1, w.depth + 1):
        total = total + np.square(w.x[j - 1].value.mT @ w.k[j].value).sum((-2, -1))
        if w.network.bias != "none":
            rows = w.k[j] if w.network.bias == "pre" else w.s[j]
            total = total + np.square(rows.value.sum(-2)).sum(-1)
    return np.sqrt(total)[..., None, None]


def _own_norm(w: Work, i: int) -> Array:
    return np.sqrt(np.square(w.x[i - 1].value.mT @ w.k[i].value).sum((-2, -1)))[..., None, None]


def _scaled_to(limit: float, norm: Callable[[Work, int], Array]) -> Change:
    def change(w: Work, i: int, right: Callable[[], Value]) -> Value:
        with np.errstate(all="ignore"):
            factor = np.minimum(1.0, limit / norm(w, i))
        due = right()
        return due * np.broadcast_to(np.where(np.isfinite(factor), factor, 1.0), due.shape)

    return change


def _held(limit: float) -> Change:
    return lambda w, i, right: right().through(lambda a: np.clip(a, -limit, limit))


def of_huber(c: float) -> Iterator[Hypothesis]:
    yield from _loss("huber", f"a Huber loss with δ = {c:.6g}", _huber(c), 1)


def of_clipped_k(c: float) -> Iterator[Hypothesis]:
    yield Hypothesis("k-clipped", f"each k_i held between ±{c:.6g}", (({"k": _held(c)}, EVERYWHERE),), fitted=1)


def of_clipped_gradients(c: float) -> Iterator[Hypothesis]:
    both: Changes = {"W": _held(c), "b": _held(c)}
    yield Hypothesis("gradients-clipped", f"all gradients held between ±{c:.6g}", ((both, EVERYWHERE),), fitted=1)
    weights: Changes = {"W": _held(c)}
    yield Hypothesis("dW-clipped", f"weight gradients held between ±{c:.6g}", ((weights, EVERYWHERE),), fitted=1)


def of_norm(c: float) -> Iterator[Hypothesis]:
    both: Changes = {"W": _scaled_to(c, _norm), "b": _scaled_to(c, _norm)}
    text = f"all gradients together clipped to the norm {c:.6g}"
    yield Hypothesis("norm-clipped", text, ((both, EVERYWHERE),), fitted=1)


def of_each_norm(c: float) -> Iterator[Hypothesis]:
    weights: Changes = {"W": _scaled_to(c, _own_norm)}
    text = f"each weight gradient clipped to the norm {c:.6g}"
    yield Hypothesis("norm-clipped-each", text, ((weights, EVERYWHERE),), fitted=1)


# What is left.


def _flush(w: Work, i: int, right: Callable[[], Value]) -> Value:
    value = right()
    small = np.abs(value.value) < w.format.tiny
    return value.where(~small, Value(Estimate(np.zeros(value.shape)), value.reading))


def _order_turned(step: str) -> Change:
    def change(w: Work, i: int, right: Callable[[], Value]) -> Value:
        j = w.depth + 1 - i
        if step == "W":
            return w.x[j - 1].mT @ w.k[j]
        return (w.k[j] if w.network.bias == "pre" else w.s[j]).rows()

    return change


def _reshaped(w: Work, i: int, right: Callable[[], Value]) -> Value:
    turned = w.weights[i].mT.reshape(w.width(i - 1), w.width(i))
    value = w.x[i - 1] @ turned
    return value.plus_bias(w.biases[i]) if w.network.bias == "pre" else value


_TURNED: Changes = {"W": _order_turned("W"), "b": _order_turned("b")}
_OTHERS: tuple[Hypothesis, ...] = (
    everywhere("all-gradients-order", "the order of the layers' gradients turned round, biases with them", _TURNED),
    everywhere(
        "weights-size", "|W| in what is passed back",
        {"s": lambda w, i, right: w.k[i + 1] @ w.weights[i + 1].through(np.abs).mT},
    ),
    Hypothesis(
        "linear-output", "no activation at the output layer, in both directions",
        (({"x": lambda w, i, right: with_bias(w, i, w.z[i], "post"), "k": lambda w, i, right: w.s[i]},
          PLACES["the last layer"]),),
    ),
    everywhere(
        "parameters-for-gradients", "the weights and biases themselves in place of their gradients",
        {"W": lambda w, i, right: right() * 0.0 + w.weights[i], "b": lambda w, i, right: right() * 0.0 + w.biases[i]},
    ),
    everywhere("flushed", "results below the normal range taken for 0", dict.fromkeys("zxskWb", _flush)),
    everywhere(
        "flushed-forward", "results of the forward pass below the normal range taken for 0", dict.fromkeys("zx", _flush)
    ),
    everywhere(
        "flushed-backward", "results of the backward pass below the normal range taken for 0",
        dict.fromkeys("skWb", _flush),
    ),
    everywhere(
        "k-nan-to-zero", "0 for each k_i that is no finite number",
        {"k": lambda w, i, right: right().through(lambda a: np.where(np.isfinite(a), a, 0.0))},
    ),
    everywhere(
        "forward-reshaped", "the entries of W in another order in the forward pass, a reshape of its transpose",
        {"z": _reshaped},
    ),
    everywhere("batch-reversed", "the rows of x_{i-1} in reverse order in the weight gradient",
               {"W": lambda w, i, right: w.x[i - 1][..., ::-1, :].mT @ w.k[i]}),
    everywhere(
        "l1", "1e-4 sign(W) added to dE/dW", {"W": lambda w, i, right: right() + w.weights[i].through(np.sign) * 1e-4}
    ),
)  # fmt: skip


LOSSES: tuple[Hypothesis, ...] = (
    *(
        one
        for name, (text, loss) in _LOSSES.items()
        for one in _loss(name, text, loss)
        if one.name != "huber-1-gradient"  # a mutant of the table
    ),
    *(
        everywhere(f"residual-{name}", f"{text}, in the residual", {"r": _weighted(rows)})
        for name, (text, rows) in _ROWS.items()
    ),
    *_OTHERS,
)
"""Mistakes of one form for all networks that are not mutants of the table."""
