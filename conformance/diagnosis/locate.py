"""Localisation: the first quantity that departs, in the order of the computation; where only gradients are shown, the
first that must have departed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ...reference import Network


@dataclass(frozen=True)
class Place:
    """Where a mistake begins: quantities by name, more than one where the answer does not tell them apart. `inferred`
    says that they are not shown, and follow from what is.
    """

    quantities: tuple[str, ...]
    inferred: bool = False

    def __str__(self) -> str:
        """As it is told: k_2; k_1 or dE/dW_1 (not shown; from the gradients)."""
        return " or ".join(self.quantities) + (" (not shown; it follows from the gradients)" if self.inferred else "")


def locate(network: Network, departs: Mapping[str, bool]) -> Place | None:
    """Where it begins, from whether each quantity that was judged departs, in the order of the computation; None where
    none does.
    """
    first = next((name for name, is_off in departs.items() if is_off), None)
    if first is None:
        return None
    if not first.startswith("dE/d") or any(name.startswith("k_") for name in departs):
        return Place((first,))
    return _from_gradients(network, departs)


def _from_gradients(network: Network, departs: Mapping[str, bool]) -> Place:
    """If k_m is wrong, so are dE/dW_i and dE/db_i for all i up to m; the highest layer that is wrong is m.

    That dE/dW_i is wrong and dE/dW_{i-1} is not means that k_i is right, and the product itself is at fault.
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
        # Outside the activation b_n gets the residual alone, and b_i what k_{i+1} passes back.
        return either if network.bias == "post" and top == 1 else Place((by_weight,))
    if network.bias == "none":
        if weight != below:
            return Place((by_weight,))
        return either
    due = below if network.bias == "pre" else below - {top}
    if weight == below and bias >= due:
        return by_k
    return Place((by_weight,) if top in weight else (by_bias,))
