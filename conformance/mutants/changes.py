"""Changes of a step that several mutants make."""

from collections.abc import Callable

from ...reference.steps import Change, Work


def scaled(factor: float | Callable[[Work, int], float]) -> Change:
    """What is right, times a number."""
    return lambda w, i, right: right() * (factor(w, i) if callable(factor) else factor)


def rows_alone(chosen: slice) -> Change:
    """Only some rows of the batch are summed up in the weight gradient."""
    return lambda w, i, right: w.x[i - 1][..., chosen, :].mT @ w.k[i][..., chosen, :]
