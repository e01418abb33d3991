"""scikit-learn's `MLPRegressor`: its own forward pass, backward pass and loss, without a call of `fit`."""

from importlib.metadata import version
from typing import Any

import numpy as np
from sklearn.neural_network import MLPRegressor

from .shared.tensors import Function, Limits, Structure, TensorAdapter

NAMES = {"identity": "identity", "sigmoid": "logistic", "tanh": "tanh", "relu": "relu"}
_BUILT_IN = dict.fromkeys(NAMES, lambda z: z)  # it takes a name, and no function


class Sklearn(TensorAdapter):
    """Its loss is a mean over rows and outputs, its gradients are means over rows alone: each has a factor of its own.

    All hidden layers have one activation and the last layer has none. k_i is what scikit-learn calls a delta.
    """

    name, version = "sklearn", version("scikit-learn")
    activations = _BUILT_IN
    biases = ("pre",)
    limits = Limits(least_batch=1, hidden_alike=True, last_identity=True)

    def make_backpropagate(self, structure: Structure) -> Function:
        first = structure.network.activations[0]  # of all hidden layers; if there are none, identity
        _, *widths = structure.network.widths
        model = MLPRegressor(hidden_layer_sizes=widths[:-1], activation=NAMES[first], alpha=0.0)
        model.n_layers_, model.n_outputs_, model.out_activation_ = len(widths) + 1, widths[-1], "identity"
        rows = structure.format.numpy.type(structure.batch)

        def backpropagate(weights: Any, biases: Any, _: Any, x: Any, y: Any) -> tuple:
            model.coefs_, model.intercepts_ = weights, biases
            xs = [x, *(np.empty((len(x), n), x.dtype) for n in widths)]
            deltas, by_weight, by_bias = ([np.empty(0, x.dtype)] * len(widths) for _ in range(3))
            loss, *by = model._backprop(x, y, None, xs, deltas, by_weight, by_bias)
            by_weight, by_bias = ([gradient * rows for gradient in some] for some in by)
            return (by_weight, by_bias, deltas), (loss * rows * x.dtype.type(widths[-1]), None, xs[1:])

        return backpropagate
