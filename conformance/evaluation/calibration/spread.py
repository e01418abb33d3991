"""How far computations that are taken for right lie from the rule, in standard deviations: what λ is chosen from.

The unit, sigma, is the `error` of `reference.rounding`'s deviation: a tolerance is λ of them, plus the jump where f'
jumps. Entries with a jump are left out here, since any value within it is right.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ....adapters import Adapter, Observation
from ....adapters.quantities import arrays
from ....adapters.registry import load
from ....reference import ACTIVATIONS, Array, Parameters, Structure
from ....reference.propagation import Quantity
from ....reference.rounding import deviation
from ...cases.case import Group
from ...cases.draw import Draw, make_draws
from ...cases.plan import Description, Options, plan
from ...checks.compare import stack_arrays, steps_of
from ...checks.examine import examine
from ...checks.verdict import Verdict, status
from ...records.run import Run
from ...runners.runner import Answer, LocalRunner

REGIMES = ("normal", "square")
"""Networks in general: those that seek out one thing would say how often they do."""
THRESHOLDS = (1, 2, 3, 4, 5, 6, 8, 10)
"""In sigmas: how often an error is above each is counted."""
CONFIDENCE = 0.95

_PER_STRUCTURE, _LEAST, _STACK = 150, 8, 400  # draws of a structure, structures, draws judged at once


def groups(adapter: Description, options: Options, draws: int) -> list[Group]:
    """`draws` cases of an adapter over structures of its plan, an even sample of them."""
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
    """One quantity in a stack of D cases: `worst` (D,) is the error of its worst entry in sigmas.

    `activation` is the one that it shows: that of x_i and k_i and, where no k_i is shown, of dE/dW_i; empty otherwise.
    """

    symbol: str
    activation: str
    worst: Array


@dataclass(frozen=True)
class Sample:
    """What one group came to, as plain data.

    `findings` are those that no expectation excuses, and the errors; `excused` the activations of the others. A case
    with an excused finding, or without an answer, is no right computation: it is not in `stacks`, nor in `entries`,
    how many numbers were compared, nor in `above`, how many of them were off by more than each of THRESHOLDS.
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


class _Watched(LocalRunner):
    """A runner that keeps what it answered, a call an entry; None where it did not."""

    def __init__(self, adapter: Adapter, spec: str) -> None:
        super().__init__(adapter, spec)
        self.answered: list[Observation | None] = []

    def call(self, regime: str, parameters: Parameters, x: Array, y: Array) -> Answer:
        self.answered.append(None)
        answer = super().call(regime, parameters, x, y)
        self.answered[-1] = answer.observation
        return answer


def sample(run: Run, adapter: Description, group: Group) -> Sample:
    """Examine one group of an adapter in this process. Raises AdapterError where it does not load."""
    watched = _Watched(load(adapter.spec, run.device), adapter.spec)
    verdicts = examine(group, watched, run.expectation_for(adapter.name)).verdicts
    statuses = [status(some) for some in verdicts]
    chosen: dict[tuple[str, ...], list[tuple[int, Observation]]] = defaultdict(list)
    # The draws come first; what else an examination asks comes after them.
    for i, observed in enumerate(watched.answered[: len(group.draws)]):
        if observed is not None and statuses[i] in ("passed", "inconclusive", "failed"):
            chosen[tuple(arrays(observed))].append((i, observed))
    above, entries, stacks, drawn = np.zeros(len(THRESHOLDS), int), 0, [], make_draws(group.cases)
    for some in chosen.values():
        pick = np.array([i for i, _ in some])
        stack = drawn[pick]
        tensors = []
        for step, error in departures(group.structure, stack, [observed for _, observed in some]):
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


def departures(structure: Structure, stack: Draw, observed: Sequence[Observation]) -> Iterator[tuple[Quantity, Array]]:
    """Every quantity that the observations hold, and its error in sigmas, (D, ...), with 0 where there is a jump.

    As a verdict sees it: each step from the values shown of the one before. All observations show the same quantities.
    """
    views = stack_arrays(observed)
    # The outputs are the last x, and always shown.
    views[f"x_{structure.network.depth}"] = views["outputs"]
    for step in steps_of(structure, stack, views, deviation(structure.format)):
        if step.name in views:
            yield step, _in_sigmas(step, views[step.name].astype(np.float64))


def _in_sigmas(step: Quantity, observed: Array) -> Array:
    estimate = step.estimate
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        error = np.abs(observed - estimate.value)
        ratio = error / (np.zeros_like(error) if estimate.error is None else estimate.error)
    told = np.isfinite(error) & (error > 0)  # what is not finite is for a verdict to judge
    return np.where(told if estimate.jump is None else told & (estimate.jump == 0), ratio, 0.0)


@dataclass(frozen=True)
class Distribution:
    """Of errors in sigmas: the median, 99 % (`most`), 99.99 % (`nearly_all`) and largest, and how many are above each
    of THRESHOLDS. `rates` is how often they are above each, extrapolated from the 1 % that is largest, as if that fell
    off exponentially, which is slower than roundoff does.
    """

    count: int
    median: float
    most: float
    nearly_all: float
    largest: float
    above: tuple[int, ...]
    rates: tuple[float, ...]


def distribution(values: Array) -> Distribution:
    """The distribution of at least one error."""
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
    """One adapter in one dtype.

    `alarms` of `judged` cases have a finding that no expectation excuses; the rate of them is below `rate`, at the
    confidence that CONFIDENCE says. `diverging` are the activations of excused findings. What follows is of the worst
    entry of each case, and of each tensor, in networks without those; `by_activation`, of each case with the
    activation, and no other diverging one, in its network, and of each tensor that shows it. `entries` and `above`
    count single numbers.
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


def spread(adapter: str, dtype: str, samples: Sequence[Sample]) -> Spread:
    """What the groups of one adapter in one dtype come to."""
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
        upper_limit(alarms, judged),
        tuple(sorted(diverging)),
        _distribution(_of_cases(clear)),
        _distribution([tensor.worst for tensor in tensors]),
        {s: distribution(np.concatenate([t.worst for t in tensors if t.symbol == s])) for s in symbols},
        dict(_by_activation(samples, diverging)),
        sum(one.entries for one in clear),
        tuple(sum(one.above[i] for one in clear) for i in range(len(THRESHOLDS))),
    )


def _by_activation(
    samples: Sequence[Sample], diverging: frozenset[str]
) -> Iterator[tuple[str, tuple[Distribution, Distribution]]]:
    for name in ACTIVATIONS:
        having = [one for one in samples if name in one.activations and not one.activations & (diverging - {name})]
        shown = [t.worst for one in having for stack in one.stacks for t in stack if t.activation == name]
        cases, tensors = _distribution(_of_cases(having)), _distribution(shown)
        if cases is not None and tensors is not None:
            yield name, (cases, tensors)


def _of_cases(samples: Sequence[Sample]) -> list[Array]:
    return [np.max([tensor.worst for tensor in stack], axis=0) for one in samples for stack in one.stacks]


def _distribution(parts: Sequence[Array]) -> Distribution | None:
    return distribution(np.concatenate(parts)) if parts else None


def upper_limit(found: int, of: int, confidence: float = CONFIDENCE) -> float:
    """The one-sided upper confidence limit of a rate of which `found` in `of` was seen (Clopper and Pearson, exact)."""
    from scipy.stats import beta  # takes half a second to import

    return 1.0 if found >= of else float(beta.ppf(confidence, found + 1, of - found))


def normal_law(threshold: float) -> float:
    """How often a normal error is off by more than `threshold` standard deviations."""
    return math.erfc(threshold / math.sqrt(2))
