"""A run: which adapters, which plan, where its record grows. One description on disk, shared by the controller and
its workers.
"""

import json
import platform
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import scipy

from ...adapters.registry import AdapterError
from ..cases.case import Group
from ..cases.draw import NUMBERS
from ..cases.plan import Description, Options, Plan, plan
from ..checks.examine import examine
from ..checks.layout_probe import find_layout_error
from ..checks.verdict import Verdict
from ..diagnosis.diagnose import diagnose
from ..expectations import expectation as known
from ..expectations.audit import ExpectationAudit, Key
from ..runners.process import TIMEOUT, ProcessRunner
from .record import finish, write_part

_FILE = "run.json"


@dataclass(frozen=True)
class Run:
    """What one run does: plain data, the same in every process that takes part in it. `own` says that the expectations
    are the user's own, and not the shipped.
    """

    adapters: tuple[Description, ...]
    options: Options
    expectations: tuple[known.Expectation, ...]
    device: str | None = None
    timeout: float = TIMEOUT
    user_supplied: bool = False

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

    def cases(self, numbers: Sequence[int] | None = None) -> list[Key]:
        """What is planned, of all groups or of those numbered, in order."""
        chosen = range(len(self.groups)) if numbers is None else numbers
        return [(self.groups[n][0].name, case.id) for n in chosen for case in self.groups[n][1].cases]

    def header(self) -> dict[str, Any]:
        """What the record's header says of the run: enough to repeat it, and nothing that differs from one repetition
        to the next.
        """
        return {
            "suite": metadata.version("kterm"),
            "numbers": NUMBERS,
            **asdict(self.options),
            "platform": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "libraries": {"numpy": np.__version__, "scipy": scipy.__version__, "ml_dtypes": ml_dtypes.__version__},
            "adapters": [
                {**adapter.to_json(), "structures": len(p.groups), "unsupported": list(p.unsupported)}
                for adapter, p in zip(self.adapters, self.plans, strict=True)
            ],
        }

    @cached_property
    def audit(self) -> ExpectationAudit:
        """What the expectations are held to."""
        return ExpectationAudit(self.expectations, self.adapters, self.options, self.user_supplied)

    def concerning(self, adapter: str) -> tuple[known.Expectation, ...]:
        """The expectations that concern this adapter, by name, in its version."""
        return next(self.audit.of(a.name, a.version) for a in self.adapters if a.name == adapter)

    def expectation_for(self, adapter: str) -> Callable[[Verdict], str | None]:
        """Gives the id of the expectation that excuses a finding of this adapter, or None."""
        entries = self.concerning(adapter)
        return lambda verdict: known.expectation_for(verdict, entries)


def prepare(
    specs: Sequence[str],
    options: Options,
    expectations: Path | None = None,
    device: str | None = None,
    timeout: float = TIMEOUT,
    mutant: str | None = None,
) -> Run:
    """Load every adapter, wearing a mutant where one is named, in a process of its own, and describe the run.

    Raises AdapterError where an adapter does not load, ChoiceError for an unknown mutant, and ExpectationError where
    the expectations cannot be read.
    """
    entries = known.read(expectations or known.SHIPPED)

    def describe(spec: str) -> Description:
        with closing(ProcessRunner(spec, device, timeout, mutant)) as link:
            return link.describe()

    with ThreadPoolExecutor(len(specs)) as pool:
        adapters = tuple(pool.map(describe, dict.fromkeys(specs)))
    names = [adapter.name for adapter in adapters]
    for name in names:
        if names.count(name) > 1:
            raise AdapterError(f"two adapters are called {name!r}; give each class a name of its own")
    return Run(adapters, options, entries, device, timeout, expectations is not None)


def save(run: Run, folder: Path) -> None:
    """Write the run's description into its folder."""
    data = {**asdict(run), "adapters": [adapter.to_json() for adapter in run.adapters]}
    (folder / _FILE).write_text(json.dumps(data), encoding="utf-8")


def load(folder: Path) -> Run:
    """The run described in a folder."""
    data = json.loads((folder / _FILE).read_text(encoding="utf-8"))
    options: dict[str, Any] = data["options"]
    options |= {key: tuple(value) for key, value in options.items() if isinstance(value, list)}
    return Run(
        tuple(map(Description.from_json, data["adapters"])),
        Options(**options),
        tuple(known.Expectation(**entry) for entry in data["expectations"]),
        data["device"],
        data["timeout"],
        data["user_supplied"],
    )


class Worker:
    """Runs groups of one run, starting each adapter's host when it is first needed."""

    def __init__(self, run: Run, folder: Path, name: str) -> None:
        self.run = run
        self._folder, self._name = folder, name
        self._links: dict[str, ProcessRunner] = {}
        self._layout: dict[str, str | None] = {}

    def selected(self, numbers: Sequence[int]) -> None:
        """Note which groups pytest selected: what this run is held to."""
        (self._folder / f"selected-{self._name}.json").write_text(json.dumps(sorted(numbers)), encoding="utf-8")

    def examine(self, number: int) -> list[list[Verdict]]:
        """Run one group, write its part of the record, and give its verdicts, a list a case."""
        adapter, group = self.run.groups[number]
        try:
            link = self._link(adapter)
            premise = None if group.regime == "layout" else self._premise(adapter, link)
        except AdapterError as error:
            verdicts = [[Verdict(c.id, "contract", "program", "errored", message=str(error))] for c in group.cases]
        else:
            expectation_for = self.run.expectation_for(adapter.name)
            examination = examine(group, link, expectation_for, layout_error=premise)
            verdicts = diagnose(group, examination, expectation_for)
        write_part(self._folder, number, adapter.name, verdicts, self.run.concerning(adapter.name))
        return verdicts

    def _link(self, adapter: Description) -> ProcessRunner:
        if adapter.spec not in self._links:
            self._links[adapter.spec] = ProcessRunner(adapter.spec, self.run.device, self.run.timeout, adapter.mutant)
        return self._links[adapter.spec]

    def _premise(self, adapter: Description, link: ProcessRunner) -> str | None:
        """What the adapter's layout probes found, once a worker; None where the declared layout stands."""
        if adapter.spec not in self._layout:
            probes = (group for described, group in self.run.groups if described == adapter)
            self._layout[adapter.spec] = find_layout_error((g for g in probes if g.regime == "layout"), link)
        return self._layout[adapter.spec]

    def close(self) -> None:
        """End the hosts."""
        for link in self._links.values():
            link.close()


def new_folder(report: Path | None) -> Path:
    """The folder in which a record grows: beside the report, or a temporary one."""
    if report is None:
        return Path(tempfile.mkdtemp(prefix="kterm-"))
    folder = report.with_name(report.name + ".parts")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def conclude(run: Run, folder: Path, report: Path | None) -> Path:
    """Assemble the record from the parts in `folder`, hold it to what was selected, and give its path."""
    chosen: set[int] = set()
    notes = list(folder.glob("selected-*.json"))
    for note in notes:
        chosen |= set(json.loads(note.read_text(encoding="utf-8")))
    planned = run.cases(sorted(chosen) if notes else None)
    path = report or folder / "record.jsonl"
    finish(path, folder, run.header(), planned, run.audit)
    if report is not None:
        shutil.rmtree(folder, ignore_errors=True)
    return path
