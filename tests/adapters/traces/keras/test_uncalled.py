"""Matrices of a Keras model that no captured call has are named, with a loop of one's own and in train_on_batch."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras")

import kterm

from .models import IGNORED, L, end_step, keras, run_pass

pytestmark = IGNORED
NOTE = "has a gradient, and no call of a dense layer with it was captured"


@keras.saving.register_keras_serializable("kterm")
class Mixed(L.Layer):
    """A matrix, experts in one variable, and a position for each row."""

    def build(self, input_shape: Any) -> None:
        self.own = self.add_weight(shape=(6, 6), name="own")
        self.experts = self.add_weight(shape=(2, 6, 6), name="experts")
        self.positions = self.add_weight(shape=(1, 5, 6), name="positions")

    def call(self, inputs: Any) -> Any:
        x = keras.ops.matmul(inputs + self.positions, self.own)
        return keras.ops.matmul(x, self.experts[0] + self.experts[1])


def make_model() -> Any:
    model = keras.Sequential(
        [
            keras.Input((5, 4)),
            L.Conv1D(6, 3, padding="same", name="conv"),
            Mixed(name="mixed"),
            L.SimpleRNN(6, name="cell"),
            L.Dense(3, name="last"),
        ]
    )
    model.compile(optimizer="sgd", loss="mse")
    return model


@pytest.mark.parametrize("trains", [False, True])
def test_matrices_that_no_captured_call_has_are_said(trains: bool) -> None:
    model, rng = make_model(), np.random.default_rng(0)
    x, y = rng.normal(size=(7, 5, 4)).astype("float32"), rng.normal(size=(7, 3)).astype("float32")
    with kterm.capture(model) as trace:
        if trains:
            model.train_on_batch(x, y)
            trace.end_step()
        else:
            end_step(trace, run_pass(model, x))
    (step,) = trace.manifest.steps
    assert [layer.name.rpartition("/")[2] for layer in step.layers] == ["last"]
    said = sorted(note.partition(":")[0].partition("/")[2] for note in step.notes if note.endswith(NOTE))
    assert said == [
        "cell/simple_rnn_cell/kernel",
        "cell/simple_rnn_cell/recurrent_kernel",
        "mixed/experts",
        "mixed/own",
    ]
