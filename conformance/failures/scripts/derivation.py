"""Derivations: what is right in one entry of a quantity, step by step, as people would write it down."""

from collections.abc import Iterator, Sequence

import numpy as np

from ....adapters.scripts.formulas import as_factor, helpers, slope_of, value_of
from ....reference import ACTIVATIONS, Array, Structure
from ...cases.regimes import Draw
from .evidence import Evidence
from .literals import number

_MOST_NUMBERS = 6
_MOST_STEPS = 9
_LAST_STEPS = 6


def derivation(structure: Structure, one: Draw, shown: Evidence) -> str:
    """A line a step, each with its formula in NumPy's terms and its numbers where they are few; then the entry that is
    furthest out as a sum or product of numbers. x is the input, `^T` a transposed matrix, and products without a sign
    are matrix products.
    """
    told = _Told(structure, one, shown)
    path = [name for name in shown.values if name != told.last]
    lines = [told.step(name) for name in path]
    if len(lines) > _MOST_STEPS:
        left_out = len(lines) - _LAST_STEPS - 2
        lines[2:-_LAST_STEPS] = [f"... and so on, {left_out} more steps"]
    lines += [f"{told.last} = {told.formula(told.last)}", *told.entry()]
    formulas = helpers([told.formula(name) for name in (*path, told.last)])
    lines += [f"where {name}(z) = {text}" for name, text in formulas.items()]
    return "\n".join(lines)


class _Told:
    """The steps of one derivation as text."""

    def __init__(self, structure: Structure, one: Draw, shown: Evidence) -> None:
        self._network, self._one, self._shown = structure.network, one.astype(np.dtype(np.float64)), shown
        self.last = list(shown.values)[-1]
        self._values = {**shown.values, **shown.given}
        self._values.setdefault("outputs", self._values.get(f"x_{self._network.depth}", np.zeros(())))

    def step(self, name: str) -> str:
        """Its formula, and its numbers: those of the row in question, where other rows do not matter."""
        value, label = self._values[name], name
        if self.last[0] in "zxk":
            row = self._shown.at[0]
            value, label = value[row], f"{name}[{row}]"
        numbers = f"; {label} = {_numbers(value)}" if 0 < value.size <= _MOST_NUMBERS else ""
        return f"{name} = {self.formula(name)}{numbers}{self._at_kinks(name)}"

    def formula(self, name: str) -> str:
        """What the rule says of a quantity."""
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

    def entry(self) -> Iterator[str]:
        """The entry furthest out, with its numbers."""
        name, at = self.last, self._shown.at
        total = number(np.float64(self._values[name][at]))
        label = f"{name}{list(at)}" if at else name
        terms = self._terms()
        if terms is None or len(terms) > _MOST_NUMBERS:
            yield f"{label} = {total}"
        else:
            yield f"{label} = {' + '.join(terms)} = {total}{self._at_kinks(name)}"

    def _terms(self) -> list[str] | None:
        """The entry as a sum of numbers and products of numbers; None where it is none."""
        symbol, _, layer = self.last.rpartition("_")
        if not symbol:
            return None
        i, at, parameters = int(layer), self._shown.at, self._one.parameters
        if symbol == "z":
            terms = _products(self._before(i)[at[0]], parameters.weights[i - 1][:, at[1]])
            return [*terms, _factor(parameters.biases[i - 1][at[1]])] if self._network.bias == "pre" else terms
        if symbol == "x":
            inner = f"f({number(np.float64(self._values[f'z_{i}'][at]))})"
            return [inner, _factor(parameters.biases[i - 1][at[1]])] if self._network.bias == "post" else [inner]
        if symbol == "k":
            side = self._side(i)[at]
            return _products([side], [self._slope(i, at, side)])
        if symbol == "dE/dW":
            return _products(self._before(i)[:, at[0]], self._values[f"k_{i}"][:, at[1]])
        summed = self._values[f"k_{i}"] if self._network.bias == "pre" else self._side(i)
        return [_factor(value) for value in summed[:, at[0]]]

    def _before(self, i: int) -> Array:
        """What W_i multiplies."""
        return self._values[f"x_{i - 1}"] if i > 1 else self._one.x

    def _side(self, i: int) -> Array:
        """What k_i multiplies by f'."""
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

    def _at_kinks(self, name: str) -> str:
        """What is to be said of a k where f' jumps and the formula does not decide."""
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
            f" (f' jumps at z = {points}: there it is what the adapter declares, or else, as where rounding may put z"
            " on either side, the middle, with a tolerance for both)"
        )


def _numbers(value: Array) -> str:
    if value.ndim == 0:
        return number(np.float64(value))
    return f"[{', '.join(map(_numbers, value))}]"


def _factor(value: float) -> str:
    text = number(np.float64(value))
    return f"({text})" if text.startswith("-") else text


def _products(a: Sequence[float] | Array, b: Sequence[float] | Array) -> list[str]:
    return [f"{_factor(u)} * {_factor(v)}" for u, v in zip(a, b, strict=True)]
