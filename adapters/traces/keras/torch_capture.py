"""Capture of Keras models on PyTorch. Keras layers are torch modules, but what calls them runs no hooks of PyTorch, so
the `call` of their classes is replaced in the block; gradients are those of PyTorch's graph.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Self

import keras
import torch
from keras.src import backend
from torch import Tensor, nn

from ..errors import TraceError
from ..pytorch.capture import TorchCapture, alias_of, first_of, with_first
from ..pytorch.layers import Place, Places, find_places
from ..pytorch.values import DTYPES
from .activations import LAYERS, describe_activation, is_linear, name_activation
from .calls import run_with
from .layers import DenseLayer, find_layers, find_matrices, path_of

_OPEN = set[int]()
"""The models whose captures are open, by `id`."""


class TorchKerasCapture(TorchCapture):
    """A block in which the steps of a Keras model on PyTorch are recorded; `kterm.capture(model)` makes it.

    It is used as `TorchCapture` is, with a loop of your own, or with `model.train_on_batch(x, y)` and `end_step()`
    behind it: Keras's optimizers leave gradients as they are. In `model.fit`, a callback calls `end_step()` in
    `on_train_batch_end`. Captured are calls of `keras.layers.Dense`, of `EinsumDense` with the equation of a dense
    layer (those inside `MultiHeadAttention` are), of `ReversibleEmbedding`, and of layers that `dense` names; the
    activations that these layers have, and activation layers that are given the output of one; and what `TorchCapture`
    captures in PyTorch modules of the model. Under mixed precision products are due in the `compute_dtype` of a layer.
    """

    _model: Any

    def _find_places(self, model: nn.Module, dense: Sequence[str]) -> Places:
        self._found = find_layers(model, dense)
        layers = list[Any](model._flatten_layers())  # pyright: ignore[reportCallIssue]
        wrappers = [one for one in layers if isinstance(one, keras.layers.TorchModuleWrapper)]
        self._inner = [one.module for one in wrappers]
        inner = [_rename(find_places(one.module), path_of(one)) for one in wrappers]
        variables = list[Any](model.variables)  # pyright: ignore[reportArgumentType]
        names = {id(_value_of(one)): one.path for one in variables}
        # Keras reads its variables by other functions than those that are watched for weights of PyTorch modules.
        weights = {id(_value_of(one.kernel)): _place_of(one, None) for one in self._found.layers}
        tables = dict[int, Place]()
        for layer in self._found.tables:
            kind = Place(path_of(layer), (layer.embeddings.path, None), type(layer).__name__, "in_out", "lookup")
            tables[id(_value_of(layer.embeddings))] = kind
        for one in inner:
            names, weights, tables = names | one.names, weights | one.weights, tables | one.tables
        modules = tuple(each for one in inner for each in one.modules)
        notes = [*self._found.notes, *(note for one in inner for note in one.notes)]
        if getattr(model, "jit_compile", None) is True:
            notes.append("the model is compiled (jit_compile), and its step calls no layers that could be captured")
        stacks = frozenset(id(_value_of(one)) for one in find_matrices(model, self._found))
        stacks = stacks.union(*(one.stacks for one in inner))
        return Places(modules, weights, tables, names, tuple(notes), stacks)

    def _list_modules(self) -> Iterator[nn.Module]:
        return (each for one in self._inner for each in one.modules())

    def _list_facts(self) -> tuple[str, ...]:
        return (f"a model of Keras {keras.__version__} on PyTorch",)

    def __enter__(self) -> Self:
        if id(self._model) in _OPEN:
            raise TraceError("capture: another capture of this model is open; end its block first")
        super().__enter__()
        _OPEN.add(id(self._model))
        self._exit.callback(_OPEN.discard, id(self._model))
        self._of_layer = {id(one.layer): one for one in self._found.layers}
        self._running = set[int]()
        self._matrices |= {id(_value_of(one.kernel)) for one in self._found.layers}
        for owner in (*self._found.owners, *LAYERS):
            self._replace(owner, "call", self._run_activation if owner in LAYERS else self._run_layer)
        return self

    def _run_layer(self, run: partial[Any]) -> Any:
        """The `call` of a layer: of a dense layer of the model it is captured."""
        layer, args, kwargs = run.args[0], run.args[1:], run.keywords
        one, x = self._of_layer.get(id(layer)), first_of(args, kwargs)
        if one is None or id(layer) in self._running or not isinstance(x, Tensor) or not torch.is_grad_enabled():
            return run()
        if one.is_reverse and not (kwargs.get("reverse") or (len(args) > 1 and args[1])):
            return run()  # a lookup, which is seen where it reads the table
        recorder = self._recorder
        recorder.step.order.setdefault(one.name, len(recorder.step.order))
        if why := one.why_not():
            recorder.note(_place_of(one, None), why)
            return run()
        x = one.widen(x)
        place, alias = _place_of(one, x), recorder.run_carefully(partial(alias_of, x))
        args, kwargs = with_first(x if alias is None else alias, args, kwargs)
        self._running.add(id(layer))
        try:
            call = partial(run.func, layer, *args, **kwargs)
            return run_with(layer, call, partial(self._reach_output, one, place, x, alias))
        finally:
            self._running.discard(id(layer))

    def _reach_output(
        self, one: DenseLayer, place: Place, x: Tensor, alias: Tensor | None, z: Any, activation: Any
    ) -> Any:
        """The layer has z. Returns what its activation makes of it."""
        if isinstance(z, Tensor) and z.requires_grad:
            weight, bias = _value_of(one.kernel), None if one.bias is None else _value_of(one.bias)
            self._recorder.run_carefully(partial(self._recorder.add_call, place, x, alias, z, weight, bias))
        return z if is_linear(activation) else self._activate(activation, partial(activation), activation, z)

    def _run_activation(self, run: partial[Any]) -> Any:
        """The `call` of an activation layer, which may be behind a dense layer."""
        layer, *args = run.args
        if len(args) != 1 or run.keywords or type(layer) not in LAYERS or is_linear(getattr(layer, "activation", 0)):
            return run()
        return self._activate(layer, partial(run.func, layer), None, args[0])

    def _activate(self, activation: Any, run: partial[Any], own: Any, z: Any) -> Any:
        """Run an activation. It is captured if z is the output of a captured call. `own` is that of the layer itself,
        which is missed if it is not captured.
        """
        recorder = self._recorder
        seen = recorder.find_call(z) if isinstance(z, Tensor) and torch.is_grad_enabled() else None
        if seen is None or seen.behind is not None:
            return run(z)
        name = name_activation(activation)
        if name is None:
            if own is not None:
                recorder.note(seen.place, f"its activation {describe_activation(own)}")
            return run(z)
        # Others may read the output of a layer with an activation layer behind it. With an alias, the parts of the
        # gradient would be added in another order.
        alias = None if own is None else recorder.run_carefully(partial(alias_of, z))
        a = run(z if alias is None else alias)
        if isinstance(a, Tensor) and a.requires_grad and a.dtype == z.dtype:
            recorder.run_carefully(partial(recorder.add_activation, seen, name, alias, a))
        return a


def _rename(places: Places, path: str) -> Places:
    """The places of a module of PyTorch inside a Keras model, with the path of what wraps it in front of all names."""

    def rename(place: Place) -> Place:
        weight, bias = place.names
        names = f"{path}/{weight}", None if bias is None else f"{path}/{bias}"
        return replace(place, name=f"{path}/{place.name}", names=names)

    return Places(
        tuple((module, rename(place)) for module, place in places.modules),
        {key: rename(place) for key, place in places.weights.items()},
        {key: rename(place) for key, place in places.tables.items()},
        {key: f"{path}/{name}" for key, name in places.names.items()},
        tuple(f"{path}/{note}" for note in places.notes),
        places.stacks,
    )


def _value_of(variable: Any) -> Any:
    """The parameter of a variable, whatever scope is open."""
    with backend.AutocastScope(None):
        return variable.value


def _place_of(one: DenseLayer, x: Tensor | None) -> Place:
    """A layer as the recorder knows it. The dtype of its input, as it reads it, is that of its products."""
    computes_in = None if x is None else DTYPES.get(x.dtype)
    return Place(one.name, one.names, one.type, one.layout, "dense", one.inputs, one.outputs, computes_in)
