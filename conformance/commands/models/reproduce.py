"""What `kterm reproduce` does with a trace: a finding of one of its layers as a script of the framework's own call."""

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ...cases.plan import OptionError
from ...interfaces.models.judgement import LayerVerdict
from ...interfaces.models.read import read_trace
from ...interfaces.models.reproduce.find import (
    Unwritable,
    find_findings,
    reproduce_finding,
    run_written,
    save_written,
)
from ...records.form.console import TextConsole
from ...records.form.text import count, print_aside, printable
from ..exit_codes import CONFORMS, DOES_NOT


@dataclass(frozen=True)
class FindingOptions:
    """Which finding of a layer is shown, and where the script goes."""

    output: Path | None = None
    step: int | None = None
    quantity: str | None = None
    python: str | None = None


def run_reproduce_layer(path: Path, layer: str, asked: FindingOptions) -> int:
    """Write the script of a layer's first finding to a file, or print it, and say how it ended. The exit code is 0 if
    the script came to its end, and 1 if there is no finding or no script.

    Raises TraceError, OptionError and AdapterError.
    """
    console = TextConsole()
    trace = read_trace(path)
    findings = find_findings(trace, layer, asked.step, asked.quantity)
    if not findings:
        where = "" if asked.quantity is None else f"{asked.quantity} of "
        console.print(printable(f"{where}{layer} has no finding in {path}: there is nothing to reproduce"))
        return DOES_NOT
    first = findings[0]
    try:
        found = reproduce_finding(trace, first, partial(run_written, python=asked.python or sys.executable))
    except Unwritable as why:
        console.print(printable(f"{_say(first)} departs, but no script shows it: {why}"))
        return DOES_NOT
    name = "the script"
    if asked.output is None:
        if found.written.arrays:
            raise OptionError("the script needs a file of arrays beside it; name a file with -o")
        print(found.written.source, end="")
    else:
        name = str(asked.output)
        try:
            save_written(found.written, asked.output)
        except OSError as error:
            raise OptionError(f"-o {asked.output}: {error.strerror}; name a file that can be written") from None
    say = console.print if asked.output is not None else print_aside
    if found.ending.failed:
        say(printable(f"{name} does not run: {found.ending.last}"))
        return DOES_NOT
    say(printable(f"{name} shows {_say(first)}; exit code {found.ending.code}: {found.ending.last}"))
    if found.written.arrays:
        assert asked.output is not None  # else there is an error
        say(printable(f"its arrays are in {asked.output.with_suffix('.npz')}"))
    if found.note:
        say(found.note)
    if len(findings) > 1:
        others = ", ".join(dict.fromkeys(_say(one) for one in findings[1:4]))
        more = f" and {count(len(findings) - 4, 'other')}" if len(findings) > 4 else ""
        say(printable(f"further findings, for --quantity and --step: {others}{more}"))
    return CONFORMS


def _say(one: LayerVerdict) -> str:
    call = "" if one.call is None else f", call {one.call + 1}"
    return f"{one.verdict.quantity.removesuffix(' behind')} of {one.layer}, step {one.step}{call}"
