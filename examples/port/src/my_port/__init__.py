"""A framework of two functions, which stands for yours: a dense layer and its backward pass."""

import numpy as np


def dense(x, w, b):
    """x w + b."""
    return x @ w + b


def dense_backward(x, w, k):
    """The gradients of w, b and x, where k is that of the result."""
    return x.T @ k, k.sum(0), k @ w.T


def tanh(z):
    """tanh(z)."""
    return np.tanh(z)


def tanh_backward(x):
    """The derivative of tanh, from its result."""
    return (1 - x) * (1 + x)
