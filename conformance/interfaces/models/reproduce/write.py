"""A finding of a trace as a script: the inputs of one entry, the framework's own call, and three numbers.

The script prints the number of the trace, that of the framework's call on this machine, and the exact one. It exits
with 1 if the framework's call departs, and with 0 if it does not.
"""

import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np

from .....reference import Array
from .....reference.error_model import SIGMAS
from ....failures.scripts.blocks import LONG_DTYPES, join_blocks
from ....failures.scripts.literals import format_array, format_comment, wrap_text
from ....records.form.text import printable, shorten
from .calls import Dialect, exact_lines, named
from .evidence import Evidence

MOST_LITERALS = 200_000
"""The most characters of literals; larger arrays go into a file beside the script."""
DEPARTS, IS_RIGHT = 1, 0
"""The exit codes of a script."""
_FORMULAS = {
    "z": "z = x W + b",
    "dL/dx": "dL/dx = k W^T, where k = dL/dz",
    "dL/dW": "dL/dW is the sum of x^T k over the calls of the step, where k = dL/dz",
    "dL/db": "dL/db is the sum of the rows of k = dL/dz over the calls of the step",
    "a": "a = f(z)",
    "dL/dz": "dL/dz = dL/da * f'(z)",
}


@dataclass(frozen=True, eq=False)
class Written:
    """A script, and the arrays of the file beside it, if it needs one."""

    source: str
    arrays: Mapping[str, Array]


def write_script(evidence: Evidence, dialect: Dialect, beside: bool = False) -> Written:
    """The script of an entry. With `beside`, its arrays are in a file; else they are if their literals would be long.
    Raises Unwritable.
    """
    arrays = {name: part.arrays[key] for part, names in named(evidence) for key, name in names.items()}
    if evidence.before is not None:
        arrays["before"] = evidence.before
    literals = {} if beside else {name: _literal(array) for name, array in arrays.items() if array.size < 10**5}
    beside = len(literals) < len(arrays) or sum(map(len, literals.values())) > MOST_LITERALS
    preamble = dialect.preamble(evidence, printable(evidence.source.manifest.device))
    if beside:
        inputs = ['with np.load(pathlib.Path(__file__).with_suffix(".npz"), allow_pickle=False) as data:']
        inputs += [f'    {name} = data["{name}"]' for name in arrays]
        preamble = ["import pathlib", "", *preamble]
    else:
        inputs = [f"{name} = {literal}" for name, literal in literals.items()]
    blocks = [
        _write_header(evidence, dialect, beside),
        *"\n".join(preamble).split("\n\n\n"),
        "\n".join([*_explain_inputs(evidence), *inputs]),
        "\n".join(exact_lines(evidence)),
        f"# {dialect.name}'s own call" if dialect.own else f"# NumPy's product: {_framework(evidence)} is not called",
    ]
    blocks[-1] += "\n" + "\n".join(dialect.calls(evidence))
    source = join_blocks([*blocks, *_write_comparison(evidence, dialect)])
    return Written(source, {name: _storable(array) for name, array in arrays.items()} if beside else {})


def _literal(array: Array) -> str:
    """An expression for an array; a single row or column is written without a bracket for each number."""
    if array.ndim == 2 and 1 in array.shape and array.size > 1:
        turned = "[None]" if array.shape[0] == 1 else "[:, None]"
        return f"{format_array(array.reshape(-1))}{turned}"
    return format_array(array)


def _storable(array: Array) -> Array:
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def _framework(evidence: Evidence) -> str:
    """The framework of the trace as text for source and prose."""
    return _quote(evidence.source.manifest.framework or "the framework")


def _quote(text: str) -> str:
    """Foreign text that means nothing inside a comment, a docstring or a string of source."""
    return shorten(printable(text), 200).replace("\\", "/").replace('"', "'").replace("{", "(").replace("}", ")")


def place_of(evidence: Evidence) -> str:
    """The entry in words: dL/dW[3, 5] of up, step 0."""
    finding, (i, j) = evidence.source.finding, evidence.entry.at
    index = f"[{j}]" if evidence.quantity == "dL/db" else f"[{i}, {j}]"
    call = "" if finding.call is None else f", call {finding.call + 1}"
    return f"{evidence.quantity}{index} of {_quote(finding.layer)}, step {finding.step}{call}"


def _write_header(evidence: Evidence, dialect: Dialect, beside: bool) -> str:
    entry, manifest, cause = evidence.entry, evidence.source.manifest, evidence.source.finding.cause
    made = _quote(f"{manifest.framework} {manifest.framework_version}".strip() or "a program")
    on = f" on {_quote(manifest.device)}" if manifest.device else ""
    lines = [
        f'"""{_quote(place_of(evidence))}: the trace has a number that its inputs do not give.',
        "",
        f"    In the trace it is {entry.observed!r}; it should be {entry.expected!r} within {entry.tolerance:.3g}.",
        "",
    ]
    said = f"The rule: {_FORMULAS[evidence.quantity]}."
    if evidence.activation:
        said += f" f is {_quote(evidence.activation)}."
    if cause is not None and cause.is_known:
        said += f" What explains the numbers of the trace: {_quote(cause.text)}."
    whose = f"{dialect.name}'s own call" if dialect.own else "NumPy's product in the same dtype"
    called = (
        f"The script prints the number of the trace, that of {whose} on this machine, and the exact one, which NumPy "
        f"computes in float64. It exits with {DEPARTS} if the call departs from the exact number by more than the "
        f"tolerance, and with {IS_RIGHT} if it does not."
    )
    if not dialect.own:
        called += f" It does not call {_framework(evidence)}, so it cannot say whether its call is right."
    needs = f"It needs only `pip install {dialect.requires}`"
    needs += ", and the file beside it with the same name and .npz." if beside else "."
    needs += (
        f" Written by kterm {version('kterm')} from a trace of {made}{on}, with NumPy {np.__version__} on Python "
        f"{platform.python_version()}, {platform.system()} {platform.machine()}."
    )
    return "\n".join([*lines, wrap_text(said), "", wrap_text(called), "", wrap_text(needs), '"""'])


def _explain_inputs(evidence: Evidence) -> Iterator[str]:
    rows, columns = evidence.shape
    one = "the entry" if rows == columns == 1 else f"{rows} rows and {columns} columns around the entry"
    text = f"What {one} depends on, as the trace has it"
    left_out = sum(part.left_out for part in evidence.parts)
    text += f"; {left_out:,} terms of its sum that are 0 are left out." if left_out else "."
    formats = {evidence.stored, *(part.format for part in evidence.parts)}
    if "bf16" in formats:
        text += " NumPy has no bfloat16, so such numbers are held as float32."
    if any(part.format != evidence.stored for part in evidence.parts):
        names = sorted({LONG_DTYPES[part.format] for part in evidence.parts})
        text += f" They are rounded to {' and '.join(names)}, which the product is computed in."
    yield format_comment(text)


def _write_comparison(evidence: Evidence, dialect: Dialect) -> list[str]:
    i, j = evidence.at
    entry, product = evidence.entry, evidence.source.product
    tolerance = entry.tolerance
    if not tolerance:
        reason = "A row is copied, and nothing is rounded."
    else:
        terms = "" if product is None else f" of a sum of {sum(part.inner for part in product.due.parts):,} terms"
        reason = (
            f"{SIGMAS:g} standard deviations of the rounding error{terms} in {LONG_DTYPES[evidence.parts[0].format]}."
        )
    numbers = [
        f"now, exact = float(observed[{i}, {j}]), float(compute(np.float64)[{i}, {j}])",
        f"trace = {_number(entry.observed)}",
        format_comment(reason),
        f"tolerance = {_number(tolerance)}",
    ]
    functions = [
        "def departs(number):",
        "    return not (number == exact or abs(number - exact) <= tolerance)",
        "",
        "",
        "def show(number):",
        '    times = abs(number - exact) / tolerance if tolerance else float("inf") if departs(number) else 0.0',
        '    return f"{number!r}, {times:.3g} tolerances away"',
    ]
    right = f"{dialect.name}'s own call is right, and the trace has another number. Look at what changes the inputs or "
    right += "the result of the call."
    wrong = f"{dialect.name}'s own call departs."
    if not dialect.own:
        right = f"These inputs do not give the number of the trace. Either {_framework(evidence)}'s own call is wrong, "
        right += "or something around it is."
        wrong = "NumPy's product departs."
    device = evidence.source.manifest.device
    if device and device != "cpu":
        right += f" The trace was made on {_quote(device)}."
    *before, last = wrap_text(right, 100).splitlines()
    shown = [
        f'print("{place_of(evidence)}")',
        'print(f"  in the trace: {show(trace)}")',
        f'print(f"  {dialect.name} {{{dialect.shown}}} on {{device}}: {{show(now)}}")',
        'print(f"  exact: {exact!r}, within {tolerance:.3g}")',
        "if departs(now):",
        f'    print("{wrong}")',
        f"    raise SystemExit({DEPARTS})",
        "print(",
        *(f'    "{line} "' for line in before),
        f'    "{last}"',
        ")",
    ]
    return ["\n".join(numbers), "\n".join(functions), "\n".join(shown)]


def _number(value: float) -> str:
    return repr(float(value)) if np.isfinite(value) else f'float("{float(value)!r}")'
