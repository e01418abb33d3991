"""Narrowing: from a failing structure to the smallest that fails in the same way."""

from dataclasses import replace

import numpy as np

from ....reference import Network, Structure
from ...cases.exact_numbers import exact
from ...cases.regimes import REGIMES, Draw
from .smaller import (
    MOST_LAYERS,
    Part,
    cut,
    dimensions,
    fewer,
    layer_of,
    layers,
    sized,
    small,
    windows,
    with_activation,
)
from .tries import Found, Tries


class Narrowing:
    """The smallest so far, in `best`: whatever ends the search, that fails."""

    def __init__(self, failing: Found, tries: Tries) -> None:
        self.best, self._tries = failing, tries
        self._seen: set[Structure] = set()

    def run(self) -> None:
        """Small structures, from the smallest up; where none of them fails the structure itself, cut down. Then what
        else may be plainer.
        """
        if not any(self._takes(part) for part in small(self.best.structure, self._layer)):
            self._cut_down()
        self._plainer()

    @property
    def _layer(self) -> int | None:
        return layer_of(self.best.verdict, self.best.structure.network)

    def _takes(self, part: Part, own: bool = True) -> bool:
        """Go on from this part of the best so far, where it fails in the same way: with its own draws, or, where `own`
        says so, with the numbers that failed, cut to its size.
        """
        if part.structure in self._seen:
            return False
        self._seen.add(part.structure)
        found = self._tries.of(part.structure, self._cut(part) if own else None)
        if found is None:
            return False
        self.best = found
        return True

    def _cut(self, part: Part) -> Draw | None:
        if self._tries.regime == "layout" or self._tries.calls_in_a_row > 1:
            return None
        own = cut(self.best.structure, self.best.one, self.best.verdict, part)
        if own is None or REGIMES[self._tries.regime].rounding != "exact":
            return own
        wide = own[None].astype(np.dtype(np.float64))
        return own if exact(part.structure, wide.parameters, wide.x, wide.y).all() else None

    def _cut_down(self) -> None:
        """Layers dropped, all dimensions but one made small, then each as small as may be."""
        while self._drops_layers():
            pass
        for sizes in fewer(dimensions(self.best.structure)):
            if self._takes(Part(sized(self.best.structure, sizes))):
                break
        while True:
            before = self.best.structure
            for i in range(len(dimensions(before))):
                self._bisect(i)
            if not self._drops_layers() and self.best.structure == before:
                return

    def _drops_layers(self) -> bool:
        depth = self.best.structure.network.depth
        lengths = [*range(1, MOST_LAYERS + 1), (depth + 1) // 2, depth - 1]
        for length in dict.fromkeys(n for n in lengths if 0 < n < depth):
            for start in windows(depth, length, self._layer)[:MOST_LAYERS]:
                if self._takes(layers(self.best.structure, start, length)):
                    return True
        return False

    def _bisect(self, i: int) -> None:
        """Make one dimension as small as it may be, as if what fails in one size failed in all above; and then, for
        what fails in every second or fourth, a little smaller still.
        """
        low, high = 0, dimensions(self.best.structure)[i]
        while high - low > 1:
            middle = 1 if low == 0 else (low + high) // 2
            if self._takes(self._with(i, middle)):
                high = middle
            else:
                low = middle
        for step in (2, 3, 4):
            if high > step and self._takes(self._with(i, high - step)):
                self._bisect(i)
                return

    def _with(self, i: int, n: int) -> Part:
        sizes = list(dimensions(self.best.structure))
        sizes[i] = n
        return Part(sized(self.best.structure, sizes))

    def _plainer(self) -> None:
        """Identities for the other activations, no bias, and f64, where the adapter has them."""
        described = self._tries.meter.describe()
        if "identity" in described.activations:
            self._identities()
        if "none" in described.biases:
            self._takes_as_sized(replace(self.best.structure, network=replace(self._network, bias="none")))
        if "f64" in described.dtypes:
            self._takes_as_sized(replace(self.best.structure, dtype="f64"))

    def _identities(self) -> None:
        others = [i for i, name in enumerate(self._network.activations) if i + 1 != self._layer and name != "identity"]
        bare = self.best.structure
        for i in others:
            bare = with_activation(bare, i, "identity")
        if others and not self._takes_as_sized(bare):
            for i in others:
                self._takes_as_sized(with_activation(self.best.structure, i, "identity"))

    @property
    def _network(self) -> Network:
        return self.best.structure.network

    def _takes_as_sized(self, structure: Structure) -> bool:
        # What has an id is not given up for this.
        return self._takes(Part(structure), own=not self.best.is_plain)
