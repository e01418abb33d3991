"""The k-term rule for one structure in plain NumPy, as a script.

This script is not made from what the adapter runs. The adapter runs `kterm.reference`, which takes stacks of networks
and looks up every activation in a table: its source would need most of that package. So the script has one line for
each step, with the formulas of `formulas`. Its numbers are within the tolerance of the adapter's, but not always the
same bits.
"""

from ...reference import Structure
from .formulas import as_factor, helpers, slope_of, value_of
from .script import Script


def numpy_script(structure: Structure) -> Script:
    """The forward pass, the error and the backward pass, one line for each step."""
    network, depth = structure.network, structure.network.depth
    lines, formulas = [], []
    for i, name in enumerate(network.activations, 1):
        before = f"x_{i - 1}" if i > 1 else "x"
        value = value_of(name, f"z_{i}")
        formulas.append(value)
        lines.append(f"z_{i} = {before} @ weights[{i - 1}]" + (f" + biases[{i - 1}]" if network.bias == "pre" else ""))
        lines.append(f"x_{i} = {value}" + (f" + biases[{i - 1}]" if network.bias == "post" else ""))
    lines.append(f"E = np.square(x_{depth} - y).sum() / 2")
    for i in range(depth, 0, -1):
        slope = slope_of(network.activations[i - 1], f"z_{i}")
        formulas.append(slope)
        lines.append(f"s_{i} = x_{depth} - y" if i == depth else f"s_{i} = k_{i + 1} @ weights[{i}].T")
        lines.append(f"k_{i} = s_{i} * {as_factor(slope)}")
    shown = {"outputs": f"x_{depth}", "E": "E"}
    for symbol in ("z", "x", "k"):
        shown |= {f"{symbol}_{i}": f"{symbol}_{i}" for i in range(1, depth + 1)}
    for i in range(1, depth + 1):
        shown[f"dE/dW_{i}"] = f"{f'x_{i - 1}' if i > 1 else 'x'}.T @ k_{i}"
    if network.bias != "none":
        symbol = "k" if network.bias == "pre" else "s"
        shown |= {f"dE/db_{i}": f"{symbol}_{i}.sum(0)" for i in range(1, depth + 1)}
    needed = helpers(formulas)
    setup = "\n\n\n".join(f"def {helper}(z):\n    return {text}" for helper, text in needed.items())
    imports = "import math\n\n" if "math." in setup else ""
    preamble = f'{imports}import numpy as np\n\nnp.seterr(all="ignore")  # as frameworks do'
    return Script("NumPy", "numpy", preamble, setup, "\n".join(lines), shown)
