"""`kterm reproduce`: write a failing case as a script of the framework's own calls, and run it."""

import tempfile
from pathlib import Path

from ..failures.reproduce import explain_pass, reproduce_case, run_script
from ..failures.shrinking.shrink import TRIED
from ..records.form.console import TextConsole
from ..records.form.text import print_aside
from ..runners.threads import pin_here
from .output import open_output


def run_reproduce(
    case_id: str,
    spec: str,
    output: Path | None,
    device: str | None,
    mutant: str | None = None,
    shrinks: bool = True,
    python: str | None = None,
) -> int:
    """Write the script of a case to `output`, or print it, and run it. The exit code is 0 if the script fails as it
    says, and 1 if the case does not fail or no script can show its failure.

    Raises CaseError, AdapterError, OptionError and NoAnswer.
    """
    pin_here()
    console = TextConsole()
    found = reproduce_case(case_id, spec, device, mutant, shrinks, python)
    if found is None:
        console.print(f"{case_id} does not fail on {spec}: there is nothing to reproduce; {TRIED}")
        return 1
    if isinstance(found, str):
        console.print(f"{case_id} fails on {spec}, but no script of the framework's calls shows it: {found}")
        return 1
    if output is not None:
        with open_output(output, "-o") as file:
            file.write(found.source)
        fails, ending = run_script(output, explain_pass(found.failure), python=found.interpreter)
        console.print(f"{output} {ending}")
        return 0 if fails else 1
    print(found.source, end="")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bug.py"
        path.write_text(found.source, encoding="utf-8")
        fails, ending = run_script(path, explain_pass(found.failure), python=found.interpreter)
    print_aside(f"the script {ending}")
    return 0 if fails else 1
