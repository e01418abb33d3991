"""A plan cut to the limits that an adapter declares: structures are narrowed, shortened or given the form that it has,
as far as they stay what their regime is about; the others are left out.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...adapters import Limits
from ...adapters.limits import count_products
from ...reference import Network, Structure
from .case import Group
from .description import Description
from .regimes import REGIMES, aimed_layer
from .shapes import LEAST_LARGE, LEAST_LONG, LEAST_TILE, tile_size, twin_structures

Pair = tuple[str, str, str]
"""A regime, a dtype, and an activation that a structure of them is about."""


@dataclass(frozen=True)
class Cut:
    """What limits did to a plan. `left_out` counts the structures of each regime that do not fit. `changed` counts
    those that were changed, by what was: width, depth, batch or form. If a run has a limit of seconds, `seconds` is the
    estimated time of all calls. `draws` is the most draws of a structure, if some have fewer for it, and `dropped`
    counts the structures that fit and were left out for it. `twins` counts the twin programs that do not fit.
    """

    left_out: dict[str, int] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    dropped: int = 0
    draws: int | None = None
    seconds: float | None = None
    twins: int = 0

    def to_json(self) -> dict[str, Any]:
        """The counts in plain JSON types."""
        return {
            "left_out": self.left_out,
            "changed": self.changed,
            "dropped": self.dropped,
            "draws": self.draws,
            "seconds": self.seconds,
            "twins": self.twins,
        }


def describe_cut(name: str, cut: dict[str, Any]) -> Iterator[str]:
    """What an adapter's limits did to its plan, in lines, from the object of `Cut.to_json`."""
    if cut["left_out"]:
        by_regime = ", ".join(f"{count:,} {regime}" for regime, count in cut["left_out"].items())
        yield f"the limits of {name} leave out {_count(sum(cut['left_out'].values()), 'structure')}: {by_regime}"
    if cut["twins"]:
        yield f"the limits of {name} leave out {_count(cut['twins'], 'twin program')}"
    if cut["changed"]:
        by_kind = ", ".join(f"{what} of {count:,}" for what, count in cut["changed"].items())
        yield f"the limits of {name} change structures: {by_kind}"
    shorter = [f"leaves {_count(cut['draws'], 'draw')} of a structure"] if cut["draws"] else []
    shorter += [f"leaves out {_count(cut['dropped'], 'structure')}"] if cut["dropped"] else []
    if shorter:
        yield (
            f"the time limit of {name} {' and '.join(shorter)}; its calls take about {cut['seconds']:.3g} s at the "
            "declared speed"
        )


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def pairs_of(group: Group) -> list[Pair]:
    """The regime, the dtype and each activation that a group is about: in a regime that selects pre-activations, the
    one that they are selected for.
    """
    structure = group.structure
    names = structure.network.activations
    if REGIMES[group.regime].selects:
        names = (names[aimed_layer(structure) - 1],)
    return [(group.regime, structure.dtype, name) for name in names]


def cut_groups(groups: Sequence[Group], limits: Limits) -> tuple[list[tuple[Group, ...]], Cut]:
    """For each group, what is planned in its place: nothing, itself, or it as changed, and after it the same with
    another hidden activation if that would occur nowhere else in its regime and dtype.
    """
    left_out, changed = Counter[str](), Counter[str]()
    made: list[list[Group]] = []
    seen = Counter[Pair]()
    for group in groups:
        fitted = fit(group, limits, seen)
        made.append([] if fitted is None else [fitted])
        if fitted is None:
            left_out[group.regime] += 1
            continue
        seen.update(pairs_of(fitted))
        changed.update(_changes(group.structure, fitted.structure))
    for group, own in zip(groups, made, strict=True):
        for pair in pairs_of(group):
            if own and not seen[pair]:
                # An activation that was used everywhere has the last turn, so that this one is taken.
                other = fit(group, limits, Counter({pair: -1}))
                if other is not None and pair in pairs_of(other):
                    own.append(other)
                    seen.update(pairs_of(other))
    return [tuple(own) for own in made], Cut(dict(left_out), dict(sorted(changed.items())))


def _changes(before: Structure, after: Structure) -> Iterator[str]:
    old, new = before.network, after.network
    if not set(new.widths) <= set(old.widths):
        yield "width"
    if new.depth != old.depth:
        yield "depth"
    elif new.activations != old.activations:
        yield "form"
    if after.batch != before.batch:
        yield "batch"


def fit(group: Group, limits: Limits, seen: Counter[Pair]) -> Group | None:
    """The group with its structure changed as little as the limits need; None if it would no longer be what its regime
    is about. Where hidden layers must have one activation, it is the one of the group's that was `seen` the least.
    """
    structure, regime = group.structure, group.regime
    if regime == "degenerate" and structure.batch < min(2, limits.least_batch):
        return None  # an empty batch, or a batch of one, is what it is about
    if not limits.problem_of(structure):
        return group
    formed = _with_form(structure, regime, limits, seen)
    if formed is None:
        return None
    for most in _sizes(formed):
        width = most if limits.width is None else min(most, limits.width)
        batch = most if limits.batch is None else min(most, limits.batch)
        resized = _resized(formed, regime, width, batch, limits.least_batch)
        if resized is not None and not limits.problem_of(resized):
            return replace(group, structure=resized)
    return None


def _sizes(structure: Structure) -> Iterator[int]:
    """Upper limits of widths and batch to try, from none down to 1."""
    most = max(*structure.network.widths, structure.batch)
    while most:
        yield most
        most = most - 1 if most <= 16 else most * 7 // 8


def _with_form(structure: Structure, regime: str, limits: Limits, seen: Counter[Pair]) -> Structure | None:
    """The structure with as few layers, and in the form, that the framework has; None if that is not possible."""
    network = structure.network
    if REGIMES[regime].selects:
        formed = _aimed_form(structure, limits)
        if formed is None:
            return None
        widths, names = formed
    else:
        widths, names = _plain_form(structure, regime, limits, seen)
    return replace(structure, network=Network(widths, names, network.bias))


_Form = tuple[tuple[int, ...], tuple[str, ...]]
_OF_FIXED_DEPTH = ("tiles", "large", "means")
"""Regimes in which one more layer would move what is large to another place."""


def _aimed_form(structure: Structure, limits: Limits) -> _Form | None:
    """Widths and activations with the layer kept whose pre-activations are selected."""
    widths, names = structure.network.widths, structure.network.activations
    at = aimed_layer(structure) - 1
    aimed, after = names[at], names[at + 1 :]
    if limits.last_identity:
        if after:
            after = ("identity",)
        elif aimed != "identity":
            after, widths = ("identity",), (*widths, widths[-1])
    front = names[:at]
    most = limits.depth or len(names) + 1
    if front and (limits.hidden_alike or len(front) + 1 + len(after) > most):
        front, widths = (), (widths[0], *widths[at + 1 :])
    if len(front) + 1 + len(after) > most:
        if limits.last_identity and aimed != "identity":
            return None
        after, widths = (), widths[:2]
    return widths, (*front, aimed, *after)


def _plain_form(structure: Structure, regime: str, limits: Limits, seen: Counter[Pair]) -> _Form:
    """Widths and activations. Of activations for which there are too few layers, those seen least are kept."""
    widths, names = structure.network.widths, structure.network.activations
    ends = limits.last_identity
    if ends and names == names[:1] != ("identity",) and limits.depth != 1 and regime not in _OF_FIXED_DEPTH:
        widths, names = (*widths, widths[-1]), (*names, "identity")
    layers = min(len(names), limits.depth or len(names))
    widths = (*widths[:layers], widths[-1])

    def count(name: str) -> int:
        return seen[regime, structure.dtype, name]

    if ends and names[-1] == "identity":
        names = names[:-1] or names
    if limits.hidden_alike:
        loses = ends or layers < len(names)
        hidden = min(names if loses else names[:-1] or names, key=count)
        last = "identity" if ends else names[-1] if layers > 1 else hidden
        return widths, (*[hidden] * (layers - 1), last)
    least = sorted(range(len(names)), key=lambda i: count(names[i]))[: layers - ends]
    return widths, (*(names[i] for i in sorted(least)), *["identity"] * ends)


def _resized(structure: Structure, regime: str, width: int, batch: int, least_batch: int) -> Structure | None:
    """The structure with its widths and its batch within limits; None if it is then no longer what its regime is about.

    A square one stays square, in the lattice regime batch size and output width stay powers of two, and a long
    dimension stays past the edge of a tile, or long; a large one stays as it is.
    """
    network = structure.network
    size = structure.batch

    def narrow(value: int, most: int) -> int:
        return tile_size(value, most) if regime == "tiles" and value > most else min(value, most)

    widths = tuple(narrow(n, width) for n in network.widths)
    rows = max(narrow(size, batch), least_batch)
    if regime == "square":
        rows = max(min(size, width, batch), least_batch)
        if rows < 2 or rows > width:
            return None
        widths = (rows,) * len(widths)
    elif regime == "lattice":
        widths = (*widths[:-1], _power_of_two(widths[-1]))
        rows = max(_power_of_two(rows), 1 << max(least_batch - 1, 0).bit_length())
    if _is_short(structure, regime, (*widths, rows)):
        return None
    return replace(structure, network=replace(network, widths=widths), batch=rows)


def _power_of_two(value: int) -> int:
    return 1 << (value.bit_length() - 1)


def _is_short(structure: Structure, regime: str, sizes: Sequence[int]) -> bool:
    """Whether the dimension that the regime makes long is long no more: past no edge of a tile, a short sum, or not as
    large as it was.
    """
    if regime == "means":
        return max(sizes) < LEAST_LONG
    before = (*structure.network.widths, structure.batch)
    if regime == "large":
        return max(sizes) < max(*before, LEAST_LARGE)
    return regime == "tiles" and not sizes[before.index(max(before))] == max(sizes) >= LEAST_TILE


def limit_time(groups: Sequence[Group], limits: Limits, cut: Cut) -> tuple[tuple[Group, ...], Cut]:
    """The groups with so few draws, and so few of them, that their calls take `run_seconds` at the declared speed.

    One draw of one group stays of each regime, dtype and activation, also where that takes longer, except of groups
    that would take more than a quarter of the time alone.
    """
    if limits.run_seconds is None or limits.speed is None:
        return tuple(groups), cut
    budget = limits.run_seconds * limits.speed

    def cost(group: Group, draws: int) -> float:
        return float(_calls(group, min(draws, len(group.draws))) * count_products(group.structure))

    kept = [group for group in groups if cost(group, 1) <= budget / 4]
    most = max((len(group.draws) for group in kept), default=1)
    draws = next((d for d in range(most, 1, -1) if sum(cost(g, d) for g in kept) <= budget), 1)
    total = sum(cost(group, draws) for group in kept)
    counts = Counter(pair for group in kept for pair in set(pairs_of(group)))
    for group in sorted(kept, key=lambda g: cost(g, draws), reverse=True):
        if total <= budget:
            break
        pairs = set(pairs_of(group))
        if group.regime != "layout" and all(counts[pair] > 1 for pair in pairs):
            counts.subtract(pairs)
            kept.remove(group)
            total -= cost(group, draws)
    fewer = tuple(replace(group, draws=group.draws[:draws]) for group in kept)
    seconds = float(f"{total / limits.speed:.3g}")
    fewest = draws if draws < most else None
    return fewer, replace(cut, dropped=len(groups) - len(kept), draws=fewest, seconds=seconds)


def count_twins(groups: Sequence[Group], adapter: Description, limits: Limits) -> int:
    """How many twin programs of the groups an adapter declares, and its limits leave out."""
    return sum(
        bool(limits.problem_of(twin))
        for group in groups
        if REGIMES[group.regime].twins
        for twin in twin_structures(group.structure, adapter.biases, adapter.dtypes)
    )


_REPEATS = 6
"""The calls of a structure beside its draws: the first one again, three steps of descent, two parts of the batch."""
_TWIN_CALLS = 8
"""Two calls of each of up to four twins."""


def _calls(group: Group, draws: int) -> int:
    regime = REGIMES[group.regime]
    return max(draws + _REPEATS + _TWIN_CALLS * regime.twins, regime.soak)
