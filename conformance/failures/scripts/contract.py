"""Reproducers of what is wrong with a call and not with its numbers: it gives other bits when made again, touches what
it should not, has the wrong form or none; and of a batch whose rows do not add up.
"""

import textwrap
from collections.abc import Callable, Mapping

import numpy as np

from ....adapters import Script
from ....reference.propagation import propagate
from ....reference.rounding import SIGMAS, deviation
from ...cases.draw import stacked
from .blocks import LONG, call, observed, plant, run
from .failure import Failure, Kind
from .literals import comment, literal, rounded

CALLS = 100
"""How often a call is made that is to give the same numbers each time."""

Show = tuple[str, list[str]]
"""What is wrong, in a line, and the blocks of source after the inputs."""


def _again(failure: Failure, script: Script) -> Show:
    planted = plant(failure.planted, list(script.shown), "later")
    lines = [
        f"first = {call(failure)}",
        f"for number in range(2, {CALLS + 1}):",
        f"    later = {call(failure)}",
        textwrap.indent(planted, "    "),
        "    for name, array in first.items():",
        "        same = np.array_equal(array, later[name], equal_nan=True)",
        '        assert same, f"call {number} gives {name} as {later[name].tolist()}, call 1 as {array.tolist()}"',
    ]
    return "A later call with the same numbers gives other numbers than the first.", _after_run(failure, script, lines)


def _overwritten(failure: Failure, script: Script) -> Show:
    lines = [
        f"first = {call(failure)}",
        "kept = {name: array.copy() for name, array in first.items()}",
        f"{call(failure, '2 * x')}  # with other numbers",
        plant(failure.planted, list(script.shown), "first"),
        "for name, array in kept.items():",
        "    same = np.array_equal(array, first[name], equal_nan=True)",
        '    assert same, f"{name} was {array.tolist()}; after a later call it is {first[name].tolist()}"',
    ]
    return "A second call changes what the first gave.", _after_run(failure, script, lines)


def _modified(failure: Failure, script: Script) -> Show:
    layers = range(1, failure.structure.network.depth + 1)
    named = {"x_0": "x", "y": "y"} | {f"W_{i}": f"weights[{i - 1}]" for i in layers}
    if failure.draw.parameters.biases:
        named |= {f"b_{i}": f"biases[{i - 1}]" for i in layers}
    lines = [
        "given = {",
        *(f'    "{name}": {array},' for name, array in named.items()),
        "}",
        "before = {name: array.copy() for name, array in given.items()}",
        call(failure),
        plant(failure.planted, list(named), "given"),
        "for name, array in before.items():",
        "    same = np.array_equal(array, given[name])",
        '    assert same, f"{name} was {array.tolist()}; after the call it is {given[name].tolist()}"',
    ]
    return "A call modifies its inputs in place.", _after_run(failure, script, lines)


def _form(failure: Failure, script: Script) -> Show:
    widths, batch = failure.structure.network.widths, failure.structure.batch
    due: dict[str, tuple[int, ...]] = {"outputs": (batch, widths[-1]), "E": ()}
    for i in range(1, len(widths)):
        due |= {f"{symbol}_{i}": (batch, widths[i]) for symbol in "zxk"}
        due |= {f"dE/dW_{i}": (widths[i - 1], widths[i]), f"dE/db_{i}": (widths[i],)}
    dtype = "float32" if failure.structure.dtype == "bf16" else LONG[failure.structure.dtype]
    lines = [
        "due = {",
        *(f'    "{name}": {due[name]},' for name in script.shown),
        "}",
        "for name, shape in due.items():",
        "    array = observed[name]",
        f'    right = array.shape == shape and array.dtype == "{dtype}"',
        f'    assert right, f"{{name}} is {{array.dtype}}{{list(array.shape)}}; it should be {dtype}{{list(shape)}}"',
    ]
    return failure.message, [script.calls, observed(script, list(script.shown)), "\n".join(lines)]


def _raised(failure: Failure, script: Script) -> Show:
    lines = [
        "try:",
        f"    {call(failure)}",
        "except Exception as error:",
        '    raise AssertionError(f"the call raises {error!r}; there are numbers to give") from error',
    ]
    return failure.message, _after_run(failure, script, lines)


def _sum(failure: Failure, script: Script) -> Show:
    name, dtype = failure.quantity, LONG[failure.structure.dtype]
    stack = stacked([failure.draw, *failure.parts]).astype(np.dtype(np.float64))
    reading = deviation(failure.structure.format)
    steps = propagate(failure.structure.network, stack.parameters, stack.x, stack.y, reading)
    tolerance = next(step.estimate.tolerance(reading).sum(0) for step in steps if step.name == name)
    lines = [
        comment(
            "As y, but for what comes out in the even rows, then in the odd: these rows add nothing to a gradient."
        ),
        "parts = [",
        *(f"{textwrap.indent(literal(part.y), '    ')}," for part in failure.parts),
        "]",
        f"observed = {call(failure)}",
        plant(failure.planted, [name], "observed"),
        f'expected = sum({call(failure, y="part")}["{name}"].astype(np.float64) for part in parts)',
        comment(f"{SIGMAS:g} standard deviations of the rounding errors of the three calls in {dtype}."),
        f"tolerance = {literal(rounded(tolerance))}",
        f'whole = observed["{name}"]',
        "off = ~(np.abs(whole - expected) <= tolerance)",
        f'assert not off.any(), f"{name} is {{whole.tolist()}}; that of its rows adds up to {{expected.tolist()}}"',
    ]
    return f"{name} of the batch is not the sum of those of its rows.", _after_run(failure, script, lines)


def _after_run(failure: Failure, script: Script, lines: list[str]) -> list[str]:
    return [run(failure, script), "\n".join(filter(None, lines))]


KINDS: Mapping[Kind, Callable[[Failure, Script], Show]] = {
    "sum": _sum,
    "again": _again,
    "overwritten": _overwritten,
    "inputs": _modified,
    "form": _form,
    "raised": _raised,
}
"""How each kind of failure is shown."""
