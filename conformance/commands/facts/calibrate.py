"""`kterm calibrate`: measure how far right gradients lie from the rule, in standard deviations, and the smallest
mistake that is caught. λ, the number of standard deviations in a tolerance, is chosen from the two.
"""

import json
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ...cases.plan import OptionError, make_options
from ...evaluation.calibration.measure import measure_calibration, plan_calibration, to_json
from ...evaluation.calibration.report import format_title, format_totals, print_report
from ...records import run as runs
from ...records.form.console import TextConsole
from ...runners.threads import pin_here
from ...runners.workers import parse_workers
from ..output import open_output, show_progress
from ..runs.views.detail import Detail

_DTYPES = ("f32", "f64")
_PLAN = "thorough"  # the profile with the most structures to choose from


@dataclass(frozen=True)
class CalibrateOptions:
    """The options of `kterm calibrate`: `draws` cases for each adapter, and `networks` networks for each activation and
    dtype to plant mistakes in.

    Empty `adapters` stand for torch and jax, as far as they are installed; empty `dtypes` for f32 and f64; empty
    `activations` for all. `workers` is the text of `-n`; `json` is a file to write, or None.
    """

    adapters: tuple[str, ...] = ()
    draws: int = 20_000
    networks: int = 8
    seed: int = 0
    workers: str = "auto"
    dtypes: tuple[str, ...] = ()
    activations: tuple[str, ...] = ()
    expectations: Path | None = None
    device: str | None = None
    json: Path | None = None
    python: str | None = None
    detail: Detail = "normal"


def run_calibrate(options: CalibrateOptions) -> int:
    """Measure, print, and return the exit code: 0 where no right gradient was rejected, 1 otherwise.

    Raises AdapterError, OptionError, ExpectationError, and NoAnswer where an adapter ends the process that it runs in.
    """
    started = time.monotonic()
    pin_here()
    run_options = make_options(_PLAN, options.seed, options.dtypes or _DTYPES, options.activations)
    if options.draws < 1 or options.networks < 0:
        raise OptionError(f"--draws {options.draws}, --networks {options.networks}: give at least 1, and at least 0")
    workers = parse_workers(options.workers)
    request = runs.RunRequest(
        options.adapters,
        run_options,
        options.expectations,
        options.device,
        workers=workers,
        python=options.python,
    )
    run = runs.prepare(request)
    planned = plan_calibration(run, options.draws, options.networks)
    console = TextConsole(quiet=options.detail == "quiet")
    with ExitStack() as stack:
        file = None if options.json is None else stack.enter_context(open_output(options.json))
        console.print(format_title(run))
        with show_progress(console, "structures", planned.tasks) as advance:
            found = measure_calibration(planned, workers, advance)
        if file is not None:
            json.dump(to_json(found), file, indent=1)
            print(file=file)
    if console.quiet:
        console = TextConsole()
        for line in format_totals(found):
            console.print(line)
        return 0 if found.holds else 1
    print_report(found, console)
    console.print(f"{time.monotonic() - started:.1f} s; seed {options.seed}")
    return 0 if found.holds else 1
