"""What the PyTorch adapters run, as scripts.

The functions that compute a pass are the adapters' own: a script shows their source. Only what a script must do in
another way is written here. Its arrays are NumPy literals, with weights of shape (in, out), which it transposes and
converts to tensors. And it makes layers as users of PyTorch do, where an adapter makes them without drawing random
numbers.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from ...reference import Structure
from .script import Script, Spell
from .source import name_quantities, read_source, write_activations, write_list

_DTYPES = {"f64": "torch.float64", "f32": "torch.float32", "bf16": "torch.bfloat16", "f16": "torch.float16"}
_PREAMBLE = "import numpy as np\nimport torch\nimport torch.nn.functional as F"


def torch_script(structure: Structure, spell: Spell, device: str, backpropagate: Callable[..., Any]) -> Script:
    """A script that makes `torch.nn.Linear` layers and calls `backpropagate(layers, outside, x, y)`.

    The layers are made once and loaded for each call, as the adapter does: what they keep between calls, they keep in
    the script.
    """
    network, typed = structure.network, _typed(structure, device)
    inside, bias = network.bias == "pre", "" if network.bias == "pre" else "bias=False, "
    layers = [f"torch.nn.Linear({n_in}, {n_out}, {bias}{typed})" for n_in, n_out in pairwise(network.widths)]
    calls = [
        "with torch.no_grad():",
        "    for i, layer in enumerate(layers):",
        "        layer.zero_grad()",
        "        layer.weight.copy_(torch.tensor(weights[i].T))",
        *(["        layer.bias.copy_(torch.tensor(biases[i]))"] if inside else []),
    ]
    if network.bias == "post":
        calls.append(f"outside = [torch.tensor(bias, {typed}, requires_grad=True) for bias in biases]")
    outside = "outside" if network.bias == "post" else "[]"
    calls.append(
        f"E, zs, xs = backpropagate(layers, {outside}, torch.tensor(x, {typed}), torch.tensor(y, {typed}))",
    )
    found = {
        "outputs": "xs[-1].detach()",
        "E": "E.detach()",
        "z": "zs[{i}].detach()",
        "x": "xs[{i}].detach()",
        "k": "zs[{i}].grad",
        "dE/dW": "layers[{i}].weight.grad.T",
        "dE/db": "layers[{i}].bias.grad" if inside else "outside[{i}].grad",
    }
    setup = [
        read_source(backpropagate, network.bias),
        f"{write_activations(structure, spell)}\nlayers = {write_list(layers)}",
    ]
    return _script(structure, device, setup, calls, found)


def torch_func_script(
    structure: Structure,
    spell: Spell,
    device: str,
    squared_error: Callable[..., Any],
    take_gradients: Callable[..., Any],
) -> Script:
    """A script that calls `take_gradients(squared_error)`."""
    network, typed = structure.network, _typed(structure, device)
    has_biases = network.bias != "none"
    calls = [
        f"shifts = [torch.zeros({structure.batch}, n, {typed}) for n in {network.widths[1:]}]",
        f"W = [torch.tensor(weight.T.copy(), {typed}) for weight in weights]",
        *([f"b = [torch.tensor(bias, {typed}) for bias in biases]"] if has_biases else []),
        "(dW, db, ks), (E, zs, xs) = gradients(",
        f"    W, {'b' if has_biases else '[]'}, shifts, torch.tensor(x, {typed}), torch.tensor(y, {typed})",
        ")",
    ]
    found = {
        "outputs": "xs[-1]",
        "E": "E",
        "z": "zs[{i}]",
        "x": "xs[{i}]",
        "k": "ks[{i}]",
        "dE/dW": "dW[{i}].T",
        "dE/db": "db[{i}]",
    }
    setup = [
        read_source(squared_error, network.bias),
        read_source(take_gradients, network.bias),
        f"{write_activations(structure, spell)}\ngradients = take_gradients(squared_error)",
    ]
    return _script(structure, device, setup, calls, found)


def _script(structure: Structure, device: str, setup: list[str], calls: list[str], found: Mapping[str, str]) -> Script:
    home = "" if device == "cpu" else ".cpu()"
    wider = ".float()" if structure.dtype == "bf16" else ""  # NumPy has no bfloat16
    arrays = {name: f"{tensor}{home}{wider}.numpy()" for name, tensor in name_quantities(structure, found).items()}
    return Script("PyTorch", "torch", _PREAMBLE, "\n\n\n".join(setup), "\n".join(calls), arrays)


def _typed(structure: Structure, device: str) -> str:
    placed = "" if device == "cpu" else f', device="{device}"'
    return f"dtype={_DTYPES[structure.dtype]}{placed}"
