"""What `kterm ulp` does: the activations of adapters measured on their own (`accuracy`), told as a table.

The 50-digit values are worked out once for all adapters, in processes of their own, while adapters are asked. Needs
mpmath.
"""

import json
import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ...reference import ACTIVATIONS, DTYPES, DType
from ..cases.plan import Description, OptionError, Options, make_options
from ..evaluation.accuracy.exact import Truth, joined, precision, truth
from ..evaluation.accuracy.measure import Measurement, Unfit, ask, measured, points
from ..evaluation.figures import opened, processes
from ..runners.process import ProcessRunner
from ..runners.runner import NoAnswer
from ..runners.threads import pin_here

MOST_SAMPLES = 10
_CHUNK, _AHEAD = 2048, 4  # points a task, and activations that are worked on before they are needed
_WIDTH = 200


@dataclass(frozen=True)
class Unanswered:
    """An activation in one dtype that could not be measured, and why. What is not supported does not fail."""

    activation: str
    dtype: str
    message: str
    fails: bool


Outcome = Measurement | Unanswered
_Subject = tuple[ProcessRunner, Description]


def run_ulp(
    specs: Sequence[str],
    dtypes: Sequence[str],
    activations: Sequence[str],
    samples: int,
    seed: int,
    workers: str,
    device: str | None,
    path: Path | None,
) -> int:
    """Measure, print, and give the exit code: 0 where all is as accurate as the activation table says, 1 if not."""
    pin_here()
    options = make_options("standard", seed, dtypes, activations)
    if not 0 <= samples <= MOST_SAMPLES:
        raise OptionError(f"--samples {samples} should be from 0 to {MOST_SAMPLES}: 2**samples numbers a binade")
    if workers != "auto" and not workers.isdigit():
        raise OptionError(f"-n {workers}: give a number of workers, or auto")
    # Wide enough that no row is broken, whatever there is of a terminal.
    console = Console(highlight=False, soft_wrap=True, width=max(Console().width, _WIDTH))
    with ExitStack() as stack:
        subjects = [_subject(stack, spec, device) for spec in dict.fromkeys(specs)]
        wanted = _wanted([declared for _, declared in subjects], options)
        file = None if path is None else stack.enter_context(opened(path))
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        executor = stack.enter_context(processes(workers))
        stack.enter_context(progress)
        task = progress.add_task("measurements", total=len(wanted) * len(subjects))
        outcomes: dict[str, list[Outcome]] = {declared.spec: [] for _, declared in subjects}
        for declared, found in _measurements(subjects, wanted, samples, seed, executor):
            outcomes[declared.spec] += found
            if file is not None:
                file.writelines(json.dumps(_json(declared, outcome)) + "\n" for outcome in found)
            progress.advance(task)
    for _, declared in subjects:
        _print(console, declared, options, outcomes[declared.spec])
    return 0 if all(map(_are_sound, outcomes.values())) else 1


def _subject(stack: ExitStack, spec: str, device: str | None) -> _Subject:
    runner = stack.enter_context(closing(ProcessRunner(spec, device)))
    return runner, runner.describe()


def _wanted(declared: Sequence[Description], options: Options) -> list[tuple[DType, str]]:
    """What is to be measured of some adapter. Raises ChoiceError where that is nothing."""
    wanted = [
        (dtype, name)
        for dtype in DTYPES.values()
        for name in ACTIVATIONS
        if dtype.name in (options.dtypes or DTYPES)
        and name in (options.activations or ACTIVATIONS)
        and any(_offers(one, dtype, name) for one in declared)
    ]
    if not wanted:
        asked = ", ".join((*options.dtypes, *options.activations))
        raise OptionError(f"{', '.join(one.name for one in declared)}: nothing declared of what was asked for, {asked}")
    return wanted


def _offers(declared: Description, dtype: DType, name: str) -> bool:
    return dtype.name in declared.dtypes and name in declared.activations


def _measurements(
    subjects: Sequence[_Subject], wanted: Sequence[tuple[DType, str]], samples: int, seed: int, executor: Executor
) -> Iterator[tuple[Description, list[Outcome]]]:
    """What each adapter comes to in each activation and dtype, adapters innermost."""
    ahead: deque[_Exactly] = deque()
    for number, (dtype, name) in enumerate(wanted):
        while len(ahead) < min(_AHEAD, len(wanted) - number):
            ahead.append(_Exactly(executor, *wanted[number + len(ahead)], samples, seed))
        exactly = ahead.popleft()
        for runner, declared in subjects:
            yield declared, _outcomes(runner, declared, dtype, name, exactly) if _offers(declared, dtype, name) else []


class _Exactly:
    """The points of one activation in one dtype, and the true values there, which may still be on their way."""

    def __init__(self, executor: Executor, dtype: DType, name: str, samples: int, seed: int) -> None:
        self.z = points(ACTIVATIONS[name], dtype, samples, seed)
        starts = range(0, self.z.size, _CHUNK)
        self.parts: dict[bool, list[Future[Truth]]] = {
            slope: [executor.submit(truth, name, slope, self.z[start : start + _CHUNK]) for start in starts]
            for slope in (False, True)
        }

    def values(self, slope: bool) -> Truth:
        return joined([part.result() for part in self.parts[slope]])


def _outcomes(
    runner: ProcessRunner, declared: Description, dtype: DType, name: str, exactly: _Exactly
) -> list[Outcome]:
    row, z = ACTIVATIONS[name], exactly.z
    try:
        f, slopes = ask(runner, declared, name, dtype, z)
    except Unfit as error:
        return [Unanswered(name, dtype.name, str(error), True)]
    except NoAnswer as no:
        return [Unanswered(name, dtype.name, f"{no.kind}: {no.message}", no.kind != "unsupported")]
    # Where f is not finite, k does not show f'. Zero is kept: it is what flushed arguments are held to.
    shown = np.isfinite(f) | (z == 0)
    return [
        measured(row, dtype, False, z, f, exactly.values(False)),
        measured(row, dtype, True, z[shown], slopes[shown], exactly.values(True)[shown]),
    ]


def _is_sound(outcome: Outcome) -> bool:
    return outcome.is_sound if isinstance(outcome, Measurement) else not outcome.fails


def _are_sound(found: Sequence[Outcome]) -> bool:
    """Whether something was measured, and all is sound."""
    return all(map(_is_sound, found)) and any(isinstance(outcome, Measurement) for outcome in found)


def _json(declared: Description, outcome: Outcome) -> dict[str, Any]:
    """Plain JSON types; what JSON has no number for is a string that float() reads."""
    data = {"adapter": declared.name, "version": declared.version, "device": declared.device, **asdict(outcome)}
    return {
        key: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in data.items()
    }


def _print(console: Console, declared: Description, options: Options, outcomes: Sequence[Outcome]) -> None:
    name = declared.name
    console.print(f"{name} {declared.version} on {declared.device}; seed {options.seed}", markup=False)
    console.print(_table([outcome for outcome in outcomes if isinstance(outcome, Measurement)]))
    lines = [f"does not declare dtype {dtype}" for dtype in options.dtypes if dtype not in declared.dtypes]
    lines += [f"does not declare activation {one}" for one in options.activations if one not in declared.activations]
    if "identity" not in declared.activations:
        lines.append(
            "does not declare identity: f' comes with up to 1 ulp more where outputs are not rounded before use"
        )
    lines += [f"{outcome.activation} {outcome.dtype} {line}" for outcome in outcomes for line in _told(outcome)]
    for line in lines:
        console.print(f"{name} {line}", markup=False)
    asked = {(outcome.activation, outcome.dtype) for outcome in outcomes}
    poor = {(outcome.activation, outcome.dtype) for outcome in outcomes if not _is_sound(outcome)}
    console.print(
        f"{name}: {len(asked)} activations by dtypes, {len(asked - poor)} as accurate as the table says, "
        f"{len(poor)} not",
        markup=False,
    )


_HEADS = ("worst ulp", "at z", "99 %", "median", "c", "table", "at z", "apart", "flushed", "NaN", "inf")


def _table(found: Sequence[Measurement]) -> Table:
    """A line a function of an activation in a dtype; red where it is worse than the activation table says."""
    table = Table("activation", "dtype", "", box=None, pad_edge=False, header_style="bold")
    for head in _HEADS:
        table.add_column(head, justify="right", no_wrap=True)
    for m in found:
        table.add_row(
            m.activation,
            m.dtype,
            m.function,
            f"{m.worst:.3g}",
            _shown(m.worst_at, m) if m.worst else "",
            f"{m.most:.3g}",
            f"{m.median:.2g}",
            f"{m.units:.3g}",
            f"{m.stated:g}",
            _shown(m.units_at, m) if m.units else "",
            *(f"{count:,}" if count else "" for count in (m.apart, m.flushed, m.nans, m.infinities)),
            style=None if m.is_sound else "red",
        )
    return table


def _shown(number: float, m: Measurement) -> str:
    """With as many digits as tell numbers of the dtype apart."""
    digits = math.ceil(1 + precision(DTYPES[m.dtype]) * math.log10(2))
    return f"{number:.{digits}g}"


def _told(outcome: Outcome) -> Iterator[str]:
    """What is wrong with it, a line each."""
    if isinstance(outcome, Unanswered):
        yield outcome.message
        return
    m = outcome
    if m.units > m.stated:
        yield (
            f"{m.function}: a poor formula, c = {m.units:.3g} where the table has {m.stated:g}; "
            f"at z = {_shown(m.units_at, m)} it gives {_shown(m.given, m)} for {_shown(m.true, m)}"
        )
    for what, count, at in (("NaN", m.nans, m.nan_at), ("an infinity", m.infinities, m.infinity_at)):
        if at is not None:
            yield (
                f"{m.function}: {what} for a finite number at {count:,} of {m.points:,} points, "
                f"the nearest to 0 at z = {_shown(at, m)}"
            )
