"""A framework's own formula for f or f', written as an expression, with the rounding error of its operations.

thinc computes silu as z times the sigmoid of z clipped to -20..20. An expectation says so:

    formula = "value-as-written"
    parameters = { f = "z / (1 + exp(-clip(z, -20, 20)))" }

The expression is evaluated with a running error bound: each operation adds what its operands carry and its own
rounding. Let u be the unit roundoff of the case's dtype and e_a the error of an operand a.

| operation | error of the result r |
|---|---|
| a + b, a - b | e_a + e_b + u abs(r) |
| a * b | abs(a) e_b + abs(b) e_a + e_a e_b + u abs(r) |
| a / b | (e_a + abs(r) e_b) / (abs(b) - e_b) + u abs(r) |
| a ** n, n a whole number | that of n - 1 products |
| a monotone function g | the larger of abs(g(a + e_a) - r) and abs(g(a - e_a) - r), plus 4 u abs(r) |
| sin | e_a + 4 u abs(r): it is nowhere steeper than 1 |
| abs, minimum, maximum, clip | the largest error of the operands; nothing is rounded |
| where(c, a, b) | that of the operand chosen; where rounding may change c, of both, and their distance |
| f64(a), f32(a) | that of a, whose operations are done in this format |
| a constant | u abs(r) |

Elementary functions get 4 u, which is two units in the last place. Each result adds the smallest normal number, since
it may be flushed, and becomes infinite where it exceeds the largest number of the dtype. The evaluation itself rounds
in float64, so what float64 gives is doubled.
"""

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache
from typing import NoReturn

import numpy as np
from scipy import special

from ...reference import DTYPES, Array, DType

_MONOTONE: Mapping[str, Callable[[Array], Array]] = {
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "log2": np.log2,
    "tanh": np.tanh,
    "sqrt": np.sqrt,
    "erf": special.erf,
}
_STEEPEST_1 = {"sin": np.sin}
_EXACT = ("abs", "minimum", "maximum", "clip")
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Array, Array], Array]] = {
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
}
_ARGUMENTS = {
    **dict.fromkeys((*_MONOTONE, *_STEEPEST_1, *DTYPES), 1),
    "abs": 1,
    "minimum": 2,
    "maximum": 2,
    "clip": 3,
    "where": 3,
}

_MOST_SHOWN = 40
"""The characters that a message quotes of an expression."""


@dataclass(frozen=True)
class Bounded:
    """Values, and by how much a framework's may differ from each."""

    value: Array
    error: Array


def find_expression_problem(text: object) -> str:
    """What is wrong with an expression, with the part that is wrong and its first character, counted from 1; empty if
    it can be evaluated.
    """
    if not isinstance(text, str):
        return f"{text!r} is not text"
    try:
        _require_known(_parse(text))
    except SyntaxError as error:
        return _describe_syntax_error(text, error)
    except (ValueError, RecursionError, MemoryError) as error:
        return str(error) or "it is nested too deeply"
    return ""


def find_name_beside(text: str, known: Sequence[str]) -> tuple[str, int] | None:
    """The first name in an expression that can be evaluated and is none of these, with its first character, counted
    from 1; None if there is none.
    """
    called = {id(node.func) for node in ast.walk(_parse(text)) if isinstance(node, ast.Call)}
    names = [node for node in ast.walk(_parse(text)) if isinstance(node, ast.Name) and id(node) not in called]
    unknown = [(node.col_offset + 1, node.id) for node in names if node.id not in known]
    if not unknown:
        return None
    at, name = min(unknown)
    return name, at


def _describe_syntax_error(text: str, error: SyntaxError) -> str:
    at, text = error.offset or 1, text.strip()
    part = text[at - 1 : at - 1 + _MOST_SHOWN]
    what = error.msg.replace(" (<unknown>, line 1)", "")
    return f"{what}, at character {at}: {part!r}" if part else f"{what}, at its end, after {text[-_MOST_SHOWN:]!r}"


def _fail(node: ast.AST, what: str) -> NoReturn:
    """Raise ValueError for a part of an expression; `what` completes "... is" or "... takes"."""
    shown = ast.unparse(node)
    shown = shown if len(shown) <= _MOST_SHOWN else shown[:_MOST_SHOWN] + "..."
    raise ValueError(f"{shown} {what}, at character {getattr(node, 'col_offset', 0) + 1}")


def _name_problem(node: ast.expr) -> str:
    """What is wrong with an operation that is not known."""
    match node:
        case ast.Call(func=ast.Name(id=name), keywords=[]) if name in _ARGUMENTS:
            due = _ARGUMENTS[name]
            return f"is {name} of {len(node.args)} arguments; it takes {due}"
        case ast.Call(func=ast.Name(id=name), keywords=[]):
            near = get_close_matches(name, _ARGUMENTS, 1)
            return f"is a function that is not known{f'; did you mean {near[0]}' if near else ''}"
        case ast.BinOp(op=ast.Pow()):
            return "is a power that is not a whole number of at least 1"
        case _:
            return "is not an operation that is known"


@cache
def _parse(text: str) -> ast.expr:
    return ast.parse(text.strip(), mode="eval").body


def _require_known(node: ast.expr) -> None:
    """Raise ValueError for anything that `evaluate` does not know."""
    match node:
        case ast.Constant(value=bool() | str() | bytes() | None):
            _fail(node, "is not a number")
        case ast.Constant(value=int() | float()) | ast.Name():
            return
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            _require_known(operand)
        case ast.BinOp(op=ast.Pow(), left=left, right=ast.Constant(value=int(n))) if n >= 1:
            _require_known(left)
        case ast.BinOp(op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div(), left=left, right=right):
            _require_known(left)
            _require_known(right)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if len(arguments) == _ARGUMENTS.get(name):
            if name == "where":
                _require_comparison(arguments[0])
            for argument in arguments[1:] if name == "where" else arguments:
                _require_known(argument)
        case _:
            _fail(node, _name_problem(node))


def _require_comparison(node: ast.expr) -> None:
    match node:
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARISONS:
            _require_known(left)
            _require_known(right)
        case _:
            _fail(node, "is not a comparison of two numbers")


def evaluate(text: str, z: Bounded, parameters: Mapping[str, float], format: DType) -> Bounded:
    """The values of an expression of z and of the activation's parameters, for a framework that computes in `format`.

    Raises ValueError for a name that is neither z nor a parameter.
    """
    with np.errstate(all="ignore"):
        return _Evaluation(z, parameters, format).visit(_parse(text))


@dataclass(frozen=True)
class _Evaluation:
    z: Bounded
    parameters: Mapping[str, float]
    format: DType

    def visit(self, node: ast.expr) -> Bounded:
        match node:
            case ast.Constant(value=int(number) | float(number)):
                return self._constant(number)
            case ast.Name(id="z"):
                return self.z
            case ast.Name(id=name) if name in self.parameters:
                return self._constant(self.parameters[name])
            case ast.UnaryOp(operand=operand):
                inner = self.visit(operand)
                return Bounded(-inner.value, inner.error)
            case ast.BinOp(op=ast.Pow(), left=left, right=ast.Constant(value=int(n))):
                factor = self.visit(left)
                power = factor
                for _ in range(n - 1):
                    power = self._times(power, factor)
                return power
            case ast.BinOp(left=left, op=op, right=right):
                return self._combine(op, self.visit(left), self.visit(right))
            case ast.Call(func=ast.Name(id="where"), args=[ast.Compare() as condition, yes, no]):
                return self._where(condition, self.visit(yes), self.visit(no))
            case ast.Call(func=ast.Name(id=name), args=[argument]) if name in DTYPES:
                return replace(self, format=DTYPES[name]).visit(argument)
            case ast.Call(func=ast.Name(id=name), args=arguments):
                return self._call(name, [self.visit(argument) for argument in arguments])
            case _:
                _fail(node, "is neither z nor a parameter" if isinstance(node, ast.Name) else _name_problem(node))

    def _constant(self, number: float) -> Bounded:
        exactly = float(np.asarray(number).astype(self.format.numpy)) == number
        error = 0.0 if exactly else self.format.u * abs(number)
        shape = self.z.value.shape
        return Bounded(np.full(shape, float(number)), np.full(shape, error))

    def _rounded(self, value: Array, inherited: Array, units: float = 1.0) -> Bounded:
        value = np.where(np.abs(value) > self.format.max, np.copysign(np.inf, value), value)
        own = units * self.format.u * np.abs(value)
        return Bounded(value, inherited + (2 * own if self.format.name == "f64" else own) + self.format.tiny)

    def _times(self, a: Bounded, b: Bounded) -> Bounded:
        inherited = np.abs(a.value) * b.error + np.abs(b.value) * a.error + a.error * b.error
        return self._rounded(a.value * b.value, inherited)

    def _combine(self, op: ast.operator, a: Bounded, b: Bounded) -> Bounded:
        if isinstance(op, ast.Mult):
            return self._times(a, b)
        if isinstance(op, ast.Div):
            quotient = a.value / b.value
            least = np.abs(b.value) - b.error
            inherited = np.where(least > 0, (a.error + np.abs(quotient) * b.error) / least, np.inf)
            return self._rounded(quotient, np.where(np.isinf(b.value), 0.0, inherited))
        value = a.value + b.value if isinstance(op, ast.Add) else a.value - b.value
        return self._rounded(value, a.error + b.error)

    def _where(self, condition: ast.Compare, yes: Bounded, no: Bounded) -> Bounded:
        left, right = self.visit(condition.left), self.visit(condition.comparators[0])
        chosen = _COMPARISONS[type(condition.ops[0])](left.value, right.value)
        reach = left.error + right.error
        near = (np.abs(left.value - right.value) <= reach) & (reach > 0)
        either = yes.error + no.error + np.abs(yes.value - no.value)
        error = np.where(near, either, np.where(chosen, yes.error, no.error))
        return Bounded(np.where(chosen, yes.value, no.value), error)

    def _call(self, name: str, given: list[Bounded]) -> Bounded:
        values = [one.value for one in given]
        if name in _EXACT:
            function = {"abs": np.abs, "minimum": np.minimum, "maximum": np.maximum, "clip": np.clip}[name]
            return Bounded(function(*values), np.max([one.error for one in given], axis=0))
        if name in _STEEPEST_1:
            return self._rounded(_STEEPEST_1[name](values[0]), given[0].error, units=4.0)
        g, (value,), error = _MONOTONE[name], values, given[0].error
        result = g(value)
        reach = np.maximum(np.abs(g(value + error) - result), np.abs(result - g(value - error)))
        return self._rounded(result, np.where(error > 0, reach, 0.0), units=4.0)
