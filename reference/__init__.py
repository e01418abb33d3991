"""The k-term rule of backpropagation in NumPy: the rule, its activations, and the rounding errors of both."""

from .activations import ACTIVATIONS, Activation, Kink
from .dtypes import DTYPES, DType
from .network import BIASES, Array, Bias, Network, Parameters, Structure, validate
from .rule import Pass, backpropagate, descend, forward, k_terms

__all__ = [
    "ACTIVATIONS",
    "BIASES",
    "DTYPES",
    "Activation",
    "Array",
    "Bias",
    "DType",
    "Kink",
    "Network",
    "Parameters",
    "Pass",
    "Structure",
    "backpropagate",
    "descend",
    "forward",
    "k_terms",
    "validate",
]
