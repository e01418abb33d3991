"""Localisation: the first quantity that departs, in the order of the computation. If only gradients are shown, it is
the first that must have departed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ...reference import Network


@dataclass(frozen=True)
class Place:
    """Where a mistake begins. There are several quantities if the answer does not distinguish them. `inferred` says
    that they are not shown but follow from the gradients.
    """

    quantities: tuple[str, ...]
    inferred: bool = False

    def __str__(self) -> str:
        """The text in reports, such as k_2, or k_1 or dE/dW_1 (not shown; it follows from the gradients)."""
        return " or ".join(self.quantities) + (" (not shown; it follows from the gradients)" if self.inferred else "")


def locate(network: Network, departs: Mapping[str, bool]) -> Place | None:
    """Where a mistake begins, given whether each compared quantity departs, in the order of the computation. None if
    none does.
    """
    first = next((name for name, is_off in departs.items() if is_off), None)
    if first is None:
        return None
    if not first.startswith("dE/d") or any(name.startswith("k_") for name in departs):
        return Place((first,))
    return _from_gradients(network, departs)


def _from_gradients(network: Network, departs: Mapping[str, bool]) -> Place:
    """If k_m is wrong, dE/dW_i and dE/db_i are wrong for all i up to m, so the highest wrong layer is m.

    If dE/dW_i is wrong and dE/dW_{i-1} is right, k_i is right and the product itself is wrong.
    """
    layers = range(network.depth, 0, -1)
    weight, bias = ({i for i in layers if departs.get(f"dE/d{symbol}_{i}")} for symbol in "Wb")
    top = max(weight | bias)
    below = set(range(1, top + 1))
    by_k, by_weight, by_bias = Place((f"k_{top}",), True), f"dE/dW_{top}", f"dE/db_{top}"
    either = Place((f"k_{top}", by_weight), True)
    if not weight:
        return Place((by_bias,))
    if not bias and network.bias != "none":
        # With the bias outside the activation, the gradient of b_n is the residual alone, and that of b_i is what
        # k_{i+1} passes back.
        return either if network.bias == "post" and top == 1 else Place((by_weight,))
    if network.bias == "none":
        if weight != below:
            return Place((by_weight,))
        return either
    due = below if network.bias == "pre" else below - {top}
    if weight == below and bias >= due:
        return by_k
    return Place((by_weight,) if top in weight else (by_bias,))
