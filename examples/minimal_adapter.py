from importlib.metadata import version

import autograd.numpy as np
from autograd import grad

from kterm.adapters import IN_OUT, Adapter, Observation


class MyFramework(Adapter):
    name = "my-framework"
    version = version("autograd")
    weight_layout = IN_OUT
    dtypes = ("f64", "f32")
    activations = {"tanh": np.tanh, "sin": np.sin, "leaky_relu": lambda z, slope: np.where(z > 0, z, slope * z)}

    def build(self, structure):
        functions, bias = self.functions(structure), structure.network.bias

        def network(weights, biases, x):
            for i, f in enumerate(functions):
                x = f(x @ weights[i] + (biases[i] if bias == "pre" else 0)) + (biases[i] if bias == "post" else 0)
            return x

        def error(weights, biases, x, y):
            return np.sum((network(weights, biases, x) - y) ** 2 / 2)

        def program(parameters, x, y):
            given = (parameters.weights, parameters.biases, x)
            by_weight, by_bias = grad(error, (0, 1))(*given, y)
            return Observation(network(*given), error(*given, y), by_weight, by_bias)

        return program
