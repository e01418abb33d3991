"""What the JAX adapters run, as scripts.

The functions that compute a pass come as source from the adapters. What is written here is what a script must do in
another way: it sets precision and device for its whole process, where an adapter sets them around each call; and its
bfloat16 starts as float32 literals, since NumPy has no bfloat16.
"""

from collections.abc import Callable
from typing import Any

from ...reference import Structure
from .script import Script, Spell
from .source import activations_of, named_quantities, source_of

_NUMPY = {"f64": "np.float64", "f32": "np.float32", "f16": "np.float16", "bf16": "jnp.bfloat16"}


def jax_script(
    structure: Structure,
    spell: Spell,
    device: str,
    squared_error: Callable[..., Any],
    make_gradients: Callable[..., Any],
) -> Script:
    """`make_gradients(squared_error)` of the adapter, called with arrays. An empty `device` is JAX's own choice."""
    network, typed = structure.network, _NUMPY[structure.dtype]
    given = "weights, biases, x, y" if network.bias != "none" else "weights, x, y"
    calls = [
        f"shifts = [np.zeros(({structure.batch}, n), {typed}) for n in {network.widths[1:]}]",
        f"(dW, db, ks), (E, zs, xs) = gradients(weights, {'biases' if network.bias != 'none' else '[]'}, shifts, x, y)",
    ]
    if structure.dtype == "bf16":
        calls.insert(0, f"{given} = jax.tree.map(lambda a: jnp.asarray(a, {typed}), ({given}))")
    setup = [
        source_of(squared_error, network.bias),
        source_of(make_gradients, network.bias),
        f"{activations_of(structure, spell)}\ngradients = {make_gradients.__name__}(squared_error)",
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
    shown = {name: as_array.format(array) for name, array in named_quantities(structure, found).items()}
    return Script("JAX", "jax", _preamble(structure, device), "\n\n\n".join(setup), "\n".join(calls), shown)


def _preamble(structure: Structure, device: str) -> str:
    lines = ["import jax", "import jax.numpy as jnp", "import numpy as np", ""]
    if structure.dtype == "f64":
        lines.append('jax.config.update("jax_enable_x64", True)')
    if device:
        platform, _, index = device.partition(":")
        lines.append(f'jax.config.update("jax_default_device", jax.devices("{platform}")[{index or 0}])')
    return "\n".join(lines).rstrip()
