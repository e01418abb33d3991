"""A whole calibration: the errors of right computations and the smallest mistakes caught, measured in several
processes.
"""

import platform
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

import numpy as np
import scipy

from ....reference import ACTIVATIONS
from ....reference.rounding import SIGMAS
from ...cases.case import Group
from ...cases.description import Description
from ...cases.draw import NUMBERS
from ...cases.plan import OptionError, Options
from ...checks.verdict import Verdict
from ...records.run import Run
from ...runners.workers import open_executor, wait_for
from ..figures import to_json_types
from .limit import CONFIDENCE
from .sensitivity import Sensitivity, measure_sensitivity
from .spread import THRESHOLDS, Sample, Spread, choose_groups, measure_sample, summarize_samples


@dataclass(frozen=True)
class CalibrationPlan:
    """What a calibration measures: the groups of each adapter, and the activations and dtypes to plant mistakes in."""

    run: Run
    draws: int
    networks: int
    groups: tuple[tuple[Description, Group], ...]
    planted: tuple[tuple[str, str], ...]

    @property
    def tasks(self) -> int:
        """How many tasks are given to the workers."""
        return len(self.groups) + len(self.planted)


@dataclass(frozen=True)
class FalseAlarm:
    """A finding of an adapter without an expectation, or an error."""

    adapter: str
    verdict: Verdict


@dataclass(frozen=True)
class Calibration:
    """All results, of `draws` cases an adapter and `networks` networks an activation and dtype."""

    adapters: tuple[Description, ...]
    options: Options
    draws: int
    networks: int
    spreads: tuple[Spread, ...]
    false_alarms: tuple[FalseAlarm, ...]
    sensitivities: tuple[Sensitivity, ...]

    @property
    def holds(self) -> bool:
        """Whether every adapter had a case judged, always answered, and had no false alarm."""
        clean = all(not one.alarms and not one.statuses.get("errored") for one in self.spreads)
        judged = Counter[str]()
        for one in self.spreads:
            judged[one.adapter] += one.judged
        return clean and all(judged[adapter.name] for adapter in self.adapters)


def plan_calibration(run: Run, draws: int, networks: int) -> CalibrationPlan:
    """Choose what to measure. Raises OptionError where the adapters declare nothing of what was asked for."""
    groups = tuple((adapter, group) for adapter in run.adapters for group in choose_groups(adapter, run.options, draws))
    if not groups:
        names = ", ".join(adapter.name for adapter in run.adapters)
        asked = ", ".join((*run.options.dtypes, *run.options.activations))
        raise OptionError(f"{names}: nothing declared of what was asked for, {asked}")
    planted = tuple(
        (name, dtype)
        for name in ACTIVATIONS
        for dtype in run.options.dtypes
        if networks and name in (run.options.activations or ACTIVATIONS)
        if any(name in adapter.activations and dtype in adapter.dtypes for adapter in run.adapters)
    )
    return CalibrationPlan(run, draws, networks, groups, planted)


def measure_calibration(planned: CalibrationPlan, workers: int, done: Callable[[], None] | None = None) -> Calibration:
    """Measure with this number of worker processes; `done` is called after each task.

    Raises AdapterError, and NoAnswer where an adapter ends the process that it runs in.
    """
    run = planned.run
    with open_executor(workers) as executor:
        # The longest tasks come first, so that no worker is left with one at the end.
        sensing = [
            executor.submit(measure_sensitivity, run, name, dtype, planned.networks) for name, dtype in planned.planted
        ]
        sampling = [executor.submit(measure_sample, run, adapter, group) for adapter, group in planned.groups]
        wait_for([*sensing, *sampling], done)
    samples = [future.result() for future in sampling]
    sensitivities = [one for future in sensing for one in future.result()]
    return Calibration(
        run.adapters,
        run.options,
        planned.draws,
        planned.networks,
        tuple(_summarize(run, samples)),
        tuple(FalseAlarm(one.adapter, verdict) for one in samples for verdict in one.findings),
        tuple(sensitivities),
    )


def _summarize(run: Run, samples: Sequence[Sample]) -> list[Spread]:
    spreads = []
    for adapter in run.adapters:
        for dtype in run.options.dtypes:
            own = [one for one in samples if (one.adapter, one.dtype) == (adapter.name, dtype)]
            if own:
                spreads.append(summarize_samples(adapter.name, dtype, own))
    return spreads


def to_json(found: Calibration) -> dict[str, Any]:
    """All figures, as plain JSON types."""
    return to_json_types(
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
            "findings": [asdict(one) for one in found.false_alarms],
            "sensitivity": [
                asdict(one) | {"rejected": one.rejected, "median": one.median, "smallest": one.smallest.tolist()}
                for one in found.sensitivities
            ],
        }
    )
