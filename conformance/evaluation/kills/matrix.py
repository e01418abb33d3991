"""The kill matrix: the outcome of every mutant in every regime of a profile, measured in several processes."""

import multiprocessing
import platform
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import asdict, replace
from importlib import metadata
from typing import Any, Literal

import numpy as np
import scipy

from ....reference import ACTIVATIONS, BIASES
from ....reference.rounding import SIGMAS
from ...cases.description import Description
from ...cases.draw import NUMBERS
from ...cases.plan import WIDE
from ...mutants import MUTANTS
from ...runners.workers import open_executor, wait_for
from .outcome import SUFFICIENT_MARGIN, Outcome
from .trial import TrialOptions, changes_answers, measure_outcomes

State = Literal["killed", "survived", "not applicable", "found", "never found"]
"""A mistake is killed, survives, or is not applicable. An equivalent mutant, and an adapter without a mutant, is found
or never found.
"""

Outcomes = dict[tuple[str, str], dict[str, Outcome]]
"""By the adapter's name and the dtype, then by the mutant's name; an empty name stands for no mutant."""


def describe_mutant(name: str) -> dict[str, Any]:
    """What a record says about a mutant."""
    one = MUTANTS[name]
    return {key: getattr(one, key) for key in ("name", "mistake", "effect", "hidden", "equivalent")}


def make_header(trials: Sequence[TrialOptions], names: Sequence[str]) -> dict[str, Any]:
    """What a record says about the run: versions, platform and options. `names` are the mutants to be measured."""
    first = trials[0]
    return {
        "suite": metadata.version("kterm"),
        "numbers": NUMBERS,
        **asdict(first.options),
        "without": list(first.without),
        "gradients_alone": first.gradients_alone,
        "brief": first.brief,
        "sigmas": SIGMAS,
        "enough": SUFFICIENT_MARGIN,
        "platform": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": {"numpy": np.__version__, "scipy": scipy.__version__},
        "adapters": [trial.adapter.to_json() for trial in trials],
        "mutants": [describe_mutant(name) for name in names],
    }


def find_dtypes(trial: TrialOptions) -> list[str]:
    """The dtypes to measure an adapter in: those of the options that it declares, by default of f64 and f32."""
    wanted = trial.options.dtypes or WIDE
    return [name for name in trial.adapter.dtypes if name in wanted]


def count_steps(trials: Sequence[TrialOptions], names: Sequence[str], workers: int) -> int:
    """How often `measure_matrix` calls `done`."""
    groups = sum(len(trial.groups(dtype)) for trial in trials for dtype in find_dtypes(trial))
    return groups * len(_split(names, workers))


def measure_matrix(
    trials: Sequence[TrialOptions], names: Sequence[str], workers: int, done: Callable[[], object] | None = None
) -> list[dict[str, Any]]:
    """The outcomes of the mutants on each adapter, as plain data, in the order of adapters, dtypes and mutants. `done`
    is called after each group that a worker has examined.

    Raises AdapterError, and NoAnswer where an adapter ends the process that it runs in.
    """
    due = [(trial, dtype, part) for trial in trials for dtype in find_dtypes(trial) for part in _split(names, workers)]
    ticks = None if done is None else multiprocessing.get_context("spawn").SimpleQueue()

    def count_ticks() -> None:
        while done is not None and ticks is not None and not ticks.empty():
            ticks.get()
            done()

    with open_executor(workers, _set_ticks, ticks) as executor:
        futures = [executor.submit(_measure_part, *one) for one in due]
        wait_for(futures, poll=None if done is None else count_ticks)
        outcomes: Outcomes = {}
        for (trial, dtype, _), future in zip(due, futures, strict=True):
            known = outcomes.setdefault((trial.adapter.name, dtype), {})
            known |= {outcome.mutant: outcome for outcome in future.result()}
        reasons = {trial.adapter.name: find_inapplicable(trial, outcomes, executor) for trial in trials}
    return [
        _to_json(adapter, outcomes[adapter, dtype][name], reasons[adapter].get((dtype, name), ""))
        for adapter, dtype in outcomes
        for name in ("", *names)
    ]


def _split(names: Sequence[str], workers: int) -> list[Sequence[str]]:
    parts = max(1, workers)
    return [names[i::parts] for i in range(min(parts, len(names)))]


_ticks: Any = None  # in a worker: the queue that gets one item for each group that was examined


def _set_ticks(ticks: Any) -> None:
    global _ticks
    _ticks = ticks


def _measure_part(trial: TrialOptions, dtype: str, names: Sequence[str]) -> list[Outcome]:
    return measure_outcomes(trial, dtype, names, None if _ticks is None else lambda: _ticks.put(1))


def find_inapplicable(trial: TrialOptions, outcomes: Outcomes, executor: Executor) -> dict[tuple[str, str], str]:
    """Why a mistake is not applicable to an adapter in a dtype, by dtype and mutant. Either it changes no answer by a
    bit, neither in the whole profile nor in the group in which it was killed in another dtype; or it needs something
    that the adapter does not declare.
    """
    own = {dtype: some for (adapter, dtype), some in outcomes.items() if adapter == trial.adapter.name}
    reasons: dict[tuple[str, str], str] = {}
    asked: dict[tuple[str, str], tuple[str, Future[bool]]] = {}
    for dtype, some in own.items():
        for name, outcome in some.items():
            if not name or outcome.differs or MUTANTS[name].equivalent:
                continue
            others = [(other, group) for other in own if (group := own[other][name].found_in) is not None]
            if others:
                other, group = others[0]
                group = replace(group, structure=replace(group.structure, dtype=dtype))
                asked[dtype, name] = other, executor.submit(changes_answers, trial, name, group)
            elif _lacks_something(trial.adapter) and not any(each[name].differs for each in own.values()):
                reasons[dtype, name] = (
                    "no answer differs by a bit: it is of something that the adapter does not declare"
                )
    for key, (other, future) in asked.items():
        if not future.result():
            reasons[key] = f"no answer differs by a bit, not even where it is found in {other}"
    return reasons


def _lacks_something(adapter: Description) -> bool:
    return (
        len(adapter.activations) < len(ACTIVATIONS)
        or len(adapter.biases) < len(BIASES)
        or not set(adapter.dtypes).issuperset(WIDE)
    )


def _to_json(adapter: str, outcome: Outcome, reason: str) -> dict[str, Any]:
    return {
        "adapter": adapter,
        "dtype": outcome.dtype,
        "mutant": outcome.mutant,
        "state": find_state(outcome, reason),
        "why": reason,
        "margin": outcome.margin,
        "differs": outcome.differs,
        "regimes": {regime: asdict(cell) for regime, cell in outcome.regimes.items()},
        "summaries": outcome.summaries,
    }


def find_state(outcome: Outcome, reason: str) -> State:
    """The state of a mutant; `reason` says why it is not applicable, and is empty where it is."""
    if not outcome.mutant or MUTANTS[outcome.mutant].equivalent:
        return "found" if outcome.is_found else "never found"
    return "killed" if outcome.is_found else "not applicable" if reason else "survived"


def holds(record: dict[str, Any]) -> bool:
    """Whether every applicable mistake was killed, no equivalent mutant was found, and every adapter conforms without a
    mutant. Where f64 or f32 were measured, other dtypes do not count.
    """
    wide = {fate["dtype"] for fate in record["fates"]} & set(WIDE)
    bad = ("survived", "found")
    return not any(f["state"] in bad for f in record["fates"] if f["dtype"] in (wide or {f["dtype"]}))
