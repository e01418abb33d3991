"""Parts that the scripts of several frameworks share: the source of what an adapter runs, its activations as a list,
and the names of the quantities.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...reference import Bias, Structure
from .script import Spell

_WIDTH = 120


def source_of(function: Callable[..., Any], bias: Bias) -> str:
    """The source of a function that an adapter runs, as a script shows it for one bias placement.

    Every line is the adapter's own. Type annotations are left out, since a script imports nothing for them. Of
    `if bias == "pre":` and its like, only the branch that runs for `bias` is left; such branches must not be nested.
    """
    text = textwrap.dedent(inspect.getsource(function)).rstrip()
    lines = text.splitlines()
    # From the last line to the first, so that the numbers of the lines still to be changed stay right.
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.If)]
    for node in sorted(nodes, key=lambda node: node.lineno, reverse=True):
        match node:
            case ast.FunctionDef():
                # A header may take several lines, and comments may stand between it and the first statement.
                end = next(i for i, line in enumerate(lines) if i >= node.lineno - 1 and line.endswith(":"))
                lines[node.lineno - 1 : end + 1] = [" " * node.col_offset + _header(node)]
            case ast.If(
                test=ast.Compare(left=ast.Name(id="bias"), ops=[ast.Eq()], comparators=[ast.Constant(value=placement)])
            ):
                # Behind `if ...:` or `else:`, so that comments before the first statement are kept.
                otherwise = node.body[-1].end_lineno or 0
                first, last = (node.lineno, otherwise) if bias == placement else (otherwise + 1, node.end_lineno)
                lines[node.lineno - 1 : node.end_lineno] = [line[4:] for line in lines[first:last]]
    return "\n".join(lines)


def _header(function: ast.FunctionDef) -> str:
    for argument in ast.walk(function.args):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    return f"def {function.name}({ast.unparse(function.args)}):"


def activations_of(structure: Structure, spell: Spell) -> str:
    """The assignment of `activations`, a list with a function of z for each layer."""
    calls = [spell(name, "z") for name in structure.network.activations]
    return f"activations = {listed([_as_function(call) for call in calls])}"


def _as_function(call: str) -> str:
    """A call of z as a function: `torch.tanh` for `torch.tanh(z)`, and a lambda for all else."""
    plain = re.fullmatch(r"([\w.]+)\(z\)", call)
    return plain[1] if plain else f"lambda z: {call}"


def listed(items: Sequence[str]) -> str:
    """A list of expressions, in one line where it fits there behind a short name."""
    flat = f"[{', '.join(items)}]"
    if len(flat) <= _WIDTH - len("activations = "):
        return flat
    return "[\n" + "".join(f"    {item},\n" for item in items) + "]"


def named_quantities(structure: Structure, expressions: Mapping[str, str]) -> dict[str, str]:
    """For each quantity, by its name in reports, the expression that is its value.

    `expressions` holds those of `outputs` and `E`, and for z, x, k, dE/dW and dE/db one with `{i}` for the index of the
    layer, which counts from 0.
    """
    network = structure.network
    symbols = ("z", "x", "k", "dE/dW", *(() if network.bias == "none" else ("dE/db",)))
    return {name: expressions[name] for name in ("outputs", "E")} | {
        f"{symbol}_{i + 1}": expressions[symbol].format(i=i) for symbol in symbols for i in range(network.depth)
    }
