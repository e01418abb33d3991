"""Surveys: every activation of several adapters in every dtype. The 50-digit values are computed once for all adapters,
in processes of their own, while the adapters are asked.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ....reference import ACTIVATIONS, DTYPES, DType
from ...cases.description import Description
from ...cases.plan import OptionError, Options
from ...runners.runner import NoAnswer, Runner
from ..figures import to_json_types
from .exact import Truth, compute_truth, concatenate
from .measure import Measurement, NotMeasurable, ask_adapter, choose_points, measure_errors

_CHUNK, _AHEAD = 2048, 4  # points a task, and activations whose values are computed before they are needed


@dataclass(frozen=True)
class Unanswered:
    """An activation in one dtype that could not be measured, and why. `fails` is false where it is not supported."""

    activation: str
    dtype: str
    message: str
    fails: bool


Outcome = Measurement | Unanswered


def find_wanted(adapters: Sequence[Description], options: Options) -> list[tuple[DType, str]]:
    """The dtypes and activations to measure: those of the options that an adapter declares. Raises OptionError where
    there are none.
    """
    wanted = [
        (dtype, name)
        for dtype in DTYPES.values()
        for name in ACTIVATIONS
        if dtype.name in (options.dtypes or DTYPES)
        and name in (options.activations or ACTIVATIONS)
        and any(_declares(one, dtype, name) for one in adapters)
    ]
    if not wanted:
        asked = ", ".join((*options.dtypes, *options.activations))
        raise OptionError(f"{', '.join(one.name for one in adapters)}: nothing declared of what was asked for, {asked}")
    return wanted


def _declares(adapter: Description, dtype: DType, name: str) -> bool:
    return dtype.name in adapter.dtypes and name in adapter.activations


def survey(
    adapters: Sequence[tuple[Runner, Description]],
    wanted: Sequence[tuple[DType, str]],
    samples: int,
    seed: int,
    executor: Executor,
) -> Iterator[tuple[Description, list[Outcome]]]:
    """The outcomes of each dtype and activation on each adapter, adapters innermost; an empty list where the adapter
    does not declare them.
    """
    ahead: deque[_Values] = deque()
    for number, (dtype, name) in enumerate(wanted):
        while len(ahead) < min(_AHEAD, len(wanted) - number):
            ahead.append(_Values(executor, *wanted[number + len(ahead)], samples, seed))
        values = ahead.popleft()
        for runner, declared in adapters:
            outcomes = _measure(runner, declared, dtype, name, values) if _declares(declared, dtype, name) else []
            yield declared, outcomes


class _Values:
    """The points of one activation in one dtype, and the true values there, which may still be in the making."""

    def __init__(self, executor: Executor, dtype: DType, name: str, samples: int, seed: int) -> None:
        self.z = choose_points(ACTIVATIONS[name], dtype, samples, seed)
        starts = range(0, self.z.size, _CHUNK)
        self._parts: dict[bool, list[Future[Truth]]] = {
            slope: [executor.submit(compute_truth, name, slope, self.z[start : start + _CHUNK]) for start in starts]
            for slope in (False, True)
        }

    def wait(self, slope: bool) -> Truth:
        """The values of f, or of f' where `slope`."""
        return concatenate([part.result() for part in self._parts[slope]])


def _measure(runner: Runner, declared: Description, dtype: DType, name: str, values: _Values) -> list[Outcome]:
    row, z = ACTIVATIONS[name], values.z
    try:
        f, slopes = ask_adapter(runner, declared, name, dtype, z)
    except NotMeasurable as error:
        return [Unanswered(name, dtype.name, str(error), True)]
    except NoAnswer as no:
        return [Unanswered(name, dtype.name, f"{no.kind}: {no.message}", no.kind != "unsupported")]
    # Where f is not finite, k does not show f'. Zero is kept: flushed arguments are compared with it.
    kept = np.isfinite(f) | (z == 0)
    return [
        measure_errors(row, dtype, False, z, f, values.wait(False)),
        measure_errors(row, dtype, True, z[kept], slopes[kept], values.wait(True)[kept]),
    ]


def is_sound(outcome: Outcome) -> bool:
    """Whether an outcome is as accurate as the activation table says. What is not supported counts as sound."""
    return outcome.is_sound if isinstance(outcome, Measurement) else not outcome.fails


def are_sound(found: Sequence[Outcome]) -> bool:
    """Whether anything was measured, and everything is sound."""
    return all(map(is_sound, found)) and any(isinstance(outcome, Measurement) for outcome in found)


def to_json(declared: Description, outcome: Outcome) -> dict[str, Any]:
    """An outcome with its adapter, as plain JSON types."""
    adapter = {"adapter": declared.name, "version": declared.version, "device": declared.device}
    return to_json_types(adapter | asdict(outcome))
