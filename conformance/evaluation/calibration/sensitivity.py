"""Sensitivity: the smallest mistake that is caught. A mistake multiplies one entry of one weight gradient by 1 + delta.

delta is bisected, once with the suite's verdict, and once with each framework's own gradient checker, for the same
networks and entries.
"""

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ....adapters import Observation
from ....adapters.registry import is_installed
from ....reference import Array, Network, Structure, backpropagate
from ....reference.arithmetic import Arithmetic
from ...cases.case import Case
from ...cases.description import Description
from ...cases.draw import Draw, make_draws
from ...checks.comparison.compare import compare
from ...records.run import Run
from ...runners.process import open_shared_runner
from ...runners.runner import NoAnswer
from .gradient_checkers import CHECKERS, Rejects

LEAST, MOST = 2.0**-60, 10.0
"""delta is searched between these; a mistake that is not caught at the largest counts as never caught."""

_DRAWS, _BATCH, _NARROWEST, _WIDEST = 4, 4, 4, 8
_HALVINGS = 12  # to within 1 %
_ALONE = "gradients alone"


@dataclass(frozen=True)
class Target:
    """One entry of dE/dW_layer in one draw."""

    case: Case
    layer: int
    at: tuple[int, int]


@dataclass(frozen=True)
class Sensitivity:
    """The sensitivity of one judge (an adapter's verdicts, or a gradient checker) to mistakes in the networks of one
    activation in one dtype.

    `smallest` (n,) holds for each network the delta from which on the mistake is caught with either sign: infinity
    where it never is, and NaN where the right gradient is rejected.
    """

    judge: str
    activation: str
    dtype: str
    smallest: Array

    @property
    def rejected(self) -> int:
        """How many right gradients were rejected."""
        return int(np.isnan(self.smallest).sum())

    @property
    def median(self) -> float | None:
        """Over the networks whose right gradient is accepted; None where there is none."""
        accepted = self.smallest[~np.isnan(self.smallest)]
        return float(np.median(accepted)) if accepted.size else None


def measure_sensitivity(run: Run, activation: str, dtype: str, networks: int) -> list[Sensitivity]:
    """The sensitivity of the suite on each adapter, and of each checker that is installed, on `networks` networks of
    one activation.

    Adapters run in this process. An adapter that does not declare the activation or the dtype, or does not answer, is
    left out. Raises AdapterError where an adapter does not load.
    """
    able = [one for one in run.adapters if activation in one.activations and dtype in one.dtypes]
    parts_by_judge: dict[str, list[Array]] = defaultdict(list)
    for structure, count in _choose_structures(activation, dtype, run.options.seed, networks):
        stack, targets = _choose_targets(structure, run.options.seed, count)
        if not targets:
            continue
        for adapter in able:
            observed = _observe(run, adapter, stack, targets)
            if not observed:
                continue
            hidden = [replace(one, z=None, x=None, k=None) for one in observed]
            names = [adapter.name] if observed[0].k is None else [adapter.name, f"{adapter.name}, {_ALONE}"]
            for name, shown in zip(names, (observed, hidden), strict=False):
                caught = _make_suite_judge(stack, targets, shown, adapter.arithmetic_in(dtype))
                parts_by_judge[name].append(find_smallest(caught, len(targets)))
        for name, rejects in _find_checkers(structure):
            parts_by_judge[name].append(find_smallest(_make_checker_judge(rejects, stack, targets), len(targets)))
    return [Sensitivity(name, activation, dtype, np.concatenate(parts)) for name, parts in parts_by_judge.items()]


def _choose_structures(activation: str, dtype: str, seed: int, networks: int) -> Iterator[tuple[Structure, int]]:
    """Structures of depth 2 and 3 in turn, with the one activation and the bias "pre" in every layer; and the number of
    draws of each.
    """
    digest = hashlib.blake2b(f"sensitivity/{activation}/{dtype}/{seed}".encode(), digest_size=16).digest()
    rng = np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))
    for i, start in enumerate(range(0, networks, _DRAWS)):
        depth = 2 + i % 2
        widths = tuple(int(n) for n in rng.integers(_NARROWEST, _WIDEST, depth + 1, endpoint=True))
        yield Structure(Network(widths, (activation,) * depth, "pre"), _BATCH, dtype), min(_DRAWS, networks - start)


def _choose_targets(structure: Structure, seed: int, count: int) -> tuple[Draw, list[Target]]:
    """Those of `count` draws of a structure that are not dead, and in each draw a nonzero entry of a weight gradient:
    of a random layer, at a random place.
    """
    cases = [Case(structure, "normal", seed, i) for i in range(count)]
    drawn = make_draws(cases)
    wide = drawn.astype(np.dtype(np.float64))
    gradients = backpropagate(structure.network, wide.parameters, wide.x, wide.y).weight_gradients
    alive, targets = [], []
    for i in np.flatnonzero(~drawn.dead):
        digest = hashlib.blake2b(f"planted/{cases[i].id}".encode(), digest_size=16).digest()
        rng = np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))
        layer = int(rng.integers(1, structure.network.depth, endpoint=True))
        row, column = rng.choice(np.argwhere(gradients[layer - 1][i]))
        alive.append(i)
        targets.append(Target(cases[i], layer, (int(row), int(column))))
    return drawn[np.array(alive, int)], targets


def _observe(run: Run, adapter: Description, stack: Draw, targets: Sequence[Target]) -> list[Observation]:
    """What an adapter answers to each draw; nothing where an answer fails, which the spread reports."""
    runner = open_shared_runner(adapter.spec, run.device, adapter.python)
    try:
        runner.build(targets[0].case.structure)
        answers = [runner.call("normal", d.parameters, d.x, d.y) for d in (stack[i] for i in range(len(targets)))]
    except NoAnswer:
        return []
    observed = [answer.observation for answer in answers if answer.observation is not None and answer.judged_in is None]
    return observed if len(observed) == len(targets) else []


def _make_suite_judge(
    stack: Draw, targets: Sequence[Target], observed: Sequence[Observation], arithmetic: Arithmetic | None
) -> Callable[[Array], Array]:
    structure = targets[0].case.structure

    def caught(delta: Array) -> Array:
        wrong = [plant_error(*one) for one in zip(observed, targets, delta, strict=True)]
        judged = {one.quantity: one.worst > 1 for one in compare(structure, stack, wrong, arithmetic=arithmetic)}
        return np.array([judged[f"dE/dW_{target.layer}"][i] for i, target in enumerate(targets)])

    return caught


def plant_error(observed: Observation, target: Target, delta: float) -> Observation:
    """A copy of an observation with the target's entry multiplied by 1 + delta and rounded to its dtype."""
    gradients = [np.array(gradient) for gradient in observed.weight_gradients]
    gradient = gradients[target.layer - 1]
    gradient[target.at] = gradient.dtype.type(float(gradient[target.at]) * (1 + delta))
    return replace(observed, weight_gradients=tuple(gradients))


def _find_checkers(structure: Structure) -> Iterator[tuple[str, Rejects]]:
    for name, (framework, made) in CHECKERS.items():
        if is_installed(framework):
            try:
                yield name, made(structure)
            except NotImplementedError:
                continue


def _make_checker_judge(rejects: Rejects, stack: Draw, targets: Sequence[Target]) -> Callable[[Array], Array]:
    def rejected(delta: Array) -> Array:
        each = zip(itertools.count(), targets, delta.tolist())
        return np.array([rejects(stack[i], target.layer, target.at, d) for i, target, d in each])

    return rejected


def find_smallest(caught: Callable[[Array], Array], count: int) -> Array:
    """The least delta that is caught with either sign, within 1 %, for each of `count` mistakes; as in `Sensitivity`.

    `caught` takes an array of deltas, one for each mistake, and returns which are caught.
    """
    found = np.zeros(count)
    for sign in (1, -1):
        low, high = np.full(count, np.log2(LEAST)), np.full(count, np.log2(MOST))
        never = ~caught(sign * np.exp2(high))
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            is_caught = caught(sign * np.exp2(middle))
            low, high = np.where(is_caught, low, middle), np.where(is_caught, middle, high)
        found = np.maximum(found, np.where(never, np.inf, np.exp2(high)))
    return np.where(caught(np.zeros(count)), np.nan, found)
