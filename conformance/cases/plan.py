"""Plans: the cases that a profile asks of an adapter. A plan depends on profile, seed and declarations only."""

import difflib
import hashlib
import heapq
import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...reference import ACTIVATIONS, BIASES, DTYPES, OTHER_VALUES, Bias, Network, Structure, base_of, name_with
from . import smoke
from .case import CaseError, Group, count_numbers, parse_case
from .description import Description
from .level import LEVELS, Level, parse_level
from .limited import Cut, count_twins, cut_groups, limit_time
from .regimes import REGIMES, Deal
from .shapes import hollow


@dataclass(frozen=True)
class Share:
    """How many structures of one regime a profile takes for each dtype in `dtypes`, and how many draws of each."""

    regime: str
    dtypes: tuple[str, ...]
    structures: int
    draws: int


WIDE = ("f32", "f64")
NARROW = ("bf16", "f16")
PROFILES: dict[str, tuple[Share, ...]] = {
    profile: tuple(
        Share(name, dtypes, *counts[profile])
        for name, regime in REGIMES.items()
        for dtypes, counts in ((WIDE, regime.wide), (NARROW, regime.narrow))
        if profile in counts
    )
    for profile in ("smoke", "quick", "standard", "thorough")
}
"""What each profile takes, from the rows of the regimes. Every profile begins with the smoke profile as well."""

_HOLLOW = 3
"""Networks with a layer without units, in f32 and f64 each, for an adapter that has such layers."""
_OTHER_DRAWS = 5
"""Draws of a network that is planned beside the shares; the last in the tails has pre-activations from 4 to 20."""
_CUBES = ("gelu_tanh",)
"""Activations with a power of z. In f16 every run has draws of tails in which the power overflows."""
_LIKE = "normal"
"""The regime of structures that the user names: what depends on their sizes is how sums are formed."""
_MOST_LIKE = 2**21
"""The numbers of all draws of such a structure."""
_PROBE_ACTIVATIONS = ("identity", "relu", "leaky_relu", "tanh")


@dataclass(frozen=True)
class Options:
    """What a run asks for: a profile, a seed, the dtypes, activations and regimes to keep (empty: all), and the level
    that a tensor must reach. The level does not change what is planned. The layout probes are always planned.
    """

    profile: str = "standard"
    seed: int = 0
    dtypes: tuple[str, ...] = ()
    activations: tuple[str, ...] = ()
    level: Level = "componentwise"
    regimes: tuple[str, ...] = ()
    like: tuple[str, ...] = ()
    """Ids of structures to test in place of those of the profile; empty for those of the profile."""


class OptionError(ValueError):
    """Options that make no run: an unknown profile, dtype, activation, regime or level, or a seed out of range. The
    message is one line.
    """


def require_known(what: str, name: str, known: Collection[str], listing: str = "") -> None:
    """Raise OptionError for an unknown name. The message suggests a similar known name and ends with `listing`, which
    says where known names are listed; by default it lists all of them.
    """
    if name not in known:
        close = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise OptionError(f"unknown {what} {name!r}; {hint}{listing or 'known are ' + ', '.join(known)}")


def make_options(
    profile: str,
    seed: int,
    dtypes: Sequence[str] = (),
    activations: Sequence[str] = (),
    level: str = "componentwise",
    regimes: Sequence[str] = (),
    like: Sequence[str] = (),
) -> Options:
    """Checked options. Raises OptionError, naming what is known."""
    for what, given, known in (
        ("profile", (profile,), PROFILES),
        ("dtype", dtypes, DTYPES),
        ("activation", activations, tuple(ACTIVATIONS)),
        ("regime", regimes, [name for name in REGIMES if name != "layout"]),
    ):
        if isinstance(given, str):
            raise OptionError(f"{what}s: {given!r} is one string; write {what}s=[{given!r}]")
        for name in given:
            require_known(what, name, known)
    if not 0 <= seed < 2**63:
        raise OptionError(f"seed {seed} should be an integer from 0 to 2**63 - 1")
    require_known("level", level, LEVELS)
    for one in like:
        try:
            parse_structure(one)
        except CaseError as error:
            raise OptionError(f"structure {one!r:.80}: {error}") from None
    kept = (tuple(dict.fromkeys(names)) for names in (dtypes, activations, regimes, like))
    kept_dtypes, kept_activations, kept_regimes, kept_like = kept
    return Options(profile, seed, kept_dtypes, kept_activations, parse_level(level), kept_regimes, kept_like)


def parse_structure(text: str) -> Structure:
    """A structure from its id, such as 4x3-tanh-b5-pre-f32. Raises CaseError for one that no case can have."""
    return parse_case(f"{text}-{_LIKE}-s0", (_LIKE,)).structure


@dataclass(frozen=True)
class Plan:
    """The groups of cases to run for one adapter, layout probes first, and what the adapter does not declare."""

    groups: tuple[Group, ...]
    unsupported: tuple[str, ...]
    cut: Cut | None = None
    """What the adapter's limits did to it; None if it has no limits."""


def plan(adapter: Description, options: Options) -> Plan:
    """The plan for one adapter. Structures use what it declares; what it lacks is listed by name."""
    like = [parse_structure(one) for one in options.like]
    wanted_dtypes = options.dtypes or tuple(name for name in DTYPES if not like or any(s.dtype == name for s in like))
    named = {base_of(name) for structure in like for name in structure.network.activations}
    wanted_activations = options.activations or tuple(name for name in ACTIVATIONS if not like or name in named)
    dtypes = [name for name in wanted_dtypes if name in adapter.dtypes]
    own = {base_of(name): name for name in adapter.activations}
    pool = [own[name] for name in wanted_activations if name in own]
    left_out: list[str] = [f"dtype {name}" for name in wanted_dtypes if name not in dtypes]
    left_out += [f"activation {name}" for name in wanted_activations if name not in own]
    left_out += [_describe_values(name, own[name]) for name in wanted_activations if own.get(name, name) != name]
    if options.profile != "smoke" and not like:  # they ask for no other values
        left_out += [_describe_other_values(name) for name in wanted_activations if name in adapter.fixed]
    left_out += [f"bias {name}" for name in BIASES if name not in adapter.biases]
    if not dtypes or not pool:
        return Plan((), tuple(left_out))
    # A narrow dtype that is asked for by name gets the structures of the wide ones.
    wide = [dtype for dtype in (*WIDE, *(name for name in options.dtypes if name in NARROW)) if dtype in dtypes]
    probes = tuple(_probes(adapter, dtypes[0]))
    first = () if like else _kept(_distinct(smoke.groups(smoke.shipped(), pool, adapter.biases, wide)), options)
    regular = _like(adapter, options, like, dtypes, pool) if like else _regular(adapter, options, dtypes, pool)
    everything = _kept(_distinct((*first, *regular)), options)
    limits = adapter.limits
    if limits is None:
        return Plan((*probes, *_sampled(everything, len(first), adapter.max_structures)), tuple(left_out))
    fitted, cut = cut_groups((*probes, *everything), limits)
    fitted_probes, others = fitted[: len(probes)], fitted[len(probes) :]
    probes = _distinct(itertools.chain(*fitted_probes))
    count = len(_distinct(itertools.chain(*others[: len(first)])))
    everything = _distinct(itertools.chain(*others))
    groups, cut = limit_time((*probes, *_sampled(everything, count, adapter.max_structures)), limits, cut)
    return Plan(groups, tuple(left_out), replace(cut, twins=count_twins(groups, adapter, limits)))


def _describe_values(name: str, own: str) -> str:
    """An activation with the values of its parameters in the table, and those that an adapter has instead."""
    (of_table, of_adapter) = (
        ", ".join(f"{key} = {value:g}" for key, value in ACTIVATIONS[one].parameters.items()) for one in (name, own)
    )
    return f"activation {name} with {of_table} (it has {of_adapter})"


def _describe_other_values(name: str) -> str:
    """What an activation lacks whose parameters have the values of the table and no others."""
    values = ACTIVATIONS[name].parameters.items()
    return f"activation {name} with another {', '.join(f'{key} than {value:g}' for key, value in values)}"


def _kept(groups: tuple[Group, ...], options: Options) -> tuple[Group, ...]:
    """The groups of the regimes that are kept."""
    return tuple(group for group in groups if group.regime in options.regimes) if options.regimes else groups


def regular(adapter: Description, options: Options) -> tuple[Group, ...]:
    """The groups of a profile without the layout probes and the smoke profile."""
    return tuple(_regular(adapter, options, options.dtypes, adapter.activations))


def _regular(adapter: Description, options: Options, dtypes: Sequence[str], pool: Sequence[str]) -> Iterator[Group]:
    for dtype in (name for name in dtypes if name in WIDE and options.profile != "smoke"):
        free = [name for name in pool if name not in adapter.fixed]
        yield from _other_values(dtype, free, adapter.biases, options)
    for share in PROFILES[options.profile]:
        besides = tuple(name for name in options.dtypes if name in NARROW)
        dtypes_due = (*share.dtypes, *besides) if share.dtypes == WIDE else share.dtypes
        for dtype in dtypes_due:
            if dtype in dtypes and not (dtype in besides and share.dtypes == NARROW):
                yield from _share(share, dtype, pool, adapter.biases, options.seed)
    if options.profile == "smoke":
        return
    if adapter.zero_width:
        for dtype in (name for name in dtypes if name in WIDE):
            yield from _hollow(dtype, pool, adapter.biases, options.seed)
    if "f16" in dtypes:
        for name in (name for name in _CUBES if name in pool):
            network = Network((6, 5), (name,), adapter.biases[options.seed % len(adapter.biases)])
            yield Group(Structure(network, 6, "f16"), "tails", options.seed, tuple(range(_OTHER_DRAWS)))


def _like(
    adapter: Description, options: Options, like: Sequence[Structure], dtypes: Sequence[str], pool: Sequence[str]
) -> Iterator[Group]:
    """The given structures, as far as the adapter has them: with its own value of a parameter that it cannot set."""
    own = {base_of(name): name for name in pool}
    for structure in like:
        network, dtype = structure.network, structure.dtype
        known = [(name, base_of(name)) for name in network.activations if base_of(name) in own]
        if dtype not in dtypes or len(known) < network.depth or network.bias not in adapter.biases:
            continue
        names = tuple(own[base] if base in adapter.fixed else name for name, base in known)
        shares = (share for share in PROFILES[options.profile] if share.regime == _LIKE and dtype in share.dtypes)
        # Draws of one structure are judged as a stack, whose numbers are held together.
        most = max(1, _MOST_LIKE // max(1, count_numbers(structure, _LIKE)))
        draws = range(min(most, max((share.draws for share in shares), default=2)))
        made = replace(structure, network=replace(network, activations=names))
        yield Group(made, _LIKE, options.seed, tuple(draws))


def _other_values(dtype: str, names: Sequence[str], biases: Sequence[Bias], options: Options) -> Iterator[Group]:
    """One layer of each activation with other values of its parameter, in the tails and at kinks. In quick, one of the
    two wide dtypes has one value, and the other has the other.
    """
    for i, name in enumerate(name for name in OTHER_VALUES if name in names):
        for j, value in enumerate(OTHER_VALUES[name]):
            if options.profile == "quick" and (i + j + options.seed + WIDE.index(dtype)) % 2:
                continue
            own = name_with(name, dict.fromkeys(ACTIVATIONS[name].parameters, value))
            network = Network((5, 6), (own,), biases[(i + j + options.seed) % len(biases)])
            regimes = ("tails", "kinks") if ACTIVATIONS[own].kinks else ("tails",)
            for regime in regimes:
                yield Group(Structure(network, 6, dtype), regime, options.seed, tuple(range(_OTHER_DRAWS)))


def _hollow(dtype: str, names: Sequence[str], biases: Sequence[Bias], seed: int) -> Iterator[Group]:
    """Degenerate networks with a layer that has no units."""
    rng = _generator("hollow", dtype, seed)
    pool = Deal(names, rng)
    for i in range(_HOLLOW):
        shape = hollow(i, pool, pool, rng)
        network = Network(shape.widths, shape.activations, biases[(i + seed) % len(biases)])
        yield Group(Structure(network, shape.batch, dtype), "degenerate", seed, (0, 1))


def _generator(what: str, dtype: str, seed: int) -> np.random.Generator:
    digest = hashlib.blake2b(f"plan/{what}/{dtype}/{seed}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))


def _distinct(groups: Iterable[Group]) -> tuple[Group, ...]:
    """Each structure of a regime and seed once, at its first place, with the most draws that it has anywhere."""
    found: dict[tuple[str, int], Group] = {}
    for group in groups:
        before = found.setdefault((group.id, group.seed), group)
        if len(group.draws) > len(before.draws):
            found[group.id, group.seed] = group
    return tuple(found.values())


def _sampled(groups: tuple[Group, ...], first: int, most: int | None) -> tuple[Group, ...]:
    """At most `most` groups. Half of them are from the `first`, which show most; the others are taken from each regime
    in turn, spread over its groups.
    """
    if most is None or len(groups) <= most:
        return groups
    count = max(most // 2, most - (len(groups) - first))
    return groups[: min(first, count)] + _spread(groups[first:], most - min(first, count))


def _spread(groups: tuple[Group, ...], most: int) -> tuple[Group, ...]:
    left, picked = list(groups), list[Group]()
    if most == 0:
        return ()
    for regime in itertools.cycle(dict.fromkeys(group.regime for group in left)):
        if len(picked) == most:
            return tuple(group for group in groups if group in picked)
        if some := [group for group in left if group.regime == regime]:
            picked.append(some[len(picked) * len(some) // most])
            left.remove(picked[-1])
    raise AssertionError("there are groups, and so regimes")


def _probes(adapter: Description, dtype: str) -> Iterator[Group]:
    # The simplest network that the adapter can build. Random weights are as asymmetric as any.
    names = [name for name in _PROBE_ACTIVATIONS if name in adapter.activations] or list(adapter.activations)
    for widths in ((3, 3, 3), (2, 3, 4)):
        network = Network(widths, (names[0],) * 2, adapter.biases[0])
        yield Group(Structure(network, 2, dtype), "layout", 0, (0,))


def _share(share: Share, dtype: str, names: Sequence[str], biases: Sequence[Bias], seed: int) -> Iterator[Group]:
    regime = REGIMES[share.regime]
    suited = [name for name in names if regime.pool(ACTIVATIONS[name])]
    if not suited:
        return
    rng = _generator(share.regime, dtype, seed)
    pool, every, made = Deal(suited, rng), Deal(names, rng), set[str]()
    if regime.soak:
        biases = (*biases[1:], *biases[:1])  # the first structure, often the only one, has biases if it can
    for i in range(share.structures):
        shape = regime.shape(i, pool, every, rng)
        widths, draws = shape.widths, tuple(range(share.draws))
        while True:
            network = Network(widths, shape.activations, biases[i % len(biases)])
            group = Group(Structure(network, shape.batch, dtype), share.regime, seed, draws)
            if group.id not in made:
                break
            widths = (widths[0] + 1, *widths[1:])  # small structures may repeat
        made.add(group.id)
        yield group


def parse_shard(text: str) -> tuple[int, int]:
    """(i, n) from "i/n". Raises OptionError."""
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise OptionError(f"shard {text!r}: write the number of this part and of all, such as 1/4")
    return int(index), int(count)


def deal(groups: Iterable[tuple[int, Group]], index: int, count: int) -> list[int]:
    """The numbers of the groups of one shard of `count`, from 1. The dearest group left goes to the shard that has the
    least to do.
    """
    dear = sorted(((estimate_cost(group), number) for number, group in groups), key=lambda one: (-one[0], one[1]))
    loads, mine = [(0.0, i) for i in range(1, count + 1)], list[int]()
    for cost, number in dear:
        load, to = heapq.heappop(loads)
        heapq.heappush(loads, (load + cost, to))
        if to == index:
            mine.append(number)
    return mine


def estimate_cost(group: Group) -> float:
    """About how long a group takes, relative to others: its program, which many frameworks compile, and its calls."""
    network = group.structure.network
    products = sum(a * b for a, b in itertools.pairwise(network.widths)) * max(group.structure.batch, 1)
    calls = len(group.draws) + REGIMES[group.regime].soak
    return 200 * network.depth + calls * (10 * network.depth + products / 2000)
