"""Literals give back the bits of an array, and comments fit on their lines."""

import numpy as np
import pytest

from kterm.conformance.failures.scripts.literals import (
    format_array,
    format_comment,
    format_number,
    round_tolerance,
    unbroken,
    wrap_text,
)
from kterm.reference import DTYPES, Array


@pytest.mark.parametrize("dtype", ["f64", "f32", "f16", "bf16"])
def test_literals_give_back_the_bits(dtype: str) -> None:
    kind = DTYPES[dtype].numpy
    random = np.random.Generator(np.random.Philox(1))
    bits = random.integers(0, 256, size=(4096, kind.itemsize), dtype=np.uint8)
    numbers = bits.view(kind).reshape(-1)
    with np.errstate(invalid="ignore"):
        numbers = numbers[np.isfinite(numbers.astype(np.float64))]
    count = len(numbers) // 12 * 12
    arrays: list[Array] = [numbers, numbers[:count].reshape(-1, 12), numbers[:6].reshape(2, 3), numbers[:3]]
    arrays += [numbers[0], numbers[:0].reshape(0, 4), -np.zeros(2, kind)]
    for array in map(np.asarray, arrays):
        source = format_array(array)
        back = eval(source, {"np": np})
        assert back.shape == array.shape
        assert back.astype(kind).tobytes() == array.tobytes()
        assert max(map(len, source.splitlines())) <= 112


def test_infinities_and_nan_are_numpys() -> None:
    assert np.array_equal(eval(format_array(np.array([np.inf, -np.inf])), {"np": np}), [np.inf, -np.inf])
    assert format_number(np.float32(np.nan)) == "np.nan"


def test_a_tolerance_has_three_digits() -> None:
    assert np.array_equal(round_tolerance(np.array([[1.23456e-7, np.inf]])), np.array([[1.23e-7, np.inf]]))


def test_comments_fit_and_keep_their_lines() -> None:
    text = format_comment("first " * 40 + "\n    " + "second " * 30)
    lines = text.splitlines()
    assert all(line.startswith("# ") and len(line) <= 116 for line in lines)
    assert any(line.startswith("#         second") for line in lines)
    assert "a b" not in wrap_text("a b", 1)
    assert wrap_text(unbroken("a b"), 1) == "a b"


@pytest.mark.parametrize(
    ("array", "source"),
    [
        (np.zeros((2, 3)), "np.zeros((2, 3), np.float64)"),
        (np.ones(4, np.float32), "np.ones(4, np.float32)"),
        (np.full((2, 2), -0.5), "np.full((2, 2), -0.5, np.float64)"),
        (np.full((3, 2), np.inf), "np.full((3, 2), np.inf, np.float64)"),
        (-np.zeros((2, 2)), "np.full((2, 2), -0.0, np.float64)"),
        (np.zeros((1, 2)), "np.array([[0.0, 0.0]], np.float64)"),
    ],
)
def test_equal_numbers_are_written_short(array: Array, source: str) -> None:
    assert format_array(array) == source
    assert eval(source, {"np": np}).tobytes() == array.tobytes()


def test_zeros_of_both_signs_are_not_equal() -> None:
    array = np.array([0.0, -0.0, 0.0, 0.0])
    assert eval(format_array(array), {"np": np}).tobytes() == array.tobytes()
