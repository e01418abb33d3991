"""The adapter of this framework. Only tests import it, so that users do not need kterm."""

import numpy as np

import my_port
from kterm import IN_OUT, Adapter, Observation


class MyPort(Adapter):
    """Dense layers with tanh, in float32 and float64."""

    name = "my-port"
    version = "0.1.0"
    weight_layout = IN_OUT
    dtypes = ("f64", "f32")
    activations = {"tanh": my_port.tanh}
    biases = ("pre",)

    def build(self, structure):
        self.require(structure)
        depth = structure.network.depth

        def program(parameters, x, y):
            xs = [x]
            for w, b in zip(parameters.weights, parameters.biases, strict=True):
                xs.append(my_port.tanh(my_port.dense(xs[-1], w, b)))
            residual = xs[-1] - y
            side, by_weight, by_bias = residual, [], []
            for i in reversed(range(depth)):
                k = side * my_port.tanh_backward(xs[i + 1])
                dw, db, side = my_port.dense_backward(xs[i], parameters.weights[i], k)
                by_weight.insert(0, dw)
                by_bias.insert(0, db)
            return Observation(xs[-1], np.square(residual).sum() / 2, tuple(by_weight), tuple(by_bias))

        return program
