"""The blocks of source that scripts are made of: inputs as literals, the framework's calls, a planted mistake."""

import textwrap
from collections.abc import Sequence

import numpy as np

from ....adapters import Script
from ....reference import Structure
from ...cases.memory import WAYS, first_way
from ...cases.regimes import REGIMES
from .failure import Failure, PlantedMistake
from .literals import WIDTH, format_array, format_comment

LONG_DTYPES = {"f64": "float64", "f32": "float32", "bf16": "bfloat16", "f16": "float16"}
"""The dtypes by the names that frameworks use."""


def join_blocks(blocks: Sequence[str]) -> str:
    """Non-empty blocks of source, one blank line apart, two around functions."""
    text, before = "", ""
    for block in filter(None, blocks):
        ends_function = before.startswith("def ") and before.rpartition("\n")[2].startswith("    ")
        gap = "\n\n\n" if ends_function or block.startswith("def ") else "\n\n"
        text, before = text + (gap if text else "") + block, block
    return text + "\n"


def format_inputs(failure: Failure) -> str:
    """Assignments to `weights`, `biases` if there are any, `x` and `y`."""
    one, lines, regime = failure.draw, [], failure.regime
    if failure.structure.dtype == "bf16":
        lines.append("# Numbers of bfloat16. NumPy has no bfloat16, so they are held as float32.")
    weights, biases = one.parameters.weights, one.parameters.biases
    numbered = enumerate((*weights, *biases, one.x, one.y), first_way(one.x))
    texts = [lay_out(format_array(array), i, regime) for i, array in numbered]
    lines.append(f"weights = {format_list(texts[: len(weights)])}")
    if biases:
        lines.append(f"biases = {format_list(texts[len(weights) : -2])}")
    lines += [f"x = {texts[-2]}", f"y = {texts[-1]}"]
    return "\n".join(lines)


def lay_out(text: str, number: int, regime: str) -> str:
    """The source of an array, laid out in memory as the suite passes it in a regime. `number` is its place among the
    arrays of the call plus the number of the first one's way: see `arrange`.
    """
    if not REGIMES[regime].odd_arrays:
        return text
    return (
        f"np.asfortranarray({text})",
        f"np.repeat({text}, 2, axis=-1)[..., ::2]",
        f"{text}[..., ::-1].copy()[..., ::-1]",
        f"np.lib.stride_tricks.as_strided({text}, writeable=False)",
    )[number % WAYS]


def format_list(items: Sequence[str]) -> str:
    """A list of expressions, on one line if it is short."""
    flat = f"[{', '.join(items)}]"
    if len(flat) < WIDTH - 12 and "\n" not in flat:
        return flat
    return "[\n" + "".join(f"{textwrap.indent(item, '    ')},\n" for item in items) + "]"


def format_observed(script: Script, names: Sequence[str]) -> str:
    """An assignment to `observed`: a dictionary of the quantities with these names."""
    items = [f'"{name}": {script.shown[name]}' for name in names]
    if len(items) == 1:
        return f"observed = {{{items[0]}}}"
    return "observed = {\n" + "".join(f"    {item},\n" for item in items) + "}"


def format_run_function(failure: Failure, script: Script) -> str:
    """A function `run` that makes the framework's calls and returns all quantities."""
    return format_run_function_of(failure.structure, script)


def format_run_function_of(structure: Structure, script: Script) -> str:
    """The function `run` of a structure, `run(weights, biases, x, y)`, or `run(weights, x, y)` without biases."""
    biases = "biases, " if structure.network.bias != "none" else ""
    items = "".join(f'    "{name}": {text},\n' for name, text in script.shown.items())
    body = f"{script.calls}\nreturn {{\n{items}}}"
    return f"def run(weights, {biases}x, y):\n{textwrap.indent(body, '    ')}"


def format_run_call(failure: Failure, x: str = "x", y: str = "y") -> str:
    """A call of `run` with these expressions for x and y."""
    return f"run(weights, {'biases, ' if failure.draw.parameters.biases else ''}{x}, {y})"


def format_planted_mistake(mistake: PlantedMistake | None, names: Sequence[str], variable: str) -> str:
    """Lines that add the mistake to those of the named arrays that it changes, in the dictionary `variable`; empty if
    it changes none of them.
    """
    if mistake is None or not any(name in mistake.addends for name in names):
        return ""
    lines = [format_comment(f"A mistake is planted here: the rule with {mistake.text}. This is what it adds.")]
    for name in names:
        if name in mistake.addends:
            lines.append(f"addend = {format_array(np.asarray(mistake.addends[name], np.float64))}")
            lines.append(f'{variable}["{name}"] = {variable}["{name}"] + addend')
    return "\n".join(lines)


def format_index(at: Sequence[int]) -> str:
    """An index as it is written after an array's name; empty for a scalar."""
    return f"[{', '.join(map(str, at))}]" if at else ""
