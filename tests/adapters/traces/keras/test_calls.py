"""A stand-in takes the place of a layer's activation while the layer runs, and only then."""

from typing import Any

import pytest

from kterm.adapters.traces.keras.calls import run_with


def double(z: float, by: float = 2) -> float:
    return by * z


class Layer:
    """3 is z; what is behind it is the layer's own business."""

    activation: Any = staticmethod(double)

    def __init__(self, **own: Any) -> None:
        vars(self).update(own)

    def call(self) -> float:
        return self.activation(3)


def look(seen: list[Any], z: Any, activation: Any) -> Any:
    seen.append(z)
    return z if activation is None else activation(z) + 100


@pytest.mark.parametrize("own", [{}, {"activation": double}])
def test_z_is_seen_in_front_of_the_activation(own: dict[str, Any]) -> None:
    layer, seen = Layer(**own), list[Any]()
    assert run_with(layer, layer.call, lambda z, f: look(seen, z, f)) == 106
    assert seen == [3]
    assert vars(layer) == own
    assert layer.call() == 6


def test_a_layer_without_activation_or_that_does_not_call_it_gives_z_itself() -> None:
    seen = list[Any]()
    for layer in (Layer(activation=None), Layer()):
        assert run_with(layer, lambda: 5, lambda z, f: look(seen, z, f)) == 5
    assert seen == [5, 5]


def test_only_the_first_call_with_z_alone_is_seen() -> None:
    layer, seen = Layer(), list[Any]()
    given = run_with(layer, lambda: (layer.activation(3), layer.activation(4)), lambda z, f: look(seen, z, f))
    assert (given, seen) == ((106, 8), [3])
    assert run_with(layer, lambda: layer.activation(3, by=5), lambda z, f: look(seen, z, f)) == 15
    assert seen == [3]


def test_nothing_stays_when_the_layer_raises() -> None:
    layer = Layer()
    with pytest.raises(ZeroDivisionError):
        run_with(layer, lambda: 1 // 0, lambda z, f: z)
    assert vars(layer) == {}
