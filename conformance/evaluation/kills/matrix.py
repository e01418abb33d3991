"""What `kterm mutants` does: every mutant through a profile, in every regime of it, and whether any is left."""

import json
import multiprocessing
import platform
import queue
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ....reference import ACTIVATIONS, BIASES
from ....reference.rounding import SIGMAS
from ...cases.draw import NUMBERS
from ...cases.plan import WIDE, Description, OptionError, make_options, require_known
from ...checks.verdict import CHECKS
from ...mutants import MUTANTS
from ...mutants.loading import mutant
from ...records import run as runs
from ...records.run import Run, RunRequest
from ...runners.runner import NoAnswer
from ...runners.threads import pin_here
from ..workers import count, opened, plain, processes
from .kill import ENOUGH, Asked, Fate, Tell, differs, measure, mutants
from .report import html, listing, pages, summary_lines, title

DEFAULT = ("numpy",)
_WIDTH = 140

State = str
"""Of a mistake: killed, survived, or not applicable. Of an equivalent: found, or never found."""


def run_mutants(
    specs: Sequence[str],
    profile: str,
    seed: int,
    workers: str,
    dtypes: Sequence[str],
    names: Sequence[str],
    without: Sequence[str],
    gradients_alone: bool,
    brief: bool,
    expectations: Path | None,
    device: str | None,
    json_path: Path | None,
    html_path: Path | None,
    tell: Tell | None = None,
) -> int:
    """Measure, print, and give the exit code: 0 where every mistake was found and no equivalent was, 1 otherwise.

    Raises AdapterError, ChoiceError, ExpectationError, and NoAnswer where an adapter ends the process it runs in.
    """
    started = time.monotonic()
    pin_here()
    options = make_options(profile, seed, dtypes)
    for name in without:
        require_known("check", name, CHECKS)
    for name in names:
        mutant(name)
    if workers != "auto" and not workers.isdigit():
        raise OptionError(f"-n {workers}: give a number of workers, or auto")
    run = runs.prepare(RunRequest(tuple(specs) or DEFAULT, options, expectations, device))
    asked = [
        Asked(adapter, options, run.concerning(adapter.name), device, frozenset(without), gradients_alone, brief, tell)  # pyright: ignore[reportArgumentType]  (checked above)
        for adapter in run.adapters
    ]
    if not any(map(_dtypes, asked)):
        raise OptionError(
            f"{', '.join(one.adapter.name for one in asked)}: declares none of {', '.join(dtypes or WIDE)}"
        )
    terminal = Console(highlight=False, soft_wrap=True)
    # Rows are not broken, whatever there is of a terminal.
    console = Console(highlight=False, soft_wrap=True, width=max(terminal.width, _WIDTH))
    with ExitStack() as stack:
        json_file = None if json_path is None else stack.enter_context(opened(json_path))
        html_file = None if html_path is None else stack.enter_context(opened(html_path, "--html"))
        record = _header(run, names, without, gradients_alone, brief)
        console.print(title(record), markup=False)
        record["fates"] = _measured(asked, names, workers, console)
        if json_file is not None:
            json.dump(plain(record), json_file, indent=1)
            print(file=json_file)
        if html_file is not None:
            html_file.write(html(record, _WIDTH))
    for page in pages(record):
        console.print()
        console.print(page, crop=False)
    console.print()
    for line in summary_lines(record):
        console.print(line, markup=False)
    console.print(f"{time.monotonic() - started:.1f} s; seed {seed}", markup=False)
    return 0 if holds(record) else 1


def print_list() -> None:
    """Print the table of all mutants."""
    console = Console(highlight=False, soft_wrap=True)
    console = Console(highlight=False, soft_wrap=True, width=max(console.width, _WIDTH))
    console.print(listing([asdict_of(name) for name in MUTANTS]), crop=False)


def asdict_of(name: str) -> dict[str, Any]:
    """What the record says of a mutant."""
    one = MUTANTS[name]
    return {key: getattr(one, key) for key in ("name", "mistake", "effect", "hidden", "equivalent")}


def holds(record: dict[str, Any]) -> bool:
    """Whether every mistake was killed that can be worn, no equivalent was found, and each adapter conforms by itself;
    in the wide dtypes, where they were asked for.
    """
    held = {fate["dtype"] for fate in record["fates"]} & set(WIDE)
    bad = ("survived", "found")
    return not any(f["state"] in bad for f in record["fates"] if f["dtype"] in (held or {f["dtype"]}))


def _header(
    run: Run, names: Sequence[str], without: Sequence[str], gradients_alone: bool, brief: bool
) -> dict[str, Any]:
    return {
        "suite": metadata.version("kterm"),
        "numbers": NUMBERS,
        **asdict(run.options),
        "without": list(without),
        "gradients_alone": gradients_alone,
        "brief": brief,
        "sigmas": SIGMAS,
        "enough": ENOUGH,
        "platform": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": {"numpy": np.__version__, "scipy": scipy.__version__},
        "adapters": [adapter.to_json() for adapter in run.adapters],
        "mutants": [asdict_of(one.name) for one in mutants(names)],
    }


def _measured(asked: Sequence[Asked], names: Sequence[str], workers: str, console: Console) -> list[dict[str, Any]]:
    """The fates, as plain data, by adapter, dtype and mutant in their order."""
    chosen = [one.name for one in mutants(names)]
    parts = [chosen[i :: count(workers)] for i in range(min(count(workers), len(chosen)))]
    due = [(one, dtype, part) for one in asked for dtype in _dtypes(one) for part in parts]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with ExitStack() as stack:
        executor = processes(workers)
        stack.callback(executor.shutdown, cancel_futures=True)
        ticks: Any = None
        if console.is_terminal:
            manager = stack.enter_context(multiprocessing.get_context("spawn").Manager())
            ticks = manager.Queue()
        progress = stack.enter_context(Progress(*columns, console=console, transient=True, disable=ticks is None))
        task = progress.add_task("structures", total=sum(len(one.groups(dtype)) for one, dtype, _ in due))
        futures = [executor.submit(_part, *one, ticks) for one in due]
        _await(futures, ticks, lambda: progress.advance(task))
        fates: dict[tuple[str, str], dict[str, Fate]] = {}
        for (one, dtype, _), future in zip(due, futures, strict=True):
            found = fates.setdefault((one.adapter.name, dtype), {})
            found |= {fate.mutant: fate for fate in future.result()}
        applies = {one.adapter.name: _inapplicable(one, fates, executor) for one in asked}
    return [
        _json(adapter, fates[adapter, dtype][name], applies[adapter].get((dtype, name), ""))
        for adapter, dtype in fates
        for name in ("", *chosen)
    ]


def _part(asked: Asked, dtype: str, names: Sequence[str], ticks: Any) -> list[Fate]:
    return measure(asked, dtype, names, None if ticks is None else lambda: ticks.put(1))


def _dtypes(asked: Asked) -> list[str]:
    wanted = asked.options.dtypes or WIDE
    return [name for name in asked.adapter.dtypes if name in wanted]


def _await(futures: Sequence[Future[Any]], ticks: Any, done: Callable[[], None]) -> None:
    left = set(futures)
    try:
        while left:
            finished, left = wait(left, timeout=None if ticks is None else 0.1, return_when="FIRST_EXCEPTION")
            for future in finished:
                future.result()
            while ticks is not None:
                try:
                    ticks.get_nowait()
                except queue.Empty:
                    break
                done()
    except BrokenProcessPool:
        message = "a worker process ended while an adapter ran in it; kterm check says in which case"
        raise NoAnswer("died", message) from None


def _inapplicable(
    asked: Asked, fates: dict[tuple[str, str], dict[str, Fate]], executor: Executor
) -> dict[tuple[str, str], str]:
    """Why a mistake is none in a dtype, by dtype and mutant: no answer differs from the adapter's own by a bit in the
    whole profile, and neither where the mistake was found in another dtype; or it needs what the adapter lacks.
    """
    own = {dtype: some for (adapter, dtype), some in fates.items() if adapter == asked.adapter.name}
    found: dict[tuple[str, str], str] = {}
    asking: dict[tuple[str, str], tuple[str, Future[bool]]] = {}
    for dtype, some in own.items():
        for name, fate in some.items():
            if not name or fate.differs or MUTANTS[name].equivalent:
                continue
            others = [(other, group) for other in own if (group := own[other][name].found_in) is not None]
            if others:
                other, group = others[0]
                group = replace(group, structure=replace(group.structure, dtype=dtype))
                asking[dtype, name] = other, executor.submit(differs, asked, name, group)
            elif _lacks_something(asked.adapter) and not any(each[name].differs for each in own.values()):
                found[dtype, name] = "no answer differs by a bit: it is of something that the adapter does not declare"
    for key, (other, future) in asking.items():
        if not future.result():
            found[key] = f"no answer differs by a bit, not even where it is found in {other}"
    return found


def _lacks_something(adapter: Description) -> bool:
    return (
        len(adapter.activations) < len(ACTIVATIONS)
        or len(adapter.biases) < len(BIASES)
        or not set(adapter.dtypes).issuperset(WIDE)
    )


def _json(adapter: str, fate: Fate, why_not: str) -> dict[str, Any]:
    return {
        "adapter": adapter,
        "dtype": fate.dtype,
        "mutant": fate.mutant,
        "state": _state(fate, why_not),
        "why": why_not,
        "margin": fate.margin,
        "differs": fate.differs,
        "regimes": {regime: asdict(cell) for regime, cell in fate.regimes.items()},
        "told": fate.told,
    }


def _state(fate: Fate, why_not: str) -> State:
    if not fate.mutant or MUTANTS[fate.mutant].equivalent:
        return "found" if fate.is_found else "never found"
    return "killed" if fate.is_found else "not applicable" if why_not else "survived"
