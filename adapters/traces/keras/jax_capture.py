"""Capture of Keras models on JAX: arrays pass through the host, as in the other captures of models of JAX. A layer of
Keras is the same object in every call, so a call is given its name when it is traced.
"""

import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from typing import Any, Self

import jax
import keras
import numpy as np
from keras.src import backend

from ....reference import Array
from ..errors import TraceError
from ..functional.block import FunctionalCapture
from ..functional.step import LOOKUPS, Kind, Model, Place, record_step
from ..functional.taps import enter, leave, leave_activation, show_gradient
from .activations import LAYERS, describe_activation, is_linear, name_activation
from .calls import run_with
from .layers import DenseLayer, find_layers, find_matrices

_UPDATE = "stateless_apply"


class JaxKerasCapture(FunctionalCapture):
    """A block in which the steps of a Keras model on JAX are recorded; `kterm.capture(model)` makes it.

        with kterm.capture(model) as trace:
            gradients = jax.grad(loss_of)(model.trainable_variables, x, y)    # calls model.stateless_call
            trace.end_step(gradients)

        with kterm.capture(model) as trace:
            model.train_on_batch(x, y)      # or a callback of model.fit that ends the step in on_train_batch_end
            trace.end_step()                # with the gradients that the optimizer of the compiled model was given

    It is used as `FunctionalCapture` is, and what is said there of compiled steps, other uses of a weight and memory
    holds here. Captured are calls of `keras.layers.Dense`, of `EinsumDense` with the equation of a dense layer (those
    inside `MultiHeadAttention` are), of `ReversibleEmbedding` as the last layer, and of layers that `dense` names; the
    activations that these layers have; and the output of activation layers that are given the output of one. The
    gradient of a table that is tied and that of a weight with a regularizer are not judged: their other parts are not
    seen.
    """

    def __init__(self, model: Any, to: str | os.PathLike[str] | None = None, dense: Sequence[str] = ()) -> None:
        """`dense` is as in `capture_keras`. Raises TraceError."""
        found = find_layers(model, dense)
        places = [Place(one.name, *one.names, one.type, one.layout) for one in found.layers]
        self._matrices = {one.path for one in find_matrices(model, found)}
        seen = Model({}, places, dict(_list_others(found.layers)), sorted(self._matrices))
        facts = {"framework": "jax", "framework_version": jax.__version__}
        notes = (f"a model of Keras {keras.__version__} on JAX",)
        super().__init__(model, to, lambda model: seen, self._name_gradients, {}, **facts, notes=notes)
        self._found, self._of_layer = found, {id(one.layer): one for one in found.layers}
        self._running, self._notes = set[int](), dict.fromkeys(found.notes, 1)
        self._outputs: dict[int, tuple[weakref.ref[Any], Any]] = {}

    def __enter__(self) -> Self:
        super().__enter__()
        for owner in (*self._found.owners, *LAYERS):
            self._watch(owner, "call", self._run_activation if owner in LAYERS else self._run_layer)
        optimizer = getattr(self._model, "optimizer", None)
        owner = next((one for one in type(optimizer).__mro__ if _UPDATE in vars(one)), None)
        if owner is not None:
            self._watch(owner, _UPDATE, self._run_update)
        return self

    def _watch(self, owner: type, name: str, new: Callable[..., Any]) -> None:
        old = owner.__dict__[name]

        @wraps(old)
        def watched(*args: Any, **kwargs: Any) -> Any:
            return new(old, *args, **kwargs) if self._host.is_open else old(*args, **kwargs)

        self._replace(owner, name, watched)

    def end_step(self, gradients: Any = None, model: Any = None) -> None:
        """End a step. `gradients` are those of `model.trainable_variables`, in their order: the sum, for several
        micro-batches. Without them, they are those that the optimizer of the compiled model was given in the step,
        which `train_on_batch` and `fit` call. Raises TraceError, as `FunctionalCapture.end_step` does, and if the
        gradients are missing or do not fit.
        """
        if model not in (None, self._model):
            raise TraceError("capture: a Keras model stays the same object; call end_step(gradients)")
        host = self._host
        calls = self._take_calls(_state_of(self._model) if gradients is None else gradients)
        shown = host.take_gradients()
        if gradients is not None:
            named = self._name_gradients(gradients)
        elif not shown:
            raise TraceError(
                "capture: no gradients; call end_step(gradients), or behind train_on_batch of a compiled model"
            )
        elif any(len(some) > 1 for some in shown.values()):
            raise TraceError("capture: the optimizer ran more than once; call end_step after each update")
        else:
            named = {name: some[0] for name, some in shown.items()}
        record_step(self._builder, calls, self._read_model(None), named, self._notes | self._list_notes())

    def _name_gradients(self, gradients: Any) -> Mapping[str, Array]:
        variables = self._model.trainable_variables
        if not isinstance(gradients, list | tuple) or len(gradients) != len(variables):
            raise TraceError(
                f"capture: give the gradients of the {len(variables)} model.trainable_variables, in their order"
            )
        pairs = zip(variables, gradients, strict=True)
        return {one.path: np.asarray(gradient) for one, gradient in pairs if gradient is not None}

    def _run_update(self, old: Any, optimizer: Any, values: Any, gradients: Any, variables: Any) -> Any:
        """The update of an optimizer. That of the model shows its gradients to the host."""
        own = list[Any](self._model.trainable_variables)
        if optimizer is self._model.optimizer and len(gradients) == len(own):
            wanted: set[Any] = {name for one in self._found.layers for name in one.names} | self._matrices
            gradients = [
                show_gradient(self._host, one.path, gradient)
                if one.path in wanted and gradient is not None
                else gradient
                for one, gradient in zip(own, gradients, strict=True)
            ]
        return old(optimizer, values, gradients, variables)

    def _run_layer(self, old: Any, layer: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The `call` of a layer: of a dense layer of the model it is captured."""
        one, run = self._of_layer.get(id(layer)), partial(old, layer)
        if one is None or id(layer) in self._running or not isinstance(x, jax.Array):
            return run(x, *args, **kwargs)
        if one.is_reverse and not (kwargs.get("reverse") or (args and args[0])):
            return run(x, *args, **kwargs)
        why = one.why_not()
        if not why and not jax.numpy.issubdtype(x.dtype, jax.numpy.floating):
            why = f"a call with an input of {x.dtype}"
        if why:
            self._notes[f"{one.name}: {why}, which was not captured"] = 1
            return run(x, *args, **kwargs)
        with backend.AutocastScope(None):
            weight: Any = one.kernel.value
            bias = None if one.bias is None else one.bias.value
        x = one.widen(x)
        x, number = enter(self._host, _describe(one, x), x, weight, bias)
        self._running.add(id(layer))
        try:
            return run_with(layer, partial(run, x, *args, **kwargs), partial(self._reach_output, one, number))
        finally:
            self._running.discard(id(layer))

    def _reach_output(self, one: DenseLayer, number: Any, z: Any, activation: Any) -> Any:
        """The layer has z. Returns what its activation makes of it."""
        z = leave(self._host, z, number)
        if is_linear(activation):
            key = id(z)
            self._outputs[key] = weakref.ref(z, lambda _: self._outputs.pop(key, None)), number
            return z
        name, a = name_activation(activation), activation(z)
        if name is None or a.dtype != z.dtype:
            self._notes[f"{one.name}: its activation {describe_activation(activation)}, which was not captured"] = 1
            return a
        return leave_activation(self._host, a, number, name)

    def _run_activation(self, old: Any, layer: Any, z: Any, *args: Any, **kwargs: Any) -> Any:
        """The `call` of an activation layer. It is captured if z is the output of a captured call."""
        known, name = self._outputs.get(id(z)), name_activation(layer)
        if args or kwargs or known is None or known[0]() is not z or name is None:
            return old(layer, z, *args, **kwargs)
        del self._outputs[id(z)]  # the first activation that reads it
        a = old(layer, z)
        return leave_activation(self._host, a, known[1], name) if a.dtype == z.dtype else a


def _describe(one: DenseLayer, x: Any) -> Kind:
    """A call. The dtype of its input, as it reads it, is that of its products."""
    is_alone = not is_linear(getattr(one.layer, "activation", None))
    return Kind(one.inputs, one.outputs, one.layout, str(x.dtype), one.name, is_alone)


def _state_of(model: Any) -> Any:
    """What a step computed last: the state that `fit` keeps, or the variables, once they have it."""
    if not getattr(model, "_jax_state_synced", True):
        return getattr(model, "_jax_state", None)
    return [one.value for one in model.trainable_variables]


def _list_others(layers: Sequence[DenseLayer]) -> list[tuple[str, str]]:
    """What else is in the gradients of parameters, that the capture does not see."""
    others = list[tuple[str, str]]()
    for one in layers:
        if one.is_reverse and one.layer.tie_weights:
            others.append((one.names[0], LOOKUPS))
        for variable in (one.kernel, one.bias):
            if variable is not None and variable.regularizer is not None:
                others.append((variable.path, "it has a regularizer, whose part was not captured"))
    return others
