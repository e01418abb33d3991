"""Mistakes planted in a Keras model and in its training loop: the judge finds the layer and the quantity."""

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("keras")

import kterm

from .models import (
    BACKEND,
    IGNORED,
    L,
    end_step,
    forget_gradients,
    gradients_of,
    keras,
    make_batch,
    run_pass,
)

pytestmark = IGNORED
ops = keras.ops


class ByHand(L.Layer):
    """A dense layer with a kernel by hand, which makes the mistake that it is named for. Its kernel is square, so that
    no shape is wrong.
    """

    def __init__(self, mistake: str = "", **options: Any) -> None:
        super().__init__(**options)
        self.mistake, self.stale = mistake, None

    def build(self, input_shape: Any) -> None:
        width = input_shape[-1]
        self.kernel = self.add_weight(name="kernel", shape=(width, width))
        self.bias = self.add_weight(name="bias", shape=(width,), initializer="random_normal")

    def call(self, inputs: Any) -> Any:
        mistake, stale = self.mistake, self.stale

        @ops.custom_gradient
        def multiply(x: Any, weight: Any, bias: Any) -> Any:
            read = ops.convert_to_tensor(stale) if mistake == "stale input" and stale is not None else x
            z = ops.matmul(read, ops.transpose(weight) if mistake == "transposed in z" else weight)
            if mistake != "no bias":
                z = z + bias

            def back(*args: Any, upstream: Any = None) -> Any:
                k = args[0] if upstream is None else upstream
                by_x = ops.matmul(k, weight if mistake == "transposed weight" else ops.transpose(weight))
                by_weight = ops.matmul(ops.transpose(read), k)
                if mistake == "mean for sum":
                    by_weight = by_weight / k.shape[0]
                by_bias = k[0] if mistake == "bias by one row" else ops.sum(k, axis=0)
                return by_x, by_weight, by_bias

            return z, back

        return multiply(inputs, self.kernel.value, self.bias.value)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape


def make_model(mistake: str = "") -> Any:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((12,)),
            L.Dense(16, activation="tanh", name="first"),
            ByHand(mistake, name="middle"),
            L.Dense(3, activation="tanh", name="last"),
        ]
    )
    return model


def judge(model: Any, edit: Callable[[Any], Any] | None = None) -> dict[tuple[str, str], str]:
    """What is found in two steps, with the causes. `edit` takes the gradients of the second one."""
    with kterm.capture(model, dense=["*middle"]) as trace:
        for seed in range(2):
            x, _ = make_batch(seed)
            gradients = run_pass(model, x)
            if edit is not None and seed == 1:
                gradients = edit(gradients)
            end_step(trace, gradients)
            forget_gradients(model)
            if seed == 0:
                (call,) = next(one for one in trace.manifest.steps[0].layers if one.name.endswith("middle")).calls
                model.layers[1].stale = trace.steps[0][call.input].copy()
    names = {layer.name.rpartition("/")[2] for step in trace.manifest.steps for layer in step.layers}
    assert names == {"first", "middle", "last"}
    return {
        (one.layer.rpartition("/")[2], one.verdict.quantity): one.cause.text if one.cause else ""
        for one in kterm.judge(trace).findings
    }


def test_the_right_kernel_is_certified() -> None:
    assert judge(make_model()) == {}


@pytest.mark.parametrize(
    ("mistake", "quantity"),
    [
        ("transposed weight", "dL/dx"),
        ("transposed in z", "z"),
        ("mean for sum", "dL/dW"),
        ("stale input", "z"),
        ("no bias", "z"),
        ("bias by one row", "dL/db"),
    ],
)
def test_a_mistake_of_a_kernel_is_found_in_its_layer(mistake: str, quantity: str) -> None:
    found = judge(make_model(mistake))
    expected = {("middle", quantity)}
    if mistake == "stale input":  # so its gradient is by another input, too
        expected.add(("middle", "dL/dW"))
    assert set(found) == expected


def lose_a_pass(model: Any) -> Callable[[Any], Any]:
    """The gradients of one of two micro-batches are gone."""

    def edit(gradients: Any) -> Any:
        forget_gradients(model)
        return run_pass(model, make_batch(5)[0])

    return edit


def edit_a_gradient(model: Any) -> Callable[[Any], Any]:
    """The gradient of the first layer's kernel is 1 % too large."""

    def edit(gradients: Any) -> Any:
        every = gradients_of(model, gradients)
        if BACKEND == "torch":
            every[0].mul_(1.01)
            return None
        return [every[0] * 1.01, *every[1:]]

    return edit


def test_a_lost_micro_batch_is_found_in_every_gradient() -> None:
    model = make_model()
    found = judge(model, lose_a_pass(model))
    assert set(found) == {(name, which) for name in ("first", "middle", "last") for which in ("dL/dW", "dL/db")}


def test_an_edited_gradient_is_found_in_its_layer() -> None:
    model = make_model()
    assert set(judge(model, edit_a_gradient(model))) == {("first", "dL/dW")}
