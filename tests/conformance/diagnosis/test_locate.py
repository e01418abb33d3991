"""Where a mistake begins: the first quantity that departs, or what the gradients alone let follow."""

import pytest

from kterm.conformance.diagnosis.locate import locate
from kterm.reference import Network


def _departs(depth: int, off: str, *, shows: str = "WEb", bias: str = "pre") -> dict[str, bool]:
    """Which quantities depart, in the order of the computation, of those shown."""
    layers = range(1, depth + 1)
    names = [f"{symbol}_{i}" for i in layers for symbol in "zx" if symbol in shows] + ["outputs", "E"]
    names += [f"k_{i}" for i in reversed(layers) if "k" in shows]
    names += [f"dE/dW_{i}" for i in reversed(layers)]
    names += [f"dE/db_{i}" for i in reversed(layers)] if bias != "none" else []
    wrong = set(off.split())
    assert wrong <= set(names)
    return {name: name in wrong for name in names}


def _network(depth: int, bias: str = "pre") -> Network:
    return Network((3,) * (depth + 1), ("tanh",) * depth, bias)  # pyright: ignore[reportArgumentType]


def test_nothing_departs() -> None:
    assert locate(_network(2), _departs(2, "")) is None


@pytest.mark.parametrize("first", ["z_2", "x_1", "outputs", "E", "k_1", "dE/dW_2", "dE/db_1"])
def test_what_is_shown_is_named_itself(first: str) -> None:
    off = first if first.startswith("dE") else f"{first} dE/dW_1 dE/db_1"
    place = locate(_network(2), _departs(2, off, shows="zxk"))
    assert place is not None
    assert (place.quantities, place.inferred) == ((first,), False)


@pytest.mark.parametrize(
    ("bias", "off", "quantities"),
    [
        # k_2 is wrong in a network of three layers: so is all from layer 2 down.
        ("pre", "dE/dW_2 dE/dW_1 dE/db_2 dE/db_1", ("k_2",)),
        ("pre", "dE/dW_3 dE/dW_2 dE/dW_1 dE/db_3 dE/db_2 dE/db_1", ("k_3",)),
        ("pre", "dE/dW_1 dE/db_1", ("k_1",)),
        # The layer below is right: the product itself is wrong.
        ("pre", "dE/dW_2", ("dE/dW_2",)),
        ("pre", "dE/dW_3 dE/dW_2 dE/dW_1", ("dE/dW_3",)),
        ("pre", "dE/db_3 dE/db_1", ("dE/db_3",)),
        ("pre", "dE/dW_3 dE/db_3", ("dE/dW_3",)),
        # Without biases the last layer down to the first, all wrong, may be either.
        ("none", "dE/dW_3 dE/dW_2 dE/dW_1", ("k_3", "dE/dW_3")),
        ("none", "dE/dW_1", ("k_1", "dE/dW_1")),
        ("none", "dE/dW_3 dE/dW_1", ("dE/dW_3",)),
        # Outside the activation the bias of the layer of a wrong k_i is right: it takes what comes before f'.
        ("post", "dE/dW_2 dE/dW_1 dE/db_1", ("k_2",)),
        ("post", "dE/dW_2 dE/dW_1 dE/db_2 dE/db_1", ("k_2",)),
        ("post", "dE/dW_2", ("dE/dW_2",)),
        ("post", "dE/dW_1", ("k_1", "dE/dW_1")),
        ("post", "dE/db_2", ("dE/db_2",)),
    ],
)
def test_what_follows_from_gradients_alone(bias: str, off: str, quantities: tuple[str, ...]) -> None:
    place = locate(_network(3, bias), _departs(3, off, bias=bias))
    assert place is not None
    assert place.quantities == quantities
    assert place.inferred == any(name.startswith("k_") for name in quantities)
