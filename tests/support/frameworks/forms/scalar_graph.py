"""A scalar-graph engine: every number is a node of its own, so that a wide network takes seconds."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kterm.adapters import Adapter, Limits, Observation, Program
from kterm.reference import Array, Parameters, Structure


class Node:
    """A number, the nodes that it was made of, and its derivative with respect to each."""

    def __init__(self, value: float, *made_of: tuple["Node", float]) -> None:
        self.value, self.made_of, self.gradient = value, made_of, 0.0

    def __add__(self, other: "Node") -> "Node":
        return Node(self.value + other.value, (self, 1.0), (other, 1.0))

    def __mul__(self, other: "Node") -> "Node":
        return Node(self.value * other.value, (self, other.value), (other, self.value))

    def tanh(self) -> "Node":
        value = math.tanh(self.value)
        return Node(value, (self, (1 - value) * (1 + value)))

    def relu(self) -> "Node":
        return Node(max(self.value, 0.0), (self, float(self.value > 0)))

    def backward(self) -> None:
        """Set the gradient of every node that this one was made of."""
        order: list[Node] = []
        seen: set[Node] = set()
        waiting = [(self, False)]
        while waiting:
            node, is_done = waiting.pop()
            if is_done:
                order.append(node)
            elif node not in seen:
                seen.add(node)
                waiting += [(node, True), *((child, False) for child, _ in node.made_of)]
        self.gradient = 1.0
        for node in reversed(order):
            for child, slope in node.made_of:
                child.gradient += slope * node.gradient


def _nodes(array: Array) -> Any:
    return [_nodes(row) for row in array] if array.ndim else Node(float(array))


def _gradients(nodes: Any) -> Array:
    return np.array([[node.gradient for node in row] for row in nodes] if isinstance(nodes[0], list) else
                    [node.gradient for node in nodes])  # fmt: skip


class ScalarGraph(Adapter):
    """Every unit is a list of nodes and has a bias. A 64-wide layer takes seconds: see `limits`."""

    name = "scalar-graph"
    version = "1.0"
    dtypes = ("f64",)
    biases = ("pre",)
    limits = Limits(width=8, batch=6, depth=4, least_batch=1, speed=100_000, call_seconds=0.5, run_seconds=4)
    activations = {"identity": lambda z: z, "tanh": Node.tanh, "relu": Node.relu}  # noqa: RUF012  (declared by the base)

    def build(self, structure: Structure) -> Program:
        functions = self.functions(structure)

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            weights = [_nodes(weight) for weight in parameters.weights]
            biases = [_nodes(bias) for bias in parameters.biases]
            rows, minus_targets = _nodes(x), _nodes(-y)
            for weight, bias, function in zip(weights, biases, functions, strict=True):
                rows = [_layer(row, weight, bias, function) for row in rows]
            residuals = [a + b for row, targets in zip(rows, minus_targets, strict=True)
                         for a, b in zip(row, targets, strict=True)]  # fmt: skip
            error = Node(0.5) * _add(r * r for r in residuals)
            error.backward()
            return Observation(
                np.array([[node.value for node in row] for row in rows]),
                np.array(error.value),
                tuple(map(_gradients, weights)),
                tuple(map(_gradients, biases)),
            )

        return program


def _layer(row: Sequence[Node], weight: Any, bias: Any, function: Callable[[Node], Node]) -> list[Node]:
    columns = range(len(bias))
    return [function(bias[j] + _add(n * w[j] for n, w in zip(row, weight, strict=True))) for j in columns]


def _add(nodes: Any) -> Node:
    first, *others = nodes
    for node in others:
        first = first + node
    return first
