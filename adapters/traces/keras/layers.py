"""The dense layers of a Keras model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import keras

from ..errors import TraceError
from ..manifest import Layout
from ..recording import may_hold_matrices
from .equations import read_equation


@dataclass(frozen=True, eq=False)
class DenseLayer:
    """A dense layer of a model. `name` is its path, and `kernel` and `bias` are its variables.

    The last `inputs` axes of its input and the last `outputs` of its output are features; the kernel has both, in this
    order, or in the other one for `out_in`. With `is_reverse`, the layer is a table that is read backwards.
    """

    layer: Any
    name: str
    kernel: Any
    bias: Any | None = None
    inputs: int = 1
    outputs: int = 1
    layout: Layout = "in_out"
    is_reverse: bool = False

    @property
    def names(self) -> tuple[str, str | None]:
        """The names of its weight and its bias: their paths."""
        return self.kernel.path, None if self.bias is None else self.bias.path

    @property
    def type(self) -> str:
        return type(self.layer).__name__

    def widen(self, x: Any) -> Any:
        """The input of a call in the dtype that the layer computes in. Layers whose policy is one of casting are given
        it so. A table is not: its product promotes a narrow input, so the same is done here, before x is looked at.
        """
        dtype, own = keras.backend.standardize_dtype(x.dtype), keras.backend.standardize_dtype(self.kernel.dtype)
        if self.layer.autocast or dtype == own:
            return x
        return keras.ops.cast(x, keras.backend.result_type(dtype, own))

    def why_not(self) -> str:
        """Why a call that is made now is not that of a dense layer; empty if it is."""
        if getattr(self.layer, "quantization_mode", None) is not None:
            return f"a call in {self.layer.quantization_mode}"
        kernel = self.layer.kernel if hasattr(self.layer, "kernel") else self.kernel
        return "" if kernel is self.kernel else "a call with a kernel that is computed"


@dataclass(frozen=True)
class Found:
    """The dense layers of a model, with those that the user named, `declared`, among them; the layers that are tables
    and dense layers in one; and what is said of others.
    """

    layers: tuple[DenseLayer, ...]
    declared: tuple[Any, ...]
    tables: tuple[Any, ...]
    notes: tuple[str, ...]

    @property
    def owners(self) -> tuple[type, ...]:
        """The classes whose `call` the dense layers run, each once."""
        owners = [one for one in _OWNERS if any(isinstance(each.layer, one) for each in self.layers)]
        owners += [_owner_of(one) for one in self.declared]
        return tuple(dict.fromkeys(owners))


_OWNERS = tuple(
    getattr(keras.layers, name)
    for name in ("Dense", "EinsumDense", "ReversibleEmbedding")
    if hasattr(keras.layers, name)  # the last one came with Keras 3.13
)


_NOT_DENSE: Any = (
    *(getattr(keras.layers, f"Conv{n}D{kind}") for n in (1, 2, 3) for kind in ("", "Transpose")),
    *(getattr(keras.layers, f"{kind}Conv{n}D") for n in (1, 2) for kind in ("Depthwise", "Separable")),
    keras.layers.Embedding,
    keras.layers.TorchModuleWrapper,
)


def find_layers(model: Any, dense: Sequence[str] = ()) -> Found:
    """Find the dense layers of a model. `dense` is as in `capture_keras`. Raises TraceError."""
    if not model.built:
        raise TraceError(f"capture: {model.name} is not built; call it once, or build(), before it is captured")
    every = list(model._flatten_layers())
    declared = _find_declared(every, dense)
    layers, notes, tables = list[DenseLayer](), list[str](), list[Any]()
    for layer in every:
        if id(layer) in declared:
            continue
        described = _describe(layer)
        if isinstance(described, str):
            notes.append(f"{path_of(layer)}: {described}, so it was not captured")
        elif described is not None:
            layers.append(described)
            if described.is_reverse:
                tables.append(layer)
    found = [*layers, *declared.values()]
    if not found:
        names = ", ".join(one.__name__ for one in _OWNERS)
        why = "".join(f"; {note}" for note in notes)
        raise TraceError(f"capture: {type(model).__name__} has no dense layer ({names}) to capture{why}")
    return Found(tuple(_name_apart(found)), tuple(one.layer for one in declared.values()), tuple(tables), tuple(notes))


def find_matrices(model: Any, found: Found) -> list[Any]:
    """Variables that may hold matrices of dense layers and are in none of those found: of layers with a `call` of their
    own, and of cells. Kernels of convolutions and tables are none, nor are parameters of wrapped PyTorch modules.
    """
    known = {id(one) for layer in found.layers for one in (layer.kernel, layer.bias)}
    for layer in model._flatten_layers():
        if isinstance(layer, _NOT_DENSE):
            known |= {id(one) for one in layer.variables}
    return [one for one in model.trainable_variables if id(one) not in known and may_hold_matrices(one.shape)]


def _name_apart(layers: Sequence[DenseLayer]) -> Iterator[DenseLayer]:
    """The layers, none with the name of another: paths may be equal."""
    seen = dict[str, int]()
    for one in layers:
        count = seen[one.name] = seen.get(one.name, 0) + 1
        yield one if count == 1 else replace(one, name=f"{one.name}#{count}")


def _find_declared(every: Sequence[Any], dense: Sequence[str]) -> dict[int, DenseLayer]:
    found = dict[int, DenseLayer]()
    for pattern in dense:
        matching = [one for one in every if fnmatchcase(path_of(one), pattern) and _has_matrix(one)]
        if not matching:
            raise TraceError(f"capture: dense={pattern!r}: matches no layer of the model that has a matrix as kernel")
        for one in matching:
            found[id(one)] = DenseLayer(one, one.path, one.kernel, getattr(one, "bias", None))
    return found


def path_of(layer: Any) -> str:
    """The path of a layer. One that was never called has its name alone."""
    return layer.path or layer.name


def _has_matrix(layer: Any) -> bool:
    kernel: Any = getattr(layer, "kernel", None) if layer.built else None
    return isinstance(kernel, keras.Variable) and len(kernel.shape) == 2


def _owner_of(layer: Any) -> type:
    return next(one for one in type(layer).__mro__ if "call" in vars(one))


def _describe(layer: Any) -> DenseLayer | str | None:
    """A layer as a dense layer, or why it is none, or None for a layer of another kind."""
    if not isinstance(layer, _OWNERS):
        return None
    if not layer.built:
        return "it is not built (call the model once)"
    if layer.quantization_mode is not None:
        return f"it computes in {layer.quantization_mode}"
    if isinstance(layer, keras.layers.Embedding):
        return _describe_table(layer)
    if not isinstance(layer.kernel, keras.Variable):
        return "its kernel is computed"
    if isinstance(layer, keras.layers.Dense):
        return DenseLayer(layer, layer.path, layer.kernel, layer.bias)
    features = read_equation(layer.equation, layer.bias_axes)
    if features is None:
        return f"its equation {layer.equation} with the bias axes {layer.bias_axes} is not that of a dense layer"
    return DenseLayer(layer, layer.path, layer.kernel, layer.bias, *features)


def _describe_table(layer: Any) -> DenseLayer | str:
    if layer.lora_enabled:
        return "its table is computed"
    if layer.logit_soft_cap is not None or layer.reverse_dtype is not None:
        return "it has a soft cap or another dtype behind its product"
    kernel: Any = layer.embeddings if layer.tie_weights else layer.reverse_embeddings
    layout: Layout = "out_in" if layer.tie_weights else "in_out"
    return DenseLayer(layer, f"{path_of(layer)}/reverse", kernel, layout=layout, is_reverse=True)
