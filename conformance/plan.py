"""Plans: the cases that a profile puts to an adapter: a function of profile, seed and what the adapter declares."""

import difflib
import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..adapters import Adapter
from ..reference import ACTIVATIONS, BIASES, DTYPES, Bias, Network, Structure
from .case import Group
from .regimes import REGIMES, Deal


@dataclass(frozen=True)
class Description:
    """What an adapter declares, as plain data that travels between processes and into the record."""

    spec: str
    name: str
    version: str
    layout: str
    dtypes: tuple[str, ...]
    activations: tuple[str, ...]
    biases: tuple[Bias, ...]
    device: str
    max_structures: int | None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Description":
        """The inverse of `to_json`."""
        lists: dict[str, Any] = {key: tuple(value) for key, value in data.items() if isinstance(value, list)}
        return cls(**(data | lists))


def describe(adapter: Adapter, spec: str) -> Description:
    """What `adapter` declares, in canonical order.

    Raises ValueError, naming the declaration, where it holds a name that the suite does not know or nothing at all.
    """
    for field, declared, known in (
        ("dtypes", adapter.dtypes, DTYPES),
        ("activations", adapter.activations, ACTIVATIONS),
        ("biases", adapter.biases, BIASES),
    ):
        unknown = [name for name in declared if name not in known]
        if unknown or not declared:
            what = f"unknown {unknown[0]!r}" if unknown else "none declared"
            raise ValueError(f"adapter {adapter.name}: {field}: {what}; known are {', '.join(known)}")
    return Description(
        spec,
        adapter.name,
        str(adapter.version),
        adapter.weight_layout.name,
        tuple(name for name in DTYPES if name in adapter.dtypes),
        tuple(name for name in ACTIVATIONS if name in adapter.activations),
        tuple(name for name in BIASES if name in adapter.biases),
        adapter.device,
        adapter.max_structures,
    )


@dataclass(frozen=True)
class Share:
    """How many structures of one regime, and how many draws of each, a profile takes for every dtype it names."""

    regime: str
    dtypes: tuple[str, ...]
    structures: int
    draws: int


_WIDE = ("f32", "f64")
_NARROW = ("bf16", "f16")
PROFILES: dict[str, tuple[Share, ...]] = {
    profile: tuple(
        Share(name, dtypes, *counts[profile])
        for name, regime in REGIMES.items()
        for dtypes, counts in ((_WIDE, regime.wide), (_NARROW, regime.narrow))
        if profile in counts
    )
    for profile in ("quick", "standard", "thorough")
}
"""What each profile takes, from the regimes' own rows."""

_PROBE_ACTIVATIONS = ("identity", "relu", "leaky_relu", "tanh")


@dataclass(frozen=True)
class Choice:
    """What a run asks for: a profile, a seed, and the dtypes and activations to keep to (empty: all)."""

    profile: str = "standard"
    seed: int = 0
    dtypes: tuple[str, ...] = ()
    activations: tuple[str, ...] = ()


class ChoiceError(ValueError):
    """A run that cannot be made: an unknown profile, dtype or activation, or a negative seed; one line."""


def choose(profile: str, seed: int, dtypes: Sequence[str] = (), activations: Sequence[str] = ()) -> Choice:
    """A choice, checked. Raises ChoiceError, naming what is known."""
    for what, given, known in (
        ("profile", (profile,), PROFILES),
        ("dtype", dtypes, DTYPES),
        ("activation", activations, ACTIVATIONS),
    ):
        for name in given:
            if name not in known:
                close = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean {close[0]}? " if close else ""
                raise ChoiceError(f"unknown {what} {name!r}; {hint}known are {', '.join(known)}")
    if not 0 <= seed < 2**63:
        raise ChoiceError(f"seed {seed} should be an integer from 0 to 2**63 - 1")
    return Choice(profile, seed, tuple(dict.fromkeys(dtypes)), tuple(dict.fromkeys(activations)))


@dataclass(frozen=True)
class Plan:
    """The groups of cases to run for one adapter, probes first; and what it declares too little for."""

    groups: tuple[Group, ...]
    unsupported: tuple[str, ...]


def plan(adapter: Description, choice: Choice) -> Plan:
    """The plan for one adapter. Structures are made from what it declares; what is left out is listed by name."""
    wanted_dtypes = choice.dtypes or tuple(DTYPES)
    wanted_activations = choice.activations or tuple(ACTIVATIONS)
    dtypes = [name for name in wanted_dtypes if name in adapter.dtypes]
    pool = [name for name in wanted_activations if name in adapter.activations]
    left_out: list[str] = [f"dtype {name}" for name in wanted_dtypes if name not in dtypes]
    left_out += [f"activation {name}" for name in wanted_activations if name not in pool]
    left_out += [f"bias {name}" for name in BIASES if name not in adapter.biases]
    if not dtypes or not pool:
        return Plan((), tuple(left_out))
    groups = {group.id: group for group in _probes(adapter, dtypes[0])}
    for share in PROFILES[choice.profile]:
        # A narrow dtype asked for by name is run as the wide ones are.
        besides = tuple(name for name in choice.dtypes if name in _NARROW)
        dtypes_due = (*share.dtypes, *besides) if share.dtypes == _WIDE else share.dtypes
        for dtype in dtypes_due:
            if dtype in dtypes and not (dtype in besides and share.dtypes == _NARROW):
                for group in _share(share, dtype, pool, adapter.biases, choice.seed):
                    groups.setdefault(group.id, group)
    return Plan(_sampled(tuple(groups.values()), adapter.max_structures), tuple(left_out))


def _sampled(groups: tuple[Group, ...], most: int | None) -> tuple[Group, ...]:
    """The probes, and `most` groups besides: of each regime in turn, the further on in its dtypes the later."""
    if most is None or len(groups) <= most + 2:
        return groups
    probes, left = groups[:2], list(groups[2:])
    picked: list[Group] = []
    for regime in itertools.cycle(dict.fromkeys(group.regime for group in left)):
        if len(picked) == most:
            return probes + tuple(group for group in groups[2:] if group in picked)
        if some := [group for group in left if group.regime == regime]:
            picked.append(some[len(picked) * len(some) // most])
            left.remove(picked[-1])
    raise AssertionError("there are groups, and so regimes")


def _probes(adapter: Description, dtype: str) -> Iterator[Group]:
    # The simplest network that the adapter can build; random weights are as asymmetric as any.
    names = [name for name in _PROBE_ACTIVATIONS if name in adapter.activations] or list(adapter.activations)
    for widths in ((3, 3, 3), (2, 3, 4)):
        network = Network(widths, (names[0],) * 2, adapter.biases[0])
        yield Group(Structure(network, 2, dtype), "layout", 0, (0,))


def _share(share: Share, dtype: str, names: Sequence[str], biases: Sequence[Bias], seed: int) -> Iterator[Group]:
    regime = REGIMES[share.regime]
    suited = [name for name in names if regime.pool(ACTIVATIONS[name])]
    if not suited:
        return
    digest = hashlib.blake2b(f"plan/{share.regime}/{dtype}/{seed}".encode(), digest_size=16).digest()
    rng = np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))
    pool, every, made = Deal(suited, rng), Deal(names, rng), set[str]()
    for i in range(share.structures):
        shape = regime.shape(i, pool, every, rng)
        widths, draws = shape.widths, tuple(range(share.draws))
        while True:
            network = Network(widths, shape.activations, biases[i % len(biases)])
            group = Group(Structure(network, shape.batch, dtype), share.regime, seed, draws)
            if group.id not in made:
                break
            widths = (widths[0] + 1, *widths[1:])  # small structures may come up twice
        made.add(group.id)
        yield group
