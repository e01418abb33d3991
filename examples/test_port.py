"""Conformance tests for a framework's own repository. NumPy stands for the framework here."""

from collections.abc import Callable

import pytest

from kterm import check_adapter, parametrize_with_cases
from kterm.adapters.numpy_adapter import Numpy


@parametrize_with_cases(Numpy(), profile="quick", draws=2)
def test_gradients(check: Callable[[], None]) -> None:
    check()


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_conforms(dtype: str) -> None:
    results = check_adapter(Numpy(), profile="quick", seed=1, dtypes=[dtype])
    results.raise_if_failed()
