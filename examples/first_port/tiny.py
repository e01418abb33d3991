"""A small framework to be validated: dense layers that hold their weights and add up their gradients."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

ACTIVATIONS: Mapping[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "linear": (lambda z: z, np.ones_like),
    "tanh": (np.tanh, lambda z: (1 - np.tanh(z)) * (1 + np.tanh(z))),
    "softplus": (lambda z: np.log(1 + np.exp(z)), lambda z: 1 / (1 + np.exp(-z))),
}
"""Each activation and its derivative."""


class Dense:
    """A layer of shape (outputs, inputs) with biases."""

    def __init__(self, inputs: int, outputs: int, activation: str) -> None:
        self.f, self.slope = ACTIVATIONS[activation]
        self.weight, self.bias = np.zeros((outputs, inputs)), np.zeros(outputs)
        self.clear()

    def clear(self) -> None:
        self.weight_grad, self.bias_grad = np.zeros_like(self.weight), np.zeros_like(self.bias)

    def forward(self, x: Any) -> Any:
        self.x, self.z = x, x @ self.weight.T + self.bias
        return self.f(self.z)

    def backward(self, gradient: Any) -> Any:
        k = gradient * self.slope(self.z)
        self.weight_grad += k.T @ self.x
        self.bias_grad += k.sum(0)
        return k @ self.weight


def mse(outputs: Any, targets: Any) -> tuple[Any, Any]:
    """The mean squared error over all entries, and its gradient."""
    difference = outputs - targets
    return np.mean(difference**2), 2 * difference / difference.size


def backprop(layers: Sequence[Dense], x: Any, y: Any) -> tuple[Any, Any]:
    """Run layers forward and backward; gives the outputs and the loss."""
    outputs = x
    for layer in layers:
        outputs = layer.forward(outputs)
    loss, gradient = mse(outputs, y)
    for layer in reversed(layers):
        gradient = layer.backward(gradient)
    return outputs, loss
