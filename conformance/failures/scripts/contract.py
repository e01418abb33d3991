"""Scripts of failures in which no single number is compared with the rule.

A call that is made again gives other bits, inputs are changed in place, a shape is wrong, a call raises, or the parts
of a batch do not add up.
"""

import re
import textwrap
from collections.abc import Callable, Mapping

import numpy as np

from ....adapters import Script
from ....reference.propagation import propagate
from ....reference.rounding import SIGMAS, deviation
from ...cases.draw import stacked
from .blocks import LONG_DTYPES, format_observed, format_planted_mistake, format_run_call, format_run_function
from .failure import Failure, Kind
from .literals import format_array, format_comment, round_tolerance

CALLS = 100
"""How often a script makes a call that should give the same bits each time."""

Blocks = tuple[str, list[str]]
"""What is wrong, in one line, and the blocks of source that follow the inputs."""


def _show_repeat(failure: Failure, script: Script) -> Blocks:
    planted = format_planted_mistake(failure.planted, list(script.shown), "later")
    lines = [
        f"first = {format_run_call(failure)}",
        f"for number in range(2, {CALLS + 1}):",
        f"    later = {format_run_call(failure)}",
        textwrap.indent(planted, "    "),
        "    for name, array in first.items():",
        "        same = np.array_equal(array, later[name], equal_nan=True)",
        '        assert same, f"call {number} gives {name} as {later[name].tolist()}, call 1 as {array.tolist()}"',
    ]
    return "The same call gives other numbers when it is repeated.", _after_run(failure, script, lines)


def _show_modified_inputs(failure: Failure, script: Script) -> Blocks:
    layers = range(1, failure.structure.network.depth + 1)
    named = {"x_0": "x", "y": "y"} | {f"W_{i}": f"weights[{i - 1}]" for i in layers}
    if failure.draw.parameters.biases:
        named |= {f"b_{i}": f"biases[{i - 1}]" for i in layers}
    lines = [
        "given = {",
        *(f'    "{name}": {array},' for name, array in named.items()),
        "}",
        "before = {name: array.copy() for name, array in given.items()}",
        format_run_call(failure),
        format_planted_mistake(failure.planted, list(named), "given"),
        "for name, array in before.items():",
        "    same = np.array_equal(array, given[name])",
        '    assert same, f"{name} was {array.tolist()}; after the call it is {given[name].tolist()}"',
    ]
    return "A call modifies its inputs in place.", _after_run(failure, script, lines)


def _show_form(failure: Failure, script: Script) -> Blocks:
    widths, batch = failure.structure.network.widths, failure.structure.batch
    shapes: dict[str, tuple[int, ...]] = {"outputs": (batch, widths[-1]), "E": ()}
    for i in range(1, len(widths)):
        shapes |= {f"{symbol}_{i}": (batch, widths[i]) for symbol in "zxk"}
        shapes |= {f"dE/dW_{i}": (widths[i - 1], widths[i]), f"dE/db_{i}": (widths[i],)}
    dtype = "float32" if failure.structure.dtype == "bf16" else LONG_DTYPES[failure.structure.dtype]
    lines = [
        "shapes = {",
        *(f'    "{name}": {shapes[name]},' for name in script.shown),
        "}",
        "for name, shape in shapes.items():",
        "    array = observed[name]",
        f'    right = array.shape == shape and array.dtype == "{dtype}"',
        f'    assert right, f"{{name}} is {{array.dtype}}{{list(array.shape)}}; it should be {dtype}{{list(shape)}}"',
    ]
    return failure.message, [script.calls, format_observed(script, list(script.shown)), "\n".join(lines)]


def _show_error(failure: Failure, script: Script) -> Blocks:
    lines = [
        "try:",
        f"    {format_run_call(failure)}",
        "except Exception as error:",
        '    raise AssertionError(f"the call raises {error!r}; it should return numbers") from error',
    ]
    # The script has lines of its own, and none of the adapter's.
    return re.sub(r" \([^()]*:\d+\)$", "", failure.message), _after_run(failure, script, lines)


def _show_sum(failure: Failure, script: Script) -> Blocks:
    name, dtype = failure.quantity, LONG_DTYPES[failure.structure.dtype]
    stack = stacked([failure.draw, *failure.parts]).astype(np.dtype(np.float64))
    reading = deviation(failure.structure.format, arithmetic=failure.arithmetic)
    steps = propagate(failure.structure.network, stack.parameters, stack.x, stack.y, reading)
    tolerance = next(step.estimate.tolerance(reading).sum(0) for step in steps if step.name == name)
    lines = [
        format_comment(
            "Two copies of y. In the first the targets of the even rows equal the outputs, in the second those of the "
            "odd rows, so these rows add nothing to a gradient."
        ),
        "parts = [",
        *(f"{textwrap.indent(format_array(part.y), '    ')}," for part in failure.parts),
        "]",
        f"observed = {format_run_call(failure)}",
        format_planted_mistake(failure.planted, [name], "observed"),
        f'expected = sum({format_run_call(failure, y="part")}["{name}"].astype(np.float64) for part in parts)',
        format_comment(f"{SIGMAS:g} standard deviations of the rounding errors of the three calls in {dtype}."),
        f"tolerance = {format_array(round_tolerance(tolerance))}",
        f'whole = observed["{name}"]',
        "off = ~(np.abs(whole - expected) <= tolerance)",
        f'assert not off.any(), f"{name} is {{whole.tolist()}}; its parts add up to {{expected.tolist()}}"',
    ]
    return f"{name} of the batch is not the sum of {name} of its rows.", _after_run(failure, script, lines)


def _after_run(failure: Failure, script: Script, lines: list[str]) -> list[str]:
    return [format_run_function(failure, script), "\n".join(filter(None, lines))]


SHOW: Mapping[Kind, Callable[[Failure, Script], Blocks]] = {
    "sum": _show_sum,
    "repeat": _show_repeat,
    "inputs": _show_modified_inputs,
    "form": _show_form,
    "raised": _show_error,
}
"""How a script shows each kind of failure that a single call shows, or a call that is made again and again."""
