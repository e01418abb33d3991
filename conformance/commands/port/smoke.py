"""What `kterm smoke` does: looks at an adapter, prints what is wrong in it, and gives the exit code."""

from contextlib import closing
from importlib import metadata

from ...interfaces.smoke.advise import findings_of
from ...interfaces.smoke.lines import lines_of, title
from ...interfaces.smoke.look import look_at
from ...records.form.console import TextConsole
from ...records.run import RunRequest
from ...runners.process import ProcessRunner
from ...runners.threads import pin_here
from ..exit_codes import CONFORMS, DOES_NOT

PATIENCE = 20.0
"""Seconds after which a call counts as hung. The networks are small, and one call that hangs ends the command."""


def run_smoke(request: RunRequest) -> int:
    """Print what is wrong in the one adapter of a request. The exit code is 0 if nothing is, and 1 otherwise.

    Raises AdapterError if the adapter does not load, and OptionError for an unknown mutant, and if the adapter's limits
    leave no network.
    """
    pin_here()
    (spec,), device, python, mutant = request.adapters, request.device, request.python, request.mutant
    with closing(ProcessRunner(spec, device, request.timeout, mutant, python)) as runner:
        look = look_at(runner)
    console = TextConsole()
    findings = findings_of(look)
    for line in (title(look, metadata.version("kterm")), *lines_of(look, findings, device)):
        console.print(line)
    return DOES_NOT if findings else CONFORMS
