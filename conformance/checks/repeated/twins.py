"""Twin programs: structures of one shape that differ in one thing, built by an adapter in one process.

A cache with an incomplete key, or a buffer kept by shape alone, confuses them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from ....adapters import Observation
from ....adapters.quantities import arrays
from ....reference import Array, DType, Parameters, Structure, backpropagate
from ...cases.case import Case, Group, structure_id
from ...cases.description import Description
from ...cases.regimes import REGIMES, Draw
from ...cases.shapes import twin_structures
from ...runners.runner import Answer, NoAnswer, Runner, differing
from ..verdict import Grade, Verdict
from .again import RepeatJudge, describe_departure, grade_of


@dataclass(frozen=True)
class Twin:
    """A structure and the numbers of its call."""

    structure: Structure
    numbers: Draw


def twins_of(structure: Structure, one: Draw, adapter: Description) -> list[Twin]:
    """The twins of a structure that an adapter declares, and that are within its limits. The numbers are the same, as
    far as they fit.
    """
    made = twin_structures(structure, adapter.biases, adapter.dtypes)
    within = [twin for twin in made if adapter.limits is None or not adapter.limits.problem_of(twin)]
    return [Twin(twin, _fitted(one, twin)) for twin in within]


def _fitted(one: Draw, twin: Structure) -> Draw:
    """The numbers as a twin takes them: with or without biases, in its dtype, with one more row."""
    one = replace(one, parameters=_with_biases(one.parameters, twin.network.bias != "none"))
    if twin.batch > len(one.x):
        one = replace(one, x=_longer(one.x), y=_longer(one.y))
    if one.x.dtype == twin.format.numpy:
        return one
    with np.errstate(over="ignore"):
        return one.astype(twin.format.numpy)


def _with_biases(parameters: Parameters, wanted: bool) -> Parameters:
    # A layer without inputs has no first row.
    first = (w[0].copy() if len(w) else np.zeros(w.shape[1], w.dtype) for w in parameters.weights)
    biases = parameters.biases or tuple(first)
    return replace(parameters, biases=biases if wanted else ())


def _longer(rows: Array) -> Array:
    return np.concatenate((rows, rows[:1]))


@dataclass(frozen=True)
class TwinFinding:
    """What was seen of a twin program, and the grade of that."""

    message: str
    grade: Grade = "wrong"


@dataclass(frozen=True)
class Unsteady:
    """The answer of a twin to a call that it answered before, where the same call, made once more, gave other bits
    again: what differs from the first answer, and what the answer has wrong by itself.
    """

    answer: Answer
    names: tuple[str, ...]
    departure: Verdict | None


class TwinPrograms:
    """The twin programs of a structure, and what they showed.

    Most are built before the structure: if the cached program of a twin is reused for it, the structure's results are
    wrong. A twin in a wider dtype is built after it. If its program were reused for the structure, the results would
    still pass; if the narrow program is reused for it, all its results are numbers of the narrow dtype.

    `findings` are about the twins, and `unsteady` is about the adapter: a twin that gives other bits whenever it is
    called shows nothing about other programs.
    """

    def __init__(self, group: Group, early: list[Twin], late: list[Twin]) -> None:
        self.group, self._early, self._late = group, early, late
        self._built: list[tuple[Twin, Observation | None]] = []
        self.findings: list[TwinFinding] = []
        self.unsteady: Unsteady | None = None

    @property
    def is_built(self) -> bool:
        """Whether twins are built, so that the structure's own program must be kept next to them."""
        return bool(self._built)

    def discard(self) -> None:
        """Forget the twins: the process that held their programs is gone."""
        self._built, self._late = [], []

    def build_early(self, runs: Runner) -> None:
        """Build and call the twins that come before the structure. A twin without an answer is left out."""
        for twin in self._early:
            try:
                runs.build(twin.structure, None, self.is_built)
                self._built.append((twin, None))
                self._built[-1] = twin, self._call(twin, runs).observation
            except NoAnswer as no:
                if no.lost:
                    if no.kind != "hung" and self._answers_now(twin, runs):
                        lost = (
                            f"the adapter's process was lost at the program of {structure_id(twin.structure)}, of the "
                            f"same shape, which answers in another process: {no.message}"
                        )
                        self.findings.append(TwinFinding(lost))
                    self.discard()
                    return

    def recheck(self, runs: Runner, judge: RepeatJudge) -> None:
        """Call the early twins again, now that the structure's own program exists, and build and call the late ones.
        Then make the structure's program the current one again. Raises NoAnswer if the process is lost.
        """
        own = len(self._built)
        for number, (twin, first) in enumerate(self._built):
            if first is not None:
                runs.recall(number)
                self._find_change(twin, first, runs, judge)
        for twin in self._late:
            try:
                runs.build(twin.structure, None, True)
                answer = self._call(twin, runs)
            except NoAnswer as no:
                if no.lost:
                    raise
                continue
            before = self.group.structure
            if answer.observation is not None and _is_of(before.format, answer.observation, twin):
                same = (
                    f"the program of {structure_id(twin.structure)}, built after {structure_id(before)}, answers as "
                    f"that does: every number it gives is one of {before.dtype}"
                )
                self.findings.append(TwinFinding(same))
        if self._built or self._late:
            runs.recall(own)

    def _answers_now(self, twin: Twin, runs: Runner) -> bool:
        """Whether a new process answers for a twin. If not, its own cases show it, where a run has them."""
        try:
            runs.build(twin.structure)
            return self._call(twin, runs).observation is not None
        except NoAnswer:
            return False

    def _call(self, twin: Twin, runs: Runner) -> Answer:
        numbers = twin.numbers
        return runs.call(self.group.regime, numbers.parameters, numbers.x, numbers.y)

    def _find_change(self, twin: Twin, first: Observation, runs: Runner, judge: RepeatJudge) -> None:
        """Add what a second call of a twin, with the numbers of the first, shows."""
        name = structure_id(twin.structure)
        if runs.changed_since():
            overwritten = (
                f"an observation of {name} was changed by a call of another program of the same shape; "
                "give arrays that nothing else writes to"
            )
            self.findings.append(TwinFinding(overwritten))
        answer = self._call_again(twin, runs)
        names = () if answer.observation is None else tuple(differing(first, answer.observation))
        what = ", ".join(names) if answer.observation is not None else "; ".join(answer.problems)
        if not what:
            return
        case = Case(twin.structure, self.group.regime, self.group.seed, self.group.draws[0])
        departure = judge.find_departure(case, twin.numbers, answer)
        if answer.observation is not None:
            other = self._call_again(twin, runs)
            if other.observation is not None and differing(answer.observation, other.observation):
                departure = departure or judge.find_departure(case, twin.numbers, other)
                if self.unsteady is None or self.unsteady.departure is None:
                    self.unsteady = Unsteady(answer, names, departure)
                return
            what += describe_departure(departure)
        changed = (
            f"the program of {name}, built earlier, changed its answer after another structure of the same shape was "
            f"built: {what}"
        )
        self.findings.append(TwinFinding(changed, grade_of(answer, departure)))

    def _call_again(self, twin: Twin, runs: Runner) -> Answer:
        """As `_call`; what a twin raises is the problem of its answer. Raises NoAnswer if the process is lost."""
        try:
            return self._call(twin, runs)
        except NoAnswer as no:
            if no.lost:
                raise
            return Answer(None, (no.message,))


def _is_of(narrow: DType, observed: Observation, twin: Twin) -> bool:
    """Whether all results of the twin, which is in a wider format, are numbers of the narrow format although the rule's
    own are not. Computing in the wider format hardly ever gives that.
    """
    if not _fit(narrow, arrays(observed).values()):
        return False
    numbers = twin.numbers
    right = backpropagate(twin.structure.network, numbers.parameters, numbers.x, numbers.y)
    return not _fit(narrow, (*right.z, *right.x, right.error, *right.k, *right.weight_gradients))


def _fit(narrow: DType, some: Iterable[Array]) -> bool:
    with np.errstate(over="ignore"):
        return all(np.array_equal(a.astype(narrow.numpy).astype(a.dtype), a) for a in some)


def build_twins(group: Group, one: Draw, runs: Runner) -> TwinPrograms:
    """The twins of a group's structure, with the early ones built and called on the numbers of one draw. Empty unless
    the regime has twins.
    """
    if not REGIMES[group.regime].twins:
        return TwinPrograms(group, [], [])
    made = twins_of(group.structure, one, runs.describe())
    early, late = [], []
    for twin in made:
        (late if twin.structure.format.u < group.structure.format.u else early).append(twin)
    company = TwinPrograms(group, early, late)
    company.build_early(runs)
    return company
