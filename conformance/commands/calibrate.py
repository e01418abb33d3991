"""What `kterm calibrate` does: how far right computations depart from the rule, in standard deviations, and how small a
mistake is still seen. λ is chosen from the two.
"""

import json
import platform
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ...reference import ACTIVATIONS
from ...reference.rounding import SIGMAS
from ..cases.draw import NUMBERS
from ..cases.plan import OptionError, make_options
from ..evaluation.calibration.report import Calibration, Missed, pages, summary_lines, title
from ..evaluation.calibration.sensitivity import Sensed, sense
from ..evaluation.calibration.spread import CONFIDENCE, THRESHOLDS, Sample, groups, sample, spread
from ..evaluation.workers import opened, plain, processes
from ..records import run as runs
from ..records.run import Run, RunRequest
from ..runners.threads import pin_here
from ..runners.workers import parse_workers, wait_for

_DTYPES = ("f32", "f64")
_PLAN = "thorough"  # the profile with the most structures to choose from
_WIDTH = 140


def run_calibrate(
    specs: Sequence[str],
    draws: int,
    networks: int,
    seed: int,
    workers: str,
    dtypes: Sequence[str],
    activations: Sequence[str],
    expectations: Path | None,
    device: str | None,
    path: Path | None,
) -> int:
    """Measure, print, and give the exit code: 0 where nothing right was taken for wrong, 1 otherwise.

    Raises AdapterError, ChoiceError, ExpectationError, and NoAnswer where an adapter ends the process it runs in.
    """
    started = time.monotonic()
    pin_here()
    options = make_options(_PLAN, seed, dtypes or _DTYPES, activations)
    if draws < 1 or networks < 0:
        raise OptionError(f"--draws {draws}, --networks {networks}: give at least 1, and at least 0")
    parse_workers(workers)  # refused before anything is loaded
    run = runs.prepare(RunRequest(tuple(specs), options, expectations, device))
    plain = Console(highlight=False, soft_wrap=True)
    # Rows are not broken, whatever there is of a terminal.
    console = Console(highlight=False, soft_wrap=True, width=max(plain.width, _WIDTH))
    with ExitStack() as stack:
        file = None if path is None else stack.enter_context(opened(path))
        console.print(title(run), markup=False)
        found = _measured(run, draws, networks, workers, console)
        if file is not None:
            json.dump(_json(found), file, indent=1)
            print(file=file)
    for page in pages(found):
        console.print()
        console.print(page, crop=False)
    console.print()
    for line in summary_lines(found):
        console.print(line, markup=False)
    console.print(f"{time.monotonic() - started:.1f} s; seed {seed}", markup=False)
    return 0 if found.holds else 1


def _measured(run: Run, draws: int, networks: int, workers: str, console: Console) -> Calibration:
    due = [(adapter, group) for adapter in run.adapters for group in groups(adapter, run.options, draws)]
    if not due:
        names, asked = (
            ", ".join(a.name for a in run.adapters),
            ", ".join((*run.options.dtypes, *run.options.activations)),
        )
        raise OptionError(f"{names}: nothing declared of what was asked for, {asked}")
    wanted = [
        (name, dtype)
        for name in ACTIVATIONS
        for dtype in run.options.dtypes
        if networks and name in (run.options.activations or ACTIVATIONS)
        if any(name in adapter.activations and dtype in adapter.dtypes for adapter in run.adapters)
    ]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with ExitStack() as stack:
        executor = processes(workers)
        stack.callback(executor.shutdown, cancel_futures=True)
        progress = stack.enter_context(
            Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        )
        # What takes longest comes first, so that no worker is left with it at the end.
        sensing = [executor.submit(sense, run, name, dtype, networks) for name, dtype in wanted]
        sampling = [executor.submit(sample, run, adapter, group) for adapter, group in due]
        task = progress.add_task("structures", total=len(due) + len(wanted))
        wait_for([*sensing, *sampling], lambda: progress.advance(task))
    samples = [future.result() for future in sampling]
    sensed = [one for future in sensing for one in future.result()]
    return _calibration(run, draws, networks, samples, sensed)


def _calibration(
    run: Run, draws: int, networks: int, samples: Sequence[Sample], sensed: Sequence[Sensed]
) -> Calibration:
    spreads = []
    for adapter in run.adapters:
        for dtype in run.options.dtypes:
            own = [one for one in samples if (one.adapter, one.dtype) == (adapter.name, dtype)]
            if own:
                spreads.append(spread(adapter.name, dtype, own))
    missed = [Missed(one.adapter, verdict) for one in samples for verdict in one.findings]
    return Calibration(run.adapters, run.options, draws, networks, tuple(spreads), tuple(missed), tuple(sensed))


def _json(found: Calibration) -> dict[str, Any]:
    """All figures, as plain JSON types."""
    return plain(
        {
            "suite": metadata.version("kterm"),
            "numbers": NUMBERS,
            "platform": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "libraries": {"numpy": np.__version__, "scipy": scipy.__version__},
            "sigmas": SIGMAS,
            "thresholds": THRESHOLDS,
            "confidence": CONFIDENCE,
            "draws": found.draws,
            "networks": found.networks,
            **asdict(found.options),
            "adapters": [adapter.to_json() for adapter in found.adapters],
            "spread": [asdict(one) for one in found.spreads],
            "findings": [asdict(one) for one in found.missed],
            "sensitivity": [
                asdict(one) | {"rejected": one.rejected, "median": one.median, "smallest": one.smallest.tolist()}
                for one in found.sensed
            ],
        }
    )
