"""PyTorch's calls for one structure, as source: what `torch_adapter` and `torch_func_adapter` do, without tables."""

from collections.abc import Iterable, Mapping
from itertools import pairwise

from ...reference import Structure
from .script import Script, Spell

_DTYPES = {"f64": "torch.float64", "f32": "torch.float32", "bf16": "torch.bfloat16", "f16": "torch.float16"}
_PREAMBLE = "import numpy as np\nimport torch\nimport torch.nn.functional as F"


def torch_script(structure: Structure, spell: Spell, device: str) -> Script:
    """`torch.nn.Linear` layers, `mse_loss` and `backward()`."""
    network, depth = structure.network, structure.network.depth
    layers = range(1, depth + 1)
    placed = _keywords(device=device if device != "cpu" else None)
    typed = f"dtype={_DTYPES[structure.dtype]}{placed}"
    bias = "" if network.bias == "pre" else "bias=False, "
    lines = [
        f"layer_{i} = torch.nn.Linear({n_in}, {n_out}, {bias}{typed})"
        for i, (n_in, n_out) in enumerate(pairwise(network.widths), 1)
    ]
    lines.append("with torch.no_grad():")
    for i in layers:
        lines.append(f"    layer_{i}.weight.copy_(torch.tensor(weights[{i - 1}].T))")
        if network.bias == "pre":
            lines.append(f"    layer_{i}.bias.copy_(torch.tensor(biases[{i - 1}]))")
    if network.bias == "post":
        lines += [f"b_{i} = torch.tensor(biases[{i - 1}], {typed}, requires_grad=True)" for i in layers]
    lines.append("")
    for i, name in enumerate(network.activations, 1):
        before = f"x_{i - 1}" if i > 1 else f"torch.tensor(x, {typed})"
        lines.append(f"z_{i} = layer_{i}({before})")
        lines.append(f"z_{i}.retain_grad()")
        called = spell(name, f"z_{i}")
        lines.append(f"x_{i} = {called}" + (f" + b_{i}" if network.bias == "post" else ""))
    lines.append(f'E = F.mse_loss(x_{depth}, torch.tensor(y, {typed}), reduction="sum") / 2')
    lines.append("E.backward()")
    biases = {"none": "", "pre": "layer_{}.bias.grad", "post": "b_{}.grad"}[network.bias]
    found = {
        "outputs": f"x_{depth}.detach()",
        "E": "E.detach()",
        **{f"z_{i}": f"z_{i}.detach()" for i in layers},
        **{f"x_{i}": f"x_{i}.detach()" for i in layers},
        **{f"k_{i}": f"z_{i}.grad" for i in layers},
        **{f"dE/dW_{i}": f"layer_{i}.weight.grad.T" for i in layers},
        **({f"dE/db_{i}": biases.format(i) for i in layers} if biases else {}),
    }
    return Script("PyTorch", "torch", _PREAMBLE, "", "\n".join(lines), _as_arrays(found, structure, device))


def torch_func_script(structure: Structure, spell: Spell, device: str) -> Script:
    """`torch.func.grad` of a pure function; k_i is the gradient with respect to zeros added to z_i."""
    network, depth = structure.network, structure.network.depth
    layers = range(1, depth + 1)
    typed = f"dtype={_DTYPES[structure.dtype]}{_keywords(device=device if device != 'cpu' else None)}"
    given = "weights, biases, shifts, x, y" if network.bias != "none" else "weights, shifts, x, y"
    lines = [f"def squared_error({given}):"]
    for i, name in enumerate(network.activations, 1):
        before = f"x_{i - 1}" if i > 1 else "x"
        inside = f", biases[{i - 1}]" if network.bias == "pre" else ""
        lines.append(f"    z_{i} = F.linear({before}, weights[{i - 1}]{inside}) + shifts[{i - 1}]")
        called = spell(name, f"z_{i}")
        lines.append(f"    x_{i} = {called}" + (f" + biases[{i - 1}]" if network.bias == "post" else ""))
    lines.append(f'    E = F.mse_loss(x_{depth}, y, reduction="sum") / 2')
    zs, xs = (_tuple(f"{symbol}_{i}" for i in layers) for symbol in "zx")
    lines.append(f"    return E, (E, {zs}, {xs})")
    has_biases = network.bias != "none"
    numbers = "(0, 1, 2)" if has_biases else "(0, 1)"
    lines += ["", "", f"gradients = torch.func.grad(squared_error, argnums={numbers}, has_aux=True)"]
    calls_of = [
        "# k_i = dE/dz_i is the gradient with respect to zeros added to z_i.",
        f"shifts = tuple(torch.zeros({structure.batch}, n, {typed}) for n in {network.widths[1:]})",
        f"W = tuple(torch.tensor(weight.T.copy(), {typed}) for weight in weights)",
        *([f"b = tuple(torch.tensor(bias, {typed}) for bias in biases)"] if has_biases else []),
        f"{'(dW, db, ks)' if has_biases else '(dW, ks)'}, (E, zs, xs) = gradients(",
        f"    {'W, b, shifts' if has_biases else 'W, shifts'}, torch.tensor(x, {typed}), torch.tensor(y, {typed})",
        ")",
    ]
    found = {
        "outputs": "xs[-1]",
        "E": "E",
        **{f"z_{i}": f"zs[{i - 1}]" for i in layers},
        **{f"x_{i}": f"xs[{i - 1}]" for i in layers},
        **{f"k_{i}": f"ks[{i - 1}]" for i in layers},
        **{f"dE/dW_{i}": f"dW[{i - 1}].T" for i in layers},
        **({f"dE/db_{i}": f"db[{i - 1}]" for i in layers} if has_biases else {}),
    }
    arrays = _as_arrays(found, structure, device)
    return Script("PyTorch", "torch", _PREAMBLE, "\n".join(lines), "\n".join(calls_of), arrays)


def _tuple(names: Iterable[str]) -> str:
    listed = ", ".join(names)
    return f"({listed})" if "," in listed else f"({listed},)"


def _keywords(**given: str | None) -> str:
    return "".join(f', {key}="{value}"' for key, value in given.items() if value is not None)


def _as_arrays(found: Mapping[str, str], structure: Structure, device: str) -> dict[str, str]:
    home = "" if device == "cpu" else ".cpu()"
    wider = ".float()" if structure.dtype == "bf16" else ""  # NumPy has no bfloat16
    return {name: f"{tensor}{home}{wider}.numpy()" for name, tensor in found.items()}
