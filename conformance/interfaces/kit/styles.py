"""Adapters with holes, one for each way in which frameworks written in Python are called."""

_HEAD = '''"""@NAME@, checked with: kterm check @SPEC@ --profile smoke"""

from collections.abc import Callable, Mapping
from typing import Any

@IMPORTS@from kterm.adapters import IN_OUT, Adapter, Observation, Program
from kterm.reference import Array, Parameters, Structure

# HOLE 1: import the framework, and name here its functions of (z, **parameters) by the names that kterm has for them:
# "tanh": framework.tanh, "leaky_relu": lambda z, slope: framework.leaky_relu(z, slope).
ACTIVATIONS: Mapping[str, Callable[..., Any]] = {}


class @CLASS@(Adapter):
    """@DOCSTRING@"""

    name = "@NAME@"
    version = "0"  # HOLE 2: the framework's own, as in importlib.metadata.version("...")
    weight_layout = IN_OUT  # HOLE 3: how a dense layer stores its matrix: IN_OUT for x @ W, OUT_IN for x @ W.T
    dtypes = ("f64", "f32")  # HOLE 4: what it computes in; ("f32",) for one alone
    activations = ACTIVATIONS

    def build(self, structure: Structure) -> Program:
        functions, bias = self.functions(structure), structure.network.bias
'''

_FUNCTIONAL = """
        def network(weights: Any, biases: Any, x: Any) -> Any:
            for i, function in enumerate(functions):
                z = x @ weights[i]
                if bias == "pre":
                    z = z + biases[i]
                x = function(z)
                if bias == "post":
                    x = x + biases[i]
            return x

        def error(weights: Any, biases: Any, x: Any, y: Any) -> Any:
            return ((network(weights, biases, x) - y) ** 2).sum() / 2

        def differentiate(weights: Any, biases: Any, x: Any, y: Any) -> tuple[Any, Any]:
            # HOLE 5: the gradients of `error` with respect to the weights and to the biases, a list for each, as in
            # return framework.grad(error, (0, 1))(weights, biases, x, y)
            raise RuntimeError("fill in hole 5 of adapter.py")

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            # HOLE 6: where the framework has arrays of its own, make them of these, and NumPy arrays of the results.
            given = (parameters.weights, parameters.biases, x)
            by_weight, by_bias = differentiate(*given, y)
            return Observation(network(*given), np.asarray(error(*given, y)), tuple(by_weight), tuple(by_bias))

        return program
"""

_MODULE = """
        # HOLE 5: make one dense layer for each pair of widths, with biases of its own where `bias` is "pre", as in
        # layers = [framework.Linear(n, m, bias=bias == "pre") for n, m in pairwise(structure.network.widths)]
        layers: list[Any] = []

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            # HOLE 6: copy `parameters` into the layers and clear their gradients. Biases with the placement "post" are
            # parameters of the program and not of a layer.
            # HOLE 7: run forward: for each layer and its function x = function(layer(x)), plus the bias for "post".
            # HOLE 8: the error is the sum of (outputs - y)**2, over 2. Scale a loss that is a mean. Run backward.
            # HOLE 9: return the gradients that the layers hold, as NumPy arrays, a tuple for weights and for biases:
            # Observation(outputs, error, weight_gradients, bias_gradients)
            raise RuntimeError(f"fill in holes 5 to 9 of adapter.py ({layers}, {len(functions)}, biases: {bias})")

        return program
"""

_RAW = """
        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            # HOLE 5: call the framework's forward pass with these NumPy arrays. There is one weight for each layer, and
            # one bias, or none at all if `bias` is "none"; "pre" adds it to z, "post" to the activation.
            # HOLE 6: the error is the sum of (outputs - y)**2, over 2; the backward pass begins with outputs - y.
            # HOLE 7: call the backward pass, and return
            # Observation(outputs, error, weight_gradients, bias_gradients)
            raise RuntimeError(f"fill in holes 5 to 7 of adapter.py ({len(functions)} functions, biases: {bias})")

        return program
"""

_PER_SAMPLE = """
        def run_one(parameters: Parameters, x: Array, y: Array) -> tuple[Array, Any, list[Array], list[Array]]:
            # HOLE 5: run the framework on one example, forward and backward. x is a vector of n_0 inputs, y one of n_n
            # targets. The error is the sum of (outputs - y)**2, over 2. Return the outputs, the error, and lists of
            # the gradients of the weights and of the biases. With column vectors, take OUT_IN as the layout.
            raise RuntimeError(f"fill in hole 5 of adapter.py ({len(functions)} functions, biases: {bias})")

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            # The gradients of a batch are sums over its examples. With none, all sums are 0.
            outputs, error = np.zeros_like(y), np.zeros((), y.dtype)
            by_weight = [np.zeros_like(weight) for weight in parameters.weights]
            by_bias = [np.zeros_like(one) for one in parameters.biases]
            for row in range(len(x)):
                outputs[row], own, weight_gradients, bias_gradients = run_one(parameters, x[row], y[row])
                error += own
                for total, gradient in zip(by_weight, weight_gradients, strict=True):
                    total += gradient
                for total, gradient in zip(by_bias, bias_gradients, strict=True):
                    total += gradient
            return Observation(outputs, error, tuple(by_weight), tuple(by_bias))

        return program
"""

_NUMPY = "import numpy as np\n"


def _style(docstring: str, body: str, imports: str = "") -> str:
    return _HEAD.replace("@DOCSTRING@", docstring).replace("@IMPORTS@", imports) + body


FUNCTIONAL = _style("A framework that differentiates functions.", _FUNCTIONAL, _NUMPY)
MODULE = _style("A framework of layers that hold their parameters and gradients.", _MODULE)
RAW = _style("A framework that is called with arrays, forward and backward.", _RAW)
PER_SAMPLE = _style("A framework that takes one example at a time.", _PER_SAMPLE, _NUMPY)
