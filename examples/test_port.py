"""Conformance tests for a framework's own repository, with the NumPy adapter instead of the port's own."""

from collections.abc import Callable

import pytest

from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance import check_adapter, parametrize_with_cases


@parametrize_with_cases(Numpy(), profile="quick", draws=2)
def test_gradients(check: Callable[[], None]) -> None:
    check()


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_conforms(dtype: str) -> None:
    results = check_adapter(Numpy(), profile="quick", seed=1, dtypes=[dtype])
    assert results.conforms, str(results)
