"""What judging a trace gives: the verdict on each quantity of each layer, and the verdict on the whole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ....adapters.traces.trace import Trace
from ....reference.rounding import SIGMAS
from ...cases.level import Level
from ...checks.verdict import Verdict, status
from ...checks.whole_run.moments import Moments
from ...checks.whole_run.verdicts import Judged
from ...records.coverage import is_partly_judged
from ...records.form.text import count, printable
from .causes.find import Cause
from .products.compare import MOST_PRODUCTS, Compared
from .products.quantities import Unjudged


class Departure(AssertionError):
    """A trace has a quantity that departs from the rule; the message says which."""


@dataclass(frozen=True)
class LayerVerdict:
    """A verdict with what the suite's own verdict has no place for: the layer and the step, the leading axes of the
    rows, what of the tensor was judged, and the cause of a finding.
    """

    layer: str
    step: int
    verdict: Verdict
    call: int | None = None
    axes: tuple[int, ...] = ()
    compared: Compared | None = None
    cause: Cause | None = None

    @property
    def sigmas(self) -> float:
        """The largest error in σ, for a quantity that is judged by λσ."""
        return 10.0 * self.verdict.worst


@dataclass(frozen=True)
class Options:
    """How a trace is judged. `layers` are patterns of names, and `steps` numbers; empty for all. `budget` is the number
    of multiplications of a quantity that is judged whole.
    """

    level: Level = "componentwise"
    layers: tuple[str, ...] = ()
    steps: tuple[int, ...] = ()
    budget: int = MOST_PRODUCTS


@dataclass(frozen=True)
class Judgement:
    """All verdicts on a trace, in the order of the steps and of the backward pass. `whole` are the verdicts of bias and
    spread over all layers, and `by_layer` those of each layer, from its `moments`.
    """

    trace: Trace = field(repr=False)
    options: Options
    verdicts: tuple[LayerVerdict, ...]
    unjudged: tuple[tuple[int, Unjudged], ...]
    whole: tuple[Judged, ...]
    by_layer: Mapping[str, tuple[Judged, ...]]
    moments: Mapping[str, Moments] = field(repr=False)

    @property
    def findings(self) -> list[LayerVerdict]:
        """The verdicts that fail."""
        return [one for one in self.verdicts if one.verdict.fails]

    @property
    def by_case(self) -> dict[tuple[str, int], list[LayerVerdict]]:
        """The verdicts on each layer in each step, in the order of the layers, and of the steps of each."""
        found: dict[tuple[str, int], list[LayerVerdict]] = {}
        for one in self.verdicts:
            found.setdefault((one.layer, one.step), []).append(one)
        places = {layer: place for place, layer in enumerate(dict.fromkeys(layer for layer, _ in found))}
        return dict(sorted(found.items(), key=lambda one: (places[one[0][0]], one[0][1])))

    @property
    def is_conclusive(self) -> bool:
        """Whether a check of a layer in a step is not inconclusive."""
        cases = ([one.verdict for one in some] for some in self.by_case.values())
        return any(status(some) != "inconclusive" or is_partly_judged(some) for some in cases)

    @property
    def conforms(self) -> bool:
        """Whether something was judged that is not inconclusive, and nothing failed."""
        of_run = (v for judged in (self.whole, *self.by_layer.values()) for one in judged for v in one.verdicts)
        return self.is_conclusive and not self.findings and not any(v.fails for v in of_run)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the capture says that it left out of any step, each once."""
        return tuple(dict.fromkeys(note for step in self.trace.manifest.steps for note in step.notes))

    def raise_if_failed(self) -> None:
        """Raise Departure, with the verdict and the first finding, where the trace does not conform."""
        __tracebackhide__ = True
        if not self.conforms:
            raise Departure(str(self))

    def __str__(self) -> str:
        line = verdict_line(self)
        cause = self.findings[0].cause if self.findings else None
        return line if cause is None else f"{line}: {printable(cause.text)}"


def verdict_line(judgement: Judgement) -> str:
    """The verdict in one line: PASS torch 2.13.0: 48 dense layers, 3 steps: rounding; worst 3.1 σ, dL/dW of up."""
    manifest = judgement.trace.manifest
    tables = {la.name for step in manifest.steps for la in step.layers if la.kind == "lookup"}
    names = {one.layer for one in judgement.verdicts} - tables
    steps = {one.step for one in judgement.verdicts}
    what = f"{manifest.framework} {manifest.framework_version}".strip() or "trace"
    sizes = f"{count(len(names), 'dense layer')}, {count(len(steps), 'step')}"
    if not judgement.verdicts:
        return printable(f"FAIL {what}: nothing was judged")
    if not judgement.is_conclusive:
        return printable(f"FAIL {what}: {sizes}: undecided: rounding may be as large as a tenth of each tensor")
    if judgement.conforms:
        worst = find_worst(judgement.verdicts)
        said = "" if worst is None else f"; worst {_sigmas(worst)}, {place_of(worst)}"
        known = sum(one.verdict.expectation is not None for one in judgement.verdicts)
        known_said = f"; {count(known, 'known divergence')}" if known else ""
        # "Every dense layer" is of those that were captured.
        left_out = f"; {count(len(judgement.notes), 'note')} on what was not captured" if judgement.notes else ""
        return printable(f"PASS {what}: {sizes}: rounding{said}{known_said}{left_out}")
    bad = {one.layer for one in judgement.findings}
    if not bad:
        return printable(f"FAIL {what}: {sizes}: every entry is within rounding, and their errors together are not")
    first = judgement.findings[0]
    return printable(f"FAIL {what}: {len(bad):,} of {sizes}: {place_of(first)} {_grade(first)}")


def find_worst(verdicts: Sequence[LayerVerdict]) -> LayerVerdict | None:
    """The verdict with the largest error of those on sums of products."""
    judged = [one for one in verdicts if one.compared is not None and one.verdict.expectation is None]
    return max(judged, key=lambda one: one.verdict.worst, default=None)


def _sigmas(one: LayerVerdict) -> str:
    return f"{SIGMAS * one.verdict.worst:.1f} σ"


def place_of(one: LayerVerdict) -> str:
    """A quantity and its layer."""
    return f"{one.verdict.quantity} of {one.layer}"


def _grade(one: LayerVerdict) -> str:
    return "is wrong" if one.verdict.grade == "wrong" else "is less accurate than its arithmetic allows"
