"""What adapters share: arrays in and out, the loop over the layers, and tables of activations."""

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kterm.adapters.base import Function
from kterm.adapters.frameworks.shared.tensors import TensorAdapter, differentiate, functions_of, regroup
from kterm.reference import ACTIVATIONS, BIASES, Array, Bias, Network, Parameters, Structure
from kterm.reference import backpropagate as rule


class Tensor:
    """An array that is none, to see that what goes in and comes out is converted."""

    def __init__(self, data: Array) -> None:
        self.data = data


class Framework(TensorAdapter):
    """The rule by hand, with tensors of its own. What it was given stays in `given`."""

    name, version = "by-hand", "1"
    activations = functions_of(
        SimpleNamespace(tanh=lambda z: Tensor(np.tanh(z.data))), "tanh", softsign=lambda z: Tensor(z.data)
    )
    hides = False
    given: Any = None
    to_tensor = staticmethod(Tensor)
    to_array = staticmethod(lambda tensor: np.array(tensor.data))

    def make_backpropagate(self, structure: Structure) -> Function:
        def backpropagate(*given: Any) -> tuple:
            self.given = given
            weights, biases, _, x, y = given
            parameters = Parameters(tuple(one.data for one in weights), tuple(one.data for one in biases))
            answer = rule(structure.network, parameters, x.data, y.data)
            parts = (answer.weight_gradients, answer.bias_gradients, answer.k, answer.z, answer.x[1:])
            by_weight, by_bias, k, zs, xs = ([Tensor(one) for one in part] for part in parts)
            return (by_weight, by_bias, None if self.hides else k), (
                Tensor(answer.error),
                None if self.hides else zs,
                xs,
            )

        return backpropagate


def _structure(bias: Bias = "pre") -> Structure:
    return Structure(Network((3, 2, 4), ("tanh", "identity"), bias), 5, "f64")


def _draw(structure: Structure) -> tuple[Parameters, Array, Array]:
    random = np.random.Generator(np.random.Philox(0))
    widths = structure.network.widths
    biases = () if structure.network.bias == "none" else tuple(random.standard_normal(n) for n in widths[1:])
    weights = tuple(random.standard_normal(sizes) for sizes in pairwise(widths))
    return Parameters(weights, biases), random.standard_normal((5, widths[0])), random.standard_normal((5, widths[-1]))


@pytest.mark.parametrize("bias", BIASES)
def test_all_that_goes_in_and_comes_out_is_converted(bias: Bias) -> None:
    structure = _structure(bias)
    parameters, x, y = _draw(structure)
    adapter = Framework()
    observed = adapter.program(structure)(parameters, np.asfortranarray(x), y)
    due = rule(structure.network, parameters, x, y)
    np.testing.assert_array_equal(observed.outputs, due.outputs)
    np.testing.assert_array_equal(observed.error, due.error)
    for got, part in (
        (observed.weight_gradients, due.weight_gradients),
        (observed.bias_gradients, due.bias_gradients),
        (observed.z, due.z),
        (observed.x, due.x[1:]),
        (observed.k, due.k),
    ):
        assert got is not None
        assert len(got) == len(part)
        for one, other in zip(got, part, strict=True):
            np.testing.assert_array_equal(one, other)
    weights, biases, shifts, *data = adapter.given
    assert [one.data.shape for one in shifts] == [(5, 2), (5, 4)]
    assert not any(one.data.any() for one in shifts)
    for tensor, array in zip((*weights, *biases, *data), (*parameters.weights, *parameters.biases, x, y), strict=True):
        assert tensor.data.flags.c_contiguous
        assert not np.shares_memory(tensor.data, array)


def test_what_a_framework_does_not_show_is_left_out() -> None:
    adapter = Framework()
    adapter.hides = True
    observed = adapter.program(_structure())(*_draw(_structure()))
    assert observed.z is None
    assert observed.k is None
    assert observed.x is not None


@pytest.mark.parametrize("bias", BIASES)
def test_the_forward_pass_is_that_of_the_rule(bias: Bias) -> None:
    structure = _structure(bias)
    parameters, x, y = _draw(structure)
    adapter = Framework()
    adapter.activations = {"tanh": np.tanh, "identity": lambda z: z}

    def layer(i: int, x: Array) -> Array:
        return x @ parameters.weights[i] + (parameters.biases[i] if bias == "pre" else 0)

    zs, xs = adapter.make_forward(structure)(layer, parameters.biases, x)
    due = rule(structure.network, parameters, x, y)
    for got, part in ((zs, due.z), (xs, due.x[1:])):
        for one, other in zip(got, part, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12)


def test_a_structure_that_is_not_declared_is_refused_before_it_is_made() -> None:
    with pytest.raises(NotImplementedError, match="by-hand has no activation relu"):
        Framework().build(Structure(Network((3, 2), ("relu",)), 5, "f64"))


def test_activations_by_name() -> None:
    module = SimpleNamespace(tanh=1, relu=2, other=3)
    found = functions_of(module, "tanh relu", sin=len)
    assert {name: found[name] for name in ("tanh", "relu", "sin")} == {"tanh": 1, "relu": 2, "sin": len}
    assert set(found) == {"identity", "tanh", "relu", "sin"} <= set(ACTIVATIONS)
    assert found["identity"](5) == 5
    assert functions_of(module, "", identity=len)["identity"] is len
    with pytest.raises(AttributeError, match="elu"):
        functions_of(module, "elu")


def test_flat_lists_are_cut_as_the_groups_are() -> None:
    assert regroup("abcde", [1, 2], [], [3, 4, 5]) == [["a", "b"], [], ["c", "d", "e"]]
    assert differentiate(lambda flat: [-one for one in flat], [1, 2], [], [3]) == [[-1, -2], [], [-3]]
