"""Frameworks that are right up to rounding and do not repeat themselves bit for bit, each in one way."""

import os
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from kterm.adapters import Observation, Program
from kterm.adapters.numpy_adapter import Numpy
from kterm.reference import ACTIVATIONS, Array, Network, Parameters, Structure, k_terms

Order = Callable[[int], Array]


def _one_row(network: Network, parameters: Parameters, x: Array, y: Array, order: Order) -> Observation:
    """The rule for a batch of one, with biases inside. `order` gives the order of the n terms of a forward sum."""
    zs, xs = list[Array](), [x]
    for name, weight, bias in zip(network.activations, parameters.weights, parameters.biases, strict=True):
        at = order(len(weight))
        zs.append(xs[-1][:, at] @ weight[at] + bias)
        xs.append(ACTIVATIONS[name].f(zs[-1]))
    terms = list(k_terms(network, parameters, tuple(zs), xs[-1] - y))[::-1]
    ks = tuple(k for k, _ in terms)
    gradients = tuple(x.T @ k for x, k in zip(xs[:-1], ks, strict=True))
    error = np.asarray(np.square(xs[-1] - y).sum() / 2).astype(x.dtype)
    return Observation(xs[-1], error, gradients, tuple(k[0] for k in ks), tuple(zs), tuple(xs[1:]), ks)


def _together(rows: list[Observation]) -> Observation:
    """The observations of rows as that of their batch."""
    dtype = rows[0].outputs.dtype

    def stacked(name: str) -> tuple[Array, ...]:
        return tuple(np.concatenate(each) for each in zip(*(getattr(row, name) for row in rows), strict=True))

    def summed(name: str) -> tuple[Array, ...]:
        each = zip(*(getattr(row, name) for row in rows), strict=True)
        return tuple(np.add.reduce(some).astype(dtype) for some in each)

    error = np.asarray(np.add.reduce([row.error for row in rows])).astype(dtype)
    x = stacked("x")
    return Observation(
        x[-1], error, summed("weight_gradients"), summed("bias_gradients"), stacked("z"), x, stacked("k")
    )


class OneByOne(Numpy):
    """Each row is computed alone, so that it has the same bits in every batch."""

    name = "one-by-one"
    biases = ("pre",)

    def build(self, structure: Structure) -> Program:
        network = structure.network

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            order = self.order(len(x))
            rows = range(len(x))
            return _together([_one_row(network, parameters, x[i : i + 1], y[i : i + 1], order) for i in rows])

        return program

    def order(self, batch: int) -> Order:
        """The order of sums in a call."""
        return np.arange


class OrderOfBatch(OneByOne):
    """The order of sums depends on the size of the batch."""

    name = "order-of-batch"

    def order(self, batch: int) -> Order:
        return _reversed if batch == 1 else np.arange


class OrderOfProcess(OneByOne):
    """The order of sums depends on the process, as that of a set of objects does."""

    name = "order-of-process"

    def order(self, batch: int) -> Order:
        return lambda n: np.random.default_rng(os.getpid()).permutation(n)


class OrderOfCall(OneByOne):
    """The order of sums is another one in each call, as of atomic additions."""

    name = "order-of-call"

    def __init__(self, device: str = "cpu") -> None:
        super().__init__(device)
        self.calls = 0

    def order(self, batch: int) -> Order:
        self.calls += 1
        return _reversed if self.calls % 2 else np.arange


def _reversed(n: int) -> Array:
    return np.arange(n)[::-1]


class NegativeZeros(OneByOne):
    """Every second answer has -0.0 for 0.0 in its outputs."""

    name = "negative-zeros"
    activations = {"relu": ACTIVATIONS["relu"].f}  # noqa: RUF012

    def build(self, structure: Structure) -> Program:
        program, calls = super().build(structure), list[int]()

        def alternating(parameters: Parameters, x: Array, y: Array) -> Observation:
            calls.append(0)
            observed = program(parameters, x, y)
            zero = np.where(observed.outputs == 0, -0.0, observed.outputs).astype(x.dtype)
            return replace(observed, outputs=zero) if len(calls) % 2 else observed

        return alternating
