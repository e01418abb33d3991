"""Which adapter of one record stands beside which of another, and where the two runs took place."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .recorded import Recorded, adapters_of

_ALWAYS = ("kterm", "profile", "seed", "level", "platform", "python")
_OF_ADAPTER = ("version", "framework", "framework_version", "mutant", "device", "layout")


class ComparisonError(ValueError):
    """Two records that cannot be compared; one line."""


@dataclass(frozen=True)
class Pair:
    """An adapter of the old run and the one of the new run that it is compared with, by their names."""

    old: str
    new: str

    @property
    def name(self) -> str:
        """One name if both have the same, else both."""
        return self.old if self.old == self.new else f"{self.old} → {self.new}"


@dataclass(frozen=True)
class Fact:
    """One line about the two runs: what it is about, and what each of them says."""

    what: str
    old: str
    new: str

    @property
    def differs(self) -> bool:
        """Whether the runs differ in it."""
        return self.old != self.new


def pair_adapters(old: Recorded, new: Recorded) -> tuple[Pair, ...]:
    """The adapters with one name, and if one of each run is left, these two. Raises ComparisonError without one, and
    for a run and a trace.
    """
    if ("trace" in old.header) != ("trace" in new.header):
        raise ComparisonError("one is of a trace, and the other of a run; compare two of a kind")
    before, after = list(adapters_of(old)), list(adapters_of(new))
    pairs = [Pair(name, name) for name in before if name in after]
    left, right = ([n for n in names if n not in {p.old for p in pairs}] for names in (before, after))
    if len(left) == len(right) == 1:
        pairs.append(Pair(left[0], right[0]))
    if not pairs:
        raise ComparisonError(
            f"the records have no adapter in common: {', '.join(before)} and {', '.join(after)}; compare records of "
            "the same adapters, or of one adapter each"
        )
    return tuple(pairs)


def compare_environments(old: Recorded, new: Recorded, pairs: tuple[Pair, ...]) -> tuple[Fact, ...]:
    """Where and how both runs took place: what always counts, and of the rest what differs."""
    before, after = (dict(_facts(record, pairs, side)) for record, side in ((old, "old"), (new, "new")))
    names = dict.fromkeys([*before, *after])
    facts = [Fact(name, before.get(name, "-"), after.get(name, "-")) for name in names]
    return tuple(one for one in facts if one.differs or one.what in _ALWAYS or one.what.endswith(" version"))


def _facts(record: Recorded, pairs: tuple[Pair, ...], side: str) -> Iterator[tuple[str, str]]:
    header = record.header
    yield "kterm", header["suite"]
    if (trace := header.get("trace")) is not None:
        yield "manifest of the trace", trace["manifest"][:16]
        yield "steps of the trace", str(trace["steps"])
    names = ("level", "device", "platform", "python")
    for name in names if trace is not None else ("profile", "seed", "dtypes", "activations", "regimes", "like", *names):
        value = header.get(name)
        yield name, ", ".join(value) if isinstance(value, list) else "-" if value in (None, "") else str(value)
    yield from _flat(header.get("environment", {}))
    described = adapters_of(record)
    for pair in pairs:
        about = described[getattr(pair, side)]
        for name in _OF_ADAPTER:
            yield f"{pair.name} {name}", str(about.get(name) or "-")
        for dtype, declared in sorted((about.get("arithmetic") or {}).items()):
            yield f"{pair.name} arithmetic in {dtype}", ", ".join(f"{k} {v}" for k, v in sorted(declared.items()))


def _flat(value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, one in value.items():
        if isinstance(one, Mapping):
            yield from _flat(one)
        else:
            yield name, str(one)
