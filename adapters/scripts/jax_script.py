"""JAX's calls for one structure, as source: what `jax_adapter` does, without tables."""

from collections.abc import Iterable
from dataclasses import dataclass

from ...reference import Structure
from .script import Script, Spell

_NUMPY = {"f64": "np.float64", "f32": "np.float32", "f16": "np.float16", "bf16": "jnp.bfloat16"}

_GRAD = "jax.grad(squared_error, argnums={numbers}, has_aux=True)"


@dataclass(frozen=True)
class Way:
    """A way to take gradients: how the function `gradients` is made, and how it is called. Names in braces stand for
    what a structure with or without biases has there.
    """

    made: str
    called: str = "gradients({given})"


COMPILED = Way(f"gradients = jax.jit({_GRAD})")
EAGER = Way(f"gradients = {_GRAD}  # not compiled", "gradients(*jax.device_put(({given})))")
MAPPED = Way(
    f"""\
each = jax.vmap({_GRAD}, in_axes={{axes}})


def summed(*given):
    ({{by}}, ks), (E, zs, xs) = each(*given)
    {{by}}, E = jax.tree.map(lambda part: part.sum(0), ({{by}}, E))
    return ({{by}}, ks), (E, zs, xs)


gradients = jax.jit(summed)"""
)


def jax_script(structure: Structure, spell: Spell, device: str, way: Way) -> Script:
    """`grad` of a pure function, taken in one of the ways; k_i is the gradient with respect to zeros added to z_i."""
    network, depth, typed = structure.network, structure.network.depth, _NUMPY[structure.dtype]
    layers, has_biases = range(1, depth + 1), network.bias != "none"
    by = "dW, db" if has_biases else "dW"
    given = "weights, biases, shifts, x, y" if has_biases else "weights, shifts, x, y"
    lines = [f"def squared_error({given}):"]
    for i, name in enumerate(network.activations, 1):
        before = f"x_{i - 1}" if i > 1 else "x"
        inside = f" + biases[{i - 1}]" if network.bias == "pre" else ""
        lines.append(f"    z_{i} = {before} @ weights[{i - 1}] + shifts[{i - 1}]{inside}")
        called = spell(name, f"z_{i}")
        lines.append(f"    x_{i} = {called}" + (f" + biases[{i - 1}]" if network.bias == "post" else ""))
    zs, xs = (_tuple(f"{symbol}_{i}" for i in layers) for symbol in "zx")
    lines.append(f"    E = jnp.sum(jnp.square(x_{depth} - y)) / 2")
    lines.append(f"    return E, (E, {zs}, {xs})")
    words = {
        "numbers": "(0, 1, 2)" if has_biases else "(0, 1)",
        "axes": "(None, None, 0, 0, 0)" if has_biases else "(None, 0, 0, 0)",
        "by": by,
        "given": given,
    }
    lines += ["", "", way.made.format(**words)]
    put = [
        "# k_i = dE/dz_i is the gradient with respect to zeros added to z_i.",
        f"shifts = [np.zeros(({structure.batch}, n), {typed}) for n in {network.widths[1:]}]",
        f"({by}, ks), (E, zs, xs) = {way.called.format(**words)}",
    ]
    if structure.dtype == "bf16":
        arrays = "weights, biases, x, y" if has_biases else "weights, x, y"
        put.insert(0, f"{arrays} = jax.tree.map(lambda a: jnp.asarray(a, {typed}), ({arrays}))")
    found = {
        "outputs": "xs[-1]",
        "E": "E",
        **{f"z_{i}": f"zs[{i - 1}]" for i in layers},
        **{f"x_{i}": f"xs[{i - 1}]" for i in layers},
        **{f"k_{i}": f"ks[{i - 1}]" for i in layers},
        **{f"dE/dW_{i}": f"dW[{i - 1}]" for i in layers},
        **({f"dE/db_{i}": f"db[{i - 1}]" for i in layers} if has_biases else {}),
    }
    as_array = "np.asarray({}, np.float32)" if structure.dtype == "bf16" else "np.asarray({})"
    shown = {name: as_array.format(array) for name, array in found.items()}
    return Script("JAX", "jax", _preamble(structure, device), "\n".join(lines), "\n".join(put), shown)


def _preamble(structure: Structure, device: str) -> str:
    lines = ["import jax", "import jax.numpy as jnp", "import numpy as np", ""]
    if structure.dtype == "f64":
        lines.append('jax.config.update("jax_enable_x64", True)')
    if device:
        platform, _, index = device.partition(":")
        lines.append(f'jax.config.update("jax_default_device", jax.devices("{platform}")[{index or 0}])')
    return "\n".join(lines).rstrip()


def _tuple(names: Iterable[str]) -> str:
    listed = ", ".join(names)
    return f"({listed})" if "," in listed else f"({listed},)"
