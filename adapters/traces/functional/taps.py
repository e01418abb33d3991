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
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from ....reference import Array
from .callback import call_host

Quantity = Literal[
    "output",
    "output_gradient",
    "input_gradient",
    "activation_output",
    "activation_output_gradient",
]


@dataclass
class SeenCall:
    """One execution of a call: copies of its arrays, as they came. Leading axes are not flattened. `is_second` says
    that its derivative was differentiated in turn. `activation` is the name of the activation behind it, if one was
    seen.
    """

    kind: Any
    input: Array
    weight: Array
    bias: Array | None
    arrays: dict[Quantity, Array]
    is_second: bool = False
    activation: str = ""


class Host:
    """What the host has seen since the last step ended: calls by number, and gradients of parameters by name, if they
    are shown to it. `is_open` says whether it looks at all, and `has_forward_mode` whether forward-mode derivatives
    passed a call since it began to.
    """

    def __init__(self) -> None:
        self.is_open, self.failure, self.has_forward_mode = False, None, False
        self.calls: dict[int, SeenCall] = {}
        self.gradients: dict[str, list[Array]] = {}
        self._numbers, self._lock = itertools.count(1), threading.Lock()
        self._found: dict[Any, Callable[..., Any]] = {}

    failure: Exception | None

    def find_call(self, key: Any, make: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
        """The function behind a key, made once: JAX compiles each function anew that it has not seen."""
        if key not in self._found:
            self._found[key] = make()
        return self._found[key]

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
        """Keep another array of a call. A number below 0 is that of a call in a second derivative."""
        try:
            seen = self.calls.get(abs(int(number)))
            if self.is_open and seen is not None:
                seen.is_second = seen.is_second or int(number) < 0
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

    def run(x: Any, *others: Any) -> Any:
        return host.find_call(("start", kind), lambda: _make_call(start, True))(x, *others)

    def run_forward(again: Callable[..., Any], is_second: bool, primals: Any, tangents: Any) -> Any:
        x, number = again(*primals)
        number = _mark_second(number) if is_second else number
        return (x, number), (_link(tangents[0], number, host, "input_gradient"), np.zeros((), jax.dtypes.float0))

    run = _differentiable(run, run_forward)
    # The gradients by W and b do not pass here.
    return run(x, *(jax.lax.stop_gradient(one) for one in others))


def leave(host: Host, z: jax.Array, number: Any) -> Any:
    """The output of a call, unchanged."""
    return _look(host, z, number, "output", "output_gradient")


def leave_activation(host: Host, a: jax.Array, number: Any, name: str) -> Any:
    """What the activation behind a call gives, unchanged: the host sees a, and later dL/da.

    What it gives back for z is not looked at: that would be a part of a sum of its own, if others read z too, and the
    order of that sum is a matter of rounding.
    """
    return _look(host, a, number, "activation_output", "activation_output_gradient", name)


def show_gradient(host: Host, name: str, gradient: jax.Array) -> Any:
    """The gradient of a parameter, unchanged: the host sees it."""
    add = partial(host.add_gradient, name)
    return host.find_call(("gradient", name), lambda: _make_call(add, False))(gradient)


def _look(
    host: Host, array: jax.Array, number: Any, quantity: Quantity, gradient: Quantity, activation: str = ""
) -> Any:
    def run(array: Any, number: Any) -> Any:
        return _tap(host, quantity, array, number, activation)

    def run_forward(again: Callable[..., Any], is_second: bool, primals: Any, tangents: Any) -> Any:
        array, number = primals
        number = _mark_second(number) if is_second else number
        return again(array, number), _link(tangents[0], number, host, gradient)

    return _differentiable(run, run_forward)(array, number)


def _differentiable(run: Callable[..., Any], run_forward: Callable[..., Any]) -> Callable[..., Any]:
    """A function with its rule of differentiation, which is given the same function for the primal values. If that is
    differentiated in turn, the rule learns that it has a part in a second derivative.
    """
    first, second = jax.custom_jvp(run), jax.custom_jvp(run)
    first.defjvp(lambda primals, tangents: run_forward(second, False, primals, tangents))
    second.defjvp(lambda primals, tangents: run_forward(second, True, primals, tangents))
    return first


def _mark_second(number: Any) -> Any:
    """The number by which the host knows a call in a second derivative. It travels with the data, so no compiler
    removes it.
    """
    return jax.lax.neg(jax.lax.abs(number))


def _link(tangent: Any, number: Any, host: Host, quantity: Quantity) -> Any:
    return _link_p.bind(tangent, number, host=host, quantity=quantity)


def _run_link(tangent: Any, number: Any, *, host: Host, quantity: Quantity) -> Any:
    """What forward-mode does, and it alone: the backward pass runs the transpose."""
    del number, quantity
    host.has_forward_mode = True
    return tangent


def _transpose_link(gradient: Any, tangent: Any, number: Any, *, host: Host, quantity: Quantity) -> Any:
    if type(gradient) is ad.Zero:
        return ad.Zero(tangent.aval), None

    def run(gradient: Any, number: Any) -> Any:
        return _tap(host, quantity, gradient, number)

    def run_forward(again: Callable[..., Any], is_second: bool, primals: Any, tangents: Any) -> Any:
        del is_second  # a gradient that is differentiated has a part in a second derivative
        return again(primals[0], _mark_second(primals[1])), tangents[0]

    return _differentiable(run, run_forward)(gradient, number), None


def _differentiate_link(primals: Any, tangents: Any, *, host: Host, quantity: Quantity) -> Any:
    tangent, number = primals
    # A second derivative: no part of it is dL/dx or dL/dz of a call.
    return _link(tangent, number, host, quantity), tangents[0]


def _batch_link(arrays: Any, axes: Any, *, host: Host, quantity: Quantity) -> Any:
    tangent, number = arrays
    if axes[0] is None:
        return _link(tangent, number, host, quantity), None
    # In front, where the host sees the axis of a vmap of all other arrays.
    return _link(jax.numpy.moveaxis(tangent, axes[0], 0), number, host, quantity), 0


_link_p = Primitive("kterm_link")
_link_p.def_impl(_run_link)
_link_p.def_abstract_eval(lambda tangent, number, **_: tangent)
ad.primitive_jvps[_link_p] = _differentiate_link
ad.primitive_transposes[_link_p] = _transpose_link
batching.primitive_batchers[_link_p] = _batch_link
mlir.register_lowering(_link_p, mlir.lower_fun(_run_link, multiple_results=False))


def _tap(host: Host, quantity: Quantity, array: Any, number: Any, activation: str = "") -> Any:
    def add(array: Any, number: Any) -> Any:
        host.add(number, quantity, array, activation)
        return array

    return host.find_call((quantity, activation), lambda: _make_call(add, False))(array, number)


def _make_call(function: Callable[..., Any], numbers: bool) -> Callable[..., Any]:
    """A function of arrays that gives the first one as the host returns it, unchanged, and with `numbers` an int32."""

    def run(*arrays: Any) -> Any:
        return function(*arrays) if numbers else (function(*arrays),)

    @jax.custom_batching.custom_vmap
    def call(*arrays: Any) -> Any:
        found = call_host(run, *arrays, others=(jax.ShapeDtypeStruct((), np.int32),) if numbers else ())
        return found if numbers else found[0]

    @call.def_vmap
    def _(size: int, is_batched: list[bool], *arrays: Any) -> Any:
        del size
        return call(*arrays), (is_batched[0], False) if numbers else is_batched[0]

    return call
