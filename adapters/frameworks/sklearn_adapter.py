"""scikit-learn's `MLPRegressor`: its own forward pass, backward pass and loss, without a call of `fit`."""

from importlib.metadata import version

import numpy as np
from sklearn.neural_network import MLPRegressor

from ...reference import Array, Parameters, Structure
from ..base import Adapter, Observation, Program
from ..limits import Limits

NAMES = {"identity": "identity", "sigmoid": "logistic", "tanh": "tanh", "relu": "relu"}
_BUILT_IN = dict.fromkeys(NAMES, lambda z: z)


class Sklearn(Adapter):
    """Its loss is a mean over rows and outputs, its gradients are means over rows alone: each has a factor of its own.

    All hidden layers have one activation and the last layer has none. k_i is what scikit-learn calls a delta.
    """

    name = "sklearn"
    version = version("scikit-learn")
    activations = _BUILT_IN
    biases = ("pre",)
    limits = Limits(least_batch=1, hidden_alike=True, last_identity=True)

    def build(self, structure: Structure) -> Program:
        self.require(structure)
        first = structure.network.activations[0]  # of all hidden layers; if there are none, identity
        widths, rows = structure.network.widths, structure.batch
        model = MLPRegressor(hidden_layer_sizes=widths[1:-1], activation=NAMES[first], alpha=0.0)
        model.n_layers_, model.n_outputs_, model.out_activation_ = len(widths), widths[-1], "identity"

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            model.coefs_ = [np.array(weight, order="C") for weight in parameters.weights]
            model.intercepts_ = [np.array(bias) for bias in parameters.biases]
            depth, dtype = len(widths) - 1, x.dtype
            xs = [np.array(x, order="C"), *(np.empty((rows, n), dtype) for n in widths[1:])]
            deltas, by_weight, by_bias = ([np.empty(0, dtype)] * depth for _ in range(3))
            loss, by_weight, by_bias = model._backprop(xs[0], y, None, xs, deltas, by_weight, by_bias)
            by_weight, by_bias = ([gradient * dtype.type(rows) for gradient in some] for some in (by_weight, by_bias))
            error = np.asarray(loss * dtype.type(rows * widths[-1]))
            return Observation(xs[-1], error, tuple(by_weight), tuple(by_bias), x=tuple(xs[1:]), k=tuple(deltas))

        return program
