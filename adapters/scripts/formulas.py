"""The activations as NumPy expressions, for scripts that compute f and f' without this suite."""

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ...reference import ACTIVATIONS, base_of
from .script import fill_in


@dataclass(frozen=True)
class Formula:
    """f and f' as expressions of z, `np`, `math`, the functions in `HELPERS` and the activation's parameters.

    Both have the dtype of z, except that a slope that is only 0 or 1 may be boolean. At a kink, f' is the one in the
    activation table.
    """

    value: str
    slope: str


HELPERS: Mapping[str, str] = {
    "sigmoid": "np.exp(np.minimum(z, 0)) / (1 + np.exp(-np.abs(z)))",
    "softplus": "np.logaddexp(0, z)",
    "normal_cdf": "np.vectorize(math.erfc, otypes=[z.dtype])(-z / 2**0.5) / 2",
    "normal_pdf": "np.exp(-np.square(z) / 2) / (2 * math.pi) ** 0.5",
    "gate": "(8 / math.pi) ** 0.5 * (z + 0.044715 * z**3)",
    "gate_slope": "(8 / math.pi) ** 0.5 * (1 + 0.134145 * np.square(z))",
}
"""Functions of z that formulas call, as expressions. They avoid overflow and cancellation."""

_SELU = "1.0507009873554805 * np.where(z > 0, {}, 1.6732632423543772 * {})"

FORMULAS: Mapping[str, Formula] = {
    "identity": Formula("z", "np.ones_like(z)"),
    "sigmoid": Formula("sigmoid(z)", "sigmoid(z) * sigmoid(-z)"),
    "tanh": Formula("np.tanh(z)", "1 / np.square(np.cosh(z))"),
    "relu": Formula("np.maximum(z, 0)", "z > 0"),
    "leaky_relu": Formula("np.maximum(z, slope * z)", "np.where(z > 0, np.ones_like(z), slope)"),
    "relu6": Formula("np.clip(z, 0, 6)", "(z > 0) & (z < 6)"),
    "hardtanh": Formula("np.clip(z, -1, 1)", "np.abs(z) < 1"),
    "hard_sigmoid": Formula("np.clip(z + 3, 0, 6) / 6", "np.where(np.abs(z) < 3, np.ones_like(z), 0) / 6"),
    "hard_swish": Formula("z * (np.clip(z + 3, 0, 6) / 6)", "np.where(np.abs(z) < 3, z / 3 + 0.5, z >= 3)"),
    "elu": Formula(
        "np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0)))",
        "np.where(z > 0, 1, alpha * np.exp(np.minimum(z, 0)))",
    ),
    "selu": Formula(
        _SELU.format("z", "np.expm1(np.minimum(z, 0))"),
        _SELU.format("1", "np.exp(np.minimum(z, 0))"),
    ),
    "celu": Formula(
        "np.maximum(z, 0) + alpha * np.expm1(np.minimum(z, 0) / alpha)",
        "np.exp(np.minimum(z, 0) / alpha)",
    ),
    "softplus": Formula("softplus(z)", "sigmoid(z)"),
    "softsign": Formula("z / (1 + np.abs(z))", "np.square(1 / (1 + np.abs(z)))"),
    "silu": Formula("z * sigmoid(z)", "sigmoid(z) * (1 + z * sigmoid(-z))"),
    "gelu": Formula("z * normal_cdf(z)", "normal_cdf(z) + z * normal_pdf(z)"),
    "gelu_tanh": Formula("z * sigmoid(gate(z))", "sigmoid(gate(z)) * (1 + z * gate_slope(z) * sigmoid(-gate(z)))"),
    "mish": Formula(
        "z * np.tanh(softplus(z))",
        "np.tanh(softplus(z)) + z * sigmoid(z) / np.square(np.cosh(softplus(z)))",
    ),
    "log_sigmoid": Formula("-softplus(-z)", "sigmoid(-z)"),
    "tanhshrink": Formula("z - np.tanh(z)", "np.square(np.tanh(z))"),
    "softshrink": Formula("z - np.clip(z, -threshold, threshold)", "np.abs(z) > threshold"),
    "hardshrink": Formula("z * (np.abs(z) > threshold)", "np.abs(z) > threshold"),
    "squareplus": Formula("(z + np.hypot(z, b**0.5)) / 2", "(1 + z / np.hypot(z, b**0.5)) / 2"),
    "sin": Formula("np.sin(z)", "np.cos(z)"),
}


def value_of(name: str, z: str = "z") -> str:
    """f of an activation, as an expression; `z` is the name of the variable that it takes."""
    return fill_in(FORMULAS[base_of(name)].value, z, ACTIVATIONS[name].parameters)


def slope_of(name: str, z: str = "z") -> str:
    """f' of an activation, as an expression; `z` is the name of the variable that it takes."""
    return fill_in(FORMULAS[base_of(name)].slope, z, ACTIVATIONS[name].parameters)


def as_factor(expression: str) -> str:
    """Put an expression in parentheses, unless it is a name or a single call."""
    one = isinstance(ast.parse(expression, mode="eval").body, ast.Name | ast.Call)
    return expression if one else f"({expression})"


def helpers(expressions: Iterable[str]) -> dict[str, str]:
    """The `HELPERS` that the expressions call, in their order."""
    called = set(re.findall(r"(?<!\.)\b\w+(?=\()", "\n".join(expressions)))
    return {name: expression for name, expression in HELPERS.items() if name in called}
