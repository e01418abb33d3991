"""Reproducers: a failure as a script that needs NumPy and the framework, and nothing of this suite."""

import platform
from importlib.metadata import version

import numpy as np

from ....adapters import Script
from ....reference import Structure
from .blocks import LONG, inputs, joined
from .contract import KINDS
from .evidence import evidence
from .failure import Failure
from .literals import filled, unbroken
from .numbers import numbers, told


class Unwritable(Exception):
    """A failure that no script of one structure's calls can show, with why, in one line."""


def write(failure: Failure, script: Script, framework_version: str, diagnosis: str = "") -> str:
    """The source of a script that shows a failure by an assertion that fails, given the framework's calls for its
    structure. `diagnosis` is a sentence on what is behind it. Raises Unwritable.
    """
    if failure.kind in ("programs", "layout"):
        raise Unwritable(failure.message)
    if failure.kind == "numbers":
        assert failure.observation is not None
        shown = evidence(
            failure.structure, failure.draw, failure.observation, failure.quantity, failure.regime, failure.conventions
        )
        if shown is None:
            raise Unwritable(f"{failure.quantity} does not depart")
        what, body = told(shown), numbers(failure, script, shown)
    else:
        what, body = KINDS[failure.kind](failure, script)
    header = _header(failure, script, framework_version, what, diagnosis)
    return joined([header, script.preamble, script.setup, inputs(failure), *body])


def _header(failure: Failure, script: Script, framework_version: str, what: str, diagnosis: str) -> str:
    named = f"{script.framework} {framework_version}"
    needed = unbroken(f"`pip install {' '.join(dict.fromkeys(('numpy', script.requires)))}`")
    both = named if script.requires == "numpy" else f"{named} and NumPy {np.__version__}"
    if failure.planted is not None:
        diagnosis = f"A mistake is planted in what {script.framework} gives: the rule with {failure.planted.mistake}."
    paragraphs = [
        f"{named}: {_title(failure)}",
        filled(what, 116, "    ", "    "),
        filled(_names(failure) + _network(failure.structure)),
        filled(diagnosis),
        filled(
            "This script ends in an AssertionError while that is so, and says nothing once it is mended; it needs "
            f"nothing but {needed}. Written with {both} on Python "
            f"{platform.python_version()}, {platform.system()} {platform.machine()}, by kterm {version('kterm')} of "
            f"case {failure.case}."
        ),
    ]
    text = "\n\n".join(filter(None, paragraphs)).replace("\\", "\\\\").replace('"""', "'''")
    return f'"""{text}\n"""'


def _title(failure: Failure) -> str:
    if failure.kind == "numbers":
        return f"{_named(failure)} is not what it should be"
    return {
        "sum": f"{failure.quantity} of a batch is not the sum over its rows",
        "again": "the same call gives other numbers",
        "overwritten": "a later call changes what an earlier one gave",
        "inputs": "inputs are modified in place",
        "form": "an array has the wrong shape or dtype",
        "raised": "a call gives no answer",
    }[failure.kind]


def _named(failure: Failure) -> str:
    """The quantity for those who do not know it by its name."""
    symbol, _, layer = failure.quantity.rpartition("_")
    functions = failure.structure.network.activations
    function = functions[int(layer) - 1] if layer.isdigit() else functions[-1]
    return {
        "": f"the output of {function}" if failure.quantity == "outputs" else "the error",
        "z": "the pre-activation of a layer",
        "x": f"the output of {function}",
        "k": f"the gradient through {function}",
    }.get(symbol, f"the gradient by a layer's {'weights' if symbol == 'dE/dW' else 'biases'}")


def _names(failure: Failure) -> str:
    """What the names stand for, where numbers depart."""
    if failure.kind != "numbers":
        return ""
    return "Of layer i, z_i is the pre-activation, x_i the output and k_i = dE/dz_i. "


def _network(structure: Structure) -> str:
    network, names = structure.network, structure.network.activations
    functions = names[0] if len(set(names)) == 1 else ", ".join(names)
    biases = {"none": "no biases", "pre": "biases inside the activation", "post": "biases outside the activation"}
    layers = "1 layer" if network.depth == 1 else f"{network.depth} layers"
    rows = "1 row" if structure.batch == 1 else f"{structure.batch} rows"
    return (
        f"The network has {layers}, widths {' to '.join(map(str, network.widths))} ({functions}; "
        f"{biases[network.bias]}), in {LONG[structure.dtype]} on a batch of {rows}; its error is "
        + unbroken(f"E = sum((x_{network.depth} - y)**2) / 2.")
    )
