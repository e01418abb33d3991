"""What all reproducers are made of: inputs as literals, the framework's calls, a planted mistake."""

import textwrap
from collections.abc import Sequence

import numpy as np

from ....adapters import Script
from ....reference import Array
from .failure import Failure, Planted
from .literals import WIDTH, comment, literal

LONG = {"f64": "float64", "f32": "float32", "bf16": "bfloat16", "f16": "float16"}
"""The formats by the names that frameworks have for them."""


def joined(blocks: Sequence[str]) -> str:
    """Blocks of source with an empty line between them, two around functions."""
    text, before = "", ""
    for block in filter(None, blocks):
        ended = before.startswith("def ") and before.rpartition("\n")[2].startswith("    ")
        apart = "\n\n\n" if ended or block.startswith("def ") else "\n\n"
        text, before = text + (apart if text else "") + block, block
    return text + "\n"


def inputs(failure: Failure) -> str:
    """`weights`, `biases` where there are any, `x` and `y`."""
    one, lines = failure.draw, []
    if failure.structure.dtype == "bf16":
        lines.append("# Numbers of bfloat16, which NumPy holds as float32.")
    lines.append(f"weights = {_list(one.parameters.weights)}")
    if one.parameters.biases:
        lines.append(f"biases = {_list(one.parameters.biases)}")
    lines += [f"x = {literal(one.x)}", f"y = {literal(one.y)}"]
    return "\n".join(lines)


def _list(arrays: Sequence[Array]) -> str:
    items = [literal(array) for array in arrays]
    flat = f"[{', '.join(items)}]"
    if len(flat) < WIDTH - 12 and "\n" not in flat:
        return flat
    return "[\n" + "".join(f"{textwrap.indent(item, '    ')},\n" for item in items) + "]"


def observed(script: Script, names: Sequence[str]) -> str:
    """Quantities as a dictionary."""
    items = [f'"{name}": {script.shown[name]}' for name in names]
    if len(items) == 1:
        return f"observed = {{{items[0]}}}"
    return "observed = {\n" + "".join(f"    {item},\n" for item in items) + "}"


def run(failure: Failure, script: Script) -> str:
    """The framework's calls as a function that gives all quantities."""
    biases = "biases, " if failure.draw.parameters.biases else ""
    items = "".join(f'    "{name}": {text},\n' for name, text in script.shown.items())
    inside = f"{script.calls}\nreturn {{\n{items}}}"
    return f"def run(weights, {biases}x, y):\n{textwrap.indent(inside, '    ')}"


def call(failure: Failure, x: str = "x", y: str = "y") -> str:
    """A call of that function."""
    return f"run(weights, {'biases, ' if failure.draw.parameters.biases else ''}{x}, {y})"


def plant(planted: Planted | None, names: Sequence[str], where: str) -> str:
    """Lines that put a planted mistake on those of the named arrays that it changes, in a dictionary of that name."""
    if planted is None or not any(name in planted.addends for name in names):
        return ""
    lines = [comment(f"A mistake is planted here: the rule with {planted.mistake}. This is what it adds.")]
    for name in names:
        if name in planted.addends:
            lines.append(f"addend = {literal(np.asarray(planted.addends[name], np.float64))}")
            lines.append(f'{where}["{name}"] = {where}["{name}"] + addend')
    return "\n".join(lines)


def entry(at: Sequence[int]) -> str:
    """An index as it is written after an array; nothing after a number."""
    return f"[{', '.join(map(str, at))}]" if at else ""
