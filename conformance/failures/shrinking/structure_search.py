"""Search for the smallest structure that fails in the same way as a failing structure."""

from dataclasses import replace

import numpy as np

from ....reference import Network, Structure
from ...cases.exact_numbers import exact
from ...cases.regimes import REGIMES, Draw
from .candidates import (
    MOST_LAYERS,
    Candidate,
    cut_draw,
    failing_layer,
    layer_starts,
    list_small_candidates,
    list_thin_sizes,
    sizes_of,
    take_layers,
    with_activation,
    with_sizes,
)
from .trials import FailingCandidate, Trials


class StructureSearch:
    """Makes the structure smaller. `best` is the smallest that fails so far, and always fails: also when the budget
    ends the search.
    """

    def __init__(self, failing: FailingCandidate, trials: Trials) -> None:
        self.best, self._trials = failing, trials
        self._seen: set[Structure] = set()

    def run(self) -> None:
        """Try small structures, the smallest first. If none of them fails, cut down the structure itself. Then simplify
        activations, biases and dtype. Raises BudgetSpent.
        """
        if not any(self._try(candidate) for candidate in list_small_candidates(self.best.structure, self._layer)):
            self._cut_down()
        self._simplify()

    @property
    def _layer(self) -> int | None:
        return failing_layer(self.best.verdict, self.best.structure.network)

    def _try(self, candidate: Candidate, cuts_draw: bool = True) -> bool:
        """Whether the candidate fails in the same way; then it is the new best. It is called with draws of its own, and
        with `cuts_draw` also with the numbers that failed, cut to its size.
        """
        if candidate.structure in self._seen:
            return False
        self._seen.add(candidate.structure)
        found = self._trials.try_structure(
            candidate.structure, self._cut_failing_draw(candidate) if cuts_draw else None
        )
        if found is None:
            return False
        self.best = found
        return True

    def _cut_failing_draw(self, candidate: Candidate) -> Draw | None:
        if self._trials.regime == "layout" or self._trials.calls_in_a_row > 1:
            return None
        cut = cut_draw(self.best.structure, self.best.draw, self.best.verdict, candidate)
        if cut is None or REGIMES[self._trials.regime].rounding != "exact":
            return cut
        wide = cut[None].astype(np.dtype(np.float64))
        return cut if exact(candidate.structure, wide.parameters, wide.x, wide.y).all() else None

    def _cut_down(self) -> None:
        """Drop layers, make all dimensions except one small, and then bisect each dimension, until nothing changes."""
        while self._drop_layers():
            pass
        for sizes in list_thin_sizes(sizes_of(self.best.structure)):
            if self._try(Candidate(with_sizes(self.best.structure, sizes))):
                break
        while True:
            before = self.best.structure
            for i in range(len(sizes_of(before))):
                self._bisect(i)
            if not self._drop_layers() and self.best.structure == before:
                return

    def _drop_layers(self) -> bool:
        depth = self.best.structure.network.depth
        lengths = [*range(1, MOST_LAYERS + 1), (depth + 1) // 2, depth - 1]
        for length in dict.fromkeys(n for n in lengths if 0 < n < depth):
            for start in layer_starts(depth, length, self._layer)[:MOST_LAYERS]:
                if self._try(take_layers(self.best.structure, start, length)):
                    return True
        return False

    def _bisect(self, i: int) -> None:
        """Make dimension i as small as possible, as if a mistake that shows in one size showed in all larger sizes.
        Then try 2, 3 and 4 less, for a mistake that shows in every second or fourth size only.
        """
        low, high = 0, sizes_of(self.best.structure)[i]
        while high - low > 1:
            middle = 1 if low == 0 else (low + high) // 2
            if self._try(self._with_size(i, middle)):
                high = middle
            else:
                low = middle
        for step in (2, 3, 4):
            if high > step and self._try(self._with_size(i, high - step)):
                self._bisect(i)
                return

    def _with_size(self, i: int, size: int) -> Candidate:
        sizes = list(sizes_of(self.best.structure))
        sizes[i] = size
        return Candidate(with_sizes(self.best.structure, sizes))

    def _simplify(self) -> None:
        """Identities in the other layers, no biases, and f64, as far as the adapter declares them."""
        described = self._trials.runner.describe()
        if "identity" in described.activations:
            self._try_identities()
        if "none" in described.biases:
            self._try_same_size(replace(self.best.structure, network=replace(self._network, bias="none")))
        if "f64" in described.dtypes:
            self._try_same_size(replace(self.best.structure, dtype="f64"))

    def _try_identities(self) -> None:
        others = [i for i, name in enumerate(self._network.activations) if i + 1 != self._layer and name != "identity"]
        all_replaced = self.best.structure
        for i in others:
            all_replaced = with_activation(all_replaced, i, "identity")
        if others and not self._try_same_size(all_replaced):
            for i in others:
                self._try_same_size(with_activation(self.best.structure, i, "identity"))

    @property
    def _network(self) -> Network:
        return self.best.structure.network

    def _try_same_size(self, structure: Structure) -> bool:
        # A candidate with a case id that replays is worth more than a simpler one without.
        return self._try(Candidate(structure), cuts_draw=not self.best.has_drawn_numbers)
