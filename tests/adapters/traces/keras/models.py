"""Small Keras models, and a pass and a step of them on either backend."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from kterm.adapters.traces.manifest import Layer

keras: Any = pytest.importorskip("keras")
BACKEND = keras.backend.backend()
if BACKEND not in ("torch", "jax"):
    pytest.skip(f"Keras runs on {BACKEND}", allow_module_level=True)
L = keras.layers
IGNORED = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
"""Keras 3.15 makes arrays of tensors in a way that NumPy 2 warns of."""
WIDTH, CLASSES = 12, 5


def make_mlp(policy: str = "float32", *, eager: bool = False) -> Any:
    """Dense layers with activations of all kinds: their own, a layer behind, and one that is not in the table. `eager`
    is slow on JAX: steps run operation by operation.
    """
    keras.utils.set_random_seed(0)
    with policy_of(policy):
        model = keras.Sequential(
            [
                keras.Input((WIDTH,)),
                L.Dense(20, activation="gelu", name="first"),
                L.Dense(16, name="second"),
                L.LeakyReLU(0.1),
                L.Dense(16, activation=L.ELU(0.625), use_bias=False, name="third"),
                L.Dense(CLASSES, activation="softmax", name="last"),
            ]
        )
        model.compile("adam", "sparse_categorical_crossentropy", run_eagerly=eager)
    # Biases are not zero, as in a model that has been trained.
    for value in model.trainable_variables:
        value.assign_add(keras.random.normal(value.shape, stddev=0.1, dtype=value.dtype))
    return model


@contextmanager
def policy_of(name: str) -> Iterator[None]:
    """The dtype policy of layers that are made inside."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def make_batch(seed: int = 0, dtype: str = "float32") -> tuple[Any, Any]:
    """(16, 12) numbers and their classes."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(16, WIDTH)).astype(dtype), rng.integers(0, CLASSES, 16)


def run_pass(model: Any, x: Any) -> Any:
    """A forward and a backward pass with the sum of squares as loss. Returns the gradients of the trainable variables
    on JAX; PyTorch adds them to what is there.
    """
    ops = keras.ops
    if BACKEND == "torch":
        ops.sum(ops.square(model(ops.convert_to_tensor(x)))).backward()
        return None
    import jax

    fixed = [one.value for one in model.non_trainable_variables]

    def loss_of(values: Any) -> Any:
        return ops.sum(ops.square(model.stateless_call(values, fixed, ops.convert_to_tensor(x))[0]))

    return jax.grad(loss_of)([one.value for one in model.trainable_variables])


def end_step(trace: Any, gradients: Any) -> None:
    """End a step with what `run_pass` returned, or the sum of several."""
    if BACKEND == "torch":
        trace.end_step()
    else:
        trace.end_step(gradients)


def gradients_of(model: Any, gradients: Any) -> list[Any]:
    """Gradients that can be edited: those of PyTorch themselves, or the list."""
    return [one.value.grad for one in model.trainable_variables] if BACKEND == "torch" else gradients


def forget_gradients(model: Any) -> None:
    """No variable has a gradient."""
    if BACKEND == "torch":
        model.zero_grad()


def numpy_of(values: Sequence[Any]) -> list[bytes]:
    """The bits of variables."""
    return [np.asarray(keras.ops.convert_to_numpy(one.value)).tobytes() for one in values]


def layers_of(trace: Any, step: int = 0) -> Mapping[str, Layer]:
    """The layers of a step by the last part of their path."""
    return {layer.name.rpartition("/")[2]: layer for layer in trace.manifest.steps[step].layers}
