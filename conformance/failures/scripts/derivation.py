"""Derivations: how the right value of one entry is computed, step by step, as one would write it on paper."""

from collections.abc import Iterator, Sequence

import numpy as np

from ....adapters.scripts.formulas import as_factor, helpers, slope_of, value_of
from ....reference import ACTIVATIONS, Array, Structure
from ...cases.regimes import Draw
from .evidence import Evidence
from .literals import format_number

_MOST_NUMBERS = 6
"""The most numbers of a step or terms of a sum that are written down."""
_MOST_STEPS, _LAST_STEPS = 9, 6
"""If a derivation has more steps than the first, the first two and the last six are written down."""


def format_derivation(structure: Structure, one: Draw, evidence: Evidence) -> str:
    """One line a step: its formula as a NumPy expression, and its numbers if they are few. The last line gives the
    entry with the largest error as a sum or product of numbers. x is the input, `^T` a transposed matrix, and a product
    without a sign is a matrix product.
    """
    steps = _Steps(structure, one, evidence)
    path = [name for name in evidence.values if name != steps.last]
    lines = [steps.format_step(name) for name in path]
    if len(lines) > _MOST_STEPS:
        left_out = len(lines) - _LAST_STEPS - 2
        lines[2:-_LAST_STEPS] = [f"... and so on, {left_out} more steps"]
    lines += [f"{steps.last} = {steps.formula(steps.last)}", *steps.format_entry()]
    formulas = helpers([steps.formula(name) for name in (*path, steps.last)])
    lines += [f"where {name}(z) = {text}" for name, text in formulas.items()]
    return "\n".join(lines)


class _Steps:
    """The steps of one derivation."""

    def __init__(self, structure: Structure, one: Draw, evidence: Evidence) -> None:
        self._network, self._one, self._evidence = structure.network, one.astype(np.dtype(np.float64)), evidence
        self.last = list(evidence.values)[-1]
        self._values = {**evidence.values, **evidence.given}
        self._values.setdefault("outputs", self._values.get(f"x_{self._network.depth}", np.zeros(())))

    def format_step(self, name: str) -> str:
        """The formula of a step and its numbers; only one row of them, if the entry depends on no other row."""
        value, label = self._values[name], name
        if self.last[0] in "zxk":
            row = self._evidence.at[0]
            value, label = value[row], f"{name}[{row}]"
        numbers = f"; {label} = {_numbers(value)}" if 0 < value.size <= _MOST_NUMBERS else ""
        return f"{name} = {self.formula(name)}{numbers}{self._kink_remark(name)}"

    def formula(self, name: str) -> str:
        """The rule's formula for a quantity, as a NumPy expression."""
        symbol, _, number = name.rpartition("_")
        if name == "E":
            return f"sum((x_{self._network.depth} - y)**2) / 2"
        i = int(number)
        function, bias = self._network.activations[i - 1], self._network.bias
        before = f"x_{i - 1}" if i > 1 else "x"
        side = f"(x_{i} - y)" if i == self._network.depth else f"(k_{i + 1} W_{i + 1}^T)"
        return {
            "z": f"{before} W_{i}" + (f" + b_{i}" if bias == "pre" else ""),
            "x": value_of(function, f"z_{i}") + (f" + b_{i}" if bias == "post" else ""),
            "k": f"{side} * {as_factor(slope_of(function, f'z_{i}'))}",
            "dE/dW": f"{before}^T k_{i}",
            "dE/db": f"the sum over the batch of {f'k_{i}' if bias == 'pre' else side}",
        }[symbol]

    def format_entry(self) -> Iterator[str]:
        """The entry with the largest error, with its numbers."""
        name, at = self.last, self._evidence.at
        total = format_number(np.float64(self._values[name][at]))
        label = f"{name}{list(at)}" if at else name
        terms = self._terms()
        if terms is None or len(terms) > _MOST_NUMBERS:
            yield f"{label} = {total}"
        else:
            yield f"{label} = {' + '.join(terms)} = {total}{self._kink_remark(name)}"

    def _terms(self) -> list[str] | None:
        """The terms of the entry, if it is a sum of numbers and products of numbers; else None."""
        symbol, _, layer = self.last.rpartition("_")
        if not symbol:
            return None
        i, at, parameters = int(layer), self._evidence.at, self._one.parameters
        if symbol == "z":
            terms = _products(self._before(i)[at[0]], parameters.weights[i - 1][:, at[1]])
            return [*terms, _factor(parameters.biases[i - 1][at[1]])] if self._network.bias == "pre" else terms
        if symbol == "x":
            inner = f"f({format_number(np.float64(self._values[f'z_{i}'][at]))})"
            return [inner, _factor(parameters.biases[i - 1][at[1]])] if self._network.bias == "post" else [inner]
        if symbol == "k":
            side = self._side(i)[at]
            return _products([side], [self._slope(i, at, side)])
        if symbol == "dE/dW":
            return _products(self._before(i)[:, at[0]], self._values[f"k_{i}"][:, at[1]])
        summed = self._values[f"k_{i}"] if self._network.bias == "pre" else self._side(i)
        return [_factor(value) for value in summed[:, at[0]]]

    def _before(self, i: int) -> Array:
        """The left factor of W_i: x_{i-1}, or the input."""
        return self._values[f"x_{i - 1}"] if i > 1 else self._one.x

    def _side(self, i: int) -> Array:
        """The factor of f' in k_i: dE/dx_i."""
        with np.errstate(all="ignore"):
            if i == self._network.depth:
                return self._values["outputs"] - self._one.y
            return self._values[f"k_{i + 1}"] @ self._one.parameters.weights[i].T

    def _slope(self, i: int, at: tuple[int, ...], side: float) -> float:
        """f' as the rule's k has it: at a kink not always what the formula gives."""
        # That the two are close decides which of them is written, and no verdict: both are computed in float64.
        plain = self._slopes(i)[at]
        value = self._values[f"k_{i}"][at]
        return plain if side == 0 or np.isclose(side * plain, value, rtol=1e-9, atol=0) else value / side

    def _slopes(self, i: int) -> Array:
        with np.errstate(all="ignore"):
            return ACTIVATIONS[self._network.activations[i - 1]].derivative(self._values[f"z_{i}"])

    def _kink_remark(self, name: str) -> str:
        """A remark on a k with entries at a kink, where the formula alone does not say what f' is; else empty."""
        symbol, _, layer = name.rpartition("_")
        if symbol != "k":
            return ""
        i = int(layer)
        plain, value = self._side(i) * self._slopes(i), self._values[name]
        if np.isclose(plain, value, rtol=1e-9, atol=0, equal_nan=True).all():
            return ""
        row = ACTIVATIONS[self._network.activations[i - 1]]
        points = ", ".join(f"{kink.point:g}" for kink in row.kinks)
        return (
            f" (f' jumps at z = {points}. There, f' is what the adapter declares. Where it declares nothing, or where"
            " rounding can put z on either side, f' is the middle, and the tolerance covers both sides.)"
        )


def _numbers(value: Array) -> str:
    if value.ndim == 0:
        return format_number(np.float64(value))
    return f"[{', '.join(map(_numbers, value))}]"


def _factor(value: float) -> str:
    text = format_number(np.float64(value))
    return f"({text})" if text.startswith("-") else text


def _products(a: Sequence[float] | Array, b: Sequence[float] | Array) -> list[str]:
    return [f"{_factor(u)} * {_factor(v)}" for u, v in zip(a, b, strict=True)]
