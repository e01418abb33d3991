"""The dense layers of a PyTorch model, and how PyTorch computes their products."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..errors import TraceError
from ..manifest import DTypeName, Layout, Products
from ..recording import may_hold_matrices
from .values import DTYPES


@dataclass(frozen=True)
class Place:
    """A dense layer, or a lookup in a table, of the model. `names` are those of its weight and its bias.

    The last `inputs` axes of what it is given and the last `outputs` of what it gives are features. `computes_in` is
    the dtype that its products are computed in, None where PyTorch's settings and the dtypes of its tensors say it.
    """

    name: str
    names: tuple[str, str | None]
    type: str
    layout: Layout = "out_in"
    kind: Literal["dense", "lookup"] = "dense"
    inputs: int = 1
    outputs: int = 1
    computes_in: DTypeName | None = None

    def shape_of(self, weight: Tensor) -> tuple[int, int]:
        """The shape of its weight as a matrix, in its layout."""
        rows = self.inputs if self.layout == "in_out" else self.outputs
        return math.prod(weight.shape[:rows]), math.prod(weight.shape[rows:])


@dataclass(frozen=True)
class Places:
    """Where the dense layers of a model are. `modules` are to be hooked. `weights` are matrices that
    `torch.nn.functional.linear` may be called with, and `tables` those that `functional.embedding` may be, both by the
    `id` of the parameter. `names` are those of parameters, and `notes` say what is left out. `stacks` are the `id` of
    parameters that may hold several matrices, as experts do; no call with one is captured.
    """

    modules: tuple[tuple[nn.Module, Place], ...]
    weights: dict[int, Place]
    tables: dict[int, Place]
    names: dict[int, str]
    notes: tuple[str, ...]
    stacks: frozenset[int]


def find_places(model: nn.Module, dense: Sequence[str] = ()) -> Places:
    """Find the dense layers of a model. `dense` are patterns of names of modules that are dense layers though they
    compute by a forward of their own, such as "blocks.*.up" or, for a weight (inputs, outputs), "blocks.*.up:in_out".

    Modules are hooked that are `nn.Linear` or Conv1D of transformers and compute as their class does, and those of
    `dense`. Every other matrix may be the weight of a call of `functional.linear`, as in `nn.MultiheadAttention` or in
    a subclass of `nn.Linear` that has its own forward.

    Raises TraceError for a pattern of `dense` that matches no module with a matrix as weight.
    """
    names = {id(one): name for name, one in model.named_parameters()}
    declared = _find_declared(model, dense)
    owners = {id(one.out_proj) for one in model.modules() if isinstance(one, nn.MultiheadAttention)}
    modules, notes = list[tuple[nn.Module, Place]](), list[str]()
    for name, module in model.named_modules():
        name = name or type(module).__name__
        if type(module).__name__ in _COMPILED or getattr(module, "_compiled_call_impl", None) is not None:
            notes.append(f"{name}: compiled, and a compiled program calls no layers that could be captured")
        layout = declared.get(id(module)) or (None if id(module) in owners else _layout_of(module))
        weight, bias = module._parameters.get("weight"), module._parameters.get("bias")
        if layout is not None and weight is not None:
            own = names.get(id(weight), f"{name}.weight"), bias if bias is None else names.get(id(bias), f"{name}.bias")
            modules.append((module, Place(name, own, type(module).__name__, layout)))
        elif layout is not None:
            notes.append(f"{name}: its weight is no parameter of it, so it was not captured")
    taken = {id(module._parameters["weight"]) for module, _ in modules}
    tables = dict[int, Place]()
    for name, module in model.named_modules():
        weight = module._parameters.get("weight")
        if isinstance(module, nn.Embedding) and weight is not None:
            own = names.get(id(weight), f"{name}.weight")
            tables[id(weight)] = Place(name or "Embedding", (own, None), type(module).__name__, "in_out", "lookup")
    stacks = frozenset(_find_stacks(model, taken))
    return Places(tuple(modules), dict(_find_weights(model, taken)), tables, names, tuple(notes), stacks)


_COMPILED = ("OptimizedModule", "ScriptModule", "RecursiveScriptModule")


def _find_declared(model: nn.Module, dense: Sequence[str]) -> dict[int, Layout]:
    """The layouts of the modules that patterns name, by `id`."""
    found = dict[int, Layout]()
    for text in dense:
        pattern, _, said = text.partition(":")
        if said not in ("", "in_out", "out_in"):
            raise TraceError(f"capture: dense={text!r}: the layout is in_out or out_in")
        matched = [module for name, module in model.named_modules() if fnmatchcase(name, pattern)]
        matrices = [one for one in matched if isinstance(w := one._parameters.get("weight"), Tensor) and w.ndim == 2]
        if not matrices:
            raise TraceError(f"capture: dense={text!r}: matches no module of the model that has a matrix as weight")
        layout: Layout = "in_out" if said == "in_out" else "out_in"
        found.update((id(one), layout) for one in matrices)
    return found


def _find_weights(model: nn.Module, taken: set[int]) -> Iterator[tuple[int, Place]]:
    seen = set(taken)
    for prefix, module in model.named_modules():
        for name, parameter in module._parameters.items():
            if parameter is None or nn.parameter.is_lazy(parameter) or parameter.ndim != 2 or id(parameter) in seen:
                continue
            seen.add(id(parameter))
            whole = ".".join(part for part in (prefix, name) if part)
            # A table keeps its name for the lookups.
            short = whole if isinstance(module, nn.Embedding) else whole.removesuffix("weight").rstrip("._")
            yield id(parameter), Place(short or type(module).__name__, (whole, None), type(module).__name__)


def _find_stacks(model: nn.Module, taken: set[int]) -> Iterator[int]:
    """Parameters with three axes or more that may hold matrices, without kernels of convolutions."""
    for module in model.modules():
        if isinstance(module, nn.modules.conv._ConvNd):
            continue
        for parameter in module._parameters.values():
            if parameter is None or nn.parameter.is_lazy(parameter) or id(parameter) in taken:
                continue
            if parameter.ndim > 2 and may_hold_matrices(parameter.shape):
                yield id(parameter)


def _layout_of(module: nn.Module) -> Layout | None:
    """The layout of a dense layer that computes as its class does, or None."""
    if "forward" in vars(module):  # replaced in this object
        return None
    if isinstance(module, nn.Linear):
        return "out_in" if type(module).forward is nn.Linear.forward else None
    return "in_out" if type(module).__name__ == "Conv1D" and hasattr(module, "nf") else None


def fit_layout(place: Place, weight: Tensor, x: Tensor, z: Tensor) -> Place | None:
    """The place with the layout that the shape of its weight has, or None if no dense layer with this input and output
    has that shape. A square weight lies as its class or the user says.
    """
    if x.shape[: x.ndim - place.inputs] != z.shape[: z.ndim - place.outputs]:
        return None
    if place.inputs > 1 or place.outputs > 1:
        return place if weight.shape == (*x.shape[-place.inputs :], *z.shape[-place.outputs :]) else None
    inputs, outputs = x.shape[-1], z.shape[-1]
    shapes: dict[Layout, tuple[int, int]] = {"out_in": (outputs, inputs), "in_out": (inputs, outputs)}
    fitting = [layout for layout, shape in shapes.items() if shape == tuple(weight.shape)]
    if not fitting:
        return None
    return place if place.layout in fitting else replace(place, layout=fitting[0])


def say_distributed(model: nn.Module) -> str:
    """Why the gradients of a model are not those of this process, or ""."""
    distributed: Any = torch.distributed
    if distributed.is_available() and distributed.is_initialized() and (n := distributed.get_world_size()) > 1:
        return f"{n} processes may have exchanged gradients, and this one saw its own calls only"
    if any(type(one).__name__ == "DataParallel" for one in model.modules()) and torch.cuda.device_count() > 1:
        return "several devices computed the calls"
    return ""


def describe_products(place: Place, x: Tensor, weight: Tensor, z: Tensor) -> Products | None:
    """How the products of a call that has just run are computed, from the layer and from PyTorch's settings, where that
    is not the usual way of the dtype of its arrays.
    """
    device = z.device.type
    usual = {DTYPES[one.dtype] for one in (x, weight, z)}
    dtype = None if usual == {place.computes_in} else place.computes_in
    if torch.is_autocast_enabled(device):
        target = torch.get_autocast_dtype(device)
        if z.dtype == target and not x.dtype == weight.dtype == target:
            dtype = DTYPES[target]
    computed = dtype or DTYPES[z.dtype]
    operands = _rounded_operands(device) if computed == "f32" else None
    accumulator = _narrow_accumulator(computed) if device == "cuda" else None
    if dtype is operands is accumulator is None:
        return None
    return Products(dtype=dtype, operands=operands, accumulator=accumulator)


def say_unknown_products(x: Tensor, z: Tensor) -> str:
    """Why it is not known how the products of a call are computed, or ""."""
    device = z.device.type
    if not torch.is_autocast_enabled(device) or torch.float64 in (x.dtype, z.dtype):
        return ""
    is_usual = z.dtype == torch.get_autocast_dtype(device)
    return "" if is_usual else f"a call under autocast that gave {z.dtype}, so it is not known what it rounds"


def _rounded_operands(device: str) -> Literal["tf32", "bf16"] | None:
    """The format that factors in float32 may be rounded to."""
    backends: Any = {"cuda": torch.backends.cuda, "cpu": torch.backends.mkldnn}.get(device)
    matmul = getattr(backends, "matmul", None)
    chosen = getattr(matmul, "fp32_precision", None)
    if chosen is None:  # before PyTorch 2.9
        chosen = "tf32" if device == "cuda" and _is_on(matmul, "allow_tf32") else ""
    return chosen if chosen in ("tf32", "bf16") else None


def _narrow_accumulator(computed: str) -> DTypeName | None:
    """The dtype that partial sums may be rounded to on a GPU: cuBLAS may add the parts of a long sum so."""
    matmul: Any = torch.backends.cuda.matmul
    if computed == "bf16":
        return "bf16" if _is_on(matmul, "allow_bf16_reduced_precision_reduction") else None
    if computed == "f16":
        names = ("allow_fp16_reduced_precision_reduction", "allow_fp16_accumulation")
        return "f16" if any(_is_on(matmul, name) for name in names) else None
    return None


def _is_on(matmul: Any, name: str) -> bool:
    value = getattr(matmul, name, False)
    return bool(value[0] if isinstance(value, tuple) else value)
