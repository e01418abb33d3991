"""The block in which the steps of a model of JAX are recorded. Each library says what its dense layers are.

Functions that were compiled before the block are compiled anew inside it, and again behind it, since JAX's caches are
cleared when it begins and ends: else a compiled function would show nothing in the block, or still call the host after.
"""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import wraps
from types import TracebackType
from typing import Any, Self

import jax
import numpy as np

from ....reference import Array
from ..errors import TraceError
from ..recording import Recording
from ..trace import TraceBuilder
from .step import Kind, Model, record_step
from .taps import Host, SeenCall, enter, leave

Describe = Callable[[Any, Any], tuple[Kind, Any, Any] | None]
"""For a layer and its input: the kind of the call, its weight and its bias; None where it cannot be captured."""
Method = tuple[type, str]
"""A class of layers, and the name of the method that computes x W."""
_OPEN = threading.Lock()
_FORWARD_MODE = "a forward-mode derivative, as by jax.jvp, was computed in this block; forward-mode is not captured"


class FunctionalCapture(Recording):
    """A block in which the steps of a model of JAX are recorded; `kterm.capture(model)` makes it.

        with kterm.capture(model) as trace:
            loss, gradients = nnx.value_and_grad(loss_of)(model, x, y)
            trace.end_step(gradients)            # before the model is updated
            optimizer.update(model, gradients)

    Gradients go to `end_step`, since JAX stores none. Arrays pass through the host and come back as they were, so no
    number of a step changes that runs operation by operation. A compiled step is compiled anew inside the block, and
    once more after it. The compiler may fuse otherwise around the host, which changes roundings; the arrays are those
    that this program used. Forward-mode derivatives (`jax.jvp`, `jax.linearize`) and second derivatives
    (`jax.hessian`) run as usual and are not captured, which a note says.

    Calls that no backward pass reaches are left out. So are activations, which are functions in JAX. Other uses of a
    captured parameter, such as weight decay in the loss, are not seen: leave them out of the loss, or such a gradient
    is judged as if the layer alone had made it.

    Memory: for a call with N rows, N (2 inputs + 2 outputs) numbers and its weight, until the step ends.
    """

    def __init__(
        self,
        model: Any,
        to: str | os.PathLike[str] | None,
        read_model: Callable[[Any], Model],
        read_arrays: Callable[[Any], Mapping[str, Array]],
        layers: Mapping[Method, Describe],
        **facts: Any,
    ) -> None:
        """`layers` are the methods that are watched. Raises TraceError if the model has no dense layer, or the folder
        is not empty.
        """
        if not read_model(model).places:
            names = ", ".join(owner.__name__ for owner, _ in layers)
            raise TraceError(f"capture: {type(model).__name__} has no dense layer ({names}) to capture")
        super().__init__(TraceBuilder(to, device=jax.default_backend(), **facts))
        self._model, self._read_model, self._read_arrays, self._layers = model, read_model, read_arrays, layers
        self._host, self._exit, self._was_used = Host(), ExitStack(), False

    @property
    def memory(self) -> int:
        """The bytes of all arrays that the capture holds in memory now."""
        return self._builder.memory + self._host.bytes

    def _why_empty(self) -> str:
        return "capture: no step has ended; call end_step(gradients) after the backward pass, inside the block"

    def __enter__(self) -> Self:
        if self._was_used:
            raise TraceError("capture: this capture was used before; make a new one")
        if not _OPEN.acquire(blocking=False):
            raise TraceError("capture: another capture is open; end its block first")
        self._was_used = self._host.is_open = True
        self._exit.callback(_OPEN.release)
        self._exit.callback(jax.clear_caches)
        jax.clear_caches()
        for (owner, method), describe in self._layers.items():
            self._replace(owner, method, _tap_layer(owner.__dict__[method], self._host, describe))
        return self

    def _replace(self, owner: type, name: str, new: Callable[..., Any]) -> None:
        """Replace a method of a class until the block ends."""
        self._exit.callback(type.__setattr__, owner, name, owner.__dict__[name])
        type.__setattr__(owner, name, new)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._host.is_open = False
        self._exit.close()
        self._host.take()
        self._host.take_gradients()
        self._builder.discard_step()

    def end_step(self, gradients: Any, model: Any = None) -> None:
        """End a step, before the model is updated.

        `gradients` is the tree that the gradient function returned: the sum, where it was called for several
        micro-batches. `model` is what the gradients are of, where that is another object than the captured one, as
        after an update that makes a new model. Raises TraceError if no backward pass reached a dense layer, if no call
        has a weight of the model, or if the trace could not be written.
        """
        calls = self._take_calls(gradients)
        current = self._read_model(self._model if model is None else model)
        record_step(self._builder, calls, current, self._read_arrays(gradients), self._list_notes())

    def _take_calls(self, awaited: Any) -> dict[int, SeenCall]:
        """The calls of the step that ends, once the arrays of a tree are there. Raises TraceError."""
        host = self._host
        if not host.is_open:
            raise TraceError("capture: the block has ended; call end_step inside it")
        jax.block_until_ready(awaited)
        jax.effects_barrier()
        calls = host.take()
        if host.failure is not None:
            failure, host.failure = host.failure, None
            raise TraceError(f"capture: a call could not be copied: {type(failure).__name__}: {failure}")
        if not any("output_gradient" in seen.arrays for seen in calls.values()):
            raise TraceError(
                "capture: no backward pass reached a dense layer in this step; run it inside the block, and with "
                "jax.jit where it was compiled by lower().compile()"
            )
        return calls

    def _list_notes(self) -> dict[str, int]:
        """Notes on what the host has seen, each with how often it holds."""
        return {_FORWARD_MODE: 1} if self._host.has_forward_mode else {}


def _tap_layer(old: Callable[..., Any], host: Host, describe: Describe) -> Callable[..., Any]:
    @wraps(old)
    def call(self: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
        described = describe(self, x) if host.is_open and isinstance(x, jax.Array | np.ndarray) else None
        if described is None:
            return old(self, x, *args, **kwargs)
        kind, weight, bias = described
        x, number = enter(host, kind, jax.numpy.asarray(x), weight, bias)
        return leave(host, old(self, x, *args, **kwargs), number)

    return call


def refuse_dense(dense: Sequence[Any]) -> None:
    """Raises TraceError if dense layers of the user's own are named: only those of the library are known here."""
    if dense:
        raise TraceError("capture: dense=[...] is for PyTorch models; leave it out for models of JAX")


def name_leaves(tree: Any) -> dict[str, Array]:
    """The arrays of a tree by their paths, such as blocks.0.up.kernel."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {name_path(path): np.asarray(leaf) for path, leaf in leaves if isinstance(leaf, jax.Array | np.ndarray)}


def name_path(path: Any) -> str:
    """A path of JAX as a name, such as blocks.0.up.kernel."""
    return jax.tree_util.keystr(path, simple=True, separator=".")
