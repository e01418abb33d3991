"""A framework's own calls for a quantity of a layer, as source that reads the arrays of the parts.

Each function gives the lines that compute `observed`, of the shape of the quantity, from arrays named `x`, `weight`,
`bias`, `k`, `indices`, `z` and `back`; with several calls the names have numbers, as in `x_2`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from .....adapters.registry import load
from .....adapters.scripts.formulas import HELPERS, as_factor, helpers, slope_of, value_of
from .evidence import Evidence, Part, Unwritable

TORCH = {"f64": "torch.float64", "f32": "torch.float32", "bf16": "torch.bfloat16", "f16": "torch.float16"}
_JAX = {"f64": "jnp.float64", "f32": "jnp.float32", "bf16": "jnp.bfloat16", "f16": "jnp.float16"}
_NUMPY = {"f64": "np.float64", "f32": "np.float32", "bf16": "ml_dtypes.bfloat16", "f16": "np.float16"}


@dataclass(frozen=True)
class Dialect:
    """How scripts of one framework are written. `own` is false where NumPy stands in for a framework without a dialect.

    `name` is the framework's name in prose, `requires` what pip installs, `preamble` its imports and settings, `calls`
    the lines that compute `observed`, and `shown` the expression for its version and device.
    """

    name: str
    requires: str
    preamble: Callable[[Evidence, str], list[str]]
    calls: Callable[[Evidence], list[str]]
    shown: str
    own: bool = True


def find_dialect(framework: str) -> Dialect:
    """The dialect for the framework of a trace."""
    return _DIALECTS.get(framework.lower(), NUMPY)


def named(evidence: Evidence) -> Iterator[tuple[Part, Mapping[str, str]]]:
    """Each part with the names of its arrays in the script."""
    several = len(evidence.parts) > 1
    for number, part in enumerate(evidence.parts, 1):
        yield part, {name: f"{name}_{number}" if several else name for name in part.arrays}


def exact_lines(evidence: Evidence) -> list[str]:
    """The function `compute(dtype)`, which computes the quantity in NumPy, and the functions that it calls."""
    lines: list[str] = []
    terms = [_term(evidence, part, names) for part, names in named(evidence)]
    if evidence.before is not None:
        terms.insert(0, _np("before"))
    if evidence.activation:
        used = helpers([terms[0]])
        # A helper may call another one.
        for _ in HELPERS:
            used = helpers([terms[0], *used.values()]) | used
        for name, expression in used.items():
            lines += [f"def {name}(z):", f"    return {expression}", "", ""]
    lines.append("def compute(dtype):")
    if evidence.activation:
        lines.append("    z = given.astype(dtype)")
    if len(terms) == 1:
        return [*lines, f"    return {terms[0]}"]
    return [
        *lines,
        f"    total = {terms[0]}",
        *(f"    total = total + {term}" for term in terms[1:]),
        "    return total",
    ]


def _np(name: str) -> str:
    return f"{name}.astype(dtype)"


def _term(evidence: Evidence, part: Part, names: Mapping[str, str]) -> str:
    """A part of a quantity as a NumPy expression."""
    turned = part.layout == "out_in"
    if evidence.quantity == "a":
        return value_of(evidence.activation)
    if evidence.quantity == "dL/dz" and evidence.activation:
        return f"back.astype(dtype) * {as_factor(slope_of(evidence.activation))}"
    if part.is_lookup and evidence.quantity == "z":
        return f"{_np('weight')}[{names['indices']}]"
    if part.is_lookup:
        k, rows = _np(names["k"]), evidence.shape[0]
        return f"np.stack([{k}[{names['indices']} == row].sum(0) for row in range({rows})])"
    if evidence.quantity == "z":
        bias = f" + {_np(names['bias'])}" if "bias" in names else ""
        return f"{_np(names['x'])} @ {_np(names['weight'])}{'.T' if turned else ''}{bias}"
    if evidence.quantity == "dL/dx":
        return f"{_np(names['k'])} @ {_np(names['weight'])}{'' if turned else '.T'}"
    if evidence.quantity == "dL/db":
        return f"{_np(names['k'])}.sum(0, keepdims=True)"
    x, k = _np(names["x"]), _np(names["k"])
    return f"{k}.T @ {x}" if turned else f"{x}.T @ {k}"


def _passes(evidence: Evidence) -> list[list[tuple[Part, Mapping[str, str]]]]:
    """The parts by backward pass."""
    parts = sorted(named(evidence), key=lambda one: one[0].together)
    return [list(some) for _, some in groupby(parts, key=lambda one: one[0].together)]


def _spell(framework: str, activation: str) -> str:
    try:
        return load(framework).spell(activation, "z")
    except (NotImplementedError, KeyError):
        raise Unwritable(f"{framework} has no function {activation} that a script could call") from None


# PyTorch


def _torch_preamble(evidence: Evidence, device: str) -> list[str]:
    chosen = '"cuda" if torch.cuda.is_available() else "cpu"' if device.startswith("cuda") else '"cpu"'
    lines = ["import numpy as np", "import torch", "import torch.nn.functional as F", "", f"device = {chosen}"]
    products = evidence.source.call.products if evidence.source.layer.calls else None
    if products is not None and products.operands == "tf32":
        lines.append("torch.backends.cuda.matmul.allow_tf32 = True")
    return [
        *lines, "", "",
        "def tensor(array, dtype):",
        "    return torch.tensor(array, dtype=dtype, device=device)",
    ]  # fmt: skip


def _torch(evidence: Evidence) -> list[str]:
    stored, (first, names) = TORCH[evidence.stored], next(named(evidence))
    d, quantity = TORCH[first.format], evidence.quantity
    cast = "" if first.format == evidence.stored else f".to({d})"
    if evidence.activation:
        call = _spell("torch", evidence.activation)
        if quantity == "a":
            return [f"z = tensor(given, {d})", f"observed = {call}"]
        return [
            f"z = tensor(given, {d}).requires_grad_()",
            f"{as_factor(call)}.backward(tensor(back, {d}))",
            "observed = z.grad",
        ]
    if quantity == "z":
        x = "" if first.is_lookup else f"tensor({names['x']}, {d})"
        return [f"observed = {_torch_layer(first, names, x, d)}"]
    if quantity == "dL/dx":
        columns = first.arrays["weight"].shape[1 if first.layout == "out_in" else 0]
        rows = len(first.arrays["k"])
        return [
            f"x = torch.zeros({rows}, {columns}, dtype={stored}, device=device, requires_grad=True)",
            f"z = {_torch_layer(first, names, f'x{cast}', d)}",
            f"z.backward(tensor({names['k']}, {d}))",
            "observed = x.grad",
        ]
    rows, columns = evidence.shape
    shape = f"{columns}" if quantity == "dL/db" else f"{rows}, {columns}"
    lines = [f"parameter = torch.zeros({shape}, dtype={stored}, device=device, requires_grad=True)"]
    if evidence.before is not None:
        flat = "[0]" if quantity == "dL/db" else ""
        lines.append(f"parameter.grad = tensor(before{flat}, {stored})")
    for some in _passes(evidence):
        outputs = [names["k"].replace("k", "z") for _, names in some]
        for (part, names), output in zip(some, outputs, strict=True):
            lines += _torch_use(evidence, part, names, output)
        given = [f"tensor({names['k']}, {TORCH[part.format]})" for part, names in some]
        if len(some) == 1:
            lines.append(f"{outputs[0]}.backward({given[0]})")
            continue
        lines += [
            "torch.autograd.backward(", "    [",
            *(f"        {one}," for one in outputs),
            "    ],", "    [",
            *(f"        {one}," for one in given),
            "    ],", ")",
        ]  # fmt: skip
    return [*lines, f"observed = parameter.grad.reshape({rows}, {columns})"]


def _torch_layer(part: Part, names: Mapping[str, str], x: str, d: str) -> str:
    """A call of a dense layer, or of a lookup, with the weight of its part."""
    weight, bias = f"tensor({names['weight']}, {d})", f"tensor({names['bias']}, {d})" if "bias" in names else ""
    if part.is_lookup:
        return f"F.embedding(tensor({names['indices']}, torch.int64), {weight})"
    if part.layout == "out_in":
        return f"F.linear({x}, {weight}{f', {bias}' if bias else ''})"
    return f"torch.addmm({bias}, {x}, {weight})" if bias else f"{x} @ {weight}"


def _torch_use(evidence: Evidence, part: Part, names: Mapping[str, str], output: str) -> list[str]:
    """A call that reads `parameter`, and whose result is `output`."""
    d = TORCH[part.format]
    own = "parameter" if part.format == evidence.stored else f"parameter.to({d})"
    if part.is_lookup:
        return [f"{output} = F.embedding(tensor({names['indices']}, torch.int64), {own})"]
    x = f"tensor({names['x']}, {d})" if "x" in names else "x"
    lines, is_bias = [], evidence.quantity == "dL/db"
    if is_bias:
        rows, columns = part.arrays["k"].shape
        shape = f"{columns}, 1" if part.layout == "out_in" else f"1, {columns}"
        lines.append(f"x = torch.zeros({rows}, 1, dtype={d}, device=device)")
        lines.append(f"weight = torch.zeros({shape}, dtype={d}, device=device)")
    if part.layout == "out_in":
        call = f"F.linear({x}, weight, {own})" if is_bias else f"F.linear({x}, {own})"
    else:
        call = f"torch.addmm({own}, {x}, weight)" if is_bias else f"{x} @ {own}"
    return [*lines, f"{output} = {call}"]


# JAX


def _jax_preamble(evidence: Evidence, device: str) -> list[str]:
    lines = ["import jax", "import jax.numpy as jnp", "import numpy as np"]
    if "f64" in {evidence.stored, *(part.format for part in evidence.parts)}:
        lines += ["", 'jax.config.update("jax_enable_x64", True)']
    return [*lines, "", "device = jax.default_backend()"]


def _jax(evidence: Evidence) -> list[str]:
    stored, (first, names) = _JAX[evidence.stored], next(named(evidence))
    d, quantity = _JAX[first.format], evidence.quantity
    if evidence.activation:
        call = _spell("jax", evidence.activation)
        if quantity == "a":
            return [f"z = jnp.asarray(given, {d})", f"observed = {call}"]
        return [
            f"_, pull_back = jax.vjp(lambda z: {call}, jnp.asarray(given, {d}))",
            f"(observed,) = pull_back(jnp.asarray(back, {d}))",
        ]
    if quantity == "z" and first.is_lookup:
        return [f"observed = jnp.asarray({names['weight']}, {d})[{names['indices']}]"]
    if quantity == "z":
        bias = f" + jnp.asarray({names['bias']}, {d})" if "bias" in names else ""
        x, w = (f"jnp.asarray({names[name]}, {d})" for name in ("x", "weight"))
        return [f"observed = jnp.dot({x}, {w}{'.T' if first.layout == 'out_in' else ''}){bias}"]
    if quantity == "dL/dx":
        turned = first.layout == "out_in"
        x = "x" if first.format == evidence.stored else f"x.astype({d})"
        shape = len(first.arrays["k"]), first.arrays["weight"].shape[1 if turned else 0]
        return [
            "_, pull_back = jax.vjp(",
            f"    lambda x: jnp.dot({x}, jnp.asarray({names['weight']}, {d}){'' if not turned else '.T'}),",
            f"    jnp.zeros({shape}, {stored}),",
            ")",
            f"(observed,) = pull_back(jnp.asarray({names['k']}, {d}))",
        ]
    shape = evidence.shape
    start = f"jnp.asarray(before, {stored})" if evidence.before is not None else f"jnp.zeros({shape}, {stored})"
    lines = [f"observed = {start}"]
    for some in _passes(evidence):
        uses = [_jax_use(evidence, part, names) for part, names in some]
        given = [f"jnp.asarray({names['k']}, {_JAX[part.format]})" for part, names in some]
        several = len(some) > 1
        lines += [
            "_, pull_back = jax.vjp(",
            *(["    lambda parameter: ("] if several else [f"    lambda parameter: {uses[0]},"]),
            *([*(f"        {use}," for use in uses), "    ),"] if several else []),
            f"    jnp.zeros({shape}, {stored}),",
            ")",
            *([f"(part,) = pull_back({given[0]})"] if not several else ["(part,) = pull_back(", "    ("]),
            *([*(f"        {one}," for one in given), "    )", ")"] if several else []),
        ]
        lines.append("observed = observed + part")
    return lines


def _jax_use(evidence: Evidence, part: Part, names: Mapping[str, str]) -> str:
    d = _JAX[part.format]
    own = "parameter" if part.format == evidence.stored else f"parameter.astype({d})"
    if part.is_lookup:
        return f"{own}[{names['indices']}]"
    if evidence.quantity == "dL/db":
        return f"jnp.zeros({part.arrays['k'].shape}, {d}) + {own}"
    return f"jnp.dot(jnp.asarray({names['x']}, {d}), {own}{'.T' if part.layout == 'out_in' else ''})"


# NumPy


def _numpy_preamble(evidence: Evidence, device: str) -> list[str]:
    narrow = "bf16" in {evidence.stored, *(part.format for part in evidence.parts)}
    return [*(["import ml_dtypes"] if narrow else []), "import numpy as np", "", 'device = "cpu"']


def _numpy(evidence: Evidence) -> list[str]:
    stored, lines = _NUMPY[evidence.stored], []
    if evidence.before is not None:
        lines.append(f"observed = before.astype({stored})")
    for some in _passes(evidence):
        # Each pass is rounded to what it is computed in, and then added to the sum.
        format = some[0][0].format
        wide = "np.float64" if format == "f64" else "np.float32"
        terms = [_term(evidence, part, names).replace("dtype", wide) for part, names in some]
        if evidence.activation:
            lines.append(f"z = given.astype({wide})")
        if len(some) == 1 and format == evidence.stored and wide == stored:
            parts = terms[0]
        else:
            casts = [f".astype({_NUMPY[format]})"] * (_NUMPY[format] != wide)
            casts += [f".astype({stored})"] * (stored != _NUMPY[format])
            lines.append(f"part = {terms[0]}")
            lines += [f"part = part + {term}" for term in terms[1:]]
            parts = f"part{''.join(casts)}"
        lines.append(f"observed = {'observed + ' if lines and 'observed' in ''.join(lines) else ''}{parts}")
    return lines


_TORCH = Dialect("PyTorch", "numpy torch", _torch_preamble, _torch, "torch.__version__")
_OF_JAX = Dialect("JAX", "numpy jax", _jax_preamble, _jax, "jax.__version__")
NUMPY = Dialect("NumPy", "numpy ml_dtypes", _numpy_preamble, _numpy, "np.__version__", own=False)
_DIALECTS: Mapping[str, Dialect] = {
    "torch": _TORCH, "pytorch": _TORCH, "jax": _OF_JAX, "flax": _OF_JAX, "equinox": _OF_JAX,
    "numpy": Dialect("NumPy", "numpy ml_dtypes", _numpy_preamble, _numpy, "np.__version__"),
}  # fmt: skip
