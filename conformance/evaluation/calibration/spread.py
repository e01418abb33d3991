"""The spread of right computations: how far they lie from the rule, in standard deviations σ. λ is chosen from it.

σ is the `error` of `reference.rounding`'s deviation. A tolerance is λ σ, plus the jump where f' jumps. Entries with a
jump are left out here, since any value within the jump is right.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ....adapters import Observation
from ....adapters.quantities import arrays
from ....reference import ACTIVATIONS, Array, Structure
from ....reference.arithmetic import Arithmetic
from ....reference.propagation import Quantity
from ....reference.rounding import deviation
from ...cases.case import Group
from ...cases.description import Description
from ...cases.draw import Draw, make_draws
from ...cases.plan import Options, plan
from ...checks.comparison.compare import stack_arrays, steps_of
from ...checks.examine import examine
from ...checks.verdict import Verdict, status
from ...records.run import Run
from ...runners.process import open_shared_runner
from ...runners.runner import Answer
from .limit import compute_upper_limit

REGIMES = ("normal", "square")
"""Networks in general. Regimes that provoke one difficulty would measure how often they do so."""
THRESHOLDS = (1, 2, 3, 4, 5, 6, 8, 10)
"""In σ: errors above each are counted."""

_PER_STRUCTURE, _LEAST, _STACK = 150, 8, 400  # draws of a structure, structures, draws judged at once


def choose_groups(adapter: Description, options: Options, draws: int) -> list[Group]:
    """Groups with `draws` cases in total, over an even sample of the structures of an adapter's plan."""
    planned = [group for group in plan(adapter, options).groups if group.regime in REGIMES]
    count = min(len(planned), draws, max(_LEAST, math.ceil(draws / _PER_STRUCTURE)))
    made = []
    for i in range(count):
        total = draws // count + (i < draws % count)
        for start in range(0, total, _STACK):
            part = tuple(range(start, min(start + _STACK, total)))
            made.append(replace(planned[i * len(planned) // count], draws=part))
    return made


@dataclass(frozen=True)
class Tensor:
    """One quantity in a stack of D cases: `worst` (D,) is the error of its worst entry in σ.

    `activation` is the activation whose errors it shows: that of layer i for x_i and k_i and, where no k_i is shown,
    for dE/dW_i. It is empty otherwise.
    """

    symbol: str
    activation: str
    worst: Array


@dataclass(frozen=True)
class Sample:
    """The errors of one group, as plain data.

    `findings` are the errors, and the findings without an expectation; `with_expectation` are the activations of the
    other findings. `stacks` holds the errors of the right computations: cases with an answer and without an expected
    finding. `entries` counts the numbers compared in them, and `above` those that are off by more than each of
    THRESHOLDS.
    """

    adapter: str
    dtype: str
    activations: frozenset[str]
    statuses: Counter[str]
    verdicts: int
    findings: tuple[Verdict, ...]
    with_expectation: frozenset[str]
    stacks: tuple[tuple[Tensor, ...], ...]
    entries: int
    above: tuple[int, ...]


def measure_sample(run: Run, adapter: Description, group: Group) -> Sample:
    """Examine one group of an adapter. Raises AdapterError where the adapter does not load."""
    runner = open_shared_runner(adapter.spec, run.device, adapter.python)
    examination = examine(group, runner, run.expectation_for(adapter.name))
    verdicts = examination.verdicts
    statuses = [status(some) for some in verdicts]
    chosen: dict[tuple[str, ...], list[tuple[int, Observation]]] = defaultdict(list)
    for i, answer in enumerate(examination.answers):
        # What came back in a narrower dtype has other errors.
        if not isinstance(answer, Answer) or answer.observation is None or answer.judged_in is not None:
            continue
        if statuses[i] in ("passed", "inconclusive", "failed"):
            chosen[tuple(arrays(answer.observation))].append((i, answer.observation))
    above, entries, stacks, drawn = np.zeros(len(THRESHOLDS), int), 0, [], make_draws(group.cases)
    for some in chosen.values():
        pick = np.array([i for i, _ in some])
        stack = drawn[pick]
        tensors = []
        arithmetic = adapter.arithmetic_in(group.structure.dtype)
        for step, error in compute_errors(group.structure, stack, [observed for _, observed in some], arithmetic):
            entries += error.size
            above += [int((error > threshold).sum()) for threshold in THRESHOLDS]
            shows = step.symbol in "xk" or (step.symbol == "W" and some[0][1].k is None)
            name = group.structure.network.activations[step.layer - 1] if shows else ""
            tensors.append(Tensor(step.symbol, name, error.reshape(len(some), -1).max(1, initial=0)))
        stacks.append(tuple(tensors))
    flat = [verdict for some in verdicts for verdict in some]
    return Sample(
        adapter.name,
        group.structure.dtype,
        frozenset(group.structure.network.activations),
        Counter[str](statuses),
        sum(verdict.grade != "blocked" for verdict in flat),
        tuple(v for v in flat if v.grade == "errored" or v.is_unexpected),
        frozenset(v.activation or "" for v in flat if v.is_finding and v.expectation is not None),
        tuple(stacks),
        entries,
        tuple(above.tolist()),
    )


def compute_errors(
    structure: Structure, stack: Draw, observed: Sequence[Observation], arithmetic: Arithmetic | None = None
) -> Iterator[tuple[Quantity, Array]]:
    """Every quantity that the observations of D cases hold, with its error in σ: an array (D, ...), with 0 where f'
    jumps.

    As in a verdict, each step starts from the observed values of the step before. All observations show the same
    quantities. `arithmetic` is what the adapter declares about its products.
    """
    views = stack_arrays(observed)
    # The outputs are the last x, and every observation holds them.
    views[f"x_{structure.network.depth}"] = views["outputs"]
    for step in steps_of(structure, stack, views, deviation(structure.format, arithmetic=arithmetic)):
        if step.name in views:
            yield step, _to_sigmas(step, views[step.name].astype(np.float64))


def _to_sigmas(step: Quantity, observed: Array) -> Array:
    estimate = step.estimate
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        error = np.abs(observed - estimate.value)
        ratio = error / (np.zeros_like(error) if estimate.error is None else estimate.error)
    counted = np.isfinite(error) & (error > 0)  # a verdict judges what is not finite
    return np.where(counted if estimate.jump is None else counted & (estimate.jump == 0), ratio, 0.0)


@dataclass(frozen=True)
class Distribution:
    """A distribution of errors in σ: the median, the quantiles of 99 % (`most`) and 99.99 % (`nearly_all`), the
    largest, and how many are above each of THRESHOLDS. `rates` are the rates at which errors exceed each threshold.
    They are extrapolated from the largest 1 % with an exponential tail, which falls more slowly than that of rounding
    errors.
    """

    count: int
    median: float
    most: float
    nearly_all: float
    largest: float
    above: tuple[int, ...]
    rates: tuple[float, ...]


def describe_errors(values: Array) -> Distribution:
    """The distribution of at least one error. An infinite error counts as the largest number."""
    values = np.minimum(values, np.finfo(float).max)
    median, most, nearly_all = (float(q) for q in np.quantile(values, (0.5, 0.99, 0.9999)))
    above = tuple(int((values > threshold).sum()) for threshold in THRESHOLDS)
    excess = values[values > most] - most
    rates = tuple(
        count / values.size
        if threshold <= most or not excess.size
        else excess.size / values.size * math.exp(-(threshold - most) / float(excess.mean()))
        for threshold, count in zip(THRESHOLDS, above, strict=True)
    )
    return Distribution(values.size, median, most, nearly_all, float(values.max()), above, rates)


@dataclass(frozen=True)
class Spread:
    """The errors of one adapter in one dtype.

    `alarms` of the `judged` cases have a finding without an expectation: false alarms. `rate` is the upper limit of
    their rate, at the confidence CONFIDENCE. `diverging` are the activations of expected findings. `cases`, `tensors`
    and `by_symbol` describe the worst entry of each case and of each tensor, in networks without these activations.
    `by_activation` describes each case whose network has the activation, and no other that diverges, and each tensor
    that shows the activation. `entries` and `above` count single numbers.
    """

    adapter: str
    dtype: str
    statuses: dict[str, int]
    verdicts: int
    judged: int
    alarms: int
    rate: float
    diverging: tuple[str, ...]
    cases: Distribution | None
    tensors: Distribution | None
    by_symbol: dict[str, Distribution]
    by_activation: dict[str, tuple[Distribution, Distribution]]
    entries: int
    above: tuple[int, ...]


def summarize_samples(adapter: str, dtype: str, samples: Sequence[Sample]) -> Spread:
    """Summarize the samples of one adapter in one dtype."""
    diverging = frozenset[str]().union(*(one.with_expectation for one in samples))
    clear = [one for one in samples if not one.activations & diverging]
    tensors = [tensor for one in clear for stack in one.stacks for tensor in stack]
    symbols = list(dict.fromkeys(tensor.symbol for tensor in tensors))
    statuses = sum((one.statuses for one in samples), Counter[str]())
    alarms = statuses["failed"]
    judged = alarms + statuses["passed"] + statuses["inconclusive"]
    return Spread(
        adapter,
        dtype,
        dict(statuses),
        sum(one.verdicts for one in samples),
        judged,
        alarms,
        compute_upper_limit(alarms, judged),
        tuple(sorted(diverging)),
        _describe(_find_worst(clear)),
        _describe([tensor.worst for tensor in tensors]),
        {s: describe_errors(np.concatenate([t.worst for t in tensors if t.symbol == s])) for s in symbols},
        dict(_group_by_activation(samples, diverging)),
        sum(one.entries for one in clear),
        tuple(sum(one.above[i] for one in clear) for i in range(len(THRESHOLDS))),
    )


def _group_by_activation(
    samples: Sequence[Sample], diverging: frozenset[str]
) -> Iterator[tuple[str, tuple[Distribution, Distribution]]]:
    for name in ACTIVATIONS:
        having = [one for one in samples if name in one.activations and not one.activations & (diverging - {name})]
        shown = [t.worst for one in having for stack in one.stacks for t in stack if t.activation == name]
        cases, tensors = _describe(_find_worst(having)), _describe(shown)
        if cases is not None and tensors is not None:
            yield name, (cases, tensors)


def _find_worst(samples: Sequence[Sample]) -> list[Array]:
    return [np.max([tensor.worst for tensor in stack], axis=0) for one in samples for stack in one.stacks]


def _describe(parts: Sequence[Array]) -> Distribution | None:
    return describe_errors(np.concatenate(parts)) if parts else None


def compute_normal_rate(threshold: float) -> float:
    """How often a normally distributed error exceeds `threshold` standard deviations."""
    return math.erfc(threshold / math.sqrt(2))
