"""A run: what the user asks for (`RunRequest`), what it is once the adapters are loaded (`Run`), and the worker
that runs its groups. The description of a run is a file in its folder, which the controller and all workers share.
"""

import json
import platform
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from ...adapters.registry import AdapterError
from ..arithmetic.fingerprint import Fingerprint, measure_arithmetic
from ..cases.case import Group
from ..cases.description import Description
from ..cases.draw import NUMBERS
from ..cases.plan import OptionError, Options, Plan, deal, plan
from ..checks.examine import examine
from ..checks.findings import ExpectationFor
from ..checks.layout_probe import find_layout_error
from ..checks.verdict import Status, Verdict
from ..checks.whole_run.moments import Moments
from ..diagnosis import question as stored
from ..diagnosis.causes import Cause, order
from ..diagnosis.diagnose import locate_failures
from ..diagnosis.question import Question
from ..diagnosis.summary import GroupResult, summarize_failures
from ..expectations import expectation as known
from ..expectations.audit import ExpectationAudit, Key
from ..runners.process import TIMEOUT, ProcessRunner
from ..runners.runner import NoAnswer
from ..runners.workers import choose_adapters
from .folder import DESCRIPTION, RunFolder
from .form.environment import describe_environment, describe_place
from .form.files import RecordError
from .form.timings import note_seconds
from .parts import failing_adapters, finish, read_part, read_statuses, write_part


@dataclass(frozen=True)
class RunRequest:
    """What a user asks for: the options of `kterm check`, and of the pytest plugin, in one place.

    `adapters` are specs as on the command line; without any, the default adapters are meant. `expectations` is a file
    that replaces the shipped one. `timeout` is in seconds, `workers` the number of worker processes, 0 for none;
    `uses_cache` is about JAX's compilation cache. With `measures_arithmetic`, the record says how each adapter computes
    its products.
    Raises OptionError for a timeout that is no positive number.
    """

    adapters: tuple[str, ...] = ()
    options: Options = field(default_factory=Options)
    expectations: Path | None = None
    device: str | None = None
    timeout: float = TIMEOUT
    mutant: str | None = None
    workers: int = 0
    report: Path | None = None
    uses_cache: bool = True
    measures_arithmetic: bool = False
    python: str | None = None
    """The interpreter that adapters in Python run under; None for this one."""
    resumes: bool = False
    """Whether to go on with the interrupted run that was to write `report`, whatever else is asked for."""
    shard: tuple[int, int] | None = None
    """(i, n) to run the i-th of n parts, counted from 1."""

    def __post_init__(self) -> None:
        # Not a number compares as false.
        if not 0 < self.timeout <= threading.TIMEOUT_MAX:
            raise OptionError(f"timeout {self.timeout:g}: give a positive number of seconds")


@dataclass(frozen=True)
class Run:
    """What one run does: plain data, the same in every process that takes part in it. `user_supplied` says that the
    expectations are the user's own, and not the shipped ones.
    """

    adapters: tuple[Description, ...]
    options: Options
    expectations: tuple[known.Expectation, ...]
    device: str | None = None
    timeout: float = TIMEOUT
    user_supplied: bool = False
    fingerprints: tuple[Fingerprint, ...] = ()
    """What was measured of the adapters' arithmetic, one for each adapter; empty if nothing was measured."""
    shard: tuple[int, int] | None = None
    """(i, n) for the i-th of n parts of the run, counted from 1."""

    def start(self, adapter: Description) -> ProcessRunner:
        """A process for an adapter of this run. Raises AdapterError."""
        return ProcessRunner(adapter.spec, self.device, self.timeout, adapter.mutant, adapter.python)

    @cached_property
    def plans(self) -> tuple[Plan, ...]:
        """One plan an adapter."""
        return tuple(plan(adapter, self.options) for adapter in self.adapters)

    @cached_property
    def groups(self) -> tuple[tuple[Description, Group], ...]:
        """Every group with its adapter, numbered by place: what the parts of a record are numbered by."""
        return tuple(
            (adapter, group)
            for adapter, planned in zip(self.adapters, self.plans, strict=True)
            for group in planned.groups
        )

    @cached_property
    def chosen(self) -> tuple[int, ...]:
        """The places of the groups that are run: all, or those of the shard."""
        if self.shard is None:
            return tuple(range(len(self.groups)))
        mine: list[int] = []
        for adapter in self.adapters:
            own = [(n, group) for n, (one, group) in enumerate(self.groups) if one == adapter]
            mine += deal(own, *self.shard)
        return tuple(sorted(mine))

    def cases(self, numbers: Sequence[int] | None = None) -> list[Key]:
        """What is planned, of all groups or of those numbered, in order."""
        chosen = range(len(self.groups)) if numbers is None else numbers
        return [(self.groups[n][0].name, case.id) for n in chosen for case in self.groups[n][1].cases]

    def header(self) -> dict[str, Any]:
        """The header of the record: enough to repeat the run, and nothing that differs between two repetitions."""
        return {
            "suite": metadata.version("kterm"),
            "numbers": NUMBERS,
            # Regimes and structures are there if the run is kept to some.
            **{name: value for name, value in asdict(self.options).items() if name not in ("regimes", "like") or value},
            "device": self.device,
            "platform": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "environment": describe_environment(),
            "adapters": [
                {
                    **adapter.to_json(),
                    "structures": len(p.groups),
                    "unsupported": list(p.unsupported),
                    "fingerprint": self._fingerprint_of(adapter.name),
                    **({} if p.cut is None else {"cut": p.cut.to_json()}),
                }
                for adapter, p in zip(self.adapters, self.plans, strict=True)
            ],
        }

    def _fingerprint_of(self, adapter: str) -> dict[str, Any] | None:
        return next((one.to_json() for one in self.fingerprints if one.adapter == adapter), None)

    @cached_property
    def audit(self) -> ExpectationAudit:
        """The audit of the expectations."""
        return ExpectationAudit(self.expectations, self.adapters, self.options, self.user_supplied)

    def concerning(self, adapter: str) -> tuple[known.Expectation, ...]:
        """The expectations that concern this adapter, by name, in its version."""
        return next(self.audit.of(a) for a in self.adapters if a.name == adapter)

    def expectation_for(self, adapter: str) -> ExpectationFor:
        """What the checks need to know of the expectations that concern this adapter."""
        return known.matcher(self.concerning(adapter))


def prepare(request: RunRequest) -> Run:
    """Load every adapter in a process of its own, with the mutant planted where one is named, and describe the run.

    Raises AdapterError where an adapter does not load, or none is named and none installed, OptionError for an unknown
    mutant, and ExpectationError where the expectations cannot be read.
    """
    entries = known.read(request.expectations or known.SHIPPED)
    specs = choose_adapters(request.adapters)

    def ask(spec: str) -> tuple[Description, Fingerprint | None]:
        with closing(ProcessRunner(spec, request.device, request.timeout, request.mutant, request.python)) as process:
            measured = measure_arithmetic(process, request.options.dtypes) if request.measures_arithmetic else None
            return process.describe(), measured

    with ThreadPoolExecutor(len(specs)) as pool:
        asked = tuple(pool.map(ask, specs))
    adapters = tuple(described for described, _ in asked)
    names = [adapter.name for adapter in adapters]
    for name in names:
        if names.count(name) > 1:
            raise AdapterError(f"two adapters are called {name!r}; give each class a name of its own")
    return Run(
        adapters,
        request.options,
        entries,
        request.device,
        request.timeout,
        request.expectations is not None,
        tuple(measured for _, measured in asked if measured is not None),
        request.shard,
    )


def to_json(run: Run) -> dict[str, Any]:
    """The run's description in plain JSON types."""
    adapters, measured = ([one.to_json() for one in some] for some in (run.adapters, run.fingerprints))
    return {"place": describe_place(), **asdict(run), "adapters": adapters, "fingerprints": measured}


def save(run: Run, folder: Path) -> None:
    """Write the run's description into its folder, whole or not at all."""
    scratch = folder / f"{DESCRIPTION}.unfinished"
    scratch.write_text(json.dumps(to_json(run)), encoding="utf-8")
    scratch.replace(folder / DESCRIPTION)


def load(folder: Path) -> Run:
    """The run described in a folder."""
    return from_json(json.loads((folder / DESCRIPTION).read_text(encoding="utf-8")))


def from_json(data: dict[str, Any]) -> Run:
    """The inverse of `to_json`."""
    options: dict[str, Any] = data["options"]
    options |= {key: tuple(value) for key, value in options.items() if isinstance(value, list)}
    return Run(
        tuple(map(Description.from_json, data["adapters"])),
        Options(**options),
        tuple(known.Expectation(**entry) for entry in data["expectations"]),
        data["device"],
        data["timeout"],
        data["user_supplied"],
        tuple(map(Fingerprint.from_json, data["fingerprints"])),
        None if data["shard"] is None else (data["shard"][0], data["shard"][1]),
    )


class Worker:
    """Runs groups of one run, and starts each adapter's host process when it is first needed. `name` distinguishes the
    workers that write into one folder.
    """

    def __init__(self, run: Run, folder: Path, name: str) -> None:
        self.run = run
        self._folder, self._name = folder, name
        self._processes: dict[str, ProcessRunner] = {}
        self._layout: dict[str, str | None] = {}

    def selected(self, numbers: Sequence[int]) -> None:
        """Record which groups pytest selected: only these are accounted for."""
        (self._folder / f"selected-{self._name}.json").write_text(json.dumps(sorted(numbers)), encoding="utf-8")

    def recorded(self, number: int) -> list[Status] | None:
        """The statuses of the cases of a group whose part is there already; None if it is not."""
        return read_statuses(self._folder, number)

    def examine(self, number: int) -> list[list[Verdict]]:
        """Run one group, write its part of the record, and give its verdicts, a list a case.

        Raises RecordError where the part cannot be written, as on a full disk.
        """
        started = time.perf_counter()
        adapter, group = self.run.groups[number]
        verdicts, moments, questions = self.ask(adapter, group)
        try:
            if questions:
                stored.save(self._folder / f"{number:06}.npz", questions)
            note_seconds(self._folder, self._name, number, time.perf_counter() - started)
            write_part(self._folder, number, adapter.name, verdicts, self.run.concerning(adapter.name), moments)
        except OSError as error:
            why = error.strerror or str(error)
            raise RecordError(f"{self._folder}: {why}; the results of {group.id} are lost") from None
        return verdicts

    def ask(self, adapter: Description, group: Group) -> tuple[list[list[Verdict]], Moments, tuple[Question, ...]]:
        """Run a group: the verdicts, a list a case, sums for the checks of a run, and questions about what failed."""
        try:
            process = self._process(adapter)
            premise = None if group.regime == "layout" else self._premise(adapter, process)
        except AdapterError as error:
            failed = [[Verdict(c.id, "contract", "program", "errored", message=str(error))] for c in group.cases]
            return failed, {}, ()
        expectation_for, level = self.run.expectation_for(adapter.name), self.run.options.level
        examination = examine(group, process, expectation_for, layout_error=premise, level=level)
        located = locate_failures(group, examination, expectation_for)
        return located.verdicts, examination.moments, located.questions

    def _process(self, adapter: Description) -> ProcessRunner:
        if adapter.spec not in self._processes:
            # A load that failed, here or in another worker, is not tried again: it may take the whole timeout.
            note = self._folder / f"not-loaded-{self.run.adapters.index(adapter)}.txt"
            if note.exists():
                raise AdapterError(note.read_text(encoding="utf-8"))
            try:
                self._processes[adapter.spec] = self.run.start(adapter)
            except AdapterError as error:
                note.write_text(str(error), encoding="utf-8")
                raise
        return self._processes[adapter.spec]

    def _premise(self, adapter: Description, process: ProcessRunner) -> str | None:
        """What the adapter's layout probes found, once in each worker; None where the declared layout is right."""
        if adapter.spec not in self._layout:
            probes = (group for described, group in self.run.groups if described == adapter)
            self._layout[adapter.spec] = find_layout_error((g for g in probes if g.regime == "layout"), process)
        return self._layout[adapter.spec]

    def close(self) -> None:
        """End the host processes."""
        for process in self._processes.values():
            process.close()


def _with_fingerprints(run: Run, folder: Path) -> Run:
    """The run with the arithmetic of the adapters that failed measured, where it was not measured before: a report
    names what is measured and not declared. It takes seconds where a framework compiles, so a run that passes goes
    without, and so does one whose adapter crashed or hung: it would do so again.
    """
    known_already = {one.adapter for one in run.fingerprints}
    failing = failing_adapters(folder) - known_already
    measured = list(run.fingerprints)
    for adapter in run.adapters:
        if adapter.name in failing:
            try:
                with closing(run.start(adapter)) as process:
                    measured.append(measure_arithmetic(process, run.options.dtypes))
            except (AdapterError, NoAnswer):
                continue
    return replace(run, fingerprints=tuple(measured))


def _find_causes(run: Run, folder: Path, groups: Sequence[tuple[Description, Group]]) -> list[Cause]:
    """The causes of all failures of a run, given its groups in the order of the plan. The order in which workers
    finished does not matter, nor does their number.
    """
    results: dict[str, list[GroupResult]] = {}
    described = {adapter.name: adapter for adapter, _ in groups}
    for number, (adapter, group) in enumerate(groups):
        part = folder / f"{number:06}.jsonl"
        if part.exists():
            passed, failing = read_part(part)
            kept = part.with_suffix(".npz")
            questions = (
                stored.load(kept, adapter, run.expectation_for(adapter.name)) if failing and kept.exists() else []
            )
            results.setdefault(adapter.name, []).append(GroupResult(group, failing, passed, tuple(questions)))
    with threadpool_limits(1):
        return order(cause for name, some in results.items() for cause in summarize_failures(described[name], some))


def as_ranges(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Ascending numbers as (first, last) of each unbroken range."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1] = found[-1][0], number
        else:
            found.append((number, number))
    return found


def conclude(run: Run, folder: RunFolder) -> Path:
    """Assemble the record from the parts in the folder, and deliver it; gives the path at which it can be read as long
    as the folder is open. Only groups that were selected are accounted for.

    Raises RecordError, in one line, where the record cannot be written; what was recorded is then kept.
    """
    return folder.deliver(assemble(run, folder))


def assemble(run: Run, folder: RunFolder, place: Mapping[str, Any] | None = None) -> Path:
    """Assemble the record from the parts in the folder, and give its path there. `place` are lines of the header about
    where the run took place, if that was not here; then no adapter is started. Raises RecordError as `conclude` does.
    """
    try:
        chosen: set[int] = set()
        notes = list(folder.path.glob("selected-*.json"))
        for note in notes:
            chosen |= set(json.loads(note.read_text(encoding="utf-8")))
        numbers = sorted(chosen) if notes and len(chosen) < len(run.groups) else None
        planned = run.cases(numbers)
        record = folder.path / "record.jsonl"
        found = _find_causes(run, folder.path, run.groups)
        header = (run if place else _with_fingerprints(run, folder.path)).header()
        if numbers is not None:
            header["selected"] = as_ranges(numbers)
        described = None
        if run.shard is not None:
            header["shard"] = run.shard
            described = json.loads((folder.path / DESCRIPTION).read_text(encoding="utf-8"))
        finish(record, folder.path, {**header, **(place or {})}, planned, run.audit, found, described)
    except OSError as error:
        where = f"the results are kept in {folder.keep()}" if folder.report else "its results are lost"
        raise RecordError(f"report {folder.report or folder.path}: {error.strerror or error}; {where}") from None
    return record
