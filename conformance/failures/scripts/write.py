"""Write a failure as a script that needs NumPy and the framework, and nothing from this suite."""

import platform
from collections.abc import Sequence
from importlib.metadata import version

import numpy as np

from ....adapters import Script
from ....reference import Structure
from ..histories.history import NOT_REPEATABLE, History
from .blocks import LONG_DTYPES, format_inputs, format_run_call, join_blocks
from .contract import SHOW
from .evidence import Evidence, find_evidence
from .failure import Failure
from .literals import unbroken, wrap_text
from .numbers import format_comparison, format_departure
from .sequence import explain_calls, format_check_of_kept, format_sequence, merge_preambles


class Unwritable(Exception):
    """The failure cannot be shown by calls of one structure; the message says why, in one line."""


def write_script(
    failure: Failure, script: Script, framework_version: str, diagnosis: str = "", scripts: Sequence[Script] = ()
) -> str:
    """The source of a script that shows a failure by an assertion that fails. `script` holds the framework's calls for
    the failure's structure, and `diagnosis` is a sentence on the cause. `scripts` hold those of the programs of the
    failure's history, if it has several. Raises Unwritable.
    """
    if failure.kind in ("programs", "layout"):
        raise Unwritable(failure.message)
    if not failure.is_repeatable and failure.kind != "repeat":
        raise Unwritable(f"{NOT_REPEATABLE}: the failure depends on chance, or on something that is not in the calls")
    history = failure.history
    if history is not None:
        scripts = scripts or (script,)
        what, body = _write_history(failure, history, script, scripts)
        header = _header(failure, script, framework_version, what, diagnosis)
        return join_blocks([header, merge_preambles(scripts), *body])
    if failure.kind == "numbers":
        shown = _find_evidence(failure)
        what, body = format_departure(shown), format_comparison(failure, script, shown)
    else:
        what, body = SHOW[failure.kind](failure, script)
    header = _header(failure, script, framework_version, what, diagnosis)
    return join_blocks([header, script.preamble, script.setup, format_inputs(failure), *body])


def _find_evidence(failure: Failure) -> Evidence:
    assert failure.observation is not None
    shown = find_evidence(
        failure.structure,
        failure.draw,
        failure.observation,
        failure.quantity,
        failure.regime,
        failure.conventions,
        failure.arithmetic,
    )
    if shown is None:
        raise Unwritable(f"{failure.quantity} is within its tolerance")
    return shown


def _write_history(
    failure: Failure, history: History, script: Script, scripts: Sequence[Script]
) -> tuple[str, list[str]]:
    """What is wrong, and the blocks of source that follow the preamble, for a failure that needs earlier calls."""
    calls = format_sequence(history, scripts)
    if failure.kind == "numbers":
        shown = _find_evidence(failure)
        return format_departure(shown), [*calls.blocks, *format_comparison(failure, script, shown, calls.last)]
    if failure.kind in ("repeat", "overwritten"):
        last = f"later = {calls.last}" if failure.kind == "repeat" else calls.last
        what = {
            "repeat": "The same call gives other numbers when it is repeated.",
            "overwritten": "A later call changes arrays that an earlier call returned.",
        }[failure.kind]
        return what, [*calls.blocks, f"{last}\n{format_check_of_kept(history)}"]
    what, body = SHOW[failure.kind](failure, script)
    names = ["weights", *(["biases"] if failure.draw.parameters.biases else []), "x", "y"]
    lines = [f"{', '.join(names)} = ({', '.join(f'{calls.given}[{name!r}]' for name in names)})".replace("'", '"')]
    run = calls.last.partition("(")[0]
    if run != "run":
        lines.append(f"run = {run}")
    if failure.kind == "form":
        lines.append(f"observed = {format_run_call(failure)}")
    return what, [*calls.blocks, "\n".join(lines), body[-1]]


def _header(failure: Failure, script: Script, framework_version: str, what: str, diagnosis: str) -> str:
    named = f"{script.framework} {framework_version}"
    needed = unbroken(f"`pip install {' '.join(dict.fromkeys(('numpy', script.requires)))}`")
    both = named if script.requires == "numpy" else f"{named} and NumPy {np.__version__}"
    if failure.planted is not None:
        diagnosis = f"A mistake is planted in {script.framework}'s results: the rule with {failure.planted.text}."
    paragraphs = [
        f"{named}: {_title(failure)}",
        wrap_text(what, 116, "    ", "    "),
        wrap_text("" if failure.history is None else explain_calls(failure.history)),
        wrap_text(_explain_names(failure) + _describe_network(failure.structure)),
        wrap_text(diagnosis),
        wrap_text(
            "While the bug exists, this script ends in an AssertionError; once it is fixed, the script prints nothing. "
            f"It needs only {needed}. Written by kterm {version('kterm')} from case {failure.case}, with {both} on "
            f"Python {platform.python_version()}, {platform.system()} {platform.machine()}."
        ),
    ]
    text = "\n\n".join(filter(None, paragraphs)).replace("\\", "\\\\").replace('"""', "'''")
    return f'"""{text}\n"""'


def _title(failure: Failure) -> str:
    if failure.kind == "numbers":
        return f"{_name_quantity(failure)} is not what it should be"
    return {
        "sum": f"{failure.quantity} of a batch is not the sum over its rows",
        "repeat": "the same call gives other numbers when repeated",
        "overwritten": "a later call changes the results of an earlier call",
        "inputs": "a call modifies its inputs in place",
        "form": "an array has the wrong shape or dtype",
        "raised": "a call fails",
    }[failure.kind]


def _name_quantity(failure: Failure) -> str:
    """The quantity in words, for readers who do not know the names of this suite."""
    symbol, _, layer = failure.quantity.rpartition("_")
    functions = failure.structure.network.activations
    function = functions[int(layer) - 1] if layer.isdigit() else functions[-1]
    return {
        "": f"the output of {function}" if failure.quantity == "outputs" else "the error",
        "z": "the pre-activation of a layer",
        "x": f"the output of {function}",
        "k": f"the gradient through {function}",
    }.get(symbol, f"the gradient by a layer's {'weights' if symbol == 'dE/dW' else 'biases'}")


def _explain_names(failure: Failure) -> str:
    """What the names stand for, if the script compares numbers."""
    if failure.kind != "numbers":
        return ""
    return "In layer i, z_i is the pre-activation, x_i the output, and k_i = dE/dz_i. "


def _describe_network(structure: Structure) -> str:
    network, names = structure.network, structure.network.activations
    functions = names[0] if len(set(names)) == 1 else ", ".join(names)
    biases = {
        "none": "no biases",
        "pre": "biases added before the activation",
        "post": "biases added after the activation",
    }
    layers = "1 layer" if network.depth == 1 else f"{network.depth} layers"
    rows = "1 row" if structure.batch == 1 else f"{structure.batch} rows"
    return (
        f"The network has {layers}, widths {' to '.join(map(str, network.widths))} ({functions}; "
        f"{biases[network.bias]}), in {LONG_DTYPES[structure.dtype]} on a batch of {rows}; its error is "
        + unbroken(f"E = sum((x_{network.depth} - y)**2) / 2.")
    )
