"""The k-term rule of backpropagation in NumPy: the rule, its activations, and the rounding errors of both."""

from .activations import ACTIVATIONS, OTHER_VALUES, Activation, Kink, base_of, name_with
from .dtypes import DTYPES, DType
from .network import BIASES, Array, Bias, Network, Parameters, Structure, validate
from .rule import Pass, backpropagate, descend, forward, k_terms

__all__ = [
    "ACTIVATIONS",
    "BIASES",
    "DTYPES",
    "OTHER_VALUES",
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
    "base_of",
    "descend",
    "forward",
    "k_terms",
    "name_with",
    "validate",
]
