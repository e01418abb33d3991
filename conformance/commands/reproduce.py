"""`kterm reproduce`: write a failing case as a script of the framework's own calls, and run it."""

import sys
import tempfile
from pathlib import Path

from ..evaluation.workers import opened
from ..failures.reproduce import ran, reproduce_case
from ..runners.threads import pin_here


def run_reproduce(
    text: str, spec: str, output: Path | None, device: str | None, mutant: str | None = None, shrinks: bool = True
) -> int:
    """Write the script of a case, or print it, and run it; 0 where it fails as it says, 1 where there is nothing to
    reproduce, or no script can show it.

    Raises CaseError, AdapterError and OptionError.
    """
    pin_here()
    found = reproduce_case(text, spec, device, mutant, shrinks)
    if found is None:
        print(f"{text} does not fail on {spec}: there is nothing to reproduce")
        return 1
    if isinstance(found, str):
        print(f"{text} fails on {spec}, but no script of the framework's calls shows it: {found}")
        return 1
    if output is not None:
        with opened(output, "-o") as file:
            file.write(found.source)
        fails, told = ran(output)
        print(f"{output} {told}")
        return 0 if fails else 1
    print(found.source, end="")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bug.py"
        path.write_text(found.source, encoding="utf-8")
        fails, told = ran(path)
    print(f"the script {told}", file=sys.stderr)
    return 0 if fails else 1
