"""Limits: how large a network a framework can bear, and which forms of networks it has."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from ..reference import Structure


@dataclass(frozen=True)
class Limits:
    """What an adapter can run of what it declares. None means no limit.

        limits = Limits(width=16, batch=8, least_batch=1, speed=13_000, call_seconds=2, run_seconds=60)

    `width` is the largest width of a layer, inputs included, `depth` the most layers, `batch` the most rows and
    `least_batch` the fewest: 1 for a framework whose only loss is a mean, which batch 0 has none of. `entries` is the
    most numbers in all: weights, biases, and the activations of every layer for every row, inputs included.

    `speed` is about how many multiplications of the forward pass a call makes in a second, the backward pass included:
    B * (n_0 n_1 + ... + n_{n-1} n_n), divided by the seconds that a call takes. With it, `call_seconds` is the most
    that one call may take, and `run_seconds` the most that all calls of a run may take. They are estimates, from which
    the plan is made: nothing is timed.

    `hidden_alike` says that all hidden layers have one activation, `last_identity` that the last layer is linear.
    """

    width: int | None = None
    depth: int | None = None
    batch: int | None = None
    least_batch: int = 0
    entries: int | None = None
    speed: float | None = None
    call_seconds: float | None = None
    run_seconds: float | None = None
    hidden_alike: bool = False
    last_identity: bool = False

    def to_json(self) -> dict[str, Any]:
        """The limits in plain JSON types: NumPy's numbers have none."""
        return {name: value.item() if hasattr(value, "item") else value for name, value in asdict(self).items()}

    def problem_of(self, structure: Structure) -> str:
        """What about a structure is outside the limits, in words; empty if it is within all of them."""
        return next(self._problems(structure), "")

    def _problems(self, structure: Structure) -> Iterator[str]:
        network = structure.network
        for what, value, most in (
            ("width", max(network.widths), self.width),
            ("depth", network.depth, self.depth),
            ("batch", structure.batch, self.batch),
            ("number of entries", count_entries(structure), self.entries),
        ):
            if most is not None and value > most:
                yield f"{what} {value:,} is above its limit of {most:,}"
        if structure.batch < self.least_batch:
            yield f"batch {structure.batch:,} is below its least of {self.least_batch:,}"
        names = network.activations
        if self.hidden_alike and len(set(names[:-1])) > 1:
            yield f"its hidden layers have one activation, not {', '.join(dict.fromkeys(names[:-1]))}"
        if self.last_identity and names[-1] != "identity":
            yield f"its last layer is linear, not {names[-1]}"
        if self.speed is not None and self.call_seconds is not None:
            seconds = count_products(structure) / self.speed
            if seconds > self.call_seconds:
                yield f"a call would take about {seconds:.3g} s, and its limit is {self.call_seconds:g} s"


def count_entries(structure: Structure) -> int:
    """How many numbers a structure has: parameters, and activations of every layer and row, inputs included."""
    widths = structure.network.widths
    biases = 0 if structure.network.bias == "none" else sum(widths[1:])
    return sum(n * m for n, m in pairwise(widths)) + biases + structure.batch * sum(widths)


def count_products(structure: Structure) -> int:
    """How many multiplications the matrix products of a forward pass have."""
    return structure.batch * sum(n * m for n, m in pairwise(structure.network.widths))
