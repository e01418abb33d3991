"""What the scripts of several frameworks share: source code, lists of activations, names of quantities."""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...reference import Bias, Structure
from .script import Spell

_WIDTH = 120


def read_source(function: Callable[..., Any], bias: Bias) -> str:
    """Read the source of a function that an adapter runs, as scripts show it for one bias placement.

    Every line is the adapter's own. Type annotations are left out, since a script does not import what they need. An
    `if` that compares `bias`, such as `if bias == "pre":`, is replaced by the branch that runs. These must not be
    nested.
    """
    text = textwrap.dedent(inspect.getsource(function)).rstrip()
    lines = text.splitlines()
    # From the last line to the first: a change then moves no line that is changed later.
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.If)]
    for node in sorted(nodes, key=lambda node: node.lineno, reverse=True):
        match node:
            case ast.FunctionDef():
                # A header may have several lines, and a comment may follow before the first statement.
                end = next(i for i, line in enumerate(lines) if i >= node.lineno - 1 and line.endswith(":"))
                lines[node.lineno - 1 : end + 1] = [" " * node.col_offset + _header(node)]
            case ast.If(
                test=ast.Compare(left=ast.Name(id="bias"), ops=[ast.Eq()], comparators=[ast.Constant(value=placement)])
            ):
                # The line after `if ...:` or `else:` is the first to keep; it may be a comment.
                otherwise = node.body[-1].end_lineno or 0
                first, last = (node.lineno, otherwise) if bias == placement else (otherwise + 1, node.end_lineno)
                lines[node.lineno - 1 : node.end_lineno] = [line[4:] for line in lines[first:last]]
    return "\n".join(lines)


def _header(function: ast.FunctionDef) -> str:
    for argument in ast.walk(function.args):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    return f"def {function.name}({ast.unparse(function.args)}):"


def write_activations(structure: Structure, spell: Spell) -> str:
    """Write the assignment of `activations`, a list with a function of z for each layer."""
    calls = [spell(name, "z") for name in structure.network.activations]
    return f"activations = {write_list([_make_function(call) for call in calls])}"


def _make_function(call: str) -> str:
    """Turn a call of z into a function: `torch.tanh(z)` into `torch.tanh`, and anything else into a lambda."""
    plain = re.fullmatch(r"([\w.]+)\(z\)", call)
    return plain[1] if plain else f"lambda z: {call}"


def write_list(items: Sequence[str]) -> str:
    """Write a list of expressions, in one line if that is short enough."""
    flat = f"[{', '.join(items)}]"
    if len(flat) <= _WIDTH - len("activations = "):
        return flat
    return "[\n" + "".join(f"    {item},\n" for item in items) + "]"


def name_quantities(structure: Structure, expressions: Mapping[str, str]) -> dict[str, str]:
    """Map each quantity, by its name in reports, to the expression of its value.

    `expressions` has an expression for `outputs` and one for `E`. For z, x, k, dE/dW and dE/db it has one in which
    `{i}` stands for the index of the layer, counted from 0.
    """
    network = structure.network
    symbols = ("z", "x", "k", "dE/dW", *(() if network.bias == "none" else ("dE/db",)))
    return {name: expressions[name] for name in ("outputs", "E")} | {
        f"{symbol}_{i + 1}": expressions[symbol].format(i=i) for symbol in symbols for i in range(network.depth)
    }
