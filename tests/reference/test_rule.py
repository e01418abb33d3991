"""The rule against an oracle that does not use it: E as a function of its parameters, differentiated numerically."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import mpmath as mp
import numpy as np
import pytest
from numpy.typing import NDArray

from kterm.conformance.evaluation.accuracy.exact import EXACT, Mpf, to_mpf
from kterm.reference import (
    ACTIVATIONS,
    BIASES,
    Bias,
    Network,
    Parameters,
    Pass,
    backpropagate,
    descend,
    forward,
    rule,
)

Array = NDArray[Any]
Matrix = list[list[Mpf]]

WIDTHS = {1: (3, 2), 2: (2, 3, 2), 3: (2, 3, 2, 2), 5: (2, 2, 3, 2, 2, 2)}
BATCH = 2
IS_X87 = np.finfo(np.longdouble).nmant == 63


@dataclass(frozen=True)
class Drawn:
    network: Network
    parameters: Parameters
    x: Array
    y: Array

    def as_type(self, dtype: type) -> "Drawn":
        weights, biases = ([a.astype(dtype) for a in arrays] for arrays in vars(self.parameters).values())
        return Drawn(
            self.network, Parameters(tuple(weights), tuple(biases)), self.x.astype(dtype), self.y.astype(dtype)
        )

    def run(self) -> Pass:
        return backpropagate(self.network, self.parameters, self.x, self.y)


def draw(network: Network, batch: int = BATCH, stack: tuple[int, ...] = ()) -> Drawn:
    """Parameters and data in float64, exact in float32. No weight gradient is all zero, and no z is near a kink."""
    for seed in itertools.count():
        rng = np.random.default_rng(seed)

        def normal(*shape: int, rng: np.random.Generator = rng) -> Array:
            return rng.normal(size=(*stack, *shape)).astype(np.float32).astype(np.float64)

        parameters = Parameters(
            tuple(1.5 * normal(*shape) for shape in itertools.pairwise(network.widths)),
            tuple(normal(width) for width in network.widths[1:]) if network.bias != "none" else (),
        )
        drawn = Drawn(network, parameters, 2 * normal(batch, network.widths[0]), normal(batch, network.widths[-1]))
        done = drawn.run()
        if not batch or (all(gradient.any() for gradient in done.weight_gradients) and not _at_a_kink(network, done)):
            return drawn
    raise AssertionError


def _at_a_kink(network: Network, done: Pass) -> bool:
    # E has no derivative at a kink. If all units of a row are 0, the next z is exactly at the kink of relu.
    return any(
        (np.abs(z - kink.point) < 1e-3).any()
        for name, z in zip(network.activations, done.z, strict=True)
        for kink in ACTIVATIONS[name].kinks
    )


class Exact:
    """E, and its derivative by central differences at 50 digits with respect to parameters and pre-activations."""

    STEP = mp.mpf(10) ** -18

    def __init__(self, drawn: Drawn) -> None:
        self.network = drawn.network
        self.weights = [_matrix(weight) for weight in drawn.parameters.weights]
        self.biases = [[to_mpf(b) for b in bias] for bias in drawn.parameters.biases]
        self.y = _matrix(drawn.y)
        self.z: list[Matrix] = []
        self.x = [_matrix(drawn.x)]
        self.error = self._error_from(0, self.x[0], keep=True)

    def _pre_activation(self, layer: int, x: Matrix) -> Matrix:
        columns = list(zip(*self.weights[layer], strict=True))
        z = [[mp.fdot(row, column) for column in columns] for row in x]
        return self._biased(layer, z) if self.network.bias == "pre" else z

    def _activation(self, layer: int, z: Matrix) -> Matrix:
        f, _ = EXACT[self.network.activations[layer]]
        x = [[f(value) for value in row] for row in z]
        return self._biased(layer, x) if self.network.bias == "post" else x

    def _biased(self, layer: int, values: Matrix) -> Matrix:
        return [[value + b for value, b in zip(row, self.biases[layer], strict=True)] for row in values]

    def _error_from(self, layer: int, x: Matrix, keep: bool = False) -> Mpf:
        for i in range(layer, self.network.depth):
            z = self._pre_activation(i, x)
            x = self._activation(i, z)
            if keep:
                self.z.append(z)
                self.x.append(x)
        return (
            sum((a - b) ** 2 for row, aims in zip(x, self.y, strict=True) for a, b in zip(row, aims, strict=True)) / 2
        )

    def _slope(self, row: list[Mpf], index: int, error: Any) -> Mpf:
        own, errors = row[index], []
        for step in (self.STEP, -self.STEP):
            row[index] = own + step
            errors.append(error())
        row[index] = own
        return (errors[0] - errors[1]) / (2 * self.STEP)

    def weight_gradient(self, layer: int) -> Matrix:
        def error() -> Mpf:
            return self._error_from(layer, self.x[layer])

        return [[self._slope(row, i, error) for i in range(len(row))] for row in self.weights[layer]]

    def bias_gradient(self, layer: int) -> list[Mpf]:
        row = self.biases[layer]
        return [self._slope(row, i, lambda: self._error_from(layer, self.x[layer])) for i in range(len(row))]

    def k_term(self, layer: int) -> Matrix:
        z = self.z[layer]
        return [
            [
                self._slope(row, i, lambda: self._error_from(layer + 1, self._activation(layer, z)))
                for i in range(len(row))
            ]
            for row in z
        ]


def _matrix(array: Array) -> Matrix:
    return [[to_mpf(value) for value in row] for row in array]


def worst_departures(drawn: Drawn, exact: Exact, dtypes: tuple[type, ...]) -> list[float]:
    """For each dtype, the worst departure of any quantity relative to the largest entry of its tensor."""
    depth = drawn.network.depth
    truths: list[Any] = [[[exact.error]], *exact.z, *exact.x]
    truths += [exact.k_term(i) for i in range(depth)]
    truths += [exact.weight_gradient(i) for i in range(depth)]
    truths += [[exact.bias_gradient(i)] for i in range(len(exact.biases))]
    worst = []
    for dtype in dtypes:
        done = drawn.as_type(dtype).run()
        tensors = [done.error, *done.z, *done.x, *done.k, *done.weight_gradients, *done.bias_gradients]
        assert {tensor.dtype for tensor in tensors} == {np.dtype(dtype)}
        worst.append(max(_departure(*pair) for pair in zip(tensors, truths, strict=True)))
    return worst


def _departure(values: Array, truth: Matrix) -> float:
    flat = [entry for row in truth for entry in row]
    assert values.size == len(flat)
    largest = max(abs(entry) for entry in flat)
    error = max(abs(to_mpf(value) - entry) for value, entry in zip(values.ravel(), flat, strict=True))
    return float(error / largest) if largest else float(error)


@pytest.fixture(autouse=True)
def working_precision() -> Iterator[None]:
    with mp.workdps(50):
        yield


@pytest.mark.parametrize("depth", WIDTHS)
@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_gradient_is_that_of_the_error(name: str, bias: Bias, depth: int) -> None:
    drawn = draw(Network(WIDTHS[depth], (name,) * depth, bias))
    f32, f64, longdouble = worst_departures(drawn, Exact(drawn), (np.float32, np.float64, np.longdouble))
    assert f64 < 1e-13
    assert f32 < 1e-5
    assert longdouble < (1e-16 if IS_X87 else 1e-13)


@pytest.mark.parametrize("bias", BIASES)
def test_layers_may_differ(bias: Bias) -> None:
    drawn = draw(Network((3, 2, 4, 2), ("gelu", "leaky_relu", "softsign"), bias), batch=3)
    (f64,) = worst_departures(drawn, Exact(drawn), (np.float64,))
    assert f64 < 1e-13


def _without_hidden_slopes(network: Network, parameters: Parameters, z: tuple[Array, ...], residual: Array) -> Iterator:
    s = residual
    for i in reversed(range(network.depth)):
        last = i == network.depth - 1
        k = s * ACTIVATIONS[network.activations[i]].derivative(z[i]) if last else s
        yield k, s
        s = k @ parameters.weights[i].mT


def _with_untransposed_weights(
    network: Network, parameters: Parameters, z: tuple[Array, ...], residual: Array
) -> Iterator:
    s = residual
    for i in reversed(range(network.depth)):
        k = s * ACTIVATIONS[network.activations[i]].derivative(z[i])
        yield k, s
        s = k @ parameters.weights[i]


def _with_post_biases_inside(
    network: Network, parameters: Parameters, z: tuple[Array, ...], residual: Array
) -> Iterator:
    for k, _ in TRUE_K_TERMS(network, parameters, z, residual):
        yield k, k


TRUE_K_TERMS = rule.k_terms


@pytest.mark.parametrize(
    "mistake",
    [_without_hidden_slopes, _with_untransposed_weights, _with_post_biases_inside],
    ids=lambda f: f.__name__,
)
def test_a_mistake_in_the_rule_is_caught(mistake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = draw(Network((2, 2, 2), ("tanh", "sigmoid"), "post"))
    assert worst_departures(drawn, Exact(drawn), (np.float64,))[0] < 1e-13
    monkeypatch.setattr(rule, "k_terms", mistake)
    assert worst_departures(drawn, Exact(drawn), (np.float64,))[0] > 1e-2


def test_one_layer_of_sigmoids_by_hand() -> None:
    network = Network((3, 2), ("sigmoid",))
    parameters = Parameters((np.array([[1.0, 0], [1, 1], [1, 0]]),))
    (z,), (_, x) = forward(network, parameters, np.array([[1.0, 0, 1]]))
    np.testing.assert_array_equal(z, [[2, 0]])
    np.testing.assert_allclose(x, [[np.e**2 / (1 + np.e**2), 1 / 2]], rtol=4e-16)
    slope = ACTIVATIONS["sigmoid"].derivative(z)
    np.testing.assert_allclose(slope, [[np.e**-2 / (1 + np.e**-2) ** 2, 1 / 4]], rtol=8e-16)


@pytest.mark.parametrize("bias", BIASES)
def test_three_layers_by_hand(bias: Bias) -> None:
    # With small integers and slopes of 1/8 every step is exact. Biases are zero, so that only their gradients differ.
    weights = (
        np.array([[1.0, 0, 2, -1], [3, 1, 0, 2], [1, -2, 1, 0]]),
        np.array([[1.0, 0, -1], [0, 4, 8], [1, 1, 0], [8, 0, 8]]),
        np.array([[1.0, -1], [0, 2], [5, 1]]),
    )
    zeros = (np.zeros(4), np.zeros(3), np.zeros(2)) if bias != "none" else ()
    network = Network((3, 4, 3, 2), ("leaky_relu", "relu", "identity"), bias)
    parameters = Parameters(weights, zeros)
    done = backpropagate(network, parameters, np.array([[1.0, 0, 1]]), np.array([[1.0, 2]]))

    # z_1 = [1 0 1] W_1 is the sum of the first and the last row of W_1, and so on.
    expect(done.z, [[2, -2, 3, -1]], [[4, 2, -5]], [[4, 0]])
    expect(done.x, [[1, 0, 1]], [[2, -1 / 4, 3, -1 / 8]], [[4, 2, 0]], [[4, 0]])
    assert done.error == (3**2 + 2**2) / 2
    # x_3 - y = [3 -2]; [3 -2] W_3^T = [5 -4 13]; [5 -4 0] W_2^T = [5 -16 1 40]. Slopes: 1 1; 1 1 0; 1 1/8 1 1/8.
    expect(done.k, [[5, -2, 1, 5]], [[5, -4, 0]], [[3, -2]])
    expect(
        done.weight_gradients,
        [[5, -2, 1, 5], [0, 0, 0, 0], [5, -2, 1, 5]],
        [[10, -8, 0], [-5 / 4, 1, 0], [15, -12, 0], [-5 / 8, 1 / 2, 0]],
        [[12, -8], [6, -4], [0, 0]],
    )
    gradients = {
        "none": (),
        "pre": ([5, -2, 1, 5], [5, -4, 0], [3, -2]),
        "post": ([5, -16, 1, 40], [5, -4, 13], [3, -2]),
    }
    expect(done.bias_gradients, *gradients[bias])

    stepped = descend(parameters, done.weight_gradients, done.bias_gradients, 0.5)
    expect(
        stepped.weights,
        [[-1.5, 1, 1.5, -3.5], [3, 1, 0, 2], [-1.5, -1, 0.5, -2.5]],
        [[-4, 4, -1], [0.625, 3.5, 8], [-6.5, 7, 0], [8.3125, -0.25, 8]],
        [[-5, 3], [-3, 4], [5, 1]],
    )
    expect(stepped.biases, *([-g / 2 for g in gradient] for gradient in gradients[bias]))


def expect(arrays: tuple[Array, ...], *rows: Any) -> None:
    assert len(arrays) == len(rows)
    for array, row in zip(arrays, rows, strict=True):
        np.testing.assert_array_equal(array, row, strict=False)
        assert array.shape == np.shape(row)


def test_three_layers_of_sigmoids_step_by_step() -> None:
    w1 = np.array([[0.5, -1, 0.25, 2], [1, 0.5, -0.5, 1], [-0.25, 1, 0.75, -1]])
    w2 = np.array([[1, -0.5, 0.5], [0.25, 1, -1], [-1, 0.5, 0.75], [0.5, -0.75, 1]])
    w3 = np.array([[1, -1], [0.5, 0.25], [-0.75, 0.5]])
    x0, y = np.array([[1.0, 0, 1]]), np.array([[0.25, 0.75]])

    def s(z: Array) -> Array:
        return 1 / (1 + np.exp(-z))

    x1 = s(np.array([[sum(x0[0, j] * w1[j, i] for j in range(3)) for i in range(4)]]))
    x2 = s(np.array([[sum(x1[0, j] * w2[j, i] for j in range(4)) for i in range(3)]]))
    x3 = s(np.array([[sum(x2[0, j] * w3[j, i] for j in range(3)) for i in range(2)]]))
    k3 = [(x3[0, i] - y[0, i]) * x3[0, i] * (1 - x3[0, i]) for i in range(2)]
    k2 = [sum(k3[j] * w3[i, j] for j in range(2)) * x2[0, i] * (1 - x2[0, i]) for i in range(3)]
    k1 = [sum(k2[j] * w2[i, j] for j in range(3)) * x1[0, i] * (1 - x1[0, i]) for i in range(4)]

    parameters = Parameters((w1, w2, w3))
    done = backpropagate(Network((3, 4, 3, 2), ("sigmoid",) * 3), parameters, x0, y)
    near(done.outputs, x3)
    near(done.error, ((x3[0, 0] - 0.25) ** 2 + (x3[0, 1] - 0.75) ** 2) / 2)
    stepped = descend(parameters, done.weight_gradients, done.bias_gradients, 0.1)
    for i, (x, k) in enumerate(((x0, k1), (x1, k2), (x2, k3))):
        near(done.k[i], [k])
        gradient = [[x[0, row] * k[column] for column in range(len(k))] for row in range(x.shape[1])]
        near(done.weight_gradients[i], gradient)
        near(stepped.weights[i], parameters.weights[i] - 0.1 * np.array(gradient))


def near(value: Array, expected: Any) -> None:
    np.testing.assert_allclose(value, expected, rtol=1e-13, atol=1e-18)


STACKED = [(1, 1), (3, 1, 2), (4, 7, 1), (5, 5, 5), (2, 33, 17, 3)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("batch", [0, 1, 2, 9, 33])
@pytest.mark.parametrize("widths", STACKED, ids=str)
@pytest.mark.parametrize("bias", BIASES)
def test_a_stack_gives_the_bits_of_one_at_a_time(bias: Bias, widths: tuple[int, ...], batch: int, dtype: type) -> None:
    names = tuple(itertools.islice(itertools.cycle(("tanh", "gelu", "silu")), len(widths) - 1))
    drawn = draw(Network(widths, names, bias), batch, stack=(2, 3)).as_type(dtype)
    whole = drawn.run()
    for at in np.ndindex(2, 3):
        weights, biases = (tuple(a[at] for a in arrays) for arrays in vars(drawn.parameters).values())
        one = Drawn(drawn.network, Parameters(weights, biases), drawn.x[at], drawn.y[at]).run()
        for field, arrays in vars(one).items():
            stacked = getattr(whole, field)
            if field == "error":
                arrays, stacked = (arrays,), (stacked,)
            for a, b in zip(arrays, stacked, strict=True):
                np.testing.assert_array_equal(a, b[at])
                assert a.shape == b[at].shape


@pytest.mark.parametrize("bias", BIASES)
def test_a_stack_of_inputs_shares_parameters(bias: Bias) -> None:
    drawn = draw(Network((3, 4, 2), ("softplus", "sin"), bias))
    x = np.stack([drawn.x, -drawn.x, drawn.x + 1])
    whole = backpropagate(drawn.network, drawn.parameters, x, drawn.y)
    for i in range(3):
        one = backpropagate(drawn.network, drawn.parameters, x[i], drawn.y)
        for a, b in zip(
            one.weight_gradients + one.bias_gradients, whole.weight_gradients + whole.bias_gradients, strict=True
        ):
            np.testing.assert_array_equal(a, b[i])


@pytest.mark.parametrize("bias", BIASES)
def test_an_empty_batch_has_zero_gradients(bias: Bias) -> None:
    drawn = draw(Network((3, 4, 2), ("tanh", "mish"), bias), batch=0)
    done = drawn.run()
    assert done.error == 0
    assert [z.shape for z in done.z] == [(0, 4), (0, 2)]
    assert [g.shape for g in done.weight_gradients] == [(3, 4), (4, 2)]
    assert not any(gradient.any() for gradient in done.weight_gradients + done.bias_gradients)
    expect(
        descend(drawn.parameters, done.weight_gradients, done.bias_gradients, 1.0).weights, *drawn.parameters.weights
    )


@pytest.mark.parametrize("bias", BIASES)
def test_descent_lowers_the_error_and_keeps_the_dtype(bias: Bias) -> None:
    drawn = draw(Network((3, 4, 2), ("tanh", "identity"), bias)).as_type(np.float32)
    parameters, errors = drawn.parameters, []
    for _ in range(20):
        done = backpropagate(drawn.network, parameters, drawn.x, drawn.y)
        errors.append(float(done.error))
        parameters = descend(parameters, done.weight_gradients, done.bias_gradients, 1e-3)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0]
    assert {a.dtype for a in parameters.weights + parameters.biases} == {np.dtype(np.float32)}


def test_inputs_are_left_as_they_were() -> None:
    drawn = draw(Network((3, 4, 2), ("identity", "relu"), "post"))
    for array in (*drawn.parameters.weights, *drawn.parameters.biases, drawn.x, drawn.y):
        array.flags.writeable = False
    done = drawn.run()
    descend(drawn.parameters, done.weight_gradients, done.bias_gradients, 0.1)
    assert not np.shares_memory(done.x[1], done.z[0])
