"""Calls of the host from a program of JAX, in which the host waits for nothing of JAX's own.

`jax.pure_callback` puts what it is given into arrays of JAX before it calls, and a function that reads these waits for
the copies. On a CPU they may wait in turn for threads that are all in such calls: the step never ends
(https://github.com/jax-ml/jax/issues/24255, https://github.com/jax-ml/jax/issues/25861). Here a compiled program calls
with the NumPy arrays that lie below.
"""

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any

import jax
import numpy as np
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import mlir

HostFunction = Callable[..., Sequence[Any]]
"""Is given NumPy arrays. Returns the first one, unchanged, and others as a call of it says."""


def call_host(function: HostFunction, *arrays: Any, others: tuple[jax.ShapeDtypeStruct, ...] = ()) -> tuple[Any, ...]:
    """The first array as the host returns it, unchanged, and the `others` that it returns.

    To JAX the function is pure, so that checkpoints and loops take it; the call stays where its results are used. It is
    not differentiated and not batched: wrap it.
    """
    return tuple(_host_p.bind(*arrays, function=function, others=others))


def _run(*arrays: Any, function: HostFunction, others: tuple[Any, ...]) -> list[Any]:
    """Outside a compiled program: this thread is none of those that compute."""
    first, *results = function(*map(np.asarray, arrays))
    del first, others
    return [arrays[0], *map(jax.numpy.asarray, results)]


def _say_shapes(*arrays: Any, function: HostFunction, others: tuple[Any, ...]) -> list[Any]:
    del function
    return [arrays[0].update(weak_type=False), *(ShapedArray(one.shape, one.dtype) for one in others)]


def _lower(context: Any, *arrays: Any, function: HostFunction, others: tuple[Any, ...]) -> Any:
    if getattr(context.module_context.axis_context, "num_devices", 1) != 1:
        # On several devices pure_callback sees that one of them calls, with all of the array.
        shapes = [jax.ShapeDtypeStruct(one.shape, one.dtype) for one in context.avals_out]
        waiting = mlir.lower_fun(
            lambda *given: jax.pure_callback(lambda *all: function(*map(np.asarray, all)), shapes, *given),
            multiple_results=True,
        )
        return waiting(context, *arrays)

    def call(*given: Any) -> tuple[Any, ...]:
        return tuple(function(*given))

    results, *_ = mlir.emit_python_callback(
        context, call, None, list(arrays), context.avals_in, context.avals_out, has_side_effect=False
    )
    return results


_host_p = Primitive("kterm_host")
_host_p.multiple_results = True
_host_p.def_impl(_run)
_host_p.def_abstract_eval(_say_shapes)
# Each call stays a call of its own: a lowering that is used twice is one function of the same arrays to the compiler.
# Versions of JAX that cannot say so make each anew.
_options: Any = {"cacheable": False} if "cacheable" in signature(mlir.register_lowering).parameters else {}
mlir.register_lowering(_host_p, _lower, **_options)
