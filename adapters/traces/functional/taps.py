"""Identities that copy what passes through them to the host, in the forward and in the backward pass of JAX.

    x, call = enter(x, weight, bias)        # the host sees x, W and b, and later this call's own dL/dx
    z = leave(layer(x), call)               # the host sees z, and later k = dL/dz
    a = leave_activation(f(z), call, "tanh")  # the host sees a, and later dL/da

The host gives each execution of a call a number, which travels with the data. That is how the arrays of a call find
each other in a compiled program, in any order, and also where a checkpoint runs the call twice. What the program goes
on with is what came back from the host, so the copies are what it used. Under vmap the host sees the whole batch.
"""

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import numpy as np

from ....reference import Array

Quantity = Literal[
    "output",
    "output_gradient",
    "input_gradient",
    "activation_output",
    "activation_output_gradient",
]


@dataclass
class SeenCall:
    """One execution of a call: copies of its arrays, as they came. Leading axes are not flattened. `activation` is the
    name of the activation behind it, if one was seen.
    """

    kind: Any
    input: Array
    weight: Array
    bias: Array | None
    arrays: dict[Quantity, Array]
    activation: str = ""


class Host:
    """What the host has seen since the last step ended: calls by number, and gradients of parameters by name, if they
    are shown to it. `is_open` says whether it looks at all.
    """

    def __init__(self) -> None:
        self.is_open, self.failure = False, None
        self.calls: dict[int, SeenCall] = {}
        self.gradients: dict[str, list[Array]] = {}
        self._numbers, self._lock = itertools.count(1), threading.Lock()

    failure: Exception | None

    def start(self, kind: Any, x: Any, weight: Any, bias: Any | None) -> int:
        """Keep what a call is given. Returns its number, 0 when nothing is kept."""
        if not self.is_open:
            return 0
        try:
            with self._lock:
                number = next(self._numbers)
                copied = None if bias is None else np.array(bias)
                self.calls[number] = SeenCall(kind, np.array(x), np.array(weight), copied, {})
                return number
        except Exception as error:  # an error in a callback would end the step of the user
            self.failure = error
            return 0

    def add(self, number: Any, quantity: Quantity, array: Any, activation: str = "") -> None:
        """Keep another array of a call."""
        try:
            seen = self.calls.get(int(number))
            if self.is_open and seen is not None:
                seen.arrays[quantity] = np.array(array)
                seen.activation = activation or seen.activation
        except Exception as error:
            self.failure = error

    def add_gradient(self, name: str, array: Any) -> Any:
        """Keep a gradient of a parameter. Returns it."""
        try:
            if self.is_open:
                self.gradients.setdefault(name, []).append(np.array(array))
        except Exception as error:
            self.failure = error
        return array

    def take_gradients(self) -> dict[str, list[Array]]:
        """All gradients of parameters since the last step ended, and none of them stays."""
        gradients, self.gradients = self.gradients, {}
        return gradients

    def take(self) -> dict[int, SeenCall]:
        """All calls since the last step ended, by number, and none of them stays."""
        with self._lock:
            calls, self.calls = self.calls, {}
        return calls

    @property
    def bytes(self) -> int:
        """The bytes of the arrays that are held now."""
        return sum(
            one.input.nbytes + one.weight.nbytes + sum(array.nbytes for array in one.arrays.values())
            for one in list(self.calls.values())
        ) + sum(array.nbytes for some in list(self.gradients.values()) for array in some)


def enter(host: Host, kind: Any, x: jax.Array, weight: jax.Array, bias: jax.Array | None) -> tuple[Any, Any]:
    """The input of a call, unchanged, and the number of the call (int32)."""
    others = (weight,) if bias is None else (weight, bias)

    def start(x: Any, *others: Any) -> tuple[Any, Any]:
        number = host.start(kind, x, others[0], others[1] if len(others) > 1 else None)
        return x, np.asarray(number, np.int32)

    @jax.custom_vjp
    def run(x: Any, *others: Any) -> Any:
        return _call_host(start, True, x, *others)

    def run_forward(x: Any, *others: Any) -> Any:
        x, number = _call_host(start, True, x, *others)
        return (x, number), (number, len(others))

    def run_backward(kept: Any, gradients: Any) -> Any:
        number, count = kept
        return _tap(host, "input_gradient", gradients[0], number), *(None,) * count

    run.defvjp(run_forward, run_backward)
    # The gradients by W and b do not pass here. Without this they would be given a zero, which turns -0 to 0.
    return run(x, *(jax.lax.stop_gradient(one) for one in others))


def leave(host: Host, z: jax.Array, number: Any) -> Any:
    """The output of a call, unchanged."""
    return _look(z, number, partial(_tap, host, "output"), partial(_tap, host, "output_gradient"))


def leave_activation(host: Host, a: jax.Array, number: Any, name: str) -> Any:
    """What the activation behind a call gives, unchanged: the host sees a, and later dL/da.

    What it gives back for z is not looked at: that would be a part of a sum of its own, if others read z too, and the
    order of that sum is a matter of rounding.
    """
    forward = partial(_tap, host, "activation_output", activation=name)
    return _look(a, number, forward, partial(_tap, host, "activation_output_gradient"))


def show_gradient(host: Host, name: str, gradient: jax.Array) -> Any:
    """The gradient of a parameter, unchanged: the host sees it."""
    return _call_host(partial(host.add_gradient, name), False, gradient)


def _look(z: jax.Array, number: Any, forward: Callable[..., Any], backward: Callable[..., Any]) -> Any:
    @jax.custom_vjp
    def run(z: Any, number: Any) -> Any:
        return forward(z, number)

    def run_forward(z: Any, number: Any) -> Any:
        return forward(z, number), number

    def run_backward(number: Any, gradient: Any) -> Any:
        return backward(gradient, number), None

    run.defvjp(run_forward, run_backward)
    return run(z, number)


def _tap(host: Host, quantity: Quantity, array: Any, number: Any, activation: str = "") -> Any:
    def add(array: Any, number: Any) -> Any:
        host.add(number, quantity, array, activation)
        return array

    return _call_host(add, False, array, number)


def _call_host(function: Callable[..., Any], numbers: bool, *arrays: Any) -> Any:
    """The first array as the host returns it, unchanged, and with `numbers` an int32 scalar.

    The callback is pure to JAX, so that checkpoints and loops take it; it stays because its result is used.
    """

    @jax.custom_batching.custom_vmap
    def call(*arrays: Any) -> Any:
        shape = jax.ShapeDtypeStruct(arrays[0].shape, arrays[0].dtype)
        shapes = (shape, jax.ShapeDtypeStruct((), np.int32)) if numbers else shape
        return jax.pure_callback(function, shapes, *arrays)

    @call.def_vmap
    def _(size: int, is_batched: list[bool], *arrays: Any) -> Any:
        del size
        return call(*arrays), (is_batched[0], False) if numbers else is_batched[0]

    return call(*arrays)
