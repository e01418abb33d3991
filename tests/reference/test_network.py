"""Invalid networks and arrays are refused, and the message names the argument, what it is and what it should be."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from kterm.reference import Network, Parameters, Structure, backpropagate, validate

NETWORK = Network((3, 4, 2), ("tanh", "relu"), "pre")


def zeros(*shape: int, dtype: Any = np.float64) -> Any:
    return np.zeros(shape, dtype)


def test_a_network_takes_lists_and_counts_its_layers() -> None:
    network: Any = Network([3, np.int64(4)], ["tanh"])  # pyright: ignore[reportArgumentType]
    assert network == Network((3, 4), ("tanh",), "none")
    assert network.depth == 1
    assert hash(network) == hash(Network((3, 4), ("tanh",)))


@pytest.mark.parametrize(
    ("widths", "activations", "bias", "message"),
    [
        ((), (), "none", r"widths: \(\) has no layer; give at least an input and an output width"),
        ((3,), (), "none", r"widths: \(3,\) has no layer"),
        ((3, -1), ("tanh",), "none", r"widths: \(3, -1\) holds -1; every width must be an integer of at least 0"),
        ((3, -1), ("tanh",), "none", r"widths: .* holds -1"),
        ((3, 2.0), ("tanh",), "none", r"widths: .* holds 2\.0"),
        ((3, True), ("tanh",), "none", r"widths: .* holds True"),
        (("3", 2), ("tanh",), "none", r"widths: .* holds '3'"),
        ((3, 2), (), "none", r"activations: 0 given for 1 layers; give one name per layer"),
        ((3, 2), ("tanh", "tanh"), "none", r"activations: 2 given for 1 layers"),
        ((3, 2), ("tahn",), "none", r"activations: unknown 'tahn'; known are identity, .*tanh"),
        ((3, 2), ("tanh",), "both", r"bias: 'both' should be one of none, pre, post"),
        ((3, 2), ("tanh",), None, r"bias: None should be one of none, pre, post"),
    ],
)
def test_a_network_that_cannot_be_is_refused(widths: Any, activations: Any, bias: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        Network(widths, activations, bias)


@pytest.mark.parametrize(
    ("batch", "dtype", "message"),
    [
        (-1, "f32", r"batch: -1 should be an integer of at least 0"),
        (2.0, "f32", r"batch: 2\.0 should be an integer"),
        (True, "f32", r"batch: True should be an integer"),
        (2, "float32", r"dtype: 'float32' should be one of f64, f32, bf16, f16"),
    ],
)
def test_a_structure_that_cannot_be_is_refused(batch: Any, dtype: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        Structure(NETWORK, batch, dtype)


def test_a_structure_knows_its_format() -> None:
    assert Structure(NETWORK, 0, "bf16").format.numpy == ml_dtypes.bfloat16


FITTING: dict[str, Any] = {
    "weights": (zeros(3, 4), zeros(4, 2)),
    "biases": (zeros(4), zeros(2)),
    "x": zeros(5, 3),
    "y": zeros(5, 2),
}


def check(changed: dict[str, Any], network: Network = NETWORK) -> None:
    given = FITTING | changed
    validate(network, Parameters(given["weights"], given["biases"]), given["x"], given["y"])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"weights": (zeros(3, 4),)}, r"weights: 1 given for 2 layers; give one matrix per layer"),
        ({"weights": (zeros(3, 4), zeros(2, 4))}, r"weights\[1\]: has shape \(2, 4\); it should be \(4, 2\)"),
        ({"weights": (zeros(4), zeros(4, 2))}, r"weights\[0\]: has shape \(4,\); it should be \(3, 4\)"),
        ({"weights": (zeros(), zeros(4, 2))}, r"weights\[0\]: has shape \(\); it should be \(3, 4\)"),
        ({"biases": ()}, r"biases: 0 given where bias placement 'pre' needs 2"),
        ({"biases": (zeros(4), zeros(3))}, r"biases\[1\]: has shape \(3,\); it should be \(2,\)"),
        ({"biases": (zeros(4), zeros())}, r"biases\[1\]: has shape \(\); it should be \(2,\)"),
        ({"x": zeros(5, 4)}, r"x: has shape \(5, 4\); it should be \(batch, 3\)"),
        ({"x": zeros(3)}, r"x: has shape \(3,\); it should be \(batch, 3\)"),
        ({"y": zeros(5, 3)}, r"y: has shape \(5, 3\); it should be \(5, 2\)"),
        ({"y": zeros(4, 2)}, r"y: has shape \(4, 2\); it should be \(5, 2\)"),
        ({"y": zeros(1, 2)}, r"y: has shape \(1, 2\); it should be \(5, 2\)"),
        ({"y": zeros(2)}, r"y: has shape \(2,\); it should be \(5, 2\)"),
        ({"y": zeros(5, 1)}, r"y: has shape \(5, 1\); it should be \(5, 2\)"),
        ({"x": zeros(5, 3, dtype=int)}, r"x: has dtype int64; it should be a floating-point dtype"),
        ({"x": zeros(5, 3, dtype=complex)}, r"x: has dtype complex128; it should be a floating-point dtype"),
        ({"y": zeros(5, 2, dtype=int)}, r"y: has dtype int64; it should be that of x, float64"),
        (
            {"biases": (zeros(4), zeros(2, dtype="f4"))},
            r"biases\[1\]: has dtype float32; it should be that of x, float64",
        ),
        (
            {"weights": (zeros(3, 4, dtype="f4"), zeros(4, 2))},
            r"weights\[0\]: has dtype float32; it should be that of x, float64",
        ),
        (
            {"weights": (zeros(6, 3, 4), zeros(7, 4, 2))},
            r"weights\[1\]: has leading axes \(7,\); they should broadcast with \(6,\)",
        ),
        (
            {"weights": (zeros(6, 3, 4), zeros(6, 4, 2)), "biases": (zeros(2, 4), zeros(2))},
            r"biases\[0\]: has leading axes \(2,\); they should broadcast with \(6,\)",
        ),
        (
            {"weights": (zeros(6, 3, 4), zeros(4, 2)), "x": zeros(5, 5, 3)},
            r"x: has leading axes \(5,\); they should broadcast with \(6,\)",
        ),
        ({"x": zeros(6, 5, 3), "y": zeros(4, 5, 2)}, r"y: has leading axes \(4,\); they should broadcast with \(6,\)"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        check(changed)


def test_biases_without_a_placement_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^biases: 2 given where bias placement 'none' needs 0$"):
        check({}, Network(NETWORK.widths, NETWORK.activations))


def test_the_rule_validates() -> None:
    with pytest.raises(ValueError, match=r"^y: has shape"):
        backpropagate(NETWORK, Parameters(FITTING["weights"], FITTING["biases"]), FITTING["x"], zeros(5, 3))


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"x": zeros(0, 3), "y": zeros(0, 2)},
        {"x": zeros(6, 5, 3)},
        {"x": zeros(6, 5, 3), "y": zeros(6, 5, 2)},
        {"weights": (zeros(6, 3, 4), zeros(6, 4, 2))},
        {"weights": (zeros(2, 1, 3, 4), zeros(4, 2)), "x": zeros(6, 5, 3), "y": zeros(2, 6, 5, 2)},
        {"y": None},
    ],
)
def test_what_fits_is_taken(changed: dict[str, Any]) -> None:
    check(changed)


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16, np.float32, np.longdouble])
def test_every_floating_point_dtype_is_taken(dtype: Any) -> None:
    check(
        {
            name: tuple(a.astype(dtype) for a in v) if isinstance(v, tuple) else v.astype(dtype)
            for name, v in FITTING.items()
        }
    )
