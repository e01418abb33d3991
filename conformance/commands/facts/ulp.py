"""`kterm ulp`: measure the activations of adapters one by one against 50-digit values, and print the errors in ulp.

Needs mpmath.
"""

import json
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from ...cases.plan import OptionError, make_options
from ...evaluation.accuracy.report import print_report
from ...evaluation.accuracy.survey import Outcome, are_sound, find_wanted, survey, to_json
from ...records.form.console import TextConsole
from ...runners.process import ProcessRunner
from ...runners.threads import pin_here
from ...runners.workers import open_executor, parse_workers
from ..output import open_output, show_progress

MOST_SAMPLES = 10


@dataclass(frozen=True)
class UlpOptions:
    """The options of `kterm ulp`. Empty `dtypes` and `activations` stand for all. In f32 and f64, `samples` asks for
    2**samples numbers a binade. `workers` is the text of `-n`; `json` is a file to write, or None.
    """

    adapters: tuple[str, ...]
    dtypes: tuple[str, ...] = ()
    activations: tuple[str, ...] = ()
    samples: int = 4
    seed: int = 0
    workers: str = "auto"
    device: str | None = None
    json: Path | None = None
    python: str | None = None


def run_ulp(options: UlpOptions) -> int:
    """Measure, print, and return the exit code: 0 where all is as accurate as the activation table says, 1 if not.

    Raises AdapterError where an adapter does not load, and OptionError.
    """
    pin_here()
    run_options = make_options("standard", options.seed, options.dtypes, options.activations)
    if not 0 <= options.samples <= MOST_SAMPLES:
        raise OptionError(
            f"--samples {options.samples} should be from 0 to {MOST_SAMPLES}: 2**samples numbers a binade"
        )
    workers = parse_workers(options.workers)
    console = TextConsole()
    with ExitStack() as stack:
        runners = [
            stack.enter_context(closing(ProcessRunner(spec, options.device, python=options.python)))
            for spec in dict.fromkeys(options.adapters)
        ]
        adapters = [(runner, runner.describe()) for runner in runners]
        wanted = find_wanted([declared for _, declared in adapters], run_options)
        file = None if options.json is None else stack.enter_context(open_output(options.json))
        executor = stack.enter_context(open_executor(workers))
        advance = stack.enter_context(show_progress(console, "measurements", len(wanted) * len(adapters)))
        outcomes: dict[str, list[Outcome]] = {declared.spec: [] for _, declared in adapters}
        for declared, found in survey(adapters, wanted, options.samples, options.seed, executor):
            outcomes[declared.spec] += found
            if file is not None:
                file.writelines(json.dumps(to_json(declared, outcome)) + "\n" for outcome in found)
            advance()
    for _, declared in adapters:
        print_report(console, declared, run_options, outcomes[declared.spec])
    return 0 if all(map(are_sound, outcomes.values())) else 1
