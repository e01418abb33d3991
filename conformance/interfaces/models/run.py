"""`kterm.judge`: a trace judged in this process or by workers, with what is known of its framework."""

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Protocol

from ....adapters.traces.trace import StoredArrays, Trace
from ...cases.description import Description
from ...cases.level import parse_level
from ...cases.plan import OptionError
from ...checks.verdict import ExpectationFor
from ...expectations import expectation as known
from ...records.folder import RunFolder
from ...runners.threads import pin_here
from ...runners.workers import open_executor, wait_for
from .judge import Part, Unit, collect_parts, is_chosen, judge_unit, list_units
from .judgement import Judgement, Options
from .read import TraceError, check_trace, read_trace
from .record import deliver_record


class HasTrace(Protocol):
    """What `kterm.capture` gives: its `trace()` is what was captured so far."""

    def trace(self) -> Trace: ...


Source = Trace | HasTrace | str | os.PathLike[str]
"""A trace, what captured it, or the folder that holds it."""


def judge(
    source: Source,
    *,
    steps: Collection[int] = (),
    layers: Collection[str] = (),
    level: str = "componentwise",
    workers: int = 0,
    expectations: str | os.PathLike[str] | None = None,
    report: str | os.PathLike[str] | None = None,
) -> Judgement:
    """Judge every dense layer of a trace against the rule.

        judgement = kterm.judge("trace")
        judgement.raise_if_failed()

    `steps` are numbers of steps, counted from 0, and `layers` patterns of names, such as "blocks.*.mlp.*"; empty for
    all. `workers` are further processes, for a trace in a folder. `expectations` is a file of known divergences, in
    place of the shipped ones. `report` is the file that the record of the judging is written to.

    Raises TraceError for a trace that cannot be read or does not fit together, OptionError for an unknown level or for
    steps and layers that the trace does not have, ExpectationError, and RecordError.
    """
    path = None if isinstance(source, Trace) or hasattr(source, "trace") else Path(source)  # pyright: ignore
    if path is not None:
        trace = read_trace(path)
    else:
        trace = source if isinstance(source, Trace) else source.trace()  # pyright: ignore
        check_trace(trace)
    options = Options(parse_level(level), tuple(layers), tuple(steps))
    expected = read_expectations(trace, expectations)
    if report is None:
        return judge_with(trace, path, options, expected, workers)
    with RunFolder(Path(report)) as folder:
        judgement = judge_with(trace, path, options, expected, workers)
        deliver_record(judgement, expected, expectations is not None, folder)
    return judgement


def read_expectations(trace: Trace, file: str | os.PathLike[str] | None) -> tuple[known.Expectation, ...]:
    """The known divergences of the framework of a trace. Raises ExpectationError."""
    manifest = trace.manifest
    described = Description(
        "", manifest.framework, manifest.framework_version, "", (), (), (), manifest.device or "cpu", None,
        framework=manifest.framework, framework_version=manifest.framework_version,
    )  # fmt: skip
    path = known.SHIPPED if file is None else Path(file)
    return tuple(one for one in known.read(path) if one.concerns(described))


def judge_with(
    trace: Trace,
    path: Path | None,
    options: Options,
    expected: Sequence[known.Expectation],
    workers: int,
    started: Callable[[int], Callable[[], None]] = lambda total: lambda: None,
) -> Judgement:
    """Judge a checked trace, which lies at `path`, if it lies in a folder. `started` is called with the number of
    pieces, and what it returns for each that is done. Raises OptionError.
    """
    require_chosen(trace, options)
    units = list_units(trace, options)
    advance = started(len(units))
    expectation_for = known.matcher(expected)
    if path is None or workers == 0 or len(units) < 2:
        parts = []
        for unit in units:
            parts.append(judge_unit(trace, unit, options, expectation_for))
            advance()
        return collect_parts(trace, options, units, parts, expectation_for)
    with open_executor(workers, _prepare, _Work(path, options, tuple(expected))) as executor:
        futures = [executor.submit(_judge_units, some) for some in _batches(units)]
        wait_for(futures, done=advance)
        parts = [part for future in futures for part in future.result()]
    return collect_parts(trace, options, units, parts, expectation_for)


def require_chosen(trace: Trace, options: Options) -> None:
    """Raise OptionError where the options name steps or layers that the trace does not have."""
    count = len(trace.manifest.steps)
    if missing := [step for step in options.steps if not 0 <= step < count]:
        last = count - 1
        raise OptionError(f"--steps {missing[0]}: the trace has the steps 0 to {last}; name one of them")
    names = {layer.name for step in trace.manifest.steps for layer in step.layers}
    for pattern in options.layers:
        if not any(is_chosen(name, Options(layers=(pattern,))) for name in names):
            some = ", ".join(sorted(names)[:3])
            raise OptionError(f"--layer {pattern}: matches no layer of the trace; it has {some} and others")


def _batches(units: Sequence[Unit]) -> Iterator[list[Unit]]:
    """A layer of a step with its gradients, which read the same arrays."""
    batch: list[Unit] = []
    for is_layer, some in groupby(units, lambda unit: unit.layer is not None):
        for unit in some:
            if is_layer and batch:
                yield batch
                batch = []
            batch.append(unit)
    if batch:
        yield batch


@dataclass(frozen=True)
class _Work:
    path: Path
    options: Options
    expected: tuple[known.Expectation, ...]


@dataclass(frozen=True)
class _Ready:
    trace: Trace
    options: Options
    expectation_for: ExpectationFor


_ready: _Ready | None = None  # in a worker


def _prepare(work: _Work) -> None:
    global _ready
    pin_here()
    _ready = _Ready(read_trace(work.path), work.options, known.matcher(work.expected))


def _judge_units(units: Sequence[Unit]) -> list[Part]:
    assert _ready is not None
    return [judge_unit(_ready.trace, unit, _ready.options, _ready.expectation_for) for unit in units]


__all__ = ["HasTrace", "Source", "StoredArrays", "TraceError", "judge", "judge_with", "read_expectations"]
