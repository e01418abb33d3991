"""Find what a layer's script should show, write the smallest script that shows it, and run it.

Two kinds of findings exist. Where the framework's own call is wrong, making it again on the same inputs shows this.
Where something around the call is wrong, the call is right, and the script shows that: its number is beside that of the
trace.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from .....adapters.traces.trace import Trace
from ....cases.plan import OptionError
from ....checks.verdict import NOTHING_EXPECTED
from ....records.form.text import printable
from ..judge import judge_unit, list_units
from ..judgement import LayerVerdict, Options
from ..products.quantities import Quantity, list_gradients, list_quantities, view_of
from .calls import find_dialect
from .evidence import Source, Unwritable, collect_evidence, find_entry
from .write import DEPARTS, IS_RIGHT, Written, write_script

TIMEOUT = 120.0
"""The seconds that a script may take."""
_SIDES: Sequence[int] = (8, 64, 512)
_MOST_WHOLE = 2**26
"""The most numbers of a call that is made whole."""


@dataclass(frozen=True)
class Ending:
    """How a script ended: its exit code, and the last line that it printed. `failed` says that it did not run."""

    code: int
    last: str

    @property
    def failed(self) -> bool:
        """Whether the script did not come to its end."""
        return self.code not in (DEPARTS, IS_RIGHT)


@dataclass(frozen=True)
class Found:
    """A script that was written and run. `note` says what was not tried."""

    finding: LayerVerdict
    written: Written
    ending: Ending
    note: str = ""


def find_findings(trace: Trace, layer: str, step: int | None, quantity: str | None) -> list[LayerVerdict]:
    """The findings of a layer, in the order of the judgement. A known divergence counts as one. Raises OptionError for
    a layer, a step or a quantity that the trace does not have.
    """
    names = list(dict.fromkeys(one.name for some in trace.manifest.steps for one in some.layers))
    if layer not in names:
        close = get_close_matches(layer, names, 3, 0.4) or names[:3]
        raise OptionError(printable(f"layer {layer:.100}: the trace has no such layer; it has {', '.join(close)}"))
    last = len(trace.manifest.steps) - 1
    if step is not None and not 0 <= step <= last:
        raise OptionError(f"--step {step}: the trace has the steps 0 to {last}; name one of them")
    known = ("z", "a", "dL/dz", "dL/dx", "dL/dW", "dL/db")
    if quantity is not None and quantity not in known:
        raise OptionError(printable(f"--quantity {quantity:.40}: is not known; known are {', '.join(known)}"))
    # A pattern of this name alone.
    pattern = "".join(f"[{c}]" if c in "*?[" else c for c in layer)
    options = Options(layers=(pattern,), steps=() if step is None else (step,))
    findings = []
    for unit in list_units(trace, options):
        verdicts = judge_unit(trace, unit, options, NOTHING_EXPECTED).verdicts
        findings += [one for one in verdicts if one.verdict.fails]
    return [one for one in findings if quantity in (None, one.verdict.quantity.removesuffix(" behind"))]


def source_of(trace: Trace, finding: LayerVerdict) -> Source:
    """Where a finding comes from."""
    view = view_of(trace.manifest, finding.step, trace.steps[finding.step])
    layer = next(one for one in view.step.layers if one.name == finding.layer)
    product = None
    if finding.compared is not None:
        listed = [
            *list_quantities(view, layer),
            *(one for parameter in view.step.parameters for one in list_gradients(view, parameter)),
        ]
        product = next(
            one
            for one in listed
            if isinstance(one, Quantity)
            and (one.layer, one.name, one.call) == (finding.layer, finding.verdict.quantity, finding.call)
        )
    return Source(trace.manifest, view, layer, finding, product)


def reproduce_finding(trace: Trace, finding: LayerVerdict, run: Callable[[Written], Ending]) -> Found:
    """The smallest script in which the framework's own call departs. If it is right even on the whole arrays of the
    trace, the script of the single entry, which shows that. `run` runs a script. Raises Unwritable.
    """
    source = source_of(trace, finding)
    entry, dialect = find_entry(source), find_dialect(trace.manifest.framework)

    def attempt(side: int | None) -> tuple[Written, Ending]:
        written = write_script(collect_evidence(source, entry, side), dialect, beside=side is None)
        return written, run(written)

    small, ending = attempt(1)
    if ending.code != IS_RIGHT or not dialect.own:
        return Found(finding, small, ending)
    size = _count_numbers(source)
    if size > _MOST_WHOLE:
        return Found(finding, small, ending, f"the call was made for this entry alone; the whole has {size:,} numbers")
    whole, whole_ending = attempt(None)
    if whole_ending.code != DEPARTS:
        return Found(finding, small, ending)
    for side in _SIDES:
        some, some_ending = attempt(side)
        if some_ending.code == DEPARTS:
            return Found(finding, some, some_ending)
    return Found(finding, whole, whole_ending)


def _count_numbers(source: Source) -> int:
    """The numbers of the arrays of a whole quantity."""
    if source.product is None:
        output = source.call.output
        return 0 if output is None else 2 * source.view.arrays[output].size
    rows, columns = source.product.due.shape
    return rows * columns + sum((rows + columns) * part.inner for part in source.product.due.parts)


def save_written(written: Written, path: Path) -> None:
    """Write a script, and the file of arrays beside it if it has one. Raises OSError."""
    if written.arrays:
        np.savez(path.with_suffix(".npz"), allow_pickle=False, **written.arrays)
    path.write_text(written.source, encoding="utf-8")


def run_written(written: Written, python: str = sys.executable) -> Ending:
    """Run a script in a new process, in an empty folder. Neither the current folder nor the user's own packages are on
    its path.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bug.py"
        save_written(written, path)
        try:
            done = subprocess.run(
                [python, "-I", str(path)],
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
                check=False,
                stdin=subprocess.DEVNULL,
                cwd=folder,
            )
        except subprocess.TimeoutExpired:
            return Ending(-1, f"it did not end within {TIMEOUT:g} s")
        except OSError as error:
            raise OptionError(f"--python {python}: {error.strerror}; name a Python interpreter") from None
    if done.returncode == DEPARTS and "Traceback (most recent call last)" in done.stderr:
        return Ending(-1, (done.stderr.strip().splitlines() or [""])[-1])
    if done.returncode not in (DEPARTS, IS_RIGHT):
        return Ending(-1, f"it ends with code {done.returncode}: {(done.stderr.strip().splitlines() or [''])[-1]}")
    return Ending(done.returncode, (done.stdout.strip().splitlines() or [""])[-1])


__all__ = ["Found", "Unwritable", "find_findings", "reproduce_finding", "run_written", "save_written"]
