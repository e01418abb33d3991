"""What the figures show: errors of frameworks in σ, and how errors and tolerances grow with the length of a sum."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from kterm.adapters.quantities import arrays
from kterm.adapters.registry import load
from kterm.conformance.cases.case import Group
from kterm.conformance.cases.description import describe
from kterm.conformance.cases.draw import make_draws
from kterm.conformance.cases.plan import make_options, plan
from kterm.conformance.runners.runner import Answer, LocalRunner
from kterm.reference import Array, Network, Parameters, Structure
from kterm.reference.error_model import bound, deviation
from kterm.reference.propagation import Quantity, Shown, propagate

SYMBOLS = {"z": "z", "x": "x", "k": "k", "W": "∂E/∂W", "b": "∂E/∂b"}
"""The quantities of the histogram, as they are called in a figure."""
EDGES = np.linspace(-6, 6, 49)
"""The edges of the bins, in σ."""
LENGTHS = tuple(2**i for i in range(15))
BATCHES = tuple(2**i for i in range(13))
_DRAWS = 40

Row = dict[str, Any]
"""A row of a figure's data: plain strings and numbers."""


def histogram(adapters: Sequence[str], seed: int) -> list[Row]:
    """How often each error in σ occurs, as a density, by adapter and quantity: in all cases of the regime `normal` of
    the quick profile, in f32. Errors of 0 are left out of the density; `exact` is their share.
    """
    rows: list[Row] = []
    for name in adapters:
        found: dict[str, list[Array]] = {symbol: [] for symbol in SYMBOLS}
        runner = LocalRunner(load(name, None), name)
        options = make_options("quick", seed, dtypes=("f32",), regimes=("normal",))
        for group in plan(describe(load(name, None), name), options).groups:
            if group.regime == "normal":
                for symbol, ratio in _ratios(runner, group):
                    found[symbol].append(ratio)
        for symbol, parts in found.items():
            whole = np.concatenate(parts)
            inexact = whole[whole != 0]
            counts, _ = np.histogram(inexact, EDGES)
            for left, count in zip(EDGES[:-1], counts, strict=True):
                density = count / len(inexact) / (EDGES[1] - EDGES[0])
                rows.append({"adapter": name, "quantity": SYMBOLS[symbol], "sigma": float(left), "density": density})
            rows[-1] |= {
                "entries": len(whole),
                "exact": 1 - len(inexact) / len(whole),
                "largest": float(np.abs(whole).max()),
            }
    return rows


def _ratios(runner: LocalRunner, group: Group) -> Iterator[tuple[str, Array]]:
    """(symbol, errors in σ) of each quantity of the cases of a group, where σ is finite and f' does not jump."""
    runner.build(group.structure)
    draws = make_draws(group.cases)
    for i in range(len(group.draws)):
        if not draws.dead[i]:
            draw = draws[i]
            for step, _, view in _steps(runner, group.structure, draw.parameters, draw.x, draw.y):
                error, jump = step.estimate.error, step.estimate.jump
                if step.symbol in SYMBOLS and error is not None:
                    usable = (
                        np.isfinite(error) & (error > 0) & np.isfinite(view) & (True if jump is None else jump == 0)
                    )
                    yield step.symbol, ((view - step.estimate.value)[usable] / error[usable]).ravel()


def _steps(
    runner: LocalRunner, structure: Structure, parameters: Parameters, x: Array, y: Array
) -> Iterator[tuple[Quantity, Quantity, Array]]:
    """Every quantity that the framework shows: by deviations, by bounds, and what the framework gives, in float64."""
    answer = runner.call("normal", parameters, x, y)
    assert isinstance(answer, Answer)
    assert answer.observation is not None
    views = arrays(answer.observation)
    depth, wide = structure.network.depth, np.dtype(np.float64)
    views[f"x_{depth}"] = views["outputs"]
    shown = Shown(*(tuple(views.get(f"{symbol}_{i}") for i in range(1, depth + 1)) for symbol in "zxk"))
    given = Parameters(
        tuple(w.astype(wide) for w in parameters.weights), tuple(b.astype(wide) for b in parameters.biases)
    )
    both = [
        propagate(structure.network, given, x.astype(wide), y.astype(wide), reading(structure.format), shown)
        for reading in (deviation, bound)
    ]
    for step, worst in zip(*both, strict=True):
        if step.name in views:
            yield step, worst, views[step.name].astype(wide)


def sums(adapters: Sequence[str], lengths: Sequence[int], seed: int) -> list[Row]:
    """Errors and tolerances of z, a sum of n products, against n, in f32."""
    rows: list[Row] = []
    for terms, low, high in (("terms of both signs", -1.0, 1.0), ("terms of one sign", 0.0, 1.0)):
        for name in adapters:
            for n in lengths:
                structure = Structure(Network((n, 8), ("identity",), "none"), 8, "f32")
                rng = np.random.default_rng([seed, n])
                made = (
                    (Parameters((_draw(rng, low, high, (n, 8)),)), _draw(rng, low, high, (8, n)), _zeros(8, 8))
                    for _ in range(_DRAWS)
                )
                rows.append(_growth(name, structure, "z_1", made) | {"terms": terms, "length": n})
    return rows


def batches(adapters: Sequence[str], sizes: Sequence[int], seed: int) -> list[Row]:
    """Errors and tolerances of dE/dW_1, a sum over the batch, against the size of the batch, in f32."""
    rows: list[Row] = []
    for name in adapters:
        for size in sizes:
            structure = Structure(Network((8, 8, 4), ("tanh", "identity"), "pre"), size, "f32")
            rng = np.random.default_rng([seed, size])
            made = (
                (
                    Parameters(
                        (_draw(rng, -1, 1, (8, 8)), _draw(rng, -1, 1, (8, 4))),
                        (_draw(rng, -1, 1, (8,)), _draw(rng, -1, 1, (4,))),
                    ),
                    _draw(rng, -1, 1, (size, 8)),
                    _draw(rng, -1, 1, (size, 4)),
                )
                for _ in range(_DRAWS)
            )
            rows.append(_growth(name, structure, "dE/dW_1", made) | {"terms": "∂E/∂W over a batch", "length": size})
    return rows


def _draw(rng: np.random.Generator, low: float, high: float, shape: tuple[int, ...]) -> Array:
    return rng.uniform(low, high, shape).astype(np.float32)


def _zeros(*shape: int) -> Array:
    return np.zeros(shape, np.float32)


def _growth(name: str, structure: Structure, quantity: str, made: Iterator[tuple[Parameters, Array, Array]]) -> Row:
    """Of one quantity in several calls: the root of the mean square of its errors, the largest one, and the mean σ,
    tolerance and bound, each in units of u times the root of the mean square of the value.
    """
    runner = LocalRunner(load(name, None), name)
    runner.build(structure)
    errors, sigmas, bounds, values = ([] for _ in range(4))
    for parameters, x, y in made:
        for step, worst, view in _steps(runner, structure, parameters, x, y):
            if step.name == quantity:
                assert step.estimate.error is not None
                assert worst.estimate.error is not None
                values.append(step.estimate.value)
                errors.append(view - step.estimate.value)
                sigmas.append(step.estimate.error)
                bounds.append(worst.estimate.error)
    unit = structure.format.u * _rms(values)
    reading = deviation(structure.format)
    return {
        "adapter": name,
        "rms": _rms(errors) / unit,
        "largest": float(np.abs(errors).max()) / unit,
        "sigma": _rms(sigmas) / unit,
        "tolerance": reading.kappa * _rms(sigmas) / unit,
        "bound": _rms(bounds) / unit,
    }


def _rms(parts: Sequence[Array]) -> float:
    return float(np.sqrt(np.mean(np.square(parts))))
