"""What the JAX adapters run, as scripts.

The functions that compute a pass are the adapters' own: a script shows their source. Only what a script must do in
another way is written here. It sets the precision and the device once for its process, where an adapter sets them
around each call. And it converts bfloat16 from float32 literals, since NumPy has no bfloat16.
"""

from collections.abc import Callable
from typing import Any

from ...reference import Structure
from .script import Script, Spell
from .source import name_quantities, read_source, write_activations

_NUMPY = {"f64": "np.float64", "f32": "np.float32", "f16": "np.float16", "bf16": "jnp.bfloat16"}


def jax_script(
    structure: Structure,
    spell: Spell,
    device: str,
    squared_error: Callable[..., Any],
    make_gradients: Callable[..., Any],
) -> Script:
    """A script that calls `make_gradients(squared_error)`. If `device` is empty, JAX chooses it."""
    network, typed = structure.network, _NUMPY[structure.dtype]
    given = "weights, biases, x, y" if network.bias != "none" else "weights, x, y"
    calls = [
        f"shifts = [np.zeros(({structure.batch}, n), {typed}) for n in {network.widths[1:]}]",
        f"(dW, db, ks), (E, zs, xs) = gradients(weights, {'biases' if network.bias != 'none' else '[]'}, shifts, x, y)",
    ]
    if structure.dtype == "bf16":
        calls.insert(0, f"{given} = jax.tree.map(lambda a: jnp.asarray(a, {typed}), ({given}))")
    setup = [
        read_source(squared_error, network.bias),
        read_source(make_gradients, network.bias),
        f"{write_activations(structure, spell)}\ngradients = {make_gradients.__name__}(squared_error)",
    ]
    found = {
        "outputs": "xs[-1]",
        "E": "E",
        "z": "zs[{i}]",
        "x": "xs[{i}]",
        "k": "ks[{i}]",
        "dE/dW": "dW[{i}]",
        "dE/db": "db[{i}]",
    }
    as_array = "np.asarray({}, np.float32)" if structure.dtype == "bf16" else "np.asarray({})"
    shown = {name: as_array.format(array) for name, array in name_quantities(structure, found).items()}
    return Script("JAX", "jax", _preamble(structure, device), "\n\n\n".join(setup), "\n".join(calls), shown)


def _preamble(structure: Structure, device: str) -> str:
    lines = ["import jax", "import jax.numpy as jnp", "import numpy as np", ""]
    if structure.dtype == "f64":
        lines.append('jax.config.update("jax_enable_x64", True)')
    if device:
        platform, _, index = device.partition(":")
        lines.append(f'jax.config.update("jax_default_device", jax.devices("{platform}")[{index or 0}])')
    return "\n".join(lines).rstrip()
