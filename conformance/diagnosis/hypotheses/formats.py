"""Narrower formats as hypotheses: operands of products cut to fewer digits, narrow accumulators, and whole parts of a
pass computed in a narrower format.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from ....reference import DTYPES, Array
from ....reference.steps import Change, Changes, Work, with_bias
from ....reference.value import Value
from ..hypothesis import EVERYWHERE, Hypothesis, cut

Rounder = Callable[[Array], Array]


def to_bits(bits: int, rounding: Callable[[Array], Array]) -> Rounder:
    """A function that rounds to this many significant bits; the exponent is not limited."""

    def rounder(a: Array) -> Array:
        fraction, exponent = np.frexp(a)
        return np.ldexp(rounding(np.ldexp(fraction, bits)), exponent - bits)

    return rounder


def to_format(name: str) -> Rounder:
    """A function that rounds to a format."""
    return lambda a: a.astype(DTYPES[name].numpy).astype(np.float64)


_OPERANDS: Mapping[str, tuple[str, int, Rounder]] = {
    "tf32": ("rounded to tf32", 11, to_bits(11, np.rint)),
    "tf32-truncated": ("cut to the 11 bits of tf32", 11, to_bits(11, np.trunc)),
    "bf16": ("rounded to bf16", 8, to_bits(8, np.rint)),
    "bf16-truncated": ("cut to the 8 bits of bf16", 8, to_bits(8, np.trunc)),
    "f16": ("rounded to f16", 11, to_format("f16")),
    "f32": ("rounded to f32", 24, to_format("f32")),
}
_PRODUCTS: Mapping[str, str] = {
    "zsW": "all products",
    "sW": "the products of the backward pass",
    "z": "the products of the forward pass",
    "W": "the product of the weight gradient",
    "s": "the product that passes the error back",
}


def _products(rounder: Rounder) -> Mapping[str, Change]:
    def product(a: Value, b: Value) -> Value:
        return cut(a, rounder) @ cut(b, rounder)

    return {
        "z": lambda w, i, right: with_bias(w, i, product(w.x[i - 1], w.weights[i]), "pre"),
        "s": lambda w, i, right: product(w.k[i + 1], w.weights[i + 1].mT),
        "W": lambda w, i, right: product(w.x[i - 1].mT, w.k[i]),
    }


def of_products() -> Iterator[Hypothesis]:
    """Products whose operands have fewer digits."""
    for name, (text, _, rounder) in _OPERANDS.items():
        changes = _products(rounder)
        for steps, where in _PRODUCTS.items():
            made: Changes = {step: changes[step] for step in steps}
            yield Hypothesis(f"{name}-products-{steps}", f"the operands of {where} {text}", ((made, EVERYWHERE),))


def _accumulated(rounder: Rounder, step: str) -> Change:
    """A sum over the rows of the batch, one after another, rounded after each."""

    def change(w: Work, i: int, right: Callable[[], Value]) -> Value:
        if not 1 < w.batch <= 160:
            return right()
        total: Value | None = None
        for row in range(w.batch):
            k = w.k[i] if step == "W" or w.network.bias == "pre" else w.s[i]
            term = k[..., row : row + 1, :]
            if step == "W":
                term = w.x[i - 1][..., row : row + 1, :].mT @ term
            total = cut(term if total is None else total + term, rounder)
        return right() if total is None else total

    return change


def of_accumulators() -> Iterator[Hypothesis]:
    """Sums over the batch in a narrow accumulator, row by row."""
    for name in ("bf16", "f16", "f32"):
        for step, what in (("b", "the bias gradient"), ("W", "the weight gradient")):
            yield Hypothesis(
                f"{name}-accumulator-{step}", f"{what} accumulated in {name}, row by row",
                (({step: _accumulated(to_format(name), step)}, EVERYWHERE),),
            )  # fmt: skip
        yield Hypothesis(
            f"{name}-bias-gradient", f"the bias gradient rounded to {name}", ((_rounded("b", name), EVERYWHERE),)
        )
        yield Hypothesis(
            f"{name}-weight-gradient", f"the weight gradient rounded to {name}", ((_rounded("W", name), EVERYWHERE),)
        )
        yield Hypothesis(f"{name}-outputs", f"each x_i rounded to {name}", ((_rounded("x", name), EVERYWHERE),))
        yield Hypothesis(f"{name}-k", f"each k_i rounded to {name}", ((_rounded("k", name), EVERYWHERE),))
        yield Hypothesis(f"{name}-residual", f"the residual rounded to {name}", ((_rounded("r", name), EVERYWHERE),))


def _rounded(step: str, name: str) -> Changes:
    return {step: lambda w, i, right: cut(right(), to_format(name))}


PARTS: Mapping[str, tuple[str, frozenset[str]]] = {
    "computed-in": ("everything computed in {}", frozenset({"z", "x", "outputs", "E", "k", "dE/dW", "dE/db"})),
    "backward-in": ("the backward pass computed in {}", frozenset({"k", "dE/dW", "dE/db"})),
    "forward-in": ("the forward pass computed in {}", frozenset({"z", "x", "outputs"})),
    "error-in": ("E computed in {}", frozenset({"E"})),
}


def of_parts() -> Iterator[Hypothesis]:
    """Whole parts of a pass computed in a narrower format. They are compared by the format of what is seen."""
    for name in ("f32", "f16", "bf16"):
        for kind, (text, symbols) in PARTS.items():
            yield Hypothesis(f"{kind}-{name}", text.format(name), format=name, symbols=symbols)


def of_a_twin_in_another_dtype() -> Iterator[Hypothesis]:
    """The program of the same structure in a narrower dtype."""
    for name in ("f32", "f16", "bf16"):
        text = f"everything computed in {name}: a program reused whatever its dtype"
        symbols = PARTS["computed-in"][1]
        yield Hypothesis("stale-dtype", text, is_conditional=True, format=name, symbols=symbols, regime="twins")


FORMATS: tuple[Hypothesis, ...] = (*of_products(), *of_accumulators())
