"""What is printed of a judgement: the verdict, a line for each layer, and the findings."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from rich.table import Table

from ....adapters.traces.manifest import Layer
from ....reference.rounding import SIGMAS
from ...checks.whole_run.verdicts import Judged
from ...records.form.text import count, printable
from ...records.form.words import TRACED
from .judgement import Judgement, LayerVerdict

QUANTITIES = ("z", "a", "dL/dz", "dL/dx", "dL/dW", "dL/db")
_MOST_FINDINGS = 8
_MOST_REASONS = 12


def table_of_layers(judgement: Judgement) -> Table:
    """A row for each layer: its sizes, and the largest error of each quantity over all steps, in σ."""
    table = Table(box=None, pad_edge=False)
    for head in ("layer", "inputsxoutputs", "rows", *QUANTITIES, "bias", "rms"):
        table.add_column(head, justify="left" if head == "layer" else "right")
    worst: dict[tuple[str, str], float] = {}
    for one in judgement.verdicts:
        key = one.layer, _shown(one.verdict.quantity)
        worst[key] = max(worst.get(key, 0.0), one.verdict.worst)
    failing = {(one.layer, _shown(one.verdict.quantity)) for one in judgement.findings}
    for layer, sizes, rows in _list_layers(judgement):
        cells = []
        for quantity in QUANTITIES:
            at = layer.name, quantity
            mark = "!" if at in failing else ""
            cells.append("" if at not in worst else f"{mark}{SIGMAS * worst[at]:.2g}")
        own = judgement.by_layer.get(layer.name, ())
        table.add_row(layer.name, sizes, f"{rows:,}", *cells, _bias(own), _rms(own))
    return table


def _shown(quantity: str) -> str:
    return quantity.removesuffix(" behind")


def _list_layers(judgement: Judgement) -> Iterator[tuple[Layer, str, int]]:
    """Each layer that was judged once, with its sizes and its rows in one step."""
    names = {one.layer for one in judgement.verdicts}
    seen: set[str] = set()
    for step, arrays in zip(judgement.trace.manifest.steps, judgement.trace.steps, strict=True):
        for layer in step.layers:
            if layer.name in names and layer.name not in seen and layer.calls:
                seen.add(layer.name)
                shape = arrays[layer.calls[0].weight].shape
                if layer.kind == "dense" and layer.layout == "out_in":
                    shape = shape[::-1]
                rows = sum(len(arrays[c.input]) for c in layer.calls if c.input is not None)
                yield layer, "x".join(map(str, shape)), rows


def _bias(judged: Sequence[Judged]) -> str:
    """The mean outward error that lies farthest from 0 in units of its limit."""
    means = [one.means["outward"] for one in judged if "outward" in one.means]
    known = [mean for mean in means if mean.dof > 0]
    if not known:
        return ""
    return f"{max(known, key=lambda mean: abs(mean.value)).value:+.3f}"


def _rms(judged: Sequence[Judged]) -> str:
    squares = [one.means["square"].value for one in judged]
    return f"{max(squares) ** 0.5:.2f}" if squares else ""


def finding_lines(judgement: Judgement, most: int | None = _MOST_FINDINGS) -> list[str]:
    """The findings, grouped by quantity and cause, in the order of the backward pass."""
    groups: dict[tuple[str, str], list[LayerVerdict]] = defaultdict(list)
    for one in judgement.findings:
        cause = "" if one.cause is None else one.cause.text
        # What is only described differs from layer to layer.
        own = one.layer if one.cause is not None and not one.cause.is_known else ""
        groups[_shown(one.verdict.quantity), cause if not own else f"{own} {cause}"].append(one)
    lines = []
    shown = list(groups.values())[:most]
    for number, some in enumerate(shown, 1):
        lines += list(_finding(number, some))
    if len(shown) < len(groups):
        lines.append(f"and {count(len(groups) - len(shown), 'further finding')}; --verbose prints all")
    return [printable(line) for line in lines]


def _finding(number: int, some: Sequence[LayerVerdict]) -> Iterator[str]:
    first, verdict = some[0], some[0].verdict
    others = len({one.layer for one in some}) - 1
    steps = sorted({one.step for one in some})
    where = f"{_shown(verdict.quantity)} of {first.layer}"
    where += f" and {count(others, 'other layer')}" if others else ""
    where += f", step {steps[0]}" if len(steps) == 1 else f", {len(steps)} steps from {steps[0]}"
    where += "" if first.call is None else f", call {first.call + 1}"
    cause = "" if first.cause is None else first.cause.text
    yield f"{number}. {where}: {verdict.grade}{f': {cause}' if cause else ''}"
    if verdict.observed is not None and verdict.expected is not None and verdict.tolerance is not None:
        at = ", ".join(map(str, verdict.at))
        rows = _name_row(first)
        yield (
            f"   at [{at}]{rows}: {verdict.observed:.9g}, should be {verdict.expected:.9g} ± {verdict.tolerance:.2g}: "
            f"{verdict.worst:.3g} tolerances"
        )
    if verdict.normwise is not None and verdict.relative is not None:
        yield f"   the error of the whole tensor is {verdict.relative:.2g} of its norm"


def _name_row(one: LayerVerdict) -> str:
    """The place in the leading axes of a row, where the rows have several and the quantity has them."""
    axes, quantity = one.axes, one.verdict.quantity
    if len(axes) < 2 or quantity in ("dL/dW", "dL/db") or not one.verdict.at:
        return ""
    place, row = [], one.verdict.at[0]
    for n in reversed(axes):
        place.append(row % n if n else 0)
        row //= n or 1
    return f" (row {', '.join(map(str, reversed(place)))} of {'x'.join(map(str, axes))})"


def coverage_lines(judgement: Judgement) -> list[str]:
    """What was judged in part, and what was not judged."""
    lines = []
    partial = [one.compared for one in judgement.verdicts if one.compared is not None and one.compared.coverage < 1]
    if partial:
        least = min(one.coverage for one in partial)
        single, line = max(one.single for one in partial), max(one.line for one in partial)
        total = sum(one.compared is not None for one in judgement.verdicts)
        lines.append(
            f"judged in part: {len(partial):,} of {total:,} products, at least {least:.2%} of the entries of each, and "
            f"all of them in sums with random signs: an error of {single:.1e} of the root mean square in one entry, or "
            f"of {line:.1e} in each entry of a row or column, would have been seen"
        )
    weak = sum(one.verdict.grade == "inconclusive" for one in judgement.verdicts)
    if weak:
        lines.append(f"inconclusive: {count(weak, 'tensor')}: rounding may be as large as a tenth of it")
    free = sum(one.compared.free for one in judgement.verdicts if one.compared is not None)
    if free:
        lines.append(f"not judged: {count(free, 'number')} that come from an infinity or a NaN")
    reasons: dict[str, list[str]] = defaultdict(list)
    for _, one in judgement.unjudged:
        reasons[one.why].append(f"{one.name} of {one.layer}".strip())
    for step in judgement.trace.manifest.steps:
        for layer in step.layers:
            for why in layer.not_captured:
                reasons[why].append(layer.name)
        for note in step.notes:
            reasons[note].append("")
    for why, places in list(reasons.items())[:_MOST_REASONS]:
        named = list(dict.fromkeys(place for place in places if place))
        more = f" and {len(named) - 2} others" if len(named) > 2 else ""
        lines.append(f"not judged: {' and '.join(named[:2])}{more}: {why}" if named else f"note: {why}")
    if len(reasons) > _MOST_REASONS:
        lines.append(f"and {count(len(reasons) - _MOST_REASONS, 'further reason')}")
    return [printable(line) for line in lines]


def run_lines(judgement: Judgement) -> list[str]:
    """Bias and spread that are findings: of all layers together, then of one."""
    lines = []
    for where, judged in (("all layers", judgement.whole), *judgement.by_layer.items()):
        for one in judged:
            for verdict in one.verdicts:
                if verdict.fails:
                    quantity = TRACED.get(one.quantity, one.quantity)
                    numbers = f"{verdict.observed:.3g}, sound is {verdict.expected:.3g} ± {verdict.tolerance:.2g}"
                    what = "mean error in σ" if verdict.check == "bias" else "mean square error in σ²"
                    lines.append(f"{verdict.check} of {quantity} ({one.dtype}), {where}: the {what} is {numbers}")
    return [printable(line) for line in lines]
