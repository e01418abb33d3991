"""`kterm mutants`: plant every known mistake in an adapter, and print which regimes kill it, and by what margin."""

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from ...adapters.registry import COMMAND
from ..cases import smoke
from ..cases.plan import WIDE, OptionError, make_options, require_known
from ..checks.verdict import CHECKS, Check
from ..evaluation.figures import to_json_types
from ..evaluation.kills.matrix import count_steps, describe_mutant, find_dtypes, holds, make_header, measure_matrix
from ..evaluation.kills.report import format_summary, format_title, make_html, make_listing, print_report
from ..evaluation.kills.trial import Summarize, TrialOptions
from ..mutants import MUTANTS
from ..mutants.loading import mutant
from ..records import run as runs
from ..records.form.console import TextConsole
from ..runners.threads import pin_here
from ..runners.workers import open_executor, parse_workers
from .output import open_output, show_progress
from .runs.views.detail import Detail

_DEFAULT_ADAPTERS = ("numpy",)
_SMALLEST_PROFILE = "quick"
_HTML_WIDTH = 140


@dataclass(frozen=True)
class MutantsOptions:
    """The options of `kterm mutants`. An empty `adapters` stands for numpy, an empty `dtypes` for f64 and f32, and an
    empty `mutants` for all. `workers` is the text of `-n`; `json` and `html` are files to write, or None.

    `summarize` has no option on the command line: it summarizes the groups that kill a mutant, for the JSON file.
    """

    adapters: tuple[str, ...] = ()
    profile: str = "quick"
    seed: int = 0
    workers: str = "auto"
    dtypes: tuple[str, ...] = ()
    mutants: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    gradients_alone: bool = False
    brief: bool = False
    expectations: Path | None = None
    device: str | None = None
    json: Path | None = None
    html: Path | None = None
    detail: Detail = "normal"
    summarize: Summarize | None = None


def run_mutants(options: MutantsOptions) -> int:
    """Measure, print, and return the exit code: 0 where every mistake was killed and no equivalent mutant was found, 1
    otherwise.

    Raises AdapterError, OptionError, ExpectationError, and NoAnswer where an adapter ends the process that it runs in.
    """
    started = time.monotonic()
    pin_here()
    workers, trials = parse_workers(options.workers), _make_trials(options)
    names = options.mutants or tuple(MUTANTS)
    console = TextConsole(quiet=options.detail == "quiet")
    with ExitStack() as stack:
        json_file = None if options.json is None else stack.enter_context(open_output(options.json))
        html_file = None if options.html is None else stack.enter_context(open_output(options.html, "--html"))
        record = make_header(trials, names)
        console.print(format_title(record))
        with show_progress(console, "structures", count_steps(trials, names, workers)) as advance:
            record["fates"] = measure_matrix(trials, names, workers, advance)
        if json_file is not None:
            json.dump(to_json_types(record), json_file, indent=1)
            print(file=json_file)
        if html_file is not None:
            html_file.write(make_html(record, _HTML_WIDTH))
    if console.quiet:
        console = TextConsole()
        for line in format_summary(record):
            console.print(line)
        return 0 if holds(record) else 1
    print_report(record, console)
    console.print(f"{time.monotonic() - started:.1f} s; seed {options.seed}")
    return 0 if holds(record) else 1


def _make_trials(options: MutantsOptions) -> list[TrialOptions]:
    """Check the options, load every adapter, and give the trials of each."""
    run_options = make_options(options.profile, options.seed, options.dtypes)
    for name in options.without:
        require_known("check", name, CHECKS)
    for name in options.mutants:
        mutant(name)
    specs = options.adapters or _DEFAULT_ADAPTERS
    _refuse_programs(specs)
    run = runs.prepare(runs.RunRequest(tuple(specs), run_options, options.expectations, options.device))
    trials = [
        TrialOptions(
            adapter,
            run_options,
            run.concerning(adapter.name),
            options.device,
            cast(tuple[Check, ...], options.without),
            options.gradients_alone,
            options.brief,
            options.summarize,
        )
        for adapter in run.adapters
    ]
    if not any(map(find_dtypes, trials)):
        names = ", ".join(trial.adapter.name for trial in trials)
        raise OptionError(f"{names}: declares none of {', '.join(options.dtypes or WIDE)}")
    return trials


def _refuse_programs(specs: Sequence[str]) -> None:
    for spec in specs:
        if spec.startswith(COMMAND):
            raise OptionError(f"{spec}: it is a program, and mistakes are planted in adapters in Python alone")


def print_list() -> None:
    """Print the table of all mutants."""
    TextConsole().print(make_listing([describe_mutant(name) for name in MUTANTS]))


def run_smallest(spec: str, workers: str, path: Path) -> int:
    """Choose the smallest set of cases that kills every mistake on an adapter, write it to `path` as a smoke profile,
    and return 0; where the chosen cases alone do not kill everything, write nothing and return 1.

    Raises AdapterError where the adapter does not load, and OptionError for a file that cannot be written.
    """
    from ..evaluation.kills.smallest import find_smallest_set  # scipy.optimize takes half a second to import

    started = time.monotonic()
    pin_here()
    count = parse_workers(workers)
    _refuse_programs([spec])
    run = runs.prepare(runs.RunRequest((spec,), make_options(_SMALLEST_PROFILE, 0, WIDE)))
    adapter = run.adapters[0]
    options = TrialOptions(adapter, run.options, run.concerning(adapter.name))
    console = TextConsole()
    with open_executor(count) as executor:
        found = find_smallest_set(options, executor)
    console.print(
        f"{found.cases} cases of {len(found.recipes)} structures, of {found.cases_considered} of {len(found.coverages)}"
    )
    if found.missed:
        names = [f"{name} in {dtype}{' from gradients alone' if alone else ''}" for name, dtype, alone in found.missed]
        console.print(f"do not find: {', '.join(names)}")
        return 1
    with open_output(path, "--smallest") as file:
        file.write(smoke.text(found.recipes))
    console.print(f"{time.monotonic() - started:.1f} s")
    return 0
