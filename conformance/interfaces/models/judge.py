"""Verdicts on a trace: every quantity of every dense layer of every step.

judgement = judge_trace(read_trace(Path("trace")))
judgement.conforms
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import numpy as np

from ....adapters.traces.manifest import Layer, Parameter
from ....adapters.traces.trace import Trace
from ....reference import DTYPES, Array
from ...checks.findings import with_level
from ...checks.verdict import NOTHING_EXPECTED, ExpectationFor, Grade, Verdict
from ...checks.whole_run.moments import Key, collect
from ...checks.whole_run.verdicts import judge_layers
from .causes.elementwise import find_activation_cause, find_passing_cause
from .causes.find import find_cause
from .causes.hypotheses import Around
from .judgement import Judgement, LayerVerdict, Options
from .products.behind import judge_activation
from .products.compare import Compared, compare
from .products.likeness import find_repeated
from .products.quantities import (
    NAMES,
    Quantity,
    StepView,
    Unjudged,
    find_owner,
    list_gradients,
    list_quantities,
    view_of,
)
from .products.replay import find_order
from .structures import case_of

CONCLUSIVE_POWER = 10.0
_RUN_NAMES = {"z": ("z", ""), "dL/dx": ("k", "identity"), "dL/dW": ("dE/dW", ""), "dL/db": ("dE/db", "")}
"""The names of quantities in the sums of a run. dL/dx is k Wᵀ without a slope: the k of a layer without activation."""
_SHORT = 16


@dataclass(frozen=True)
class Part:
    """What judging one layer, or one parameter, of one step gives."""

    verdicts: tuple[LayerVerdict, ...] = ()
    unjudged: tuple[Unjudged, ...] = ()
    sums: tuple[tuple[str, Key, Array, Array], ...] = ()
    """Of each tensor: its layer, its key, its sums, and the errors that it shows."""


@dataclass(frozen=True)
class Unit:
    """A piece of work: a layer, or a parameter, of a step."""

    step: int
    layer: int | None = None
    parameter: int | None = None


def list_units(trace: Trace, options: Options) -> list[Unit]:
    """All pieces, in the order of the backward pass: the last layer first, each with its gradients behind it."""
    units = []
    for number, step in enumerate(trace.manifest.steps):
        if options.steps and number not in options.steps:
            continue
        owners = _owners(step.layers)
        for index in reversed(range(len(step.layers))):
            layer = step.layers[index]
            if not is_chosen(layer.name, options):
                continue
            units.append(Unit(number, layer=index))
            units += [
                Unit(number, parameter=p)
                for p, parameter in enumerate(step.parameters)
                if owners.get(parameter.name) == index
            ]
    return units


def is_chosen(name: str, options: Options) -> bool:
    """Whether the patterns take a layer."""
    return not options.layers or any(fnmatchcase(name, pattern) for pattern in options.layers)


def _owners(layers: Sequence[Layer]) -> dict[str, int]:
    """The index of the layer that each parameter's gradient is reported with."""
    uses: dict[str, list[int]] = {}
    for index, layer in enumerate(layers):
        for name in (layer.weight, layer.bias):
            if name is not None:
                uses.setdefault(name, []).append(index)
    return {name: some[find_owner([layers[i] for i in some])] for name, some in uses.items()}


def judge_unit(trace: Trace, unit: Unit, options: Options, expectation_for: ExpectationFor) -> Part:
    """Judge one piece of a trace."""
    # A step may overflow. What comes from an infinity is counted, and not judged.
    with np.errstate(all="ignore"):
        return _judge_unit(trace, unit, options, expectation_for)


def _judge_unit(trace: Trace, unit: Unit, options: Options, expectation_for: ExpectationFor) -> Part:
    view = view_of(trace.manifest, unit.step, trace.steps[unit.step])
    around = Around(view, _view(trace, unit.step - 1), _view(trace, unit.step + 1))
    if unit.layer is not None:
        layer = view.step.layers[unit.layer]
        return _judge_layer(around, unit.step, layer, options, expectation_for)
    assert unit.parameter is not None
    listed = list_gradients(view, view.step.parameters[unit.parameter])
    return _judge_quantities(around, unit.step, listed, options)


def _case(view: StepView, layer: str, step: int) -> str:
    return case_of(next(one for one in view.step.layers if one.name == layer), view.arrays, step)


def _view(trace: Trace, number: int) -> StepView | None:
    return view_of(trace.manifest, number, trace.steps[number]) if 0 <= number < len(trace.steps) else None


def _judge_layer(around: Around, step: int, layer: Layer, options: Options, expectation_for: ExpectationFor) -> Part:
    view = around.view
    part = _judge_quantities(around, step, list_quantities(view, layer), options)
    found = list(part.verdicts)
    case = case_of(layer, view.arrays, step)
    if layer.kind == "lookup":
        found += _judge_lookup(view, step, layer)
    for number, call in enumerate(layer.calls):
        if call.activation is not None and call.output is not None:
            z = view.arrays[call.output]
            for verdict in judge_activation(
                call.activation, case, NAMES[z.dtype], z, view.arrays, expectation_for, options.level
            ):
                at = tuple(int(i) for i in np.unravel_index(verdict.at[0], z.shape))
                one = replace(verdict, at=at)
                cause = None
                if one.fails:
                    known = call.activation, one.quantity, NAMES[z.dtype], z, view.arrays, verdict.at[0], one.case
                    cause = find_activation_cause(*known)
                found.append(LayerVerdict(layer.name, step, one, _call(layer, number), call.axes, cause=cause))
            found += _judge_passed_on(view, step, layer, number)
    return replace(part, verdicts=tuple(found))


def _judge_passed_on(view: StepView, step: int, layer: Layer, number: int) -> Iterator[LayerVerdict]:
    """Where nothing but the activation reads z, dL/dz of the layer is what the activation gives back, bit for bit."""
    call = layer.calls[number]
    behind = call.activation
    if behind is None or not behind.is_alone or behind.input_gradient is None or call.output_gradient is None:
        return
    expected, observed = view.arrays[behind.input_gradient], view.arrays[call.output_gradient]
    one = _judge_equal(view, layer, step, number, "k_terms", "dL/dz behind", expected, observed)
    if one.verdict.fails:
        one = replace(one, cause=find_passing_cause(expected, observed, NAMES[observed.dtype], one.verdict.case))
    yield one


def _judge_lookup(view: StepView, step: int, layer: Layer) -> Iterator[LayerVerdict]:
    for number, call in enumerate(layer.calls):
        if call.input is not None and call.output is not None:
            expected = view.arrays[call.weight][view.arrays[call.input]]
            yield _judge_equal(view, layer, step, number, "forward", "z", expected, view.arrays[call.output])


def _judge_equal(
    view: StepView, layer: Layer, step: int, number: int, check: str, name: str, expected: Array, observed: Array
) -> LayerVerdict:
    wide, seen = expected.astype(np.float64), observed.astype(np.float64)
    differs = ~((wide == seen) | (np.isnan(wide) & np.isnan(seen)))
    at = tuple(int(i) for i in np.argwhere(differs)[0]) if differs.any() else (0,) * wide.ndim
    wrong = bool(differs.any())
    verdict = Verdict(
        case_of(layer, view.arrays, step),
        "forward" if check == "forward" else "k_terms",
        name,
        "wrong" if wrong else "pass",
        worst=np.inf if wrong else 0.0,
        at=at,
        power=np.inf,
        observed=float(seen[at]) if wrong else None,
        expected=float(wide[at]) if wrong else None,
        tolerance=0.0 if wrong else None,
    )
    return LayerVerdict(layer.name, step, verdict, _call(layer, number), layer.calls[number].axes)


def _judge_quantities(around: Around, step: int, listed: Iterator[Quantity | Unjudged], options: Options) -> Part:
    verdicts, unjudged, sums = [], [], []
    for one in listed:
        if isinstance(one, Unjudged):
            unjudged.append(one)
            continue
        name = f"{one.layer} {one.label}"
        found = compare(one.due, one.most, one.observed, DTYPES[one.dtype], name, options.budget)
        verdict = _replayed(one, _verdict(one, _case(around.view, one.layer, step), found))
        verdict = with_level(verdict, options.level)
        cause = find_cause(around, one, found) if verdict.fails else None
        verdicts.append(
            LayerVerdict(one.layer, step, verdict, one.call, one.axes, replace(found, sums=None, shown=None), cause)
        )
        if found.sums is not None and found.shown is not None and not found.departs:
            length = "long" if max(part.inner for part in one.due.parts) > _SHORT else "short"
            sums.append((one.layer, (one.dtype, *_RUN_NAMES[one.name], length), found.sums, found.shown))
    return Part(tuple(verdicts), tuple(unjudged), tuple(sums))


def _verdict(one: Quantity, case: str, found: Compared) -> Verdict:
    worst = found.worst
    grade: Grade = "pass" if found.power >= CONCLUSIVE_POWER else "inconclusive"
    if found.departs:
        grade = "inaccurate" if found.within_bound else "wrong"
    passed = not found.departs
    return Verdict(
        case,
        one.check,
        one.name,
        grade,
        worst=max(worst.ratio, found.projected),
        at=worst.at,
        power=found.power,
        observed=None if passed else worst.observed,
        expected=None if passed else worst.expected,
        tolerance=None if passed else worst.tolerance,
        normwise=None if passed else max(found.normwise, found.projected),
        relative=None if passed else found.relative,
    )


def _replayed(one: Quantity, verdict: Verdict) -> Verdict:
    """The verdict on a sum whose accumulator is declared: it passes if it is bit for bit what that gives in a known
    order, also where the tolerance of any order is too large to show anything.
    """
    if verdict.grade == "pass" or one.accumulator is None or find_order(one, one.accumulator) is None:
        return verdict
    return Verdict(verdict.case, verdict.check, verdict.quantity, "pass", worst=0.0, at=verdict.at, power=np.inf)


def _call(layer: Layer, number: int) -> int | None:
    return number if len(layer.calls) > 1 else None


def collect_parts(
    trace: Trace,
    options: Options,
    units: Sequence[Unit],
    parts: Sequence[Part],
    expectation_for: ExpectationFor = NOTHING_EXPECTED,
) -> Judgement:
    """The judgement from the parts of all units, in their order."""
    tensors: dict[tuple[str, Key], list[tuple[Array, Array]]] = {}
    for part in parts:
        for layer, key, sums, shown in part.sums:
            tensors.setdefault((layer, key), []).append((sums, shown))
    rows: dict[str, list[tuple[Key, Array]]] = {}
    for (layer, key), some in tensors.items():
        repeated = find_repeated([shown for _, shown in some])
        own = [sums for (sums, _), is_repeated in zip(some, repeated, strict=True) if not is_repeated]
        rows.setdefault(layer, []).append((key, np.stack(own)))
    moments = {layer: collect(some) for layer, some in rows.items()}
    whole, by_layer = judge_layers(moments, expectation_for)
    return Judgement(
        trace,
        options,
        tuple(verdict for part in parts for verdict in part.verdicts),
        tuple((unit.step, one) for unit, part in zip(units, parts, strict=True) for one in part.unjudged),
        tuple(whole),
        {layer: tuple(some) for layer, some in by_layer.items()},
        moments,
    )


def judge_trace(
    trace: Trace,
    options: Options | None = None,
    expectation_for: ExpectationFor = NOTHING_EXPECTED,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Judgement:
    """Judge a trace that has been checked (`read.check_trace`), in this process."""
    options = options or Options()
    units = list_units(trace, options)
    parts = []
    for number, unit in enumerate(units):
        parts.append(judge_unit(trace, unit, options, expectation_for))
        progress(number + 1, len(units))
    return collect_parts(trace, options, units, parts, expectation_for)


__all__ = [
    "Judgement",
    "LayerVerdict",
    "Options",
    "Parameter",
    "Unit",
    "collect_parts",
    "judge_trace",
    "judge_unit",
    "list_units",
]
